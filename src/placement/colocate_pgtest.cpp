// Shard groups, foreign keys within them and to broadcast tables, sequences.
#include <gtest/gtest.h>

#include "catalog/error_names.h"
#include "placement/distribute.h"
#include "placement/test_cluster.h"

namespace decan::placement {
namespace {

class Colocate : public OnCluster {};

TEST_F(Colocate, TablesOfOneKeyTypeShareAGroupUnlessToldOtherwise) {
  home().exec(
      "CREATE TABLE a(k int); CREATE TABLE b(kk int); CREATE TABLE c(k bigint); CREATE TABLE d(k int); "
      "CREATE TABLE e(k int); CREATE TABLE f(k int)");
  const auto a = units().distribute(by("a", {"k"}));
  const auto b = units().distribute(by("b", {"kk"}));
  const auto c = units().distribute(by("c", {"k"}));
  auto options = by("d", {"k"});
  options.colocate_with = "none";
  const auto d = units().distribute(options);
  options = by("e", {"k"});
  options.shard_count = 5;
  const auto e = units().distribute(options);
  options = by("f", {"k"});
  options.colocate_with = "public.d";
  const auto f = units().distribute(options);
  ASSERT_TRUE(a && b && c && d && e && f);
  EXPECT_EQ(a->group, b->group);
  EXPECT_NE(a->group, c->group);
  EXPECT_NE(a->group, d->group);
  EXPECT_NE(a->group, e->group);
  EXPECT_EQ(d->group, f->group);
}

TEST_F(Colocate, SaysWhyTablesDoNotFit) {
  home().exec(
      "CREATE TABLE a(k int); CREATE TABLE b(k bigint); CREATE TABLE c(k int); CREATE TABLE s(k int)");
  ASSERT_EQ(state(units().distribute(by("a", {"k"}))), "ok");
  auto options = by("b", {"k"});
  options.colocate_with = "a";
  EXPECT_EQ(state(units().distribute(options)), "0A000");
  options = by("c", {"k"});
  options.colocate_with = "s";
  EXPECT_EQ(state(units().distribute(options)), "55000");
  options.colocate_with = "a";
  options.shard_count = 8;
  EXPECT_EQ(state(units().distribute(options)), "22023");
  options.shard_count = kDefaultShardCount;
  EXPECT_EQ(state(units().distribute(options)), "ok");
}

TEST_F(Colocate, GroupsGoWithTheirLastTable) {
  home().exec("CREATE TABLE a(k int); CREATE TABLE b(k int)");
  ASSERT_EQ(state(units().distribute(by("a", {"k"}))), "ok");
  ASSERT_EQ(state(units().distribute(by("b", {"k"}))), "ok");
  const auto groups = "SELECT count(*) FROM decan.shard_group, decan.bucket";
  units().everywhere("DROP TABLE a");
  EXPECT_EQ(units().on(1).exec(groups).scalar(), "32");
  ASSERT_EQ(state(units().undistribute("b")), "ok");
  EXPECT_EQ(units().rows_everywhere(groups), (std::vector<std::string>(3, "0|")));
}

TEST_F(Colocate, ForeignKeysWithinAGroupAndToBroadcastTablesHold) {
  home().exec(
      "CREATE TABLE country(code text PRIMARY KEY); INSERT INTO country VALUES ('de'), ('fr');"
      "CREATE TABLE customer(id bigint PRIMARY KEY, country text REFERENCES country);"
      "INSERT INTO customer SELECT i, 'de' FROM generate_series(1, 100) i;"
      "CREATE TABLE orders(customer_id bigint, id bigint, note text NOT NULL CHECK (note <> 'bad'), PRIMARY "
      "KEY (customer_id, id))");
  EXPECT_EQ(state(units().distribute(by("customer", {"id"}))), "0A000");  // country is not everywhere yet
  ASSERT_EQ(state(units().reference("country")), "ok");
  ASSERT_EQ(state(units().distribute(by("customer", {"id"}))), "ok");
  ASSERT_EQ(state(units().distribute(by("orders", {"customer_id"}))), "ok");
  units().everywhere(
      "ALTER TABLE orders ADD CONSTRAINT of_customer FOREIGN KEY (customer_id) REFERENCES customer");
  EXPECT_EQ(state(units().undistribute("country")), "0A000");

  const auto snapshot = units().snapshot();
  const auto logical = [&](size_t unit, const std::string& sql) {
    const auto error = units().on(unit).error_of(sql);
    std::vector<std::pair<char, std::string>> fields{
        {'C', error.sqlstate()}, {'M', error.error().message}, {'D', error.error().detail},
        {'s', error.schema},     {'t', error.table},           {'n', error.constraint}};
    catalog::map_error_names(*snapshot, fields);
    std::string out;
    for (size_t i : {1u, 3u, 4u, 5u}) out += fields[i].second + "|";
    return out + fields[2].second;
  };
  for (size_t unit = 0; unit < 3; ++unit) {
    const std::string id = units().on(unit).exec("SELECT min(id) FROM customer").scalar();
    const std::string leaf =
        units()
            .on(unit)
            .exec("SELECT replace(tableoid::regclass::text, 'customer', 'orders') FROM customer WHERE id = " +
                  id)
            .scalar();
    units().on(unit).exec("INSERT INTO orders VALUES (" + id + ", 1, 'n')");
    EXPECT_EQ(logical(unit, "INSERT INTO orders VALUES (" + id + ", 1, 'n')"),
              "duplicate key value violates unique constraint \"orders_pkey\"|public|orders|orders_pkey|Key "
              "(customer_id, id)=(" +
                  id + ", 1) already exists.");
    EXPECT_EQ(logical(unit, "INSERT INTO orders VALUES (" + id + ", 2, 'bad')").substr(0, 80),
              std::string("new row for relation \"orders\" violates check constraint "
                          "\"orders_note_check\"|public|orders|orders_note_check|")
                  .substr(0, 80));
    EXPECT_EQ(logical(unit, "INSERT INTO orders VALUES (" + id + ", 2, NULL)").substr(0, 75),
              std::string("null value in column \"note\" of relation \"orders\" violates not-null "
                          "constraint|public|orders|")
                  .substr(0, 75));
    EXPECT_EQ(logical(unit, "DELETE FROM customer WHERE id = " + id),
              "update or delete on table \"customer\" violates foreign key constraint \"of_customer\" on "
              "table \"orders\"|public|orders|of_customer|"
              "Key (id)=(" +
                  id + ") is still referenced from table \"orders\".");
    EXPECT_EQ(logical(unit, "UPDATE customer SET country = 'xx' WHERE id = " + id),
              "insert or update on table \"customer\" violates foreign key constraint "
              "\"customer_country_fkey\"|public|customer|customer_country_fkey|"
              "Key (country)=(xx) is not present in table \"country\".");
  }
  // A key without a customer, on the unit where its bucket lies.
  size_t refused = 0;
  for (size_t unit = 0; unit < 3; ++unit) {
    const auto answer = logical(unit, "INSERT INTO orders VALUES (4711, 1, 'n')");
    refused += answer.starts_with(
                   "insert or update on table \"orders\" violates foreign key constraint "
                   "\"of_customer\"|public|orders|of_customer|")
                   ? 1
                   : 0;
  }
  EXPECT_EQ(refused, 1u);
}

TEST_F(Colocate, AnEmptyTableMayReferToAShardedOneUntilItIsDistributedItself) {
  home().exec(
      "CREATE TABLE customer(id bigint PRIMARY KEY); INSERT INTO customer SELECT generate_series(1, 100);"
      "CREATE TABLE orders(customer_id bigint CONSTRAINT of_customer REFERENCES customer ON DELETE CASCADE, "
      "id "
      "bigint, PRIMARY KEY (customer_id, id))");
  const auto waits = [&] { return units().snapshot()->find_exact("public", "orders")->waits_for; };
  EXPECT_EQ(waits(), "");
  ASSERT_EQ(state(units().distribute(by("customer", {"id"}))), "ok");
  EXPECT_EQ(waits(), "customer");
  ASSERT_EQ(state(units().undistribute("customer")), "ok");
  EXPECT_EQ(waits(), "");
  ASSERT_EQ(state(units().distribute(by("customer", {"id"}))), "ok");
  ASSERT_EQ(state(units().distribute(by("orders", {"customer_id"}))), "ok");
  EXPECT_EQ(waits(), "");
  home().exec(
      "CREATE TABLE lines(customer_id bigint REFERENCES customer, v int)");  // after it was distributed
  EXPECT_EQ(units().snapshot()->find_exact("public", "lines")->waits_for, "customer");
  for (size_t unit = 0; unit < 3; ++unit) {
    units().on(unit).exec("INSERT INTO orders SELECT min(id), 1 FROM customer; DELETE FROM customer");
    EXPECT_EQ(units().on(unit).exec("SELECT count(*) FROM orders").scalar(), "0");
  }
}

TEST_F(Colocate, SelfReferencesThatContainTheKeyAreKept) {
  home().exec(
      "CREATE TABLE t(k int, id int, up int, PRIMARY KEY (k, id), CONSTRAINT up FOREIGN KEY (k, up) "
      "REFERENCES t(k, id));"
      "INSERT INTO t SELECT i % 10, i, NULL FROM generate_series(1, 100) i; UPDATE t SET up = k WHERE id > "
      "10 AND k > 0");
  const auto dump = units().dump(0, "");
  const auto placed = units().distribute(by("t", {"k"}));
  ASSERT_EQ(state(placed), "ok") << text(placed);
  EXPECT_EQ(units()
                .on(1)
                .exec("SELECT conname FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'f' "
                      "AND conparentid = 0")
                .text(),
            "up");
  ASSERT_EQ(state(units().undistribute("t")), "ok");
  EXPECT_EQ(units().dump(0, ""), dump);
}

TEST_F(Colocate, SequencesOfShardedTablesNeverMeet) {
  home().exec(
      "CREATE SEQUENCE shared START 1000 INCREMENT 2;"
      "CREATE TABLE t(k int, a bigserial, b bigint GENERATED BY DEFAULT AS IDENTITY (START 50), c bigint "
      "DEFAULT nextval('shared'));"
      "INSERT INTO t(k) SELECT generate_series(1, 20)");
  const auto dump = units().dump(0, "");
  ASSERT_EQ(state(units().distribute(by("t", {"k"}))), "ok");
  for (size_t unit = 0; unit < 3; ++unit) {
    // Rows whose bucket lies elsewhere are refused; ids are used up all the same.
    for (int k = 100; k < 200; ++k) {
      try {
        units().on(unit).exec("INSERT INTO t(k) VALUES (" + std::to_string(k) + ")");
      } catch (const testing::SqlError& error) {
        ASSERT_EQ(error.sqlstate(), "23514");
      }
    }
    const std::string low = std::to_string(unit * 281474976710656 + 1),
                      high = std::to_string((unit + 1) * 281474976710656);
    EXPECT_EQ(
        units()
            .on(unit)
            .exec("SELECT bool_and(a >= " + low + " AND a < " + high + " AND b >= " + low + " AND b < " +
                  high + " AND c >= " + low + " AND c < " + high + "), count(*) > 10 FROM t WHERE k >= 100")
            .text(),
        "t|t");
  }
  EXPECT_EQ(units().rows_everywhere("SELECT k FROM t WHERE k >= 100").size(), 100u);
  EXPECT_EQ(
      home().exec("SELECT min(a), min(b), min(c) FROM t WHERE k >= 100").text(),
      home()
          .exec("SELECT min(a), min(b), min(c) FROM t WHERE k >= 100 AND a > 20 AND b > 69 AND c > 1038")
          .text());
  ASSERT_EQ(state(units().undistribute("t")), "ok");
  EXPECT_EQ(units().dump(0, ""), dump);
  EXPECT_EQ(home()
                .exec("INSERT INTO t(k) VALUES (0); SELECT (SELECT count(*) FROM t) = count(DISTINCT a) AND "
                      "count(*) = count(DISTINCT b) FROM t")
                .scalar(),
            "t");
}

TEST_F(Colocate, SerialOnBroadcastTablesStaysHomes) {
  home().exec(
      "CREATE TABLE r(id serial PRIMARY KEY, v text DEFAULT 'x', at timestamptz DEFAULT now()); INSERT INTO "
      "r(v) VALUES ('a')");
  ASSERT_EQ(state(units().reference("r")), "ok");
  const auto snapshot = units().snapshot();
  const auto* relation = snapshot->find_exact("public", "r");
  ASSERT_NE(relation, nullptr);
  EXPECT_EQ(relation->placement, catalog::Placement::kBroadcast);
  EXPECT_TRUE(relation->column("id")->default_is_volatile);
  EXPECT_TRUE(relation->column("at")->default_is_volatile);
  EXPECT_FALSE(relation->column("v")->default_is_volatile);
  EXPECT_EQ(home().exec("SELECT nextval('r_id_seq')").scalar(), "2");
}

TEST(OneUnit, KeepsSerialColumnsOfAnyWidth) {
  TestCluster single(1);
  single.use_database("app");
  single.on(0).exec(
      "CREATE TABLE t(k int, id serial, i int GENERATED ALWAYS AS IDENTITY); INSERT INTO t(k) SELECT "
      "generate_series(1, 9)");
  ShardOptions options;
  options.table = "t";
  options.key_columns = {"k"};
  const auto dump = single.dump(0, "");
  ASSERT_TRUE(single.distribute(options));
  EXPECT_EQ(single.on(0).exec("INSERT INTO t(k) VALUES (10) RETURNING id, i").text(), "10|10");
  ASSERT_TRUE(single.undistribute("t"));
  EXPECT_EQ(single.on(0).exec("INSERT INTO t(k) VALUES (11) RETURNING id, i").text(), "11|11");
  EXPECT_EQ(single.dump(0, ""), dump);
}

}  // namespace
}  // namespace decan::placement
