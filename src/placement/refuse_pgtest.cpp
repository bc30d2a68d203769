// What can not be kept exactly is refused with 0A000, says what it is, and changes nothing.
#include <gtest/gtest.h>

#include "placement/distribute.h"
#include "placement/test_cluster.h"

namespace decan::placement {
namespace {

struct Refusal {
  const char* name;
  const char* setup;  // makes table t with key column k
  const char* sqlstate;
  const char* says;  // part of the message
};

class Refused : public OnCluster, public ::testing::WithParamInterface<Refusal> {};

TEST_P(Refused, ShardingSaysWhyAndChangesNothing) {
  const Refusal& refusal = GetParam();
  home().exec(refusal.setup);
  const auto before = units().dump(0, "");
  const auto result = units().distribute(by("t", {"k"}));
  EXPECT_EQ(state(result), refusal.sqlstate);
  EXPECT_NE(text(result).find(refusal.says), std::string::npos) << text(result);
  if (!result && state(result) == "0A000") {
    EXPECT_FALSE(result.error().hint.empty());
  }
  EXPECT_EQ(units().dump(0, ""), before);
  EXPECT_EQ(units().rows_everywhere("SELECT epoch, (SELECT count(*) FROM decan.relation), (SELECT count(*) "
                                    "FROM decan.change) FROM decan.map"),
            (std::vector<std::string>(3, "1|0|0|")));
}

INSTANTIATE_TEST_SUITE_P(
    All, Refused,
    ::testing::Values(
        Refusal{"primary_key", "CREATE TABLE t(id int PRIMARY KEY, k int)", "0A000",
                "primary key \"t_pkey\" of table public.t does not contain"},
        Refusal{"unique_constraint", "CREATE TABLE t(id int, k int, CONSTRAINT one UNIQUE (id))", "0A000",
                "unique constraint \"one\""},
        Refusal{"unique_index_on_expression_of_key",
                "CREATE TABLE t(k int); CREATE UNIQUE INDEX e ON t((k + 1))", "0A000", "\"e\""},
        Refusal{"unique_index_that_only_includes_key",
                "CREATE TABLE t(id int, k int); CREATE UNIQUE INDEX e ON t(id) INCLUDE (k)", "0A000",
                "\"e\""},
        Refusal{"exclusion",
                "CREATE TABLE t(k int, r int4range, CONSTRAINT ex EXCLUDE USING gist (r WITH &&))", "0A000",
                "exclusion constraint \"ex\""},
        Refusal{"foreign_key_out",
                "CREATE TABLE p(id int PRIMARY KEY); CREATE TABLE t(k int CONSTRAINT to_p REFERENCES p)",
                "0A000", "\"to_p\""},
        Refusal{"foreign_key_in",
                "CREATE TABLE t(k int PRIMARY KEY); CREATE TABLE c(k int CONSTRAINT to_t REFERENCES t);"
                "INSERT INTO t VALUES (1); INSERT INTO c VALUES (1)",
                "0A000", "\"to_t\" of table public.c"},
        Refusal{"self_reference_without_key",
                "CREATE TABLE t(k int, id int, up int, PRIMARY KEY (k, id), UNIQUE (id, k), "
                "CONSTRAINT up FOREIGN KEY (up, id) REFERENCES t(k, id))",
                "0A000", "\"up\""},
        Refusal{"view", "CREATE TABLE t(k int); CREATE VIEW v AS SELECT k FROM t", "0A000", "view public.v"},
        Refusal{"materialized_view", "CREATE TABLE t(k int); CREATE MATERIALIZED VIEW v AS SELECT k FROM t",
                "0A000", "materialized view public.v"},
        Refusal{"function_with_row_type",
                "CREATE TABLE t(k int); CREATE FUNCTION f(t) RETURNS int LANGUAGE sql AS 'SELECT 1'", "0A000",
                "function public.f(public.t)"},
        Refusal{"sql_standard_function",
                "CREATE TABLE t(k int); CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT k FROM t; END",
                "0A000", "function public.f()"},
        Refusal{"column_of_row_type", "CREATE TABLE t(k int); CREATE TABLE u(x t)", "0A000",
                "column x of table public.u"},
        Refusal{"row_type_array", "CREATE TABLE t(k int); CREATE TABLE u(x t[])", "0A000",
                "column x of table public.u"},
        Refusal{"rule", "CREATE TABLE t(k int); CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING", "0A000",
                "it has rules"},
        Refusal{"partitioned", "CREATE TABLE t(k int) PARTITION BY HASH (k)", "0A000", "it is partitioned"},
        Refusal{"partition",
                "CREATE TABLE p(k int) PARTITION BY LIST (k); CREATE TABLE t PARTITION OF p DEFAULT", "0A000",
                "partition of another"},
        Refusal{"inherits", "CREATE TABLE p(k int); CREATE TABLE t() INHERITS (p)", "0A000", "inheritance"},
        Refusal{"is_inherited", "CREATE TABLE t(k int); CREATE TABLE c() INHERITS (t)", "0A000",
                "inheritance"},
        Refusal{"typed", "CREATE TYPE ty AS (k int); CREATE TABLE t OF ty", "0A000", "typed"},
        Refusal{"no_inherit_check", "CREATE TABLE t(k int CONSTRAINT c CHECK (k > 0) NO INHERIT)", "0A000",
                "\"c\""},
        Refusal{"invalid_foreign_key",
                "CREATE TABLE t(k int PRIMARY KEY, up int); ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (k) "
                "REFERENCES t NOT VALID",
                "0A000", "not validated"},
        Refusal{"transition_tables",
                "CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE "
                "TABLE t(k int);"
                "CREATE TRIGGER tr AFTER INSERT ON t REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE "
                "FUNCTION g()",
                "0A000", "\"tr\""},
        Refusal{"clustered", "CREATE TABLE t(k int PRIMARY KEY); ALTER TABLE t CLUSTER ON t_pkey", "0A000",
                "clustered"},
        Refusal{"publication", "CREATE TABLE t(k int); CREATE PUBLICATION pub FOR TABLE t", "0A000",
                "publication"},
        Refusal{"int_serial", "CREATE TABLE t(k int, id serial)", "0A000", "column \"id\""},
        Refusal{"int_identity", "CREATE TABLE t(k int, id smallint GENERATED ALWAYS AS IDENTITY)", "0A000",
                "not bigint"},
        Refusal{"descending_sequence",
                "CREATE TABLE t(k int, id bigint GENERATED ALWAYS AS IDENTITY (INCREMENT BY -1))", "0A000",
                "counts down"},
        Refusal{"sequence_out_of_range",
                "CREATE TABLE t(k int, id bigserial); SELECT setval('t_id_seq', 281474976710656)", "0A000",
                "has passed"},
        Refusal{"no_such_column", "CREATE TABLE t(kk int)", "42703", "column \"k\""},
        Refusal{"no_such_table", "CREATE TABLE tt(k int)", "42P01", "\"t\""},
        Refusal{"a_view", "CREATE VIEW t AS SELECT 1 AS k", "42809", "not a table"},
        Refusal{"generated_key", "CREATE TABLE t(a int, k int GENERATED ALWAYS AS (a) STORED)", "0A000",
                "generated column"},
        Refusal{"json_key", "CREATE TABLE t(k jsonb)", "0A000", "type jsonb"},
        Refusal{"enum_key", "CREATE TYPE e AS ENUM ('a'); CREATE TABLE t(k e)", "0A000", "type e"},
        Refusal{"domain_key", "CREATE DOMAIN d AS int; CREATE TABLE t(k d)", "0A000", "type d"},
        Refusal{"array_key", "CREATE TABLE t(k int[])", "0A000", "type integer[]"},
        Refusal{"nondeterministic_key",
                "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
                "CREATE TABLE t(k text COLLATE ci)",
                "0A000", "not deterministic"}),
    [](const auto& info) { return info.param.name; });

class Refuse : public OnCluster {};

TEST_F(Refuse, TemporaryAndSystemTables) {
  EXPECT_EQ(state(units().distribute(by("pg_catalog.pg_class", {"oid"}))), "0A000");
  EXPECT_EQ(state(units().reference("decan.map")), "0A000");
}

TEST_F(Refuse, ViewsThatWouldBeOnTheHomeUnitOnly) {
  home().exec("CREATE TABLE t(k int); CREATE VIEW v AS SELECT k FROM t");
  const auto result = units().reference("t");
  EXPECT_EQ(state(result), "0A000");
  EXPECT_NE(text(result).find("view public.v depends on table public.t"), std::string::npos) << text(result);
}

TEST_F(Refuse, OptionsThatContradictThemselves) {
  home().exec("CREATE TABLE t(k int, l int)");
  auto options = by("t", {});
  EXPECT_EQ(state(units().distribute(options)), "22023");
  options = by("t", {"k", "k"});
  EXPECT_EQ(state(units().distribute(options)), "42701");
  options = by("t", {"k"});
  options.shard_count = 0;
  EXPECT_EQ(state(units().distribute(options)), "22023");
  options.shard_count = 5000;
  EXPECT_EQ(state(units().distribute(options)), "22023");
  options = by("t", {"k", "l"});
  options.algorithm = catalog::Algorithm::kList;
  options.lists = {{"1"}};
  EXPECT_EQ(state(units().distribute(options)), "22023");
  options.algorithm = catalog::Algorithm::kRange;
  options.ranges = {{{"1"}, {"2"}}};
  EXPECT_EQ(state(units().distribute(options)), "22023");
}

TEST_F(Refuse, RangesOfTextThatIsNotOrderedByBytes) {
  home().exec("CREATE TABLE t(k text COLLATE \"en-US-x-icu\"); CREATE TABLE c(k text)");
  auto options = by("t", {"k"});
  options.algorithm = catalog::Algorithm::kRange;
  options.ranges = {{{"a"}, {"b"}}};
  const auto result = units().distribute(options);
  EXPECT_EQ(state(result), "0A000");
  EXPECT_NE(text(result).find("does not order by bytes"), std::string::npos);
  options.table = "c";  // the database's own collation is C.UTF-8
  EXPECT_EQ(state(units().distribute(options)), "ok");
}

TEST_F(Refuse, PlacingTwice) {
  home().exec("CREATE TABLE t(k int); CREATE TABLE r(k int)");
  ASSERT_EQ(state(units().distribute(by("t", {"k"}))), "ok");
  ASSERT_EQ(state(units().reference("r")), "ok");
  EXPECT_EQ(state(units().distribute(by("t", {"k"}))), "55000");
  EXPECT_EQ(state(units().distribute(by("r", {"k"}))), "55000");
  EXPECT_EQ(state(units().reference("t")), "55000");
  EXPECT_EQ(state(units().undistribute("t")), "ok");
  EXPECT_EQ(state(units().undistribute("t")), "55000");
}

TEST_F(Refuse, ATableThatStandsInTheWayOnAnotherUnit) {
  home().exec("CREATE TABLE t(k int)");
  units().on(2).exec("CREATE TABLE t(other int)");
  EXPECT_EQ(state(units().distribute(by("t", {"k"}))), "42P07");
  EXPECT_EQ(units()
                .on(2)
                .exec("SELECT attname FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum = 1")
                .scalar(),
            "other");
}

TEST_F(Refuse, UndistributeWhileOthersDependOnTheTable) {
  home().exec("CREATE TABLE p(k int PRIMARY KEY); CREATE TABLE c(k int)");
  ASSERT_EQ(state(units().distribute(by("p", {"k"}))), "ok");
  ASSERT_EQ(state(units().distribute(by("c", {"k"}))), "ok");
  units().everywhere("ALTER TABLE c ADD CONSTRAINT to_p FOREIGN KEY (k) REFERENCES p");
  const auto result = units().undistribute("p");
  EXPECT_EQ(state(result), "0A000");
  EXPECT_NE(text(result).find("\"to_p\""), std::string::npos);
  units().everywhere("ALTER TABLE c DROP CONSTRAINT to_p; CREATE VIEW v AS SELECT * FROM p");
  EXPECT_EQ(state(units().undistribute("p")), "0A000");
  units().everywhere("DROP VIEW v");
  EXPECT_EQ(state(units().undistribute("p")), "ok");
}

}  // namespace
}  // namespace decan::placement
