// Rows and definitions: what is spread is all there, in its place, and comes back as it was.
#include "placement/distribute.h"

#include <gtest/gtest.h>

#include "placement/test_cluster.h"

namespace decan::placement {
namespace {

using catalog::Algorithm;

class Distribute : public OnCluster {};

TEST_F(Distribute, SpreadsTheRowsOfAFullTableAndBringsThemBack) {
  home().exec(
      "CREATE TABLE orders(id bigserial, customer_id int NOT NULL, note text DEFAULT 'n', PRIMARY KEY "
      "(customer_id, id));"
      "INSERT INTO orders(customer_id, note) SELECT i % 97, md5(i::text) FROM generate_series(1, 5000) i;"
      "CREATE INDEX ON orders(note)");
  const auto before = home().exec("SELECT * FROM orders ORDER BY id").text();
  const auto dump = units().dump(0, "public.orders*");
  const auto placed = units().distribute(by("orders", {"customer_id"}));
  ASSERT_EQ(state(placed), "ok") << text(placed);
  EXPECT_GT(placed->moved_rows, 2000u);
  for (size_t unit = 0; unit < 3; ++unit) {
    EXPECT_EQ(units().on(unit).exec("SELECT count(*) > 1000 FROM orders").scalar(), "t");
    EXPECT_EQ(units().on(unit).exec("SELECT epoch FROM decan.map").scalar(), "2");
  }
  expect_rows_in_their_buckets("orders", {"int4send(customer_id)"}, 5000);
  const auto undone = units().undistribute("orders");
  ASSERT_EQ(state(undone), "ok") << text(undone);
  EXPECT_EQ(home().exec("SELECT * FROM orders ORDER BY id").text(), before);
  EXPECT_EQ(units().dump(0, "public.orders*"), dump);
  EXPECT_EQ(units().on(1).exec("SELECT to_regclass('orders'), (SELECT count(*) FROM decan.bucket)").text(),
            "NULL|0");
}

// Everything that a table can carry, made by a role that is not a superuser.
constexpr const char* kRichTable = R"(
  CREATE SCHEMA "Shop" AUTHORIZATION keeper;
  SET ROLE keeper;
  CREATE FUNCTION "Shop".touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW."Note" := coalesce(NEW."Note", ''t''); RETURN NEW; END';
  CREATE TYPE "Shop".mood AS ENUM ('sad', 'ok');
  CREATE TABLE "Shop"."Big Table" (
    "Key" uuid NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY (START WITH 100 INCREMENT BY 10),
    serial_id bigserial,
    "Note" varchar(40) COLLATE "C" DEFAULT 'it''s' || chr(92),
    amount numeric(12,2) CHECK (amount >= 0),
    doubled numeric GENERATED ALWAYS AS (amount * 2) STORED,
    feeling "Shop".mood DEFAULT 'ok',
    tags text[] NOT NULL DEFAULT '{}',
    made timestamptz DEFAULT now(),
    ratio float8,
    gone int,
    PRIMARY KEY ("Key", id) WITH (fillfactor = 80),
    CONSTRAINT one_note UNIQUE ("Key", "Note") DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT "Odd ""name""" CHECK (ratio <> 1.5)
  ) WITH (fillfactor = 70, autovacuum_enabled = false, toast.autovacuum_enabled = false);
  ALTER TABLE "Shop"."Big Table" DROP COLUMN gone;
  ALTER TABLE "Shop"."Big Table" ALTER "Note" SET STORAGE EXTERNAL, ALTER tags SET STATISTICS 500, ALTER ratio SET (n_distinct = 5);
  ALTER TABLE "Shop"."Big Table" ADD CONSTRAINT later CHECK (ratio > -1000) NOT VALID;
  ALTER TABLE "Shop"."Big Table" REPLICA IDENTITY FULL;
  CREATE INDEX "Expr Index" ON "Shop"."Big Table" (lower("Note") DESC NULLS LAST) WHERE amount > 1;
  CREATE INDEX covering ON "Shop"."Big Table" (made) INCLUDE (amount) WITH (fillfactor = 60);
  CREATE INDEX on_tags ON "Shop"."Big Table" USING gin (tags);
  CREATE UNIQUE INDEX partial_unique ON "Shop"."Big Table" ("Key", lower("Note")) WHERE amount = 7;
  CREATE STATISTICS "Shop".linked (dependencies) ON amount, ratio FROM "Shop"."Big Table";
  ALTER STATISTICS "Shop".linked SET STATISTICS 77;
  CREATE TRIGGER touched BEFORE INSERT OR UPDATE ON "Shop"."Big Table" FOR EACH ROW EXECUTE FUNCTION "Shop".touch();
  CREATE TRIGGER sleeping AFTER DELETE ON "Shop"."Big Table" FOR EACH STATEMENT EXECUTE FUNCTION "Shop".touch();
  ALTER TABLE "Shop"."Big Table" DISABLE TRIGGER sleeping;
  CREATE POLICY mine ON "Shop"."Big Table" AS RESTRICTIVE FOR SELECT TO reader, keeper USING (amount < 1000000);
  CREATE POLICY all_of_it ON "Shop"."Big Table" USING (true) WITH CHECK (true);
  ALTER TABLE "Shop"."Big Table" ENABLE ROW LEVEL SECURITY;
  ALTER TABLE "Shop"."Big Table" FORCE ROW LEVEL SECURITY;
  GRANT SELECT, INSERT ON "Shop"."Big Table" TO reader;
  GRANT UPDATE ("Note") ON "Shop"."Big Table" TO reader WITH GRANT OPTION;
  GRANT USAGE ON SEQUENCE "Shop"."Big Table_serial_id_seq" TO reader;
  REVOKE TRUNCATE ON "Shop"."Big Table" FROM keeper;
  COMMENT ON TABLE "Shop"."Big Table" IS 'it''s big';
  COMMENT ON COLUMN "Shop"."Big Table"."Note" IS 'a note \ with backslash';
  COMMENT ON INDEX "Shop".covering IS 'covers';
  COMMENT ON CONSTRAINT later ON "Shop"."Big Table" IS 'not yet';
  COMMENT ON TRIGGER touched ON "Shop"."Big Table" IS 'touches';
  COMMENT ON POLICY mine ON "Shop"."Big Table" IS 'policy';
  COMMENT ON STATISTICS "Shop".linked IS 'statistics';
  INSERT INTO "Shop"."Big Table"("Key", "Note", amount, ratio, tags, made)
    SELECT md5(i::text)::uuid, nullif('n' || i, 'n7'), i, i / 7.0, ARRAY['a"', E'b\\', i::text], '2024-01-01'::timestamptz + i * interval '1 hour'
    FROM generate_series(1, 500) i;
  RESET ROLE)";

class DistributeRich : public Distribute {
 protected:
  void SetUp() override {
    Distribute::SetUp();
    for (size_t unit = 0; unit < 3; ++unit) {
      auto admin = units().server(unit).connect();
      for (const auto* role : {"keeper", "reader", "helper"}) {
        if (admin.exec("SELECT FROM pg_roles WHERE rolname = '" + std::string(role) + "'").size() == 0) {
          admin.exec("CREATE ROLE " + std::string(role) + " LOGIN");
        }
      }
      admin.exec("GRANT keeper TO helper");
    }
    home().exec(kRichTable);
    // What the session's DDL would have run on every unit.
    for (size_t unit = 1; unit < 3; ++unit) {
      units().on(unit).exec(
          "CREATE SCHEMA \"Shop\" AUTHORIZATION keeper; SET ROLE keeper;"
          "CREATE FUNCTION \"Shop\".touch() RETURNS trigger LANGUAGE plpgsql AS "
          "'BEGIN NEW.\"Note\" := coalesce(NEW.\"Note\", ''t''); RETURN NEW; END';"
          "CREATE TYPE \"Shop\".mood AS ENUM ('sad', 'ok'); RESET ROLE");
    }
  }
  static constexpr const char* kTable = "\"Shop\".\"Big Table\"";
  static constexpr const char* kRows = "SELECT * FROM \"Shop\".\"Big Table\" ORDER BY id";
};

TEST_F(DistributeRich, KeepsEverythingAndRestoresTheIdenticalTable) {
  home().exec("SET extra_float_digits = -3; SET DateStyle = 'SQL, DMY'");
  const auto before = home().exec(kRows).text();
  const auto dump = units().dump(0, "");
  const auto placed = units().distribute(by(kTable, {"Key"}), "keeper");
  ASSERT_EQ(state(placed), "ok") << text(placed);
  auto rows = units().rows_everywhere("SELECT * FROM \"Shop\".\"Big Table\"");
  EXPECT_EQ(rows.size(), 500u);
  // The parent's own definition is the same on every unit (sequence ranges apart), and so are rights and
  // policies.
  const auto facts =
      "SELECT relowner::regrole, relacl, relrowsecurity, relforcerowsecurity, relreplident, "
      "(SELECT string_agg(pg_get_indexdef(indexrelid) || obj_description(indexrelid, 'pg_class'), E'\\n') "
      "FROM pg_index WHERE indrelid = c.oid), "
      "(SELECT string_agg(pg_get_triggerdef(oid) || tgenabled::text, E'\\n' ORDER BY tgname) FROM pg_trigger "
      "WHERE "
      "tgrelid = c.oid AND NOT tgisinternal), "
      "(SELECT string_agg(pg_get_constraintdef(oid), E'\\n' ORDER BY conname) FROM pg_constraint WHERE "
      "conrelid = c.oid) "
      "FROM pg_class c WHERE oid = '\"Shop\".\"Big Table\"'::regclass";
  EXPECT_EQ(units().on(1).exec(facts).text(), home().exec(facts).text());
  EXPECT_EQ(units().on(2).exec(facts).text(), home().exec(facts).text());
  // Leaves carry what parents can not hold.
  const auto leaf = units()
                        .on(1)
                        .exec(
                            "SELECT min(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = "
                            "'\"Shop\".\"Big Table\"'::regclass")
                        .scalar();
  EXPECT_EQ(units()
                .on(1)
                .exec("SELECT reloptions, relreplident, relowner::regrole, (SELECT "
                      "decan.column_options(attoptions) FROM "
                      "pg_attribute a WHERE a.attrelid = c.oid "
                      "AND attname = 'ratio'), (SELECT attstattarget FROM pg_attribute a WHERE a.attrelid = "
                      "c.oid AND attname = 'tags') "
                      "FROM pg_class c WHERE oid = '" +
                      leaf + "'::regclass")
                .text(),
            "{fillfactor=70,autovacuum_enabled=false}|f|keeper|{n_distinct=5}|500");
  const auto undone = units().undistribute(kTable, "keeper");
  ASSERT_EQ(state(undone), "ok") << text(undone);
  EXPECT_EQ(home().exec(kRows).text(), before);
  EXPECT_EQ(units().dump(0, ""), dump);
}

TEST_F(DistributeRich, AMemberOfTheOwnersRoleMayPlaceAndSettingsComeBack) {
  auto sessions = units().runner("helper");
  const auto placed = units().distribute(by(kTable, {"Key"}), "helper");
  ASSERT_EQ(state(placed), "ok") << text(placed);
  EXPECT_EQ(units()
                .on(1)
                .exec("SELECT relowner::regrole FROM pg_class WHERE oid = '\"Shop\".\"Big Table\"'::regclass")
                .scalar(),
            "keeper");
  EXPECT_EQ(state(units().undistribute(kTable, "reader")), "42501");
  EXPECT_EQ(state(units().distribute(by(kTable, {"Key"}), "reader")), "42501");
}

TEST_F(DistributeRich, ABroadcastTableIsWholeOnEveryUnitAndHomeKeepsItsOwn) {
  const auto dump = units().dump(0, "");
  const auto before = home().exec(kRows).text();
  const auto oid = home().exec("SELECT '\"Shop\".\"Big Table\"'::regclass::oid").scalar();
  const auto placed = units().reference(kTable, "keeper");
  ASSERT_EQ(state(placed), "ok") << text(placed);
  for (size_t unit = 1; unit < 3; ++unit) {
    EXPECT_EQ(units().on(unit).exec(kRows).text(), before);
    EXPECT_EQ(units().dump(unit, "\"Shop\".\"Big Table\""), units().dump(0, "\"Shop\".\"Big Table\""));
  }
  EXPECT_EQ(home().exec("SELECT '\"Shop\".\"Big Table\"'::regclass::oid").scalar(), oid);
  ASSERT_EQ(state(units().undistribute(kTable, "keeper")), "ok");
  EXPECT_EQ(units().dump(0, ""), dump);
  EXPECT_EQ(units().on(2).exec("SELECT to_regclass('\"Shop\".\"Big Table\"')").scalar(), "NULL");
}

struct KeyCase {
  const char* name;
  const char* type;
  const char* generator;  // over i and h
  const char* send;
};

class DistributeKey : public Distribute, public ::testing::WithParamInterface<KeyCase> {};

TEST_P(DistributeKey, PutsEveryRowWhereTheHashSays) {
  const KeyCase& key = GetParam();
  home().exec(
      std::string("CREATE TABLE t(k ") + key.type + "); INSERT INTO t SELECT " + key.generator +
      " FROM (SELECT i, md5(i::text) h FROM generate_series(1, 600) i) g; INSERT INTO t VALUES (NULL)");
  auto options = by("t", {"k"});
  options.shard_count = 7;  // not a multiple of the units
  const auto placed = units().distribute(std::move(options));
  ASSERT_EQ(state(placed), "ok") << text(placed);
  expect_rows_in_their_buckets("t", {std::string(key.send) + "(k)"}, 601);
}

INSTANTIATE_TEST_SUITE_P(
    Types, DistributeKey,
    ::testing::Values(KeyCase{"smallint", "smallint", "i", "int2send"},
                      KeyCase{"integer", "int", "i * 7919", "int4send"},
                      KeyCase{"bigint", "bigint", "i::int8 << 33", "int8send"},
                      KeyCase{"text", "text COLLATE \"en-US-x-icu\"", "h", "textsend"},
                      KeyCase{"varchar", "varchar(20)", "substr(h, 1, 20)", "varcharsend"},
                      KeyCase{"char", "char(12)", "substr(h, 1, i % 12)", "bpcharsend"},
                      KeyCase{"uuid", "uuid", "h::uuid", "uuid_send"},
                      KeyCase{"date", "date", "date '2000-01-01' + i", "date_send"},
                      KeyCase{"timestamp", "timestamp", "timestamp '2000-01-01' + i * interval '17 minutes'",
                              "timestamp_send"},
                      KeyCase{"timestamptz", "timestamptz",
                              "timestamptz '2000-01-01' + i * interval '17 minutes'", "timestamptz_send"},
                      KeyCase{"numeric", "numeric(10,3)", "i / 7.0", "numeric_send"},
                      KeyCase{"bytea", "bytea", "decode(h, 'hex')", "byteasend"},
                      KeyCase{"boolean", "bool", "i % 2 = 0", "boolsend"},
                      KeyCase{"time", "time", "time '00:00' + i * interval '1 minute'", "time_send"},
                      KeyCase{"name", "name", "h", "namesend"}),
    [](const auto& info) { return info.param.name; });

TEST_F(Distribute, PlacesCompositeKeysWithNulls) {
  home().exec(
      "CREATE TABLE t(a int, b text, c int); INSERT INTO t SELECT nullif(i % 11, 0), nullif('x' || i % 7, "
      "'x0'), i FROM generate_series(1, 700) i");
  ASSERT_EQ(state(units().distribute(by("t", {"b", "a"}))), "ok");
  expect_rows_in_their_buckets("t", {"textsend(b)", "int4send(a)"}, 700);
}

TEST_F(Distribute, PlacesRangesWithBoundsThatDoNotDependOnSettings) {
  for (size_t unit = 0; unit < 3; ++unit) {
    units().server(unit).connect().exec(
        "ALTER DATABASE app SET timezone = 'Asia/Tokyo'; ALTER DATABASE app SET datestyle = 'German'");
  }
  home().exec(
      "CREATE TABLE t(at timestamptz, region text COLLATE \"C\"); INSERT INTO t SELECT timestamptz "
      "'2024-01-01+00' + i * interval '1 hour', "
      "chr(65 + i % 26) FROM generate_series(0, 999) i");
  auto options = by("t", {"at", "region"});
  options.algorithm = Algorithm::kRange;
  options.ranges = {{{std::nullopt, std::nullopt}, {"2024-01-10", "C"}},
                    {{"2024-01-10", "C"}, {"2024-01-20 00:00:00+00", std::nullopt}},
                    {{"2024-01-21 00:00:00+00", std::nullopt}, {std::nullopt, std::nullopt}}};
  EXPECT_EQ(state(units().distribute(options)), "23514");  // rows between two ranges
  options.default_bucket = true;
  const auto placed = units().distribute(options);
  ASSERT_EQ(state(placed), "ok") << text(placed);
  expect_rows_in_their_buckets("t", {"timestamptz_send(at)", "textsend(region)"}, 1000);
  ASSERT_EQ(state(units().undistribute("t")), "ok");
  EXPECT_EQ(home().exec("SELECT count(*) FROM t").scalar(), "1000");
}

TEST_F(Distribute, RefusesRangesThatOverlapEvenOnDifferentUnits) {
  home().exec("CREATE TABLE t(k int)");
  auto options = by("t", {"k"});
  options.algorithm = Algorithm::kRange;
  options.ranges = {{{"0"}, {"10"}}, {{"9"}, {"20"}}};
  EXPECT_EQ(state(units().distribute(options)), "42P17");
  options.ranges = {{{"0"}, {"ten"}}};
  EXPECT_EQ(state(units().distribute(options)), "22P02");
  EXPECT_EQ(
      home().exec("SELECT relkind, (SELECT epoch FROM decan.map) FROM pg_class WHERE relname = 't'").text(),
      "r|1");
}

TEST_F(Distribute, PlacesListsWithNullAndDefault) {
  home().exec(
      "CREATE TABLE t(k varchar(10), v int); INSERT INTO t SELECT (ARRAY['de', 'fr', 'it''s', 'xx', NULL])[1 "
      "+ i % 5], i FROM generate_series(1, 500) i");
  auto options = by("t", {"k"});
  options.algorithm = Algorithm::kList;
  options.lists = {{"de", "fr"}, {"it's", std::nullopt}};
  options.default_bucket = true;
  ASSERT_EQ(state(units().distribute(options)), "ok");
  expect_rows_in_their_buckets("t", {"varcharsend(k)"}, 500);
}

TEST_F(Distribute, OnlyTheUnitsAskedForGetBuckets) {
  home().exec("CREATE TABLE t(k int); INSERT INTO t SELECT generate_series(1, 100)");
  auto options = by("t", {"k"});
  options.units = {UnitId{2}};
  ASSERT_EQ(state(units().distribute(options)), "ok");
  EXPECT_EQ(units().on(2).exec("SELECT count(*) FROM t").scalar(), "100");
  EXPECT_EQ(home().exec("SELECT count(*) FROM t").scalar(), "0");
  EXPECT_EQ(state(units().undistribute("t")), "ok");
  EXPECT_EQ(home().exec("SELECT count(*) FROM t").scalar(), "100");
  options.units = {UnitId{9}};
  EXPECT_EQ(state(units().distribute(options)), "22023");
}

TEST_F(Distribute, AnyUnitCanBeHome) {
  const UnitId second{1};
  units().on(1).exec("CREATE TABLE t(id bigserial, k int); INSERT INTO t(k) SELECT generate_series(1, 300)");
  ASSERT_EQ(state(units().distribute(by("t", {"k"}), "postgres", second)), "ok");
  EXPECT_EQ(units().rows_everywhere("SELECT k FROM t").size(), 300u);
  // Unit 0 goes on where the table was.
  EXPECT_EQ(units().on(0).exec("SELECT nextval('t_id_seq')").scalar(), "301");
  EXPECT_EQ(units().on(1).exec("SELECT nextval('t_id_seq')").scalar(), "281474976710657");
  ASSERT_EQ(state(units().undistribute("t", "postgres", second)), "ok");
  EXPECT_EQ(units().on(1).exec("SELECT count(*) FROM t").scalar(), "300");
}

TEST_F(Distribute, EpochsOfAllUnitsMeetAgainAfterOneWasAhead) {
  units().on(2).exec("UPDATE decan.map SET epoch = 40");
  home().exec("CREATE TABLE t(k int)");
  ASSERT_EQ(state(units().distribute(by("t", {"k"}))), "ok");
  EXPECT_EQ(units().rows_everywhere("SELECT epoch FROM decan.map"),
            (std::vector<std::string>{"41|", "41|", "41|"}));
}

TEST_F(Distribute, UnloggedTablesStayUnlogged) {
  home().exec("CREATE UNLOGGED TABLE t(k int)");
  const auto dump = units().dump(0, "");
  ASSERT_EQ(state(units().distribute(by("t", {"k"}))), "ok");
  EXPECT_EQ(
      units()
          .on(1)
          .exec(
              "SELECT DISTINCT relpersistence FROM pg_class WHERE relnamespace = 'decan_shard'::regnamespace")
          .text(),
      "u");
  ASSERT_EQ(state(units().undistribute("t")), "ok");
  EXPECT_EQ(units().dump(0, ""), dump);
}

}  // namespace
}  // namespace decan::placement
