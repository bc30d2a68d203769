#include "exec/map_oids.h"

#include <gtest/gtest.h>

#include <random>

#include "wire/message.h"

namespace decan::exec {
namespace {

using catalog::UnitObjects;
using catalog::UserType;

constexpr Oid kMood = 100000, kMoods = 100001, kPoint = 100002, kPoints = 100003, kDomain = 100004,
              kRange = 100005, kMultirange = 100006;

std::string be32(uint32_t value) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xff);
  return out;
}
std::string field(std::string_view value) {
  return be32(static_cast<uint32_t>(value.size())) + std::string(value);
}

// Of a unit whose types have numbers from 50000 on, in the same order; composite kPoint has a mood in it.
UnitObjects unit_objects() {
  const auto rows = [](Oid first) {
    const auto id = [first](Oid offset) { return std::to_string(first + offset); };
    return catalog::TextTable{
        {id(0), "public", "mood", "e", "0"},     {id(1), "public", "_mood", "a", id(0)},
        {id(2), "public", "point", "c", "0"},    {id(3), "public", "_point", "a", id(2)},
        {id(4), "public", "points", "d", id(3)}, {id(5), "public", "rng", "r", id(2)},
        {id(6), "public", "mrng", "m", id(5)}};
  };
  catalog::Snapshot snapshot;
  snapshot.types = *catalog::read_types(rows(kMood));
  snapshot.types_hash = 1;
  UnitObjects objects(false);
  EXPECT_TRUE(objects.learn_types(snapshot, rows(50000)));
  return objects;
}

std::string array(Oid element, const std::vector<std::string>& items) {
  std::string out = be32(1) + be32(0) + be32(element) + be32(static_cast<uint32_t>(items.size())) + be32(1);
  for (const auto& item : items) out += field(item);
  return out;
}
std::string point(Oid mood) {
  return be32(3) + be32(23) + field(be32(7)) + be32(mood) + field("sad") + be32(mood) + be32(0xffffffff);
}

std::string mapped(std::string value, Oid type, MapTo to) {
  const auto done = map_value(value, type, unit_objects(), to);
  return done ? value : done.error().sqlstate;
}

TEST(MapOids, ArraysAndCompositesAreTranslatedBothWays) {
  struct Case {
    Oid type;
    std::function<std::string(Oid first)> value;
  };
  const std::vector<Case> cases = {
      {kMoods, [](Oid first) { return array(first, {"sad", "ok"}); }},
      {kMoods, [](Oid first) { return be32(0) + be32(0) + be32(first); }},
      {kPoint, [](Oid first) { return point(first); }},
      {kPoints, [](Oid first) { return array(first + 2, {point(first), point(first)}); }},
      {kDomain, [](Oid first) { return array(first + 2, {point(first)}); }},
      {2249, [](Oid first) { return be32(1) + be32(first + 1) + field(array(first, {"ok"})); }},
      {2287, [](Oid first) { return array(2249, {point(first)}); }},
      {kRange, [](Oid first) { return std::string(1, 2) + field(point(first)) + field(point(first)); }},
      {kRange, [](Oid first) { return std::string(1, 8) + field(point(first)); }},
      {kRange, [](Oid) { return std::string(1, 1); }},
      {kMultirange, [](Oid first) { return be32(1) + field(std::string(1, 16) + field(point(first))); }},
  };
  for (const auto& [type, value] : cases) {
    EXPECT_EQ(mapped(value(50000), type, MapTo::kHome), value(kMood)) << type;
    EXPECT_EQ(mapped(value(kMood), type, MapTo::kUnit), value(50000)) << type;
  }
}

TEST(MapOids, ValuesWithoutIdsAreLeftAlone) {
  EXPECT_EQ(mapped("sad", kMood, MapTo::kHome), "sad");
  EXPECT_EQ(mapped(array(23, {be32(5)}), 1007, MapTo::kHome), array(23, {be32(5)}));
  EXPECT_EQ(mapped(array(25, {"x"}), kMoods, MapTo::kHome), array(25, {"x"}));  // the sender's business
}

TEST(MapOids, MalformedValuesAndUnknownTypesAreErrors) {
  const std::string good = array(50002, {point(50000)});
  for (size_t cut = 0; cut + 1 < good.size(); ++cut) {
    if (cut != 20) EXPECT_EQ(mapped(good.substr(0, cut), kPoints, MapTo::kHome), "08P01") << cut;
  }
  EXPECT_EQ(mapped(be32(0xffffffff), kPoint, MapTo::kHome), "08P01");
  EXPECT_EQ(mapped(be32(1) + be32(23) + be32(0xfffffff0), kPoint, MapTo::kHome), "08P01");
  EXPECT_EQ(mapped(be32(7) + be32(0) + be32(50000), kMoods, MapTo::kHome), "08P01");
  EXPECT_EQ(mapped(point(50000) + "x", kPoint, MapTo::kHome), "08P01");
  EXPECT_EQ(mapped(array(51000, {}), kMoods, MapTo::kHome), "55000");
  std::string deep = be32(0);
  for (int i = 0; i < 100; ++i) deep = be32(1) + be32(2249) + field(deep);
  EXPECT_EQ(mapped(deep, 2249, MapTo::kHome), "54001");
}

std::string description(std::vector<wire::FieldDescription> fields) {
  std::string out;
  wire::Writer(out).row_description({std::move(fields)});
  return out.substr(wire::kHeaderBytes);
}

