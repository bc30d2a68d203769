#include "placement/distribute.h"

#include <gtest/gtest.h>

#include "catalog/partition_hash.h"
#include "placement/test_cluster.h"

namespace decan::placement {
namespace {

using catalog::Algorithm;

class Distribute : public ::testing::Test {
 protected:
  void SetUp() override { units().use_database("app"); }
  static TestCluster& units() { return cluster(); }
  static testing::Connection& home() { return units().on(0); }

  static std::string state(const Result<Placed>& result) { return result ? "ok" : result.error().sqlstate; }
  static std::string state(const Status& result) { return result ? "ok" : result.error().sqlstate; }

  static ShardOptions by(std::string table, std::vector<std::string> keys) {
    ShardOptions options;
    options.table = std::move(table);
    options.key_columns = std::move(keys);
    return options;
  }

  // Every row is in the leaf, and on the unit, that bucket_of() names.
  static void expect_rows_in_their_buckets(const std::string& table, const std::string& key_as_bytes) {
    const auto snapshot = units().snapshot();
    const auto* relation = snapshot->find_exact("public", table);
    ASSERT_NE(relation, nullptr);
    ASSERT_NE(relation->group, nullptr);
    size_t rows = 0;
    for (uint32_t unit = 0; unit < units().size(); ++unit) {
      const auto found = units().on(unit).exec("SELECT tableoid::regclass::text, encode(" + key_as_bytes +
                                               ", 'escape'), " + key_as_bytes + " FROM " + table);
      for (const auto& row : found.rows) {
        const auto key = catalog::binary_from_text(17, *row[2]);
        const catalog::KeyValue values[] = {**key};
        const auto bucket = catalog::bucket_of(*relation->group, values).value();
        ASSERT_TRUE(bucket);
        ASSERT_EQ(*row[0], relation->leaf(*bucket));
        ASSERT_EQ(relation->group->buckets[bucket->value].unit.value, unit);
        ++rows;
      }
    }
    EXPECT_GT(rows, 0u);
  }
};

TEST_F(Distribute, SpreadsTheRowsOfAFullTableAndBringsThemBack) {
  home().exec(
      "CREATE TABLE orders(id bigserial, customer_id int NOT NULL, note text DEFAULT 'n', PRIMARY KEY "
      "(customer_id, id));"
      "INSERT INTO orders(customer_id, note) SELECT i % 97, md5(i::text) FROM generate_series(1, 5000) i;"
      "CREATE INDEX ON orders(note)");
  const auto before = home().exec("SELECT * FROM orders ORDER BY id").text();
  const auto dump = units().dump(0, "public.orders*");
  const auto placed = units().distribute(by("orders", {"customer_id"}));
  ASSERT_EQ(state(placed), "ok") << placed.error().message;
  EXPECT_GT(placed->moved_rows, 2000u);
  EXPECT_EQ(units().rows_everywhere("SELECT id, customer_id, note FROM orders").size(), 5000u);
  for (size_t unit = 0; unit < 3; ++unit) {
    EXPECT_EQ(units().on(unit).exec("SELECT count(*) > 1000 FROM orders").scalar(), "t");
    EXPECT_EQ(units().on(unit).exec("SELECT epoch FROM decan.map").scalar(), "2");
  }
  expect_rows_in_their_buckets("orders", "int4send(customer_id)");
  ASSERT_EQ(state(units().undistribute("orders")), "ok");
  EXPECT_EQ(home().exec("SELECT * FROM orders ORDER BY id").text(), before);
  EXPECT_EQ(units().dump(0, "public.orders*"), dump);
  EXPECT_EQ(units().on(1).exec("SELECT to_regclass('orders'), (SELECT count(*) FROM decan.bucket)").text(),
            "NULL|0");
}

}  // namespace
}  // namespace decan::placement
