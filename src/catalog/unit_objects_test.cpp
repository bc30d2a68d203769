#include "catalog/unit_objects.h"

#include <gtest/gtest.h>

namespace decan::catalog {
namespace {

std::string attributes(const std::vector<std::pair<int, std::string>>& list) {
  std::string out;
  for (const auto& [attnum, name] : list)
    out += std::to_string(attnum) + ":" + std::to_string(name.size()) + ":" + name;
  return out;
}

Relation orders() {
  Relation relation;
  relation.oid = 20000;
  relation.schema = "public";
  relation.name = "orders";
  for (const auto& [name, attnum] : {std::pair("a", 1), std::pair("long name: 7", 3), std::pair("c", 4)}) {
    Column column;
    column.name = name;
    column.attnum = static_cast<int16_t>(attnum);
    relation.columns.push_back(std::move(column));
  }
  relation.columns_hash = 5;
  return relation;
}

Snapshot with_types(std::vector<UserType> types) {
  Snapshot snapshot;
  snapshot.types = std::move(types);
  snapshot.types_hash = 9;
  return snapshot;
}

TEST(UnitObjects, LeavesAndTablesOfAnotherUnitAreTheHomeUnitsTable) {
  const Relation relation = orders();
  const std::vector<const Relation*> relations{&relation};
  UnitObjects objects(false);
  EXPECT_FALSE(objects.knows(relation));
  const TextTable rows = {
      {"0", "30000", "t", attributes({{1, "a"}, {3, "long name: 7"}, {4, "c"}})},
      {"0", "30001", "f", std::nullopt},
      {"0", "30002", "f", attributes({{1, "a"}, {2, "long name: 7"}, {5, "c"}, {6, "gone"}})},
  };
  ASSERT_TRUE(objects.learn_relations(relations, rows));
  EXPECT_TRUE(objects.knows(relation));
  EXPECT_EQ(objects.origin(30000, 3), (ColumnOrigin{20000, 3}));
  EXPECT_EQ(objects.origin(30001, 4), (ColumnOrigin{20000, 4}));
  EXPECT_EQ(objects.origin(30002, 2), (ColumnOrigin{20000, 3}));
  EXPECT_EQ(objects.origin(30002, 5), (ColumnOrigin{20000, 4}));
  EXPECT_EQ(objects.origin(30002, 6), ColumnOrigin{});  // a column that the home unit does not know
  EXPECT_EQ(objects.origin(30002, 99), ColumnOrigin{});
  EXPECT_EQ(objects.origin(30009, 1), ColumnOrigin{});  // a table that it does not know
  EXPECT_EQ(objects.origin(1259, 2), (ColumnOrigin{1259, 2}));
  Relation changed = relation;
  changed.columns_hash = 6;
  EXPECT_FALSE(objects.knows(changed));
}

TEST(UnitObjects, OnTheHomeUnitOnlyLeavesAreTranslated) {
  const Relation relation = orders();
  const std::vector<const Relation*> relations{&relation};
  UnitObjects objects(true);
  EXPECT_TRUE(objects.is_identity());
  const TextTable rows = {{"0", "20000", "t", attributes({{1, "a"}, {3, "long name: 7"}, {4, "c"}})},
                          {"0", "20001", "f", std::nullopt}};
  ASSERT_TRUE(objects.learn_relations(relations, rows));
  EXPECT_FALSE(objects.is_identity());
  EXPECT_EQ(objects.origin(20001, 3), (ColumnOrigin{20000, 3}));
  EXPECT_EQ(objects.origin(20000, 3), (ColumnOrigin{20000, 3}));
  EXPECT_EQ(objects.origin(25000, 3), (ColumnOrigin{25000, 3}));
  EXPECT_EQ(objects.to_home(30000), 30000U);
}

TEST(UnitObjects, RowsThatAreNotOfTheQueryAreRefused) {
  const Relation relation = orders();
  const std::vector<const Relation*> relations{&relation};
  UnitObjects objects(false);
  for (const TextTable& rows : {TextTable{{"0", "30000", "t"}}, TextTable{{"1", "30000", "t", ""}},
                                TextTable{{"0", "x", "t", ""}}, TextTable{{"0", "30000", "t", "1:9:a"}},
                                TextTable{{"0", "30000", "t", "1"}}, TextTable{{"0", "30000", "t", "0:1:a"}}})
    EXPECT_FALSE(objects.learn_relations(relations, rows));
}

TEST(UnitObjects, TypesAreMatchedByNameAndArraysByTheirElement) {
  const auto home = read_types({{"100000", "public", "mood", "e", "0"},
                                {"100001", "public", "_mood", "a", "100000"},
                                {"100002", "public", "row", "c", "0"},
                                {"100003", "public", "dom", "d", "100001"},
                                {"100004", "public", "rng", "r", "100000"},
                                {"100005", "public", "plain_dom", "d", "23"}});
  ASSERT_TRUE(home);
  UnitObjects objects(false);
  ASSERT_TRUE(objects.learn_types(with_types(*home), {{"50001", "public", "__mood", "a", "50002"},
                                                      {"50002", "public", "mood", "e", "0"},
                                                      {"50003", "public", "only_here", "e", "0"}}));
  EXPECT_EQ(objects.types_hash(), 9U);
  EXPECT_EQ(objects.to_home(50002), 100000U);
  EXPECT_EQ(objects.to_home(50001), 100001U);
  EXPECT_EQ(objects.to_unit(100001), 50001U);
  EXPECT_EQ(objects.to_home(50003), std::nullopt);
  EXPECT_EQ(objects.to_unit(100002), std::nullopt);
  EXPECT_EQ(objects.to_home(23), 23U);
  EXPECT_FALSE(objects.shape(100000).holds_ids);
  EXPECT_TRUE(objects.shape(100001).holds_ids);
  EXPECT_TRUE(objects.shape(100002).holds_ids);
  EXPECT_TRUE(objects.shape(100003).holds_ids);
  EXPECT_FALSE(objects.shape(100004).holds_ids);
  EXPECT_FALSE(objects.shape(100005).holds_ids);
  EXPECT_TRUE(objects.shape(2249).holds_ids);
  EXPECT_FALSE(objects.shape(1007).holds_ids);
}

}  // namespace
}  // namespace decan::catalog
