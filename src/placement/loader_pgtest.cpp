// What the catalog snapshot says about real databases.
#include "catalog/loader.h"

#include <gtest/gtest.h>

#include <chrono>

#include "placement/distribute.h"
#include "placement/test_cluster.h"

namespace decan::placement {
namespace {

using catalog::Placement;
using catalog::RelationKind;

class Loader : public OnCluster {};

TEST_F(Loader, DescribesPlacedTablesAndLeavesTheRestAlone) {
  home().exec(
      "CREATE TABLE \"Odd Name\"(id bigint GENERATED ALWAYS AS IDENTITY, k varchar(20) COLLATE \"C\" NOT "
      "NULL, l text COLLATE \"en-US-x-icu\","
      "  d timestamptz DEFAULT now(), e int DEFAULT 1 + 1, g int GENERATED ALWAYS AS (e * 2) STORED, b text, "
      "gone int, PRIMARY KEY (k, id), UNIQUE (l, k));"
      "ALTER TABLE \"Odd Name\" DROP COLUMN gone; CREATE INDEX plain_index ON \"Odd Name\"(e); CREATE UNIQUE "
      "INDEX partial ON \"Odd Name\"(k) WHERE e = 1;"
      "CREATE TABLE r(c text PRIMARY KEY); CREATE TABLE s(x int); CREATE SEQUENCE q; CREATE TYPE comp AS (a "
      "int); CREATE VIEW v AS SELECT * FROM s;"
      "CREATE SCHEMA other; CREATE TABLE other.s(x int); CREATE TABLE pg_class(x int)");
  auto options = by("\"Odd Name\"", {"k"});
  options.shard_count = 4;
  ASSERT_EQ(state(units().distribute(options)), "ok");
  ASSERT_EQ(state(units().reference("r")), "ok");
  const auto snapshot = units().snapshot();
  EXPECT_EQ(snapshot->database, "app");
  EXPECT_EQ(snapshot->epoch, 3);
  EXPECT_EQ(snapshot->units.size(), 3u);
  EXPECT_TRUE(snapshot->database_c_ordered);
  EXPECT_TRUE(snapshot->has_sharded());
  const auto* odd = snapshot->find("", "Odd Name", {"nowhere", "public"});
  ASSERT_NE(odd, nullptr);
  EXPECT_EQ(odd, snapshot->find_by_oid(odd->oid));
  EXPECT_EQ(odd->placement, Placement::kSharded);
  EXPECT_EQ(odd->kind, RelationKind::kTable);
  EXPECT_EQ(odd->leaf(BucketId{3}), "decan_shard.\"" + odd->leaf_prefix + "_3\"");
  EXPECT_TRUE(odd->leaf_addressable);
  EXPECT_EQ(odd->key_attnums, (std::vector<int16_t>{2}));
  EXPECT_EQ(odd->group->buckets.size(), 4u);
  EXPECT_EQ(odd->columns.size(), 7u);
  EXPECT_TRUE(odd->column("id")->is_identity);
  EXPECT_TRUE(odd->column("id")->has_default);
  EXPECT_EQ(odd->column("k")->typmod, 24);
  EXPECT_TRUE(odd->column("k")->c_ordered && odd->column("k")->not_null);
  EXPECT_FALSE(odd->column("l")->c_ordered);
  EXPECT_TRUE(odd->column("b")->c_ordered);
  EXPECT_EQ(odd->column("d")->default_sql, "now()");
  EXPECT_TRUE(odd->column("d")->default_is_volatile);
  EXPECT_FALSE(odd->column("e")->default_is_volatile);
  EXPECT_TRUE(odd->column("g")->is_generated);
  EXPECT_EQ(odd->unique_keys, (std::vector<std::vector<int16_t>>{{3, 2}, {2, 1}}));
  EXPECT_EQ(snapshot->find_exact("public", "plain_index")->placement, Placement::kSharded);
  EXPECT_EQ(snapshot->find_exact("public", "plain_index")->kind, RelationKind::kIndex);
  EXPECT_EQ(snapshot->find_exact("public", "r")->placement, Placement::kBroadcast);
  EXPECT_EQ(snapshot->find_exact("public", "r_pkey")->placement, Placement::kBroadcast);
  EXPECT_EQ(snapshot->find_exact("public", "s")->placement, Placement::kSingle);
  EXPECT_TRUE(snapshot->find_exact("public", "s")->columns.empty());
  EXPECT_EQ(snapshot->find_exact("public", "q")->kind, RelationKind::kSequence);
  EXPECT_EQ(snapshot->find_exact("public", "comp")->kind, RelationKind::kCompositeType);
  EXPECT_EQ(snapshot->find_exact("public", "v")->kind, RelationKind::kView);
  EXPECT_EQ(snapshot->find_exact("decan", "map"), nullptr);
  EXPECT_EQ(snapshot->find("", "s", {"other", "public"})->schema, "other");
  EXPECT_EQ(snapshot->find("", "pg_class", {"public"}), nullptr);
  EXPECT_NE(snapshot->find("", "pg_class", {"public", "pg_catalog"}), nullptr);
  EXPECT_EQ(snapshot->find("", "pg_class", {"pg_catalog", "public"}), nullptr);
  EXPECT_NE(snapshot->find("public", "pg_class", {}), nullptr);
  for (const auto& relation : snapshot->relations()) EXPECT_NE(relation->schema, "decan_shard");
}

TEST_F(Loader, FindsWhatReadsShardedTablesUnseen) {
  home().exec(
      "CREATE TABLE orders(k int); CREATE TABLE \"Weird One\"(k int); CREATE TABLE s(k int); CREATE TABLE "
      "r(k int); CREATE TABLE r2(k int)");
  ASSERT_EQ(state(units().distribute(by("orders", {"k"}))), "ok");
  ASSERT_EQ(state(units().distribute(by("\"Weird One\"", {"k"}))), "ok");
  ASSERT_EQ(state(units().reference("r")), "ok");
  ASSERT_EQ(state(units().reference("r2")), "ok");
  home().exec(
      "CREATE VIEW v1 AS SELECT s.k FROM s JOIN orders USING (k); CREATE VIEW v2 AS SELECT count(*) FROM v1; "
      "CREATE VIEW v3 AS SELECT * FROM s;"
      "CREATE MATERIALIZED VIEW m AS SELECT * FROM v2;"
      "CREATE VIEW b1 AS SELECT r.k FROM r JOIN r2 USING (k); CREATE VIEW b2 AS SELECT * FROM b1; CREATE "
      "VIEW b3 AS SELECT r.k FROM r, s;"
      "CREATE VIEW b4 AS SELECT r.k FROM r, pg_class; CREATE VIEW b5 AS SELECT b1.k FROM b1, "
      "pg_stat_activity; CREATE VIEW b6 AS SELECT * FROM b5;"
      "CREATE FUNCTION f1() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM public.Orders';"
      "CREATE FUNCTION f2() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN EXECUTE ''DELETE FROM orders''; RETURN "
      "1; END';"
      "CREATE FUNCTION f3() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN f2(); END';"
      "CREATE FUNCTION f4() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM orders; END;"
      "CREATE FUNCTION f5() RETURNS bigint BEGIN ATOMIC SELECT f4(); END;"
      "CREATE FUNCTION f6() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM v2';"
      "CREATE FUNCTION f7() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM \"Weird One\"';"
      "CREATE FUNCTION g1() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM s -- no order here';"
      "CREATE FUNCTION g2(orders_total int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT orders_total + 1';"
      "CREATE VIEW vf AS SELECT f5() AS x; CREATE VIEW rf AS SELECT r.k, g1() FROM r;"
      "CREATE SCHEMA other; CREATE FUNCTION other.g2() RETURNS int STABLE LANGUAGE sql AS 'SELECT 1'");
  const auto snapshot = units().snapshot();
  const auto hides = [&](const char* view) { return snapshot->find_exact("public", view)->hides_sharded; };
  EXPECT_EQ(hides("v1"), "orders");
  EXPECT_EQ(hides("v2"), "orders");
  EXPECT_EQ(hides("m"), "orders");
  EXPECT_EQ(hides("vf"), "orders");
  for (const auto* view : {"v3", "b1", "b2", "b3", "b4"}) EXPECT_EQ(hides(view), "") << view;
  for (const auto* function : {"f1", "f2", "f3", "f4", "f5", "f6"}) {
    const auto* hidden = snapshot->hidden_function("", function);
    ASSERT_NE(hidden, nullptr) << function;
    EXPECT_EQ(hidden->sharded_table, "orders");
    EXPECT_NE(snapshot->hidden_function("public", function), nullptr);
    EXPECT_EQ(snapshot->hidden_function("other", function), nullptr);
  }
  ASSERT_NE(snapshot->hidden_function("", "f7"), nullptr);
  EXPECT_EQ(snapshot->hidden_function("", "f7")->sharded_table, "Weird One");
  EXPECT_EQ(snapshot->hidden_function("", "g1"), nullptr);
  EXPECT_EQ(snapshot->hidden_function("", "g2"), nullptr);
  EXPECT_TRUE(snapshot->is_volatile_function("", "g1"));
  EXPECT_TRUE(snapshot->is_volatile_function("public", "g1"));
  EXPECT_FALSE(snapshot->is_volatile_function("", "g2"));
  const auto everywhere = [&](const char* view) {
    return snapshot->find_exact("public", view)->reads_only_broadcast;
  };
  EXPECT_TRUE(everywhere("b1"));
  EXPECT_TRUE(everywhere("b2"));
  for (const auto* view : {"b3", "b4", "b5", "b6", "v1", "v3", "vf", "rf"})
    EXPECT_FALSE(everywhere(view)) << view;
}

TEST_F(Loader, FindsCallsThatDoNotNameTheirFunction) {
  home().exec("CREATE TABLE orders(k int); CREATE TABLE r(k int)");
  ASSERT_EQ(state(units().distribute(by("orders", {"k"}))), "ok");
  ASSERT_EQ(state(units().reference("r")), "ok");
  home().exec(
      "CREATE FUNCTION f(int) RETURNS boolean LANGUAGE sql AS 'SELECT EXISTS (SELECT FROM orders WHERE k = "
      "$1)';"
      "CREATE FUNCTION f(int, int) RETURNS boolean LANGUAGE sql AS 'SELECT f($1)';"
      "CREATE FUNCTION g(int, int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT $1 <> $2';"
      "CREATE OPERATOR === (FUNCTION = f, LEFTARG = int, RIGHTARG = int);"
      "CREATE OPERATOR =~= (FUNCTION = g, LEFTARG = int, RIGHTARG = int);"
      "CREATE DOMAIN direct AS int CHECK (f(VALUE)); CREATE DOMAIN by_operator AS int CHECK (VALUE === 1);"
      "CREATE DOMAIN nested AS direct; CREATE DOMAIN harmless AS int CHECK (VALUE =~= 1);"
      "CREATE TYPE row_of AS (a nested); CREATE TYPE span AS RANGE (SUBTYPE = nested);"
      "CREATE TYPE mood AS ENUM ('good'); CREATE FUNCTION to_mood(int) RETURNS mood LANGUAGE sql AS "
      "'SELECT ''good''::mood FROM orders'; CREATE CAST (int AS mood) WITH FUNCTION to_mood(int);"
      "CREATE FUNCTION of_mood(mood) RETURNS int LANGUAGE sql AS 'SELECT count(*)::int FROM orders';"
      "CREATE TABLE t(a nested); CREATE TABLE u(k int CHECK (k === 1)); CREATE TABLE w(a mood, b harmless);"
      "CREATE VIEW v AS SELECT 1 === 2; CREATE VIEW v2 AS SELECT 1::nested; CREATE VIEW vt AS SELECT * FROM "
      "t;"
      "CREATE VIEW b AS SELECT k =~= 1, k::harmless FROM r;"
      "CREATE FUNCTION body1() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN 1 === 2; END';"
      "CREATE FUNCTION body2() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1::nested; END';"
      "CREATE FUNCTION body3() RETURNS void LANGUAGE sql AS 'INSERT INTO t VALUES (1)';"
      "CREATE FUNCTION body4(nested) RETURNS int LANGUAGE sql AS 'SELECT 1';"
      "CREATE FUNCTION body5() RETURNS boolean BEGIN ATOMIC SELECT 1 === 2; END;"
      "CREATE FUNCTION clean() RETURNS boolean LANGUAGE sql AS 'SELECT 1 =~= 2::harmless'");
  auto snapshot = units().snapshot();
  const auto type = [&](const char* name) { return snapshot->hidden_type("", name, false); };
  EXPECT_EQ(snapshot->hidden_operator("==="), "orders");
  EXPECT_EQ(snapshot->hidden_operator("=~="), "");
  for (const auto* name : {"direct", "by_operator", "nested", "row_of", "span", "_nested", "t", "mood"})
    EXPECT_EQ(type(name), "orders") << name;
  for (const auto* name : {"harmless", "r", "int4"}) EXPECT_EQ(type(name), "") << name;
  for (const auto* name : {"mood", "w"})
    EXPECT_EQ(snapshot->hidden_type("", name, true), "");  // a literal is not cast
  EXPECT_EQ(snapshot->hidden_type("", "nested", true), "orders");
  EXPECT_EQ(snapshot->hidden_type("other", "nested", true), "");
  const auto relation = [&](const char* name) { return snapshot->find_exact("public", name); };
  for (const auto* name : {"t", "u", "vt"}) EXPECT_EQ(relation(name)->calls_hidden, "orders") << name;
  for (const auto* name : {"w", "r"}) EXPECT_EQ(relation(name)->calls_hidden, "") << name;
  for (const auto* name : {"v", "v2"}) EXPECT_EQ(relation(name)->hides_sharded, "orders") << name;
  for (const auto* name : {"vt", "b"}) EXPECT_EQ(relation(name)->hides_sharded, "") << name;
  EXPECT_TRUE(relation("b")->reads_only_broadcast);
  for (const auto* name : {"body1", "body2", "body3", "body4", "body5"})
    EXPECT_NE(snapshot->hidden_function("", name), nullptr) << name;
  EXPECT_EQ(snapshot->hidden_function("", "clean"), nullptr);
  for (const auto* name : {"t", "w"}) EXPECT_EQ(relation(name)->use_hidden, "") << name;

  home().exec("CREATE CAST (mood AS int) WITH FUNCTION of_mood(mood) AS ASSIGNMENT");
  snapshot = units().snapshot();
  EXPECT_EQ(relation("w")->use_hidden, "orders");
  EXPECT_TRUE(relation("w")->use_hidden_in_writes_only);
  home().exec("DROP CAST (mood AS int); CREATE CAST (mood AS int) WITH FUNCTION of_mood(mood) AS IMPLICIT");
  snapshot = units().snapshot();
  EXPECT_EQ(relation("w")->use_hidden, "orders");
  EXPECT_FALSE(relation("w")->use_hidden_in_writes_only);
  EXPECT_EQ(snapshot->casts_hidden, "");
}

TEST_F(Loader, FindsCodeThatComparesGuardsAndFollowsRows) {
  home().exec("CREATE TABLE orders(k int); CREATE TABLE related(k int PRIMARY KEY)");
  ASSERT_EQ(state(units().distribute(by("orders", {"k"}))), "ok");
  ASSERT_EQ(state(units().distribute(by("related", {"k"}))), "ok");
  home().exec(
      "CREATE FUNCTION f(int) RETURNS boolean LANGUAGE sql AS 'SELECT EXISTS (SELECT FROM orders WHERE k = "
      "$1)';"
      "CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM f(1); RETURN NULL; END';"
      "CREATE FUNCTION one() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT count(*)::int FROM orders';"
      "CREATE TYPE point2 AS (x int); CREATE TYPE point3 AS (x int);"
      "CREATE FUNCTION compare(point2, point2) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT one()';"
      "CREATE FUNCTION compare(int, int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT one()';"
      "CREATE FUNCTION honest(point3, point3) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 0';"
      "CREATE OPERATOR CLASS by_count DEFAULT FOR TYPE point2 USING btree AS FUNCTION 1 compare(point2, "
      "point2);"
      "CREATE OPERATOR CLASS by_zero DEFAULT FOR TYPE point3 USING btree AS FUNCTION 1 honest(point3, "
      "point3);"
      "CREATE OPERATOR CLASS odd FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 3 =, FUNCTION 1 "
      "compare(int, int);"
      "CREATE TABLE points(p point2[]); CREATE TABLE others(p point3); CREATE TABLE indexed(k int); CREATE "
      "INDEX ON indexed(k odd); CREATE TABLE plain(k int); CREATE INDEX ON plain(k);"
      "CREATE VIEW v_points AS SELECT p[1] FROM points;"
      "CREATE TABLE secured(k int); CREATE POLICY p ON secured USING (f(k)); ALTER TABLE secured ENABLE ROW "
      "LEVEL SECURITY; CREATE TABLE unsecured(k int); CREATE POLICY p ON unsecured USING (f(k));"
      "CREATE VIEW v_secured AS SELECT * FROM secured; CREATE VIEW v_unsecured AS SELECT * FROM unsecured;"
      "CREATE FUNCTION reads_secured() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM v_secured';"
      "CREATE TABLE parent(id int PRIMARY KEY); CREATE TABLE other_parent(id int PRIMARY KEY);"
      "CREATE TABLE child(p int REFERENCES parent ON DELETE CASCADE, q int REFERENCES other_parent);"
      "CREATE TABLE related_child(k int REFERENCES parent ON DELETE SET NULL);"
      "CREATE TRIGGER t AFTER DELETE ON child FOR EACH ROW EXECUTE FUNCTION fired();"
      "CREATE TABLE parted(k int) PARTITION BY LIST (k); CREATE TABLE part1 PARTITION OF parted DEFAULT;"
      "CREATE TRIGGER t AFTER INSERT ON part1 FOR EACH ROW EXECUTE FUNCTION fired();"
      "CREATE TABLE keyed(k int) PARTITION BY RANGE ((k + one()));"
      "CREATE VIEW v_child AS SELECT * FROM child;"
      "CREATE FUNCTION writes() RETURNS void LANGUAGE sql AS 'DELETE FROM v_child';"
      "CREATE FUNCTION cascades() RETURNS void LANGUAGE sql AS 'DELETE FROM parent';"
      "CREATE FUNCTION reads() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM v_child, parent';"
      "CREATE TYPE mood AS ENUM ('good'); CREATE TYPE holder AS (n int, t text);"
      "CREATE FUNCTION of_mood(mood) RETURNS int LANGUAGE sql AS 'SELECT one()';"
      "CREATE CAST (mood AS int) WITH FUNCTION of_mood(mood)");
  const auto snapshot = units().snapshot();
  const auto relation = [&](const char* name) { return snapshot->find_exact("public", name); };
  for (const auto* name : {"points", "v_points", "indexed", "secured", "v_secured"})
    EXPECT_EQ(relation(name)->use_hidden, "orders") << name;
  for (const auto* name : {"others", "plain", "unsecured", "v_unsecured", "child", "v_child"})
    EXPECT_EQ(relation(name)->use_hidden, "") << name;
  for (const auto* name : {"child", "v_child", "parent", "parted", "part1", "keyed"})
    EXPECT_EQ(relation(name)->calls_hidden, "orders") << name;
  for (const auto* name : {"other_parent", "related", "related_child", "plain"})
    EXPECT_EQ(relation(name)->calls_hidden, "") << name;
  for (const auto& each : snapshot->relations()) EXPECT_EQ(each->hides_sharded, "") << each->name;
  for (const auto* name : {"reads_secured", "writes", "cascades"})
    EXPECT_NE(snapshot->hidden_function("", name), nullptr) << name;
  EXPECT_EQ(snapshot->hidden_function("", "reads"), nullptr);
  EXPECT_EQ(snapshot->casts_hidden, "");
  EXPECT_EQ(snapshot->hidden_type("", "point2", true), "orders");
  EXPECT_EQ(snapshot->hidden_type("", "point3", true), "");
  EXPECT_EQ(snapshot->hidden_type("", "int4", false), "orders");
  EXPECT_EQ(snapshot->hidden_type("", "holder", false), "orders");  // ROW(mood)::holder
  EXPECT_EQ(snapshot->hidden_type("", "holder", true), "");
}

TEST_F(Loader, TriggersAndRowSecurityKeepStatementsAtTheParent) {
  home().exec(
      "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TABLE a(k "
      "int); CREATE TABLE b(k int); CREATE TABLE c(k int);"
      "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION f(); CREATE TRIGGER t AFTER INSERT "
      "ON b FOR EACH STATEMENT EXECUTE FUNCTION f();"
      "ALTER TABLE c ENABLE ROW LEVEL SECURITY");
  units().on(1).exec("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'");
  units().on(2).exec("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'");
  for (const auto* table : {"a", "b", "c"}) {
    const auto placed = units().distribute(by(table, {"k"}));
    ASSERT_EQ(state(placed), "ok") << text(placed);
  }
  const auto snapshot = units().snapshot();
  EXPECT_TRUE(snapshot->find_exact("public", "a")->leaf_addressable);
  EXPECT_TRUE(snapshot->find_exact("public", "a")->has_row_triggers);
  EXPECT_FALSE(snapshot->find_exact("public", "b")->leaf_addressable);
  EXPECT_FALSE(snapshot->find_exact("public", "b")->has_row_triggers);
  EXPECT_FALSE(snapshot->find_exact("public", "c")->leaf_addressable);
  EXPECT_TRUE(snapshot->find_exact("public", "c")->has_row_security);
}

TEST_F(Loader, RefusesAMapThatNamesUnknownUnits) {
  home().exec("CREATE TABLE t(k int)");
  ASSERT_EQ(state(units().distribute(by("t", {"k"}))), "ok");
  const auto load = [&](std::vector<UnitId> known) {
    catalog::CatalogRows rows;
    for (auto& result : home().exec_all(catalog::snapshot_query()))
      rows.results.push_back(std::move(result.rows));
    const auto made = catalog::build_snapshot(rows, 1, "app", std::move(known), UnitId{0});
    return made ? std::string("ok") : made.error().sqlstate;
  };
  EXPECT_EQ(load({UnitId{0}, UnitId{1}, UnitId{2}}), "ok");
  EXPECT_EQ(load({UnitId{0}, UnitId{1}}), "XX001");
  home().exec("DELETE FROM decan.bucket WHERE bucket = 5");
  EXPECT_EQ(load({UnitId{0}, UnitId{1}, UnitId{2}}), "XX001");
}

TEST_F(Loader, KnowsSingleTablesOfOtherUnits) {
  home().exec(
      "CREATE TABLE \"Far Away\"(k serial PRIMARY KEY); CREATE TABLE here(k int);"
      "CREATE VIEW far AS SELECT k FROM \"Far Away\"; CREATE VIEW farther AS SELECT k FROM far;"
      "CREATE FUNCTION reads_far() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM far';"
      "INSERT INTO decan.attached VALUES ('\"Far Away\"'::regclass, 2)");
  auto snapshot = units().snapshot();
  for (const char* name : {"Far Away", "Far Away_pkey", "Far Away_k_seq", "far", "farther"}) {
    const auto* relation = snapshot->find_exact("public", name);
    ASSERT_NE(relation, nullptr) << name;
    EXPECT_EQ(relation->placement, Placement::kSingle) << name;
    EXPECT_EQ(relation->unit, UnitId{2}) << name;
    EXPECT_EQ(relation->hides_sharded, "") << name;
  }
  EXPECT_EQ(snapshot->find_exact("public", "here")->unit, UnitId{0});
  ASSERT_NE(snapshot->hidden_function("", "reads_far"), nullptr);
  EXPECT_EQ(state(units().distribute(by("\"Far Away\"", {"k"}))), "0A000");
  EXPECT_EQ(state(units().reference("\"Far Away\"")), "0A000");
  home().exec("DROP TABLE \"Far Away\" CASCADE");
  EXPECT_EQ(home().exec("SELECT count(*) FROM decan.attached").rows[0][0], "0");
}

TEST_F(Loader, TakesThousandsOfTablesInAFractionOfASecond) {
  for (int batch = 0; batch < 30; ++batch) {
    home().exec(
        "DO $$ BEGIN FOR i IN 1..100 LOOP EXECUTE format('CREATE TABLE t%s_%s(id int PRIMARY KEY, a text, b "
        "int); CREATE VIEW v%s_%s AS SELECT a, b FROM t%s_%s', " +
        std::to_string(batch) + ", i, " + std::to_string(batch) + ", i, " + std::to_string(batch) +
        ", i); END LOOP; END $$");
  }
  home().exec(
      "DO $$ BEGIN FOR i IN 1..1000 LOOP EXECUTE format('CREATE FUNCTION f%s() RETURNS int LANGUAGE plpgsql "
      "AS %L', i, 'BEGIN PERFORM count(*) FROM t1_1; ' || "
      "repeat('/* filler */ ', 80) || 'RETURN 1; END'); END LOOP; END $$");
  home().exec("CREATE TABLE orders(k int, a text DEFAULT 'x'); CREATE TABLE r(k int)");
  ASSERT_EQ(state(units().distribute(by("orders", {"k"}))), "ok");
  ASSERT_EQ(state(units().reference("r")), "ok");
  home().exec("ANALYZE");
  (void)units().snapshot();  // warms the server's caches, as a running cluster's are
  const auto start = std::chrono::steady_clock::now();
  catalog::CatalogRows rows;
  for (auto& result : home().exec_all(catalog::snapshot_query()))
    rows.results.push_back(std::move(result.rows));
  const auto fetched = std::chrono::steady_clock::now();
  const auto made = catalog::build_snapshot(rows, 1, "app", {UnitId{0}, UnitId{1}, UnitId{2}}, UnitId{0});
  const auto built = std::chrono::steady_clock::now();
  ASSERT_TRUE(made);
  EXPECT_GT((*made)->relations().size(), 9000u);
  const auto fetch_ms = std::chrono::duration_cast<std::chrono::milliseconds>(fetched - start).count();
  const auto build_ms = std::chrono::duration_cast<std::chrono::milliseconds>(built - fetched).count();
  std::cout << "fetch " << fetch_ms << " ms, build " << build_ms << " ms (debug build)\n";
  EXPECT_LT(fetch_ms + build_ms,
            2000);  // 200 ms are asked of a release build on a quiet machine; this one may be neither
}

}  // namespace
}  // namespace decan::placement
