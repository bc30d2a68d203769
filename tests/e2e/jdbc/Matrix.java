// What Java programs do through Debian's pgjdbc. Each check prints "ok NAME" or "FAIL NAME: why"; exit code 1 when any failed.
import java.math.BigDecimal;
import java.sql.*;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.*;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PSQLException;
import java.io.StringReader;
import java.io.StringWriter;

public class Matrix {
    interface Check { void run(Connection connection) throws Exception; }

    static String url;
    static Properties login = new Properties();
    static int failed = 0;

    static Connection open(String... settings) throws SQLException {
        Properties properties = new Properties();
        properties.putAll(login);
        for (int i = 0; i < settings.length; i += 2) properties.setProperty(settings[i], settings[i + 1]);
        return DriverManager.getConnection(url, properties);
    }

    static void check(String name, Check body, String... settings) {
        try (Connection connection = open(settings)) {
            body.run(connection);
            System.out.println("ok " + name);
        } catch (Throwable error) {
            failed++;
            System.out.println("FAIL " + name + ": " + error);
            for (StackTraceElement frame : error.getStackTrace()) {
                if (frame.getClassName().startsWith("Matrix")) System.out.println("    at line " + frame.getLineNumber());
            }
        }
    }

    static void same(Object expected, Object got) {
        if (!Objects.equals(expected, got)) throw new AssertionError("expected " + expected + ", got " + got);
    }

    static void fill(Connection c) throws SQLException {
        try (Statement s = c.createStatement()) {
            s.execute("DROP TABLE IF EXISTS j_orders, j_customers, j_colours CASCADE");
            s.execute("CREATE TABLE j_customers (id int PRIMARY KEY, name text NOT NULL, balance numeric(12,2))");
            s.execute("CREATE TABLE j_orders (customer int REFERENCES j_customers, id int, note varchar(20), PRIMARY KEY (customer, id))");
            s.execute("CREATE TABLE j_colours (id int PRIMARY KEY, name text)");
            s.execute("SELECT create_distributed_table('j_customers', 'id')");
            s.execute("SELECT create_distributed_table('j_orders', 'customer', colocate_with => 'j_customers')");
            s.execute("SELECT create_reference_table('j_colours')");
        }
        try (PreparedStatement p = c.prepareStatement("INSERT INTO j_customers VALUES (?, ?, ?)")) {
            for (int i = 1; i <= 500; i++) {
                p.setInt(1, i);
                p.setString(2, "name " + i);
                p.setBigDecimal(3, new BigDecimal(i).movePointLeft(2));
                p.addBatch();
            }
            same(500, p.executeBatch().length);
        }
    }

    static long count(Connection c, String table) throws SQLException {
        try (Statement s = c.createStatement(); ResultSet r = s.executeQuery("SELECT count(*) FROM " + table)) {
            r.next();
            return r.getLong(1);
        }
    }

    static void reuse(Connection c) throws SQLException {
        // More than prepareThreshold runs: pgjdbc changes to named statements and binary results.
        try (PreparedStatement p = c.prepareStatement("SELECT id, name, balance FROM j_customers WHERE id = ?")) {
            for (int i = 1; i <= 50; i++) {
                p.setInt(1, i);
                try (ResultSet r = p.executeQuery()) {
                    same(true, r.next());
                    same("name " + i, r.getString(2));
                    same(new BigDecimal(i).movePointLeft(2).setScale(2), r.getBigDecimal(3));
                    same(false, r.next());
                }
            }
            p.setNull(1, Types.INTEGER);
            try (ResultSet r = p.executeQuery()) { same(false, r.next()); }
            p.setLong(1, 7L);
            try (ResultSet r = p.executeQuery()) { same(true, r.next()); same(7, r.getInt(1)); }
        }
    }

