#include "exec/merge.h"

#include <gtest/gtest.h>

#include "exec/value_order.h"

namespace decan::exec {
namespace {

using plan::MergeSpec;
using plan::OutputColumn;
using Kind = OutputColumn::Kind;
using Values = std::vector<std::optional<std::string_view>>;

std::string int4(int32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xff);
  return bytes;
}
std::string int8(int64_t value) {
  std::string bytes;
  for (int shift = 56; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xff);
  return bytes;
}

std::string message(const Values& values) {
  std::string out;
  wire::Writer(out).data_row(values);
  return out;
}
std::string body(const Values& values) {
  return message(values).substr(wire::kHeaderBytes);
}

wire::FieldDescription field(std::string name, Oid type) {
  wire::FieldDescription made;
  made.name = std::move(name), made.type = type, made.table = 20000, made.attnum = 3;
  return made;
}

OutputColumn output(Kind kind, uint32_t column, uint32_t key = 0) {
  OutputColumn made;
  made.kind = kind, made.column = column, made.key = key;
  return made;
}

// SELECT a … over two sources; hidden columns have the types given.
MergeInput input_of(const MergeSpec& spec, std::vector<Oid> types, size_t sources = 2) {
  MergeInput input;
  input.spec = &spec;
  for (const Oid type : types) input.fragment.fields.push_back(field("a", type));
  input.result_formats.assign(spec.output.size(), 0);
  input.sources = sources;
  return input;
}

MergeSpec concatenation() {
  MergeSpec spec;
  spec.visible = 1;
  spec.output = {output(Kind::kColumn, 0)};
  return spec;
}

MergeSpec ordered() {
  MergeSpec spec = concatenation();
  spec.hidden = 1;
  plan::SortKey key;
  key.column = 1;
  spec.order_by = {key};
  return spec;
}

MergeSpec grouped(Kind kind) {
  MergeSpec spec;
  spec.hidden = 3;
  spec.grouped = true;
  spec.group_keys = {0};
  spec.output = {output(kind, 1, 2)};
  return spec;
}

TEST(Concatenation, CopiesTheBytesOfRowsAsTheyAre) {
  const MergeSpec spec = concatenation();
  auto merge = make_merge(input_of(spec, {types::kText})).value();
  std::string out;
  ASSERT_TRUE(merge->row(1, "not even a row", out));
  EXPECT_EQ(out, std::string("D\0\0\0\x12", 5) + "not even a row");
  EXPECT_EQ(merge->rows_out(), 1u);
  EXPECT_EQ(merge->bytes_held(), 0u);
}

TEST(Concatenation, StopsAtTheLimitAndIgnoresWhatStillComes) {
  const MergeSpec spec = concatenation();
  MergeInput input = input_of(spec, {types::kText});
  input.limit = 1, input.offset = 1;
  auto merge = make_merge(std::move(input)).value();
  std::string out;
  for (const char* text : {"first", "second", "third"}) ASSERT_TRUE(merge->row(0, body({text}), out));
  EXPECT_EQ(out, message({"second"}));
  EXPECT_EQ(merge->wanted().need, MergeNeed::kDone);
}

TEST(Concatenation, OfLimitZeroWantsNothing) {
  const MergeSpec spec = concatenation();
  MergeInput input = input_of(spec, {types::kText});
  input.limit = 0;
  EXPECT_EQ(make_merge(std::move(input)).value()->wanted().need, MergeNeed::kDone);
}

TEST(Concatenation, DropsHiddenColumnsAndReordersVisibleOnes) {
  MergeSpec spec;
  spec.visible = 2, spec.hidden = 1;
  spec.output = {output(Kind::kColumn, 1), output(Kind::kColumn, 0), output(Kind::kColumn, 1)};
  auto merge = make_merge(input_of(spec, {types::kText, types::kText, types::kInt4})).value();
  std::string out;
  ASSERT_TRUE(merge->row(0, body({"x", std::nullopt, int4(1)}), out));
  EXPECT_EQ(out, message({std::nullopt, "x", std::nullopt}));
}

TEST(Window, RefusesNegativeLimitsAsTheServerDoes) {
  const MergeSpec spec = concatenation();
  MergeInput input = input_of(spec, {types::kText});
  input.limit = -1;
  EXPECT_EQ(make_merge(input).error().sqlstate, "2201W");
  input.limit.reset(), input.offset = -1;
  EXPECT_EQ(make_merge(input).error().sqlstate, "2201X");
}

TEST(Window, RefusesNullRowCountsWithTies) {
  MergeSpec spec = ordered();
  spec.with_ties = true;
  spec.limit.emplace();
  EXPECT_EQ(make_merge(input_of(spec, {types::kText, types::kInt4})).error().sqlstate, "2201W");
}

TEST(OrderedMerge, HoldsOneRowPerSourceAndAsksForTheOneItNeeds) {
  const MergeSpec spec = ordered();
  auto merge = make_merge(input_of(spec, {types::kText, types::kInt4}, 3)).value();
  std::string out;
  EXPECT_EQ(merge->wanted().source, 0u);
  EXPECT_FALSE(merge->wanted().any);
  ASSERT_TRUE(merge->row(0, body({"5", int4(5)}), out));
  ASSERT_TRUE(merge->row(2, body({"3", int4(3)}), out));
  EXPECT_EQ(merge->wanted().source, 1u);
  EXPECT_EQ(out, "");
  ASSERT_TRUE(merge->row(1, body({"-4", int4(-4)}), out));
  EXPECT_EQ(out, message({"-4"}));
  EXPECT_EQ(merge->wanted().source, 1u);
  ASSERT_TRUE(merge->end_of(1, out));
  EXPECT_EQ(out, message({"-4"}) + message({"3"}));
  EXPECT_EQ(merge->wanted().source, 2u);
  EXPECT_EQ(merge->bytes_held(), body({"5", int4(5)}).size());
  ASSERT_TRUE(merge->end_of(2, out));
  EXPECT_EQ(out, message({"-4"}) + message({"3"}) + message({"5"}));
  ASSERT_TRUE(merge->end_of(0, out));
  EXPECT_EQ(merge->wanted().need, MergeNeed::kDone);
}

TEST(OrderedMerge, RefusesRowsThatWereNotAskedFor) {
  const MergeSpec spec = ordered();
  auto merge = make_merge(input_of(spec, {types::kText, types::kInt4})).value();
  std::string out;
  ASSERT_TRUE(merge->row(0, body({"1", int4(1)}), out));
  EXPECT_EQ(merge->row(0, body({"2", int4(2)}), out).error().sqlstate, "XX000");
}

TEST(OrderedMerge, WithTiesGoesOnWhileRowsAreEqualToTheLast) {
  MergeSpec spec = ordered();
  spec.with_ties = true;
  spec.limit.emplace();
  MergeInput input = input_of(spec, {types::kText, types::kInt4}, 1);
  input.limit = 1;
  auto merge = make_merge(std::move(input)).value();
  std::string out;
  for (const int key : {1, 1, 2}) ASSERT_TRUE(merge->row(0, body({std::to_string(key), int4(key)}), out));
  EXPECT_EQ(out, message({"1"}) + message({"1"}));
  EXPECT_EQ(merge->rows_out(), 2u);
  EXPECT_EQ(merge->wanted().need, MergeNeed::kDone);
}

TEST(OrderedMerge, RefusesTypesAndCollationsWhoseOrderIsUnknown) {
  const MergeSpec spec = ordered();
  for (const Oid type : {Oid{3802}, Oid{70000}, types::kText}) {
    const auto merge = make_merge(input_of(spec, {types::kText, type}));
    ASSERT_FALSE(merge);
    EXPECT_EQ(merge.error().sqlstate, "0A000");
    EXPECT_NE(merge.error().hint, "");
  }
  EXPECT_NE(make_merge(input_of(spec, {types::kText, 3802})).error().message.find("jsonb"),
            std::string::npos);
}

TEST(OrderedMerge, RefusesMalformedRowsOfUnits) {
  const MergeSpec spec = ordered();
  auto merge = make_merge(input_of(spec, {types::kText, types::kInt4})).value();
  std::string out;
  EXPECT_EQ(merge->row(0, body({"1", "123"}), out).error().sqlstate, "08P01");
  EXPECT_EQ(merge->row(1, body({"1"}), out).error().sqlstate, "08P01");
  EXPECT_EQ(
      make_merge(input_of(spec, {types::kText, types::kInt4})).value()->row(0, "x", out).error().sqlstate,
      "08P01");
}

TEST(OrderedMerge, KeepsToItsMemory) {
  const MergeSpec spec = ordered();
  MergeInput input = input_of(spec, {types::kText, types::kInt4});
  input.limits.max_bytes = 100;
  auto merge = make_merge(std::move(input)).value();
  std::string out;
  const auto status = merge->row(0, body({std::string(200, 'x'), int4(1)}), out);
  EXPECT_EQ(status.error().sqlstate, "53200");
  EXPECT_NE(status.error().hint.find("decan.merge_memory"), std::string::npos);
}

TEST(Grouping, KeepsToItsMemory) {
  const MergeSpec spec = grouped(Kind::kSum);
  MergeInput input = input_of(spec, {types::kInt4, types::kInt8, types::kInt8});
  input.limits.max_bytes = 100'000;
  auto merge = make_merge(std::move(input)).value();
  std::string out;
  Status status;
  int groups = 0;
  while (status && groups < 100'000) status = merge->row(0, body({int4(groups++), int8(1), int8(1)}), out);
  EXPECT_EQ(status.error().sqlstate, "53200");
  EXPECT_GT(groups, 100);
  EXPECT_EQ(out, "");
}

TEST(Grouping, SumsOverflowAsTheServersDo) {
  const MergeSpec spec = grouped(Kind::kSum);
  auto merge = make_merge(input_of(spec, {types::kInt4, types::kInt8, types::kInt8})).value();
  std::string out;
  ASSERT_TRUE(merge->row(0, body({int4(1), int8(INT64_MAX), std::nullopt}), out));
  ASSERT_TRUE(merge->row(1, body({int4(1), int8(1), std::nullopt}), out));
  ASSERT_TRUE(merge->end_of(0, out));
  const auto status = merge->end_of(1, out);
  EXPECT_EQ(status.error().sqlstate, "22003");
  EXPECT_EQ(status.error().message, "bigint out of range");
}

TEST(Grouping, DescribesAggregatesAsTheServerDoes) {
  MergeSpec spec = grouped(Kind::kAvg);
  spec.output[0].name = "mean";
  MergeInput input = input_of(spec, {types::kInt4, types::kInt8, types::kInt8});
  input.result_formats = {1};
  const auto merge = make_merge(std::move(input)).value();
  const wire::FieldDescription& described = merge->description().fields[0];
  EXPECT_EQ(described.name, "mean");
  EXPECT_EQ(described.type, types::kNumeric);
  EXPECT_EQ(described.type_bytes, -1);
  EXPECT_EQ(described.table, 0u);
  EXPECT_EQ(described.attnum, 0);
  EXPECT_EQ(described.format, 1);
}

TEST(Grouping, RefusesSumsThatDependOnTheOrderOfAddition) {
  for (const Kind kind : {Kind::kSum, Kind::kAvg}) {
    const MergeSpec spec = grouped(kind);
    for (const Oid type : {types::kFloat8, types::kFloat4, types::kInterval, types::kMoney}) {
      const auto merge = make_merge(input_of(spec, {types::kInt4, type, types::kInt8}));
      ASSERT_FALSE(merge);
      EXPECT_EQ(merge.error().sqlstate, "0A000");
    }
    const auto merge = make_merge(input_of(spec, {types::kInt4, types::kFloat8, types::kInt8}));
    EXPECT_NE(merge.error().hint.find("numeric"), std::string::npos);
  }
}

TEST(Grouping, RefusesTypesWhoseEqualityIsUnknown) {
  const MergeSpec spec = grouped(Kind::kSum);
  for (const Oid type : {Oid{3802}, Oid{1007}, Oid{90000}}) {
    const auto merge = make_merge(input_of(spec, {type, types::kInt8, types::kInt8}));
    ASSERT_FALSE(merge);
    EXPECT_EQ(merge.error().sqlstate, "0A000");
    EXPECT_NE(merge.error().message.find(type_name(type)), std::string::npos);
  }
}

TEST(Grouping, KeepsKeysApartThatOnlyConcatenateToTheSameBytes) {
  MergeSpec spec;
  spec.visible = 0, spec.hidden = 3, spec.grouped = true;
  spec.group_keys = {0, 1};
  spec.output = {output(Kind::kCount, 2)};
  auto merge = make_merge(input_of(spec, {types::kText, types::kText, types::kInt8}, 1)).value();
  std::string out;
  ASSERT_TRUE(merge->row(0, body({"ab", "c", int8(1)}), out));
  ASSERT_TRUE(merge->row(0, body({"a", "bc", int8(1)}), out));
  ASSERT_TRUE(merge->row(0, body({std::nullopt, "abc", int8(1)}), out));
  ASSERT_TRUE(merge->row(0, body({"", "abc", int8(1)}), out));
  ASSERT_TRUE(merge->end_of(0, out));
  EXPECT_EQ(merge->rows_out(), 4u);
}

TEST(Grouping, HavingANullBoundPassesNoGroup) {
  MergeSpec spec = grouped(Kind::kCount);
  spec.having = {{output(Kind::kCount, 1), plan::HavingTerm::Op::kGt, {}}};
  MergeInput input = input_of(spec, {types::kInt4, types::kInt8, types::kInt8}, 1);
  input.having_values = {std::nullopt};
  auto merge = make_merge(std::move(input)).value();
  std::string out;
  ASSERT_TRUE(merge->row(0, body({int4(1), int8(5), std::nullopt}), out));
  ASSERT_TRUE(merge->end_of(0, out));
  EXPECT_EQ(out, "");
}

TEST(Grouping, HavingRefusesWhatIsNoNumber) {
  MergeSpec spec = grouped(Kind::kCount);
  spec.having = {{output(Kind::kCount, 1), plan::HavingTerm::Op::kGt, {}}};
  MergeInput input = input_of(spec, {types::kInt4, types::kInt8, types::kInt8}, 1);
  input.having_values = {"many"};
  EXPECT_EQ(make_merge(input).error().sqlstate, "22P02");
  spec.having[0].aggregate = output(Kind::kMax, 0, 0);
  input.fragment.fields[0].type = types::kDate;
  input.having_values = {"1"};
  EXPECT_EQ(make_merge(input).error().sqlstate, "0A000");
}

TEST(MakeMerge, RefusesPlansThatContradictTheFragment) {
  const MergeSpec spec = ordered();
  EXPECT_EQ(make_merge(input_of(spec, {types::kText})).error().sqlstate, "XX000");
  MergeSpec aggregate = concatenation();
  aggregate.output = {output(Kind::kSum, 0)};
  EXPECT_EQ(make_merge(input_of(aggregate, {types::kInt8})).error().sqlstate, "XX000");
  MergeSpec outside = concatenation();
  outside.output = {output(Kind::kColumn, 7)};
  EXPECT_EQ(make_merge(input_of(outside, {types::kInt8})).error().sqlstate, "XX000");
}

}  // namespace
}  // namespace decan::exec