TEST(MapOids, RowDescriptionsTellTheHomeUnitsTablesAndTypes) {
  UnitObjects objects = unit_objects();
  catalog::Relation relation;
  relation.oid = 90000;
  const std::vector<const catalog::Relation*> relations{&relation};
  ASSERT_TRUE(
      objects.learn_relations(relations, {{"0", "60000", "t", ""}, {"0", "60001", "f", std::nullopt}}));
  std::string body = description({{"k", 60001, 2, 23, 4, -1, 0},
                                  {"", 61000, 3, 50000, 4, -1, 1},
                                  {"sys", 1259, 1, 26, 4, -1, 1},
                                  {"ms", 60000, 4, 50001, -1, -1, 1},
                                  {"text array", 60000, 4, 50001, -1, -1, 0},
                                  {"r", 0, 0, 2249, -1, -1, 1}});
  IdColumns columns;
  ASSERT_TRUE(map_row_description(body, objects, columns));
  EXPECT_EQ(body, description({{"k", 90000, 2, 23, 4, -1, 0},
                               {"", 0, 0, kMood, 4, -1, 1},
                               {"sys", 1259, 1, 26, 4, -1, 1},
                               {"ms", 90000, 4, kMoods, -1, -1, 1},
                               {"text array", 90000, 4, kMoods, -1, -1, 0},
                               {"r", 0, 0, 2249, -1, -1, 1}}));
  using Pair = std::pair<uint16_t, Oid>;
  EXPECT_EQ(columns.columns, (std::vector<Pair>{{3, kMoods}, {5, 2249}}));

  std::string row;
  const std::string moods = array(50000, {"ok"}), record = point(50000);
  const std::vector<std::optional<std::string_view>> values{"1", "sad", "x", moods, moods, record};
  wire::Writer(row).data_row(values);
  row.erase(0, wire::kHeaderBytes);
  ASSERT_TRUE(map_data_row(row, objects, columns));
  std::vector<std::optional<std::string_view>> out;
  ASSERT_TRUE(wire::decode_data_row(row, out));
  EXPECT_EQ(*out[3], array(kMood, {"ok"}));
  EXPECT_EQ(*out[4], moods);
  EXPECT_EQ(*out[5], point(kMood));
}

TEST(MapOids, HostileDescriptionsAndRowsAreRefusedWithinTheirBounds) {
  UnitObjects objects = unit_objects();
  const std::string good = description({{"a", 0, 0, 50001, -1, -1, 1}, {"b", 0, 0, 2249, -1, -1, 1}});
  IdColumns columns;
  for (size_t cut = 0; cut < good.size(); ++cut) {
    std::string body = good.substr(0, cut);
    EXPECT_FALSE(map_row_description(body, objects, columns));
  }
  std::string unknown = description({{"a", 0, 0, 51000, -1, -1, 1}});
  const auto refused = map_row_description(unknown, objects, columns);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().retry, Retry::kAfterCatalogRefresh);

  std::mt19937 random(std::random_device{}());
  const auto seed = random();
  std::cout << "seed " << seed << '\n';
  random.seed(seed);
  columns.columns = {{0, kPoints}, {1, 2249}};
  std::string row;
  const std::string points = array(50002, {point(50000), point(50000)}), record = point(50000);
  const std::vector<std::optional<std::string_view>> values{points, record};
  wire::Writer(row).data_row(values);
  row.erase(0, wire::kHeaderBytes);
  for (int i = 0; i < 20'000; ++i) {
    std::string changed = row.substr(0, random() % 4 == 0 ? random() % (row.size() + 1) : row.size());
    for (int k = 0; k < 3 && !changed.empty(); ++k)
      changed[random() % changed.size()] = static_cast<char>(random() % 256);
    (void)map_data_row(changed, objects, columns);
  }
}

TEST(MapOids, ParametersAreCopiedOnlyWhereTheyDiffer) {
  const UnitObjects objects = unit_objects();
  const UnitObjects home(true);
  const std::string moods = array(kMood, {"ok"});
  const std::vector<std::optional<std::string_view>> values{"1", moods, std::nullopt};
  const std::vector<int16_t> binary{1}, text{0};
  const std::vector<Oid> types{25, kMoods, kMoods};
  const UnitParameters changed(values, binary, types, &objects);
  EXPECT_EQ(*changed.values()[1], array(50000, {"ok"}));
  EXPECT_EQ(changed.types()[1], 50001U);
  EXPECT_FALSE(changed.values()[2]);
  const UnitParameters as_text(values, text, types, &objects);
  EXPECT_EQ(as_text.values().data(), values.data());
  EXPECT_EQ(as_text.types()[1], 50001U);
  const UnitParameters at_home(values, binary, types, &home);
  EXPECT_EQ(at_home.values().data(), values.data());
  EXPECT_EQ(at_home.types()[1], kMoods);
  const UnitParameters broken(std::vector<std::optional<std::string_view>>{}, binary, types, &objects);
  EXPECT_TRUE(broken.values().empty());
}

TEST(MapOids, PositionsAreToldInTheClientsText) {
  wire::ErrorFields fields;
  fields.set('P', "9");
  tell_position(fields, TextMap());
  EXPECT_EQ(fields.get('P'), "9");
  tell_position(fields, TextMap::between("abc ONLY def", "abc def"));
  EXPECT_EQ(fields.get('P'), "5");
}

}  // namespace
}  // namespace decan::exec