    static void fetchSize(Connection c) throws SQLException {
        c.setAutoCommit(false);
        try (PreparedStatement p = c.prepareStatement("SELECT id FROM j_customers ORDER BY id")) {
            p.setFetchSize(37);
            for (int round = 0; round < 8; round++) {
                int expected = 0;
                try (ResultSet r = p.executeQuery()) {
                    while (r.next()) {
                        same(++expected, r.getInt(1));
                        if (expected % 100 == 0) same(1L, count(c, "j_customers WHERE id = " + expected));
                    }
                }
                same(500, expected);
            }
        }
        c.commit();
    }

    static void scrollable(Connection c) throws SQLException {
        try (Statement s = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE);
             ResultSet r = s.executeQuery("SELECT id, name, balance FROM j_customers WHERE id = 5")) {
            r.next();
            r.updateString("name", "updated");
            r.updateRow();
        }
        try (Statement s = c.createStatement(); ResultSet r = s.executeQuery("SELECT name FROM j_customers WHERE id = 5")) {
            r.next();
            same("updated", r.getString(1));
        }
        try (Statement s = c.createStatement()) { s.executeUpdate("UPDATE j_customers SET name = 'name 5' WHERE id = 5"); }
    }

    static Set<String> column(ResultSet r, String name) throws SQLException {
        Set<String> values = new TreeSet<>();
        while (r.next()) values.add(r.getString(name));
        return values;
    }

    static void metadata(Connection c) throws SQLException {
        DatabaseMetaData m = c.getMetaData();
        Set<String> tables = column(m.getTables(null, "public", "j\\_%", new String[] {"TABLE", "PARTITIONED TABLE"}), "TABLE_NAME");
        same(new TreeSet<>(List.of("j_colours", "j_customers", "j_orders")), tables);
        for (String name : column(m.getTables(null, null, "%", null), "TABLE_SCHEM")) {
            if (name != null && name.startsWith("decan_shard")) throw new AssertionError("shows " + name);
        }
        same(new TreeSet<>(List.of("balance", "id", "name")), column(m.getColumns(null, "public", "j_customers", "%"), "COLUMN_NAME"));
        same(new TreeSet<>(List.of("customer", "id")), column(m.getPrimaryKeys(null, "public", "j_orders"), "COLUMN_NAME"));
        same(new TreeSet<>(List.of("j_customers")), column(m.getImportedKeys(null, "public", "j_orders"), "PKTABLE_NAME"));
        same(new TreeSet<>(List.of("j_orders")), column(m.getExportedKeys(null, "public", "j_customers"), "FKTABLE_NAME"));
        same(new TreeSet<>(List.of("j_orders_pkey")), column(m.getIndexInfo(null, "public", "j_orders", true, true), "INDEX_NAME"));
        if (!column(m.getSchemas(), "TABLE_SCHEM").contains("public")) throw new AssertionError("no schema public");
        column(m.getCatalogs(), "TABLE_CAT");
        column(m.getTypeInfo(), "TYPE_NAME");
        column(m.getTablePrivileges(null, "public", "j_orders"), "PRIVILEGE");
        column(m.getFunctions(null, null, "%"), "FUNCTION_NAME");
        column(m.getBestRowIdentifier(null, "public", "j_orders", DatabaseMetaData.bestRowSession, false), "COLUMN_NAME");
        same(15, m.getDatabaseMajorVersion());
        same("PostgreSQL", m.getDatabaseProductName());
        try (PreparedStatement p = c.prepareStatement("SELECT o.note, c.name FROM j_orders o JOIN j_customers c ON c.id = o.customer WHERE c.id = ?")) {
            same("note", p.getMetaData().getColumnName(1));
            same("j_customers", ((org.postgresql.PGResultSetMetaData) p.getMetaData()).getBaseTableName(2));
            same("int4", p.getParameterMetaData().getParameterTypeName(1));
        }
    }

    static void types(Connection c) throws SQLException {
        try (Statement s = c.createStatement()) {
            s.execute("DROP TABLE IF EXISTS j_types");
            s.execute("CREATE TABLE j_types (k int PRIMARY KEY, b bool, l bigint, d float8, n numeric, t text, y bytea, da date, ts timestamptz, u uuid, j jsonb, a text[])");
            s.execute("SELECT create_distributed_table('j_types', 'k')");
        }
        UUID uuid = UUID.fromString("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
        OffsetDateTime moment = OffsetDateTime.of(2026, 11, 20, 1, 2, 3, 4000, ZoneOffset.UTC);
        try (PreparedStatement p = c.prepareStatement("INSERT INTO j_types VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?::jsonb, ?)")) {
            for (int k = 0; k < 12; k++) {
                p.setInt(1, k);
                p.setBoolean(2, true);
                p.setLong(3, Long.MAX_VALUE);
                p.setDouble(4, 0.1);
                p.setBigDecimal(5, new BigDecimal("1234567890.0987654321"));
                p.setString(6, "ünï 数据 '\"\\");
                p.setBytes(7, new byte[] {0, -1, 65});
                p.setObject(8, java.time.LocalDate.of(2026, 1, 2));
                p.setObject(9, moment);
                p.setObject(10, uuid);
                p.setString(11, "{\"a\": 1}");
                p.setArray(12, c.createArrayOf("text", new String[] {"a", null, "b c"}));
                same(1, p.executeUpdate());
            }
        }
        for (String where : new String[] {"WHERE k = ?", "WHERE k <= ? ORDER BY k DESC LIMIT 1"}) {
            try (PreparedStatement p = c.prepareStatement("SELECT * FROM j_types " + where)) {
                for (int k = 0; k < 12; k++) {
                    p.setInt(1, k);
                    try (ResultSet r = p.executeQuery()) {
                        r.next();
                        same(k, r.getInt(1));
                        same(true, r.getBoolean(2));
                        same(Long.MAX_VALUE, r.getLong(3));
                        same(0.1, r.getDouble(4));
                        same(new BigDecimal("1234567890.0987654321"), r.getBigDecimal(5));
                        same("ünï 数据 '\"\\", r.getString(6));
                        same("[0, -1, 65]", Arrays.toString(r.getBytes(7)));
                        same(java.time.LocalDate.of(2026, 1, 2), r.getObject(8, java.time.LocalDate.class));
                        same(moment, r.getObject(9, OffsetDateTime.class).withOffsetSameInstant(ZoneOffset.UTC));
                        same(uuid, r.getObject(10));
                        same("{\"a\": 1}", r.getString(11));
                        same("[a, null, b c]", Arrays.toString((Object[]) r.getArray(12).getArray()));
                    }
                }
            }
        }
    }

    static void batchError(Connection c) throws SQLException {
        long before = count(c, "j_customers");
        try (PreparedStatement p = c.prepareStatement("INSERT INTO j_customers VALUES (?, 'x', 0)")) {
            for (int id : new int[] {601, 602, 1, 603}) {
                p.setInt(1, id);
                p.addBatch();
            }
            c.setAutoCommit(false);
            p.executeBatch();
            throw new AssertionError("no error");
        } catch (BatchUpdateException error) {
            same("23505", error.getSQLState());
        }
        c.rollback();
        c.setAutoCommit(true);
        same(before, count(c, "j_customers"));
    }

    static void savepoint(Connection c) throws SQLException {
        c.setAutoCommit(false);
        try (Statement s = c.createStatement()) {
            s.executeUpdate("INSERT INTO j_colours VALUES (1, 'red')");
            Savepoint point = c.setSavepoint("point");
            try {
                s.executeUpdate("INSERT INTO j_colours VALUES (1, 'again')");
                throw new AssertionError("no error");
            } catch (PSQLException error) {
                same("23505", error.getSQLState());
                same("j_colours", error.getServerErrorMessage().getTable());
                same("j_colours_pkey", error.getServerErrorMessage().getConstraint());
            }
            c.rollback(point);
            s.executeUpdate("INSERT INTO j_colours VALUES (2, 'blue')");
        }
        c.commit();
        same(2L, count(c, "j_colours"));
    }

    static void generatedKeys(Connection c) throws SQLException {
        try (PreparedStatement p = c.prepareStatement("INSERT INTO j_customers VALUES (?, ?, 0)", Statement.RETURN_GENERATED_KEYS)) {
            p.setInt(1, 700);
            p.setString(2, "keys");
            p.executeUpdate();
            ResultSet keys = p.getGeneratedKeys();
            keys.next();
            same(700, keys.getInt("id"));
        }
        try (Statement s = c.createStatement()) { s.executeUpdate("DELETE FROM j_customers WHERE id = 700"); }
    }

    static void cancel(Connection c) throws Exception {
        for (String sql : new String[] {"SELECT pg_sleep(20)", "SELECT count(*) FROM j_customers WHERE pg_sleep(1) IS NOT NULL"}) {
            try (Statement s = c.createStatement()) {
                Thread thread = new Thread(() -> {
                    try { Thread.sleep(400); s.cancel(); } catch (Exception error) { error.printStackTrace(); }
                });
                long start = System.nanoTime();
                thread.start();
                try {
                    s.executeQuery(sql);
                    throw new AssertionError("not cancelled");
                } catch (SQLException error) {
                    same("57014", error.getSQLState());
                }
                if (System.nanoTime() - start > 1_500_000_000L) throw new AssertionError("took too long");
                thread.join();
            }
            same(500L, count(c, "j_customers"));
        }
        try (Statement s = c.createStatement()) {
            s.setQueryTimeout(1);
            s.executeQuery("SELECT pg_sleep(20)");
            throw new AssertionError("no timeout");
        } catch (SQLException error) {
            same("57014", error.getSQLState());
        }
    }

    static void large(Connection c) throws SQLException {
        byte[] value = new byte[64 * 1024 * 1024];
        new Random(5).nextBytes(value);
        try (Statement s = c.createStatement()) {
            s.execute("DROP TABLE IF EXISTS j_large");
            s.execute("CREATE TABLE j_large (k int PRIMARY KEY, v bytea)");
            s.execute("SELECT create_distributed_table('j_large', 'k')");
        }
        try (PreparedStatement p = c.prepareStatement("INSERT INTO j_large VALUES (1, ?)")) {
            p.setBytes(1, value);
            p.executeUpdate();
        }
        try (Statement s = c.createStatement(); ResultSet r = s.executeQuery("SELECT v FROM j_large WHERE k = 1")) {
            r.next();
            same(true, Arrays.equals(value, r.getBytes(1)));
        }
        try (Statement s = c.createStatement()) { s.execute("DROP TABLE j_large"); }
    }

    static void copy(Connection c) throws Exception {
        CopyManager copy = ((PGConnection) c).getCopyAPI();
        StringBuilder rows = new StringBuilder();
        for (int i = 1000; i < 2000; i++) rows.append(i).append("\tcopied\t1.00\n");
        same(1000L, copy.copyIn("COPY j_customers FROM STDIN", new StringReader(rows.toString())));
        StringWriter out = new StringWriter();
        same(1500L, copy.copyOut("COPY j_customers TO STDOUT", out));
        try (Statement s = c.createStatement()) { same(1000, s.executeUpdate("DELETE FROM j_customers WHERE id >= 1000")); }
    }

    static void notification(Connection c) throws Exception {
        try (Statement s = c.createStatement()) { s.execute("LISTEN j_news"); }
        try (Connection other = open(); Statement s = other.createStatement()) { s.execute("NOTIFY j_news, 'hello'"); }
        PGNotification[] got = ((PGConnection) c).getNotifications(5000);
        same(1, got == null ? 0 : got.length);
        same("hello", got[0].getParameter());
    }

    static void callable(Connection c) throws SQLException {
        try (Statement s = c.createStatement()) {
            s.execute("CREATE OR REPLACE FUNCTION j_add(a int, b int) RETURNS int LANGUAGE sql AS 'SELECT a + b'");
        }
        try (CallableStatement call = c.prepareCall("{? = call j_add(?, ?)}")) {
            call.registerOutParameter(1, Types.INTEGER);
            call.setInt(2, 2);
            call.setInt(3, 3);
            call.execute();
            same(5, call.getInt(1));
        }
    }

    static void multiple(Connection c) throws SQLException {
        try (Statement s = c.createStatement()) {
            same(true, s.execute("SELECT 1; UPDATE j_customers SET name = name WHERE id < 11; SELECT 2"));
            s.getResultSet().next();
            same(false, s.getMoreResults());
            same(10, s.getUpdateCount());
            same(true, s.getMoreResults());
        }
    }

    static void tools(Connection c) throws SQLException {
        try (PreparedStatement p = c.prepareStatement("SELECT set_config(?, ?, false)")) {
            p.setString(1, "app.tenant");
            p.setString(2, "java");
            try (ResultSet r = p.executeQuery()) { r.next(); same("java", r.getString("set_config")); }
        }
        try (Statement s = c.createStatement(); ResultSet r = s.executeQuery("SHOW search_path")) {
            r.next();
            same("\"$user\", public", r.getString(1));
        }
        for (int id = 1; id < 20; id++) {
            try (PreparedStatement p = c.prepareStatement("SELECT current_setting('app.tenant') FROM j_customers WHERE id = ?")) {
                p.setInt(1, id);
                try (ResultSet r = p.executeQuery()) { r.next(); same("java", r.getString(1)); }
            }
        }
        try (Statement s = c.createStatement(); ResultSet r = s.executeQuery("EXPLAIN SELECT * FROM j_customers WHERE id = 1")) { same(true, r.next()); }
    }

    static void readOnly(Connection c) throws SQLException {
        c.setReadOnly(true);
        c.setAutoCommit(false);
        try (Statement s = c.createStatement()) {
            s.executeUpdate("UPDATE j_customers SET name = 'x' WHERE id = 1");
            throw new AssertionError("no error");
        } catch (SQLException error) {
            same("25006", error.getSQLState());
        }
        c.rollback();
    }

    static void drop(Connection c) throws SQLException {
        try (Statement s = c.createStatement()) {
            s.execute("DROP TABLE j_orders, j_customers, j_colours, j_types CASCADE");
            s.execute("DROP FUNCTION j_add");
        }
    }

    public static void main(String[] arguments) {
        url = arguments[0];
        login.setProperty("user", arguments[1]);
        login.setProperty("password", System.getenv("PGPASSWORD"));
        check("fill", Matrix::fill);
        check("fill rewritten batches", Matrix::fill, "reWriteBatchedInserts", "true");
        check("reuse", Matrix::reuse);
        check("reuse simple", Matrix::reuse, "preferQueryMode", "simple");
        check("reuse extendedForPrepared", Matrix::reuse, "preferQueryMode", "extendedForPrepared");
        check("reuse binary at once", Matrix::reuse, "prepareThreshold", "-1");
        check("fetch size", Matrix::fetchSize);
        check("updatable result set", Matrix::scrollable);
        check("metadata", Matrix::metadata);
        check("types", Matrix::types);
        check("types over TLS", Matrix::types, "sslmode", "require");
        check("channel binding", c -> same(500L, count(c, "j_customers")), "sslmode", "require");
        check("batch error", Matrix::batchError);
        check("savepoint", Matrix::savepoint);
        check("autosave", Matrix::reuse, "autosave", "always");
        check("generated keys", Matrix::generatedKeys);
        check("copy", Matrix::copy);
        check("cancel", Matrix::cancel);
        check("notification", Matrix::notification);
        check("callable", Matrix::callable);
        check("multiple results", Matrix::multiple);
        check("tools", Matrix::tools);
        check("read only", Matrix::readOnly);
        check("large value", Matrix::large);
        check("drop", Matrix::drop);
        try (Connection c = open("password", "wrong")) {
            System.out.println("FAIL wrong password: accepted");
            failed++;
        } catch (SQLException error) {
            System.out.println((error.getSQLState().equals("28P01") ? "ok" : "FAIL") + " wrong password: " + error.getMessage());
            if (!error.getSQLState().equals("28P01")) failed++;
        }
        System.exit(failed == 0 ? 0 : 1);
    }
}
