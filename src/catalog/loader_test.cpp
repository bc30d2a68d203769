#include "catalog/loader.h"

#include <gtest/gtest.h>

#include <random>

namespace decan::catalog {
namespace {

using Row = std::vector<std::optional<std::string>>;

// A database with one sharded table, as the home unit would answer.
CatalogRows rows() {
  CatalogRows out;
  out.results.resize(16);
  out.results[0] = {Row{"5", "app", "t", "7"}};
  out.results[1] = {Row{"1", "range", "23 25"}};
  out.results[2] = {
      Row{"1", "0", "0", std::nullopt, std::nullopt, "-,-,", "00000005,61,", std::nullopt, "f", "f"},
      Row{"1", "1", "1", std::nullopt, std::nullopt, std::nullopt, std::nullopt, std::nullopt, "f", "t"}};
  out.results[3] = {Row{"20000", "public", "t", "p", "sharded", "1", std::nullopt, "t_2", "f", "2 1", "f"}};
  out.results[5] = {Row{"20000", "b", "1", "25", "-1", "950", "t", "f", "f", "f", "f", "", "f"},
                    Row{"20000", "a", "2", "23", "-1", "0", "f", "t", "t", "f", "f", "1", "f"}};
  out.results[6] = {Row{"20000", "t_pkey", "01234567", "t", "2 1"}};
  return out;
}

std::string state(const CatalogRows& given) {
  const auto made = build_snapshot(given, 1, "app", {UnitId{0}, UnitId{1}}, UnitId{0});
  return made ? "ok" : made.error().sqlstate;
}

TEST(BuildSnapshot, ReadsAWholeCatalog) {
  const auto made = build_snapshot(rows(), 3, "app", {UnitId{0}, UnitId{1}}, UnitId{0});
  ASSERT_TRUE(made) << made.error().message;
  const Snapshot& snapshot = **made;
  EXPECT_EQ(snapshot.version, 3u);
  EXPECT_EQ(snapshot.epoch, 7);
  const Relation* t = snapshot.find_exact("public", "t");
  ASSERT_NE(t, nullptr);
  EXPECT_EQ(t->leaf(BucketId{1}), "decan_shard.t_2_1");
  EXPECT_EQ(t->key_attnums, (std::vector<int16_t>{2, 1}));
  EXPECT_EQ(t->unique_keys, (std::vector<std::vector<int16_t>>{{2, 1}}));
  const Bucket& first = t->group->buckets[0];
  EXPECT_FALSE(first.lower[0] || first.lower[1]);
  EXPECT_EQ(*first.upper[0], std::string("\0\0\0\5", 4));
  EXPECT_EQ(*first.upper[1], "a");
  EXPECT_TRUE(t->group->buckets[1].is_default);
  EXPECT_EQ(snapshot.find_by_leaf("t_2_1"), t);
  EXPECT_EQ(snapshot.find_by_leaf("t_2"), nullptr);
}

TEST(BuildSnapshot, RefusesAMapThatContradictsItself) {
  const auto with = [](size_t result, size_t row, size_t column, std::optional<std::string> value) {
    auto changed = rows();
    changed.results[result][row][column] = std::move(value);
    return state(changed);
  };
  EXPECT_EQ(state(rows()), "ok");
  EXPECT_EQ(with(2, 0, 2, "2"), "XX001");          // unknown unit
  EXPECT_EQ(with(2, 1, 1, "2"), "XX001");          // gap in the buckets
  EXPECT_EQ(with(2, 0, 6, "00000005,"), "XX001");  // bound with too few values
  EXPECT_EQ(with(1, 0, 1, "list"), "XX001");       // list of two keys
  EXPECT_EQ(with(1, 0, 1, "hash"), "XX001");       // no modulus
  EXPECT_EQ(with(3, 0, 5, "9"), "XX001");          // unknown group
  EXPECT_EQ(with(3, 0, 9, "2"), "XX001");          // key of one column
  EXPECT_EQ(with(2, 0, 6, "0000000g,61,"), "XX000");
  EXPECT_EQ(with(3, 0, 0, "x"), "XX000");
  EXPECT_EQ(with(5, 0, 0, "20001"), "XX000");
  EXPECT_EQ(with(0, 0, 1, "other"), "XX000");
}

TEST(BuildSnapshot, SurvivesRowsThatAreNotOurs) {
  std::mt19937 random(std::random_device{}());
  const auto seed = random();
  std::cout << "seed " << seed << '\n';
  random.seed(seed);
  for (int i = 0; i < 20'000; ++i) {
    auto changed = rows();
    auto& table = changed.results[random() % changed.results.size()];
    switch (random() % 4) {
      case 0:
        table.clear();
        break;
      case 1:
        table.push_back(Row(random() % 14, std::to_string(random() % 100)));
        break;
      case 2:
        changed.results.resize(random() % 16);
        break;
      default:
        if (!table.empty()) {
          auto& row = table[random() % table.size()];
          row[random() % row.size()] =
              random() % 2 != 0
                  ? std::optional<std::string>(std::string(random() % 5, static_cast<char>(random() % 256)))
                  : std::nullopt;
        }
    }
    (void)state(changed);
  }
}

}  // namespace
}  // namespace decan::catalog
