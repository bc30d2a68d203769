#include "placement/buckets.h"

#include <gtest/gtest.h>

#include "placement/schema.h"

namespace decan::placement {
namespace {

TEST(PlanBuckets, GoRoundTheUnits) {
  ShardOptions options;
  options.shard_count = 5;
  const auto buckets = plan_buckets(options, {UnitId{0}, UnitId{3}});
  ASSERT_EQ(buckets.size(), 5u);
  for (uint32_t i = 0; i < 5; ++i) {
    EXPECT_EQ(buckets[i].unit, (i % 2 == 0 ? UnitId{0} : UnitId{3}));
    EXPECT_EQ(buckets[i].modulus, 5u);
    EXPECT_EQ(buckets[i].remainder, i);
  }
  EXPECT_EQ(plan_buckets(ShardOptions{}, {UnitId{0}}).size(), kDefaultShardCount);
}

TEST(PlanBuckets, KeepNullsOutOfTheValues) {
  ShardOptions options;
  options.algorithm = catalog::Algorithm::kList;
  options.lists = {{"a", std::nullopt}, {"b"}};
  options.default_bucket = true;
  const auto buckets = plan_buckets(options, {UnitId{0}});
  ASSERT_EQ(buckets.size(), 3u);
  EXPECT_TRUE(buckets[0].accepts_null);
  EXPECT_EQ(buckets[0].values, (std::vector<std::string>{"a"}));
  EXPECT_FALSE(buckets[1].accepts_null);
  EXPECT_TRUE(buckets[2].is_default);
}

TEST(CheckOptions, RefusesWhatContradictsItself) {
  const auto state = [](const ShardOptions& options) {
    const auto result = check_options(options);
    return result ? std::string("ok") : result.error().sqlstate;
  };
  ShardOptions options;
  EXPECT_EQ(state(options), "22023");
  options.key_columns = {"k"};
  EXPECT_EQ(state(options), "ok");
  options.shard_count = kMaxShardCount + 1;
  EXPECT_EQ(state(options), "22023");
  options.shard_count.reset();
  options.algorithm = catalog::Algorithm::kRange;
  EXPECT_EQ(state(options), "22023");
  options.ranges = {{{"1"}, {"2", "3"}}};
  EXPECT_EQ(state(options), "22023");
  options.ranges = {{{"1"}, {"2"}}};
  EXPECT_EQ(state(options), "ok");
  options.algorithm = catalog::Algorithm::kList;
  options.lists = {{std::nullopt}, {"a", std::nullopt}};
  EXPECT_EQ(state(options), "22023");
  options.lists = {{}};
  EXPECT_EQ(state(options), "22023");
  options.key_columns.assign(33, "k");
  EXPECT_EQ(state(options), "22023");
}

TEST(ToJson, EscapesWhatJsonNeeds) {
  BucketPlan bucket;
  bucket.lower = {"a\"\\\n\x01", std::nullopt};
  bucket.lower_hex = {"61", std::nullopt};
  bucket.upper = {std::nullopt, "\xc3\xa9"};
  bucket.upper_hex = {std::nullopt, "c3a9"};
  EXPECT_EQ(to_json({bucket}),
            "[{\"bucket\":0,\"unit\":0,\"accepts_null\":false,\"is_default\":false,\"lower_text\":["
            "\"a\\\"\\\\\\u000a\\u0001\",null],"
            "\"lower_hex\":[\"61\",null],\"upper_text\":[null,\"\xc3\xa9\"],\"upper_hex\":[null,\"c3a9\"]}]");
}

TEST(LeafPrefix, IsShortAndKeepsCharactersWhole) {
  EXPECT_EQ(leaf_prefix("orders", 7), "orders_7");
  EXPECT_EQ(leaf_prefix(std::string(63, 'x'), 4294967295), std::string(30, 'x') + "_4294967295");
  std::string accents;
  for (int i = 0; i < 20; ++i) accents += "\xe2\x82\xac";
  EXPECT_EQ(leaf_prefix(accents, 1), accents.substr(0, 30) + "_1");
  EXPECT_EQ(leaf_prefix("x" + accents, 1), "x" + accents.substr(0, 27) + "_1");
  // <prefix>_<bucket>_<8 digits of the index> must not be cut by the server.
  EXPECT_LE((leaf_prefix(std::string(63, 'x'), 4294967295) + "_4095_01234567").size(), 63u);
}

TEST(TableName, IsReadBackAsTheSameTable) {
  EXPECT_EQ(table_name("", "orders"), "\"orders\"");
  EXPECT_EQ(table_name("My Schema", "a\"b"), "\"My Schema\".\"a\"\"b\"");
}

TEST(SchemaSql, HoldsEveryPart) {
  const std::string sql = schema_sql(auth::ProofKey("secret"));
  for (const auto* part : {"decan.map", "decan.settle", "decan.table_statements", "decan.check_sharded",
                           "decan.create_leaves", "EVENT TRIGGER decan_drop"}) {
    EXPECT_NE(sql.find(part), std::string::npos) << part;
  }
}

}  // namespace
}  // namespace decan::placement
