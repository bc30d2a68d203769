// DDL after the placement: leaves follow their parents, and what would break the placement is refused by the
// units themselves.
#include <gtest/gtest.h>

#include "placement/distribute.h"
#include "placement/schema.h"
#include "placement/test_cluster.h"

namespace decan::placement {
namespace {

class Guard : public OnCluster {
 protected:
  void SetUp() override {
    OnCluster::SetUp();
    for (size_t unit = 0; unit < 3; ++unit) {
      auto admin = units().server(unit).connect();
      for (const auto* role : {"keeper", "reader", "heir"}) {
        if (admin.exec("SELECT FROM pg_roles WHERE rolname = '" + std::string(role) + "'").size() == 0) {
          admin.exec("CREATE ROLE " + std::string(role) + " LOGIN");
        }
      }
    }
    units().everywhere("GRANT CREATE ON SCHEMA public TO keeper, heir");
    home().exec(
        "SET ROLE keeper; CREATE TABLE t(k int PRIMARY KEY, v text); RESET ROLE; INSERT INTO t SELECT i, 'v' "
        "FROM generate_series(1, 50) i");
    ASSERT_EQ(state(units().distribute(by("t", {"k"}), "keeper")), "ok");
    leaf_ = units()
                .on(1)
                .exec("SELECT min(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 't'::regclass")
                .scalar();
  }
  // DDL as a role, on unit 1.
  testing::Connection as(const std::string& role) { return units().server(1).connect("app", role); }
  std::string on_leaves(const std::string& expression) {
    return units()
        .on(1)
        .exec("SELECT DISTINCT " + expression +
              " FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid WHERE inhparent = 't'::regclass")
        .text();
  }
  // What a compute node sends through that session.
  static std::string mark(testing::Connection& session, const std::string& gid) {
    const std::string pid = session.exec("SELECT pg_backend_pid()").scalar();
    return "SELECT decan.mark('" + gid + "', '{0,1}', '" +
           test_key().proof("mark/" + pid + "/" + gid + "/{0,1}") + "')";
  }
  static std::string begin_change(testing::Connection& session) {
    const std::string token = session.exec("SELECT decan.change_token()").scalar();
    return "SELECT decan.begin_change(1, 3, NULL, '" + test_key().proof("change/" + token) + "')";
  }
  std::string leaf_;
};

TEST_F(Guard, LeavesTakeGrantsOfTablesAndColumns) {
  as("keeper").exec("GRANT SELECT, INSERT ON t TO reader; GRANT UPDATE (v) ON t TO reader");
  EXPECT_EQ(as("reader").exec("SELECT count(*) >= 0 FROM " + leaf_).scalar(), "t");
  EXPECT_EQ(as("reader").exec("UPDATE " + leaf_ + " SET v = 'w'").tag.substr(0, 6), "UPDATE");
  EXPECT_EQ(as("reader").error_of("DELETE FROM " + leaf_).sqlstate(), "42501");
  EXPECT_EQ(as("reader").error_of("UPDATE " + leaf_ + " SET k = k").sqlstate(), "42501");
  as("keeper").exec("REVOKE ALL ON t FROM reader; REVOKE ALL (v) ON t FROM reader");
  EXPECT_EQ(as("reader").error_of("SELECT FROM " + leaf_).sqlstate(), "42501");
  EXPECT_EQ(as("reader").error_of("UPDATE " + leaf_ + " SET v = 'w'").sqlstate(), "42501");
  as("keeper").exec("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader");
  EXPECT_EQ(as("reader").exec("SELECT count(*) >= 0 FROM " + leaf_).scalar(), "t");
  as("keeper").exec("REVOKE INSERT ON t FROM keeper");
  EXPECT_EQ(as("keeper").error_of("INSERT INTO " + leaf_ + " VALUES (1)").sqlstate(), "42501");
}

TEST_F(Guard, PassesWhateverPlanTheServerChooses) {
  int column = 0;
  for (const char* join : {"nestloop", "hashjoin", "mergejoin"}) {
    for (const char* scan : {"seqscan", "indexscan"}) {
      auto session = as("keeper");
      for (const char* other : {"nestloop", "hashjoin", "mergejoin"})
        session.exec("SET enable_" + std::string(other) + " = " +
                     (join == std::string(other) ? "on" : "off"));
      session.exec("SET enable_bitmapscan = off; SET enable_" + std::string(scan) + " = off");
      session.exec("ALTER TABLE t ADD COLUMN c" + std::to_string(++column) + " int");
    }
  }
}

TEST_F(Guard, RowSecurityClosesTheLeavesToAllButTheOwner) {
  as("keeper").exec("GRANT SELECT ON t TO reader");
  as("keeper").exec("ALTER TABLE t ENABLE ROW LEVEL SECURITY");
  EXPECT_EQ(as("reader").error_of("SELECT FROM " + leaf_).sqlstate(), "42501");
  EXPECT_EQ(as("reader").exec("SELECT count(*) FROM t").scalar(), "0");
  EXPECT_FALSE(units().snapshot()->find_exact("public", "t")->has_row_security);  // home was not told
  home().exec("ALTER TABLE t ENABLE ROW LEVEL SECURITY");
  EXPECT_FALSE(units().snapshot()->find_exact("public", "t")->leaf_addressable);
  as("keeper").exec("ALTER TABLE t DISABLE ROW LEVEL SECURITY");
  EXPECT_EQ(as("reader").exec("SELECT count(*) >= 0 FROM " + leaf_).scalar(), "t");
}

TEST_F(Guard, LeavesFollowTheOwner) {
  units().on(1).exec("ALTER TABLE t OWNER TO heir");
  EXPECT_EQ(on_leaves("relowner::regrole"), "heir");
  units().on(1).exec("REASSIGN OWNED BY heir TO keeper");
  EXPECT_EQ(on_leaves("relowner::regrole"), "keeper");
}

TEST_F(Guard, OwnersWithoutRightsOnLeavesCanChangeTheTable) {
  auto keeper = as("keeper");
  keeper.exec("ALTER TABLE t ADD COLUMN w int DEFAULT 7 CHECK (w > 0)");
  keeper.exec("CREATE INDEX by_w ON t(w)");
  keeper.exec("ALTER TABLE t ADD CONSTRAINT one_w UNIQUE (k, w)");
  keeper.exec("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'");
  keeper.exec("CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()");
  keeper.exec("ALTER INDEX by_w RENAME TO by_ww");
  keeper.exec("TRUNCATE t");
  EXPECT_EQ(units()
                .on(1)
                .exec("SELECT count(*), bool_and(l.relname = "
                      "decan.leaf_index_name(x.indrelid::regclass::text::name, p.relname) OR l.relname = "
                      "replace(decan.leaf_index_name(x.indrelid::regclass::text::name, p.relname), "
                      "'decan_shard.', '')) FROM pg_index x "
                      "JOIN pg_class l ON l.oid = x.indexrelid JOIN pg_inherits i ON i.inhrelid = l.oid JOIN "
                      "pg_class p ON p.oid = i.inhparent "
                      "JOIN pg_inherits ti ON ti.inhrelid = x.indrelid WHERE ti.inhparent = 't'::regclass "
                      "AND p.relname IN ('by_ww', 'one_w', 't_pkey')")
                .text(),
            "33|t");  // 11 leaves on this unit, three indexes
  keeper.exec("ALTER TABLE t DROP COLUMN w");
}

TEST_F(Guard, RenamedAndMovedTablesStayPlaced) {
  units().everywhere(
      "CREATE SCHEMA other; GRANT ALL ON SCHEMA other TO keeper; ALTER TABLE t RENAME TO \"T 2\"; ALTER "
      "TABLE \"T 2\" SET SCHEMA other; ALTER TABLE other.\"T 2\" RENAME k TO kk");
  const auto snapshot = units().snapshot();
  const auto* relation = snapshot->find_exact("other", "T 2");
  ASSERT_NE(relation, nullptr);
  EXPECT_EQ(relation->placement, catalog::Placement::kSharded);
  EXPECT_EQ(relation->column("kk")->attnum, relation->key_attnums[0]);
  EXPECT_EQ(state(units().undistribute("other.\"T 2\"")), "ok");
  EXPECT_EQ(home().exec("SELECT count(*) FROM other.\"T 2\"").scalar(), "50");
}

TEST_F(Guard, DroppedTablesAreForgotten) {
  units().everywhere("DROP TABLE t");
  EXPECT_EQ(units().rows_everywhere(
                "SELECT (SELECT count(*) FROM decan.relation), (SELECT count(*) FROM decan.shard_group), "
                "(SELECT count(*) FROM decan.bucket), "
                "(SELECT count(*) FROM pg_class WHERE relnamespace = 'decan_shard'::regnamespace)"),
            (std::vector<std::string>(3, "0|0|0|0|")));
}

TEST_F(Guard, LeavesCanNotBeChangedByHand) {
  auto keeper = as("keeper");
  const std::string number = leaf_.substr(leaf_.rfind('_') + 1);
  for (const std::string& sql :
       {"DROP TABLE " + leaf_, "ALTER TABLE " + leaf_ + " RENAME TO x",
        "ALTER TABLE " + leaf_ + " ADD CHECK (k > 0)", "ALTER TABLE t DETACH PARTITION " + leaf_,
        "ALTER TABLE " + leaf_ + " SET SCHEMA public",
        std::string("CREATE TABLE p PARTITION OF t FOR VALUES WITH (MODULUS 32, REMAINDER 0)"),
        std::string("CREATE TABLE p(k int NOT NULL, v text); ALTER TABLE t ATTACH PARTITION p FOR VALUES "
                    "WITH (MODULUS 32, REMAINDER 0)"),
        "CREATE INDEX ON " + leaf_ + "(v)",
        "CREATE TRIGGER tr BEFORE INSERT ON " + leaf_ +
            " FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        std::string("CREATE TABLE decan_shard.t_1_0(k int, v text)"),
        std::string("CREATE VIEW decan_shard.t_1_0 AS SELECT 1 AS k"),
        std::string("CREATE FUNCTION decan_shard.f() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
        std::string("CREATE TABLE x(k int); ALTER TABLE x SET SCHEMA decan_shard")}) {
    EXPECT_EQ(keeper.error_of(sql).sqlstate(), "0A000") << sql;
  }
  EXPECT_EQ(units().on(1).exec("SELECT count(*) FROM pg_inherits WHERE inhparent = 't'::regclass").scalar(),
            "11");
}

TEST_F(Guard, ForeignKeysThatNoUnitCanCheckAreRefused) {
  home().exec(
      "CREATE TABLE r(k int PRIMARY KEY); CREATE TABLE lone(k int PRIMARY KEY, r int); CREATE TABLE far(k "
      "int, x int); INSERT INTO lone SELECT generate_series(1, 50)");
  ASSERT_EQ(state(units().reference("r")), "ok");
  auto options = by("far", {"k"});
  options.colocate_with = "none";
  ASSERT_EQ(state(units().distribute(options)), "ok");
  for (const auto* sql :
       {"CREATE TABLE s(k int REFERENCES t) PARTITION BY LIST (k)",
        "CREATE TABLE full_one(k int); INSERT INTO full_one VALUES (1); ALTER TABLE full_one ADD FOREIGN KEY "
        "(k) "
        "REFERENCES t "
        "NOT VALID",
        "ALTER TABLE t ADD FOREIGN KEY (k) REFERENCES lone",
        "ALTER TABLE r ADD FOREIGN KEY (k) REFERENCES lone", "ALTER TABLE r ADD FOREIGN KEY (k) REFERENCES t",
        "ALTER TABLE far ADD FOREIGN KEY (k) REFERENCES t",
        "ALTER TABLE far ADD FOREIGN KEY (x) REFERENCES t"}) {
    const auto error = home().error_of(sql);
    EXPECT_EQ(error.sqlstate(), "0A000") << sql;
    EXPECT_FALSE(error.error().hint.empty()) << sql;
  }
  home().exec(
      "ALTER TABLE lone ADD FOREIGN KEY (r) REFERENCES r; ALTER TABLE far ADD FOREIGN KEY (x) REFERENCES r; "
      "CREATE TABLE s(k int REFERENCES lone); CREATE TABLE without_rows(k int REFERENCES t)");
}

TEST_F(Guard, SequencesThatComeLaterGetARangeOrAreRefused) {
  for (size_t unit = 0; unit < 3; ++unit) {
    EXPECT_EQ(units().on(unit).error_of("ALTER TABLE t ADD COLUMN id bigserial").sqlstate(),
              "0A000");  // would number each unit's rows from 1
    EXPECT_EQ(units().on(unit).error_of("ALTER TABLE t ADD COLUMN id serial").sqlstate(), "0A000");
  }
  units().everywhere("TRUNCATE t");
  units().everywhere("ALTER TABLE t ADD COLUMN id bigserial");
  EXPECT_EQ(units().on(2).exec("SELECT nextval('t_id_seq')").scalar(), "562949953421313");
  EXPECT_EQ(home().exec("SELECT nextval('t_id_seq')").text(), "1");
}

TEST_F(Guard, UnplacedTablesAreNobodysBusiness) {
  auto keeper = as("keeper");
  keeper.exec(
      "CREATE TABLE p(k serial PRIMARY KEY) PARTITION BY RANGE (k); CREATE TABLE p1 PARTITION OF p DEFAULT; "
      "ALTER TABLE p DETACH PARTITION p1; DROP TABLE p1");
  keeper.exec(
      "CREATE TEMP TABLE tt(k int); DROP TABLE tt; CREATE TABLE a AS SELECT 1 AS x; CREATE VIEW va AS TABLE "
      "a; DROP TABLE a CASCADE");
}

TEST_F(Guard, PlacementFunctionsAskForAnOpenChangeAndForTheOwner) {
  auto reader = as("reader");
  for (const auto* sql :
       {"SELECT decan.register('t', 9, 'broadcast', NULL, NULL, NULL)",
        "SELECT decan.create_leaves('t', NULL)", "SELECT decan.set_epoch(99)",
        "SELECT decan.drop_foreign_leaves('t', 0)", "SELECT decan.set_aside('t', 'x')",
        "SELECT decan.forget('t')", "SELECT decan.create_group(9, 'hash', '{23}', true, '[]')",
        "SELECT decan.assign_sequences('t', 0, 3, '{}')"}) {
    EXPECT_EQ(reader.error_of(sql).sqlstate(), "55000") << sql;
  }
  for (const auto* sql : {"SELECT decan.register('t', 9, 'broadcast', NULL, NULL, NULL)",
                          "SELECT decan.create_leaves('t', NULL)", "SELECT decan.forget('t')",
                          "SELECT decan.drop_foreign_leaves('t', 0)", "SELECT decan.set_aside('t', 'x')"}) {
    reader.exec("BEGIN");
    reader.exec(begin_change(reader));
    EXPECT_EQ(reader.error_of(sql).sqlstate(), "42501") << sql;
    reader.exec("ROLLBACK");
  }
  for (const auto* sql :
       {"UPDATE decan.map SET epoch = 0", "DELETE FROM decan.bucket",
        "INSERT INTO decan.change VALUES (pg_current_xact_id())", "SELECT * FROM decan.dist_commit",
        "SELECT decan.settle('decan_x')", "INSERT INTO decan.relation VALUES (1, 1, 'broadcast')"}) {
    EXPECT_EQ(reader.error_of(sql).sqlstate(), "42501") << sql;
  }
  EXPECT_EQ(reader.exec("SELECT epoch FROM decan.map").scalar(), "2");
}

TEST_F(Guard, TheSchemaCanBeInstalledAgain) {
  units().everywhere(schema_sql(test_key()));
  EXPECT_EQ(units().on(1).exec("SELECT epoch FROM decan.map").scalar(), "2");
  EXPECT_EQ(state(units().undistribute("t", "keeper")), "ok");
}

TEST_F(Guard, ADecisionIsFinalOnceAskedFor) {
  auto reader = as("reader");
  reader.exec(mark(reader, "decan_n_1_1_0"));
  EXPECT_EQ(units().on(1).exec("SELECT decan.settle('decan_n_1_1_0')").scalar(), "t");
  EXPECT_EQ(units().on(1).exec("SELECT decan.settle('decan_n_1_2_0')").scalar(), "f");
  EXPECT_EQ(units().on(1).exec("SELECT decan.settle('decan_n_1_2_0')").scalar(), "f");
  EXPECT_EQ(reader.error_of(mark(reader, "decan_n_1_2_0")).sqlstate(), "23505");
  EXPECT_EQ(reader.error_of(mark(reader, "other")).sqlstate(), "22023");
}

TEST_F(Guard, OnlyAComputeNodeCanDecideOrOpenAChange) {
  auto reader = as("reader");
  auto other = as("reader");
  const std::string decided = mark(reader, "decan_n_1_3_0");
  for (const auto& sql : std::vector<std::string>{
           "SELECT decan.mark('decan_n_1_3_0', '{0,1}', NULL)",
           "SELECT decan.mark('decan_n_1_3_0', '{0,1}', '')",
           "SELECT decan.mark('decan_n_1_3_0', '{0,1}', '" + std::string(64, '0') + "')",
           "SELECT decan.begin_change(1, 3, NULL, '')", "SELECT decan.begin_change(1, 3, 900, NULL)",
           "SELECT decan.lock_placement('')", "SELECT decan.check_proof('a', 'b')",
           "SELECT * FROM decan.secret", "SELECT nextval('decan.id_seq')",
           "SELECT * FROM decan.map FOR UPDATE"}) {
    EXPECT_EQ(reader.error_of(sql).sqlstate(), "42501") << sql;
  }
  // Not in another session, nor for other participants or another gid.
  EXPECT_EQ(other.error_of(decided).sqlstate(), "42501");
  std::string changed = decided;
  changed.replace(changed.find("{0,1}"), 5, "{0,2}");
  EXPECT_EQ(reader.error_of(changed).sqlstate(), "42501");
  // Nor in the next transaction, or for a second change.
  reader.exec("BEGIN");
  const std::string opened = begin_change(reader);
  const std::string locked =
      "SELECT decan.lock_placement('" +
      test_key().proof("lock/" + reader.exec("SELECT decan.transaction_token()").scalar()) + "')";
  reader.exec(locked);
  reader.exec(opened);
  EXPECT_EQ(reader.error_of(opened).sqlstate(), "42501");
  reader.exec("ROLLBACK");
  EXPECT_EQ(reader.error_of(opened).sqlstate(), "42501");
  EXPECT_EQ(reader.error_of(locked).sqlstate(), "42501");
  EXPECT_EQ(units().on(1).exec("SELECT epoch FROM decan.map").scalar(), "2");
}

}  // namespace
}  // namespace decan::placement
