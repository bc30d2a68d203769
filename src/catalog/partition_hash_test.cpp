#include "catalog/partition_hash.h"

#include <gtest/gtest.h>

#include "catalog/hash_bytes.h"
#include "catalog/type_oids.h"
#include "catalog/value_binary.h"

namespace decan::catalog {
namespace {

constexpr uint64_t kSeed = 0x7A5B22367996DCFDULL;

std::string binary(Oid type, std::string_view text) {
  const auto value = binary_from_text(type, text);
  EXPECT_TRUE(value && *value) << text;
  return value && *value ? **value : std::string();
}

std::string error_of(Oid type, std::string_view text) {
  const auto value = binary_from_text(type, text);
  return value ? (*value ? "value" : "server") : value.error().sqlstate;
}

uint64_t hash_text(Oid type, std::string_view text) {
  const std::string value = binary(type, text);
  const Oid types[] = {type};
  const KeyValue values[] = {value};
  return partition_hash(types, values).value();
}

// Vectors printed by PostgreSQL 15.20: hashint4extended(n, s), hashtextextended(t, s).
TEST(HashBytes, GivesPostgresVectors) {
  EXPECT_EQ(hash_uint32_extended(static_cast<uint32_t>(0), kSeed), 14043151463718383821ULL);
  EXPECT_EQ(hash_uint32_extended(static_cast<uint32_t>(1), kSeed), 5968994663651403477ULL);
  EXPECT_EQ(hash_uint32_extended(static_cast<uint32_t>(-1), kSeed), 13429671726050313922ULL);
  EXPECT_EQ(hash_uint32_extended(static_cast<uint32_t>(42), kSeed), 7363975540656877951ULL);
  EXPECT_EQ(hash_uint32_extended(static_cast<uint32_t>(2147483647), kSeed), 12396478474604902556ULL);
  EXPECT_EQ(hash_bytes_extended("", kSeed), 12746098489256034243ULL);
  EXPECT_EQ(hash_bytes_extended("", 0), 11507180170145056365ULL);
  EXPECT_EQ(hash_bytes_extended("a", kSeed), 11741518614589318779ULL);
  EXPECT_EQ(hash_bytes_extended("a", 0), 3591986179850072241ULL);
  EXPECT_EQ(hash_bytes_extended("PostgreSQL", kSeed), 1689198889363698225ULL);
  EXPECT_EQ(hash_bytes_extended("PostgreSQL", 0), 12676086391757733508ULL);
  EXPECT_EQ(hash_bytes_extended("eleven byte", kSeed), 9429266562176195037ULL);
  EXPECT_EQ(hash_bytes_extended("eleven byte", 0), 16999790719816823510ULL);
  EXPECT_EQ(hash_bytes_extended("twelve bytes", kSeed), 1551002018851372083ULL);
  EXPECT_EQ(hash_bytes_extended("twelve bytes", 0), 11322967672035583453ULL);
  EXPECT_EQ(hash_bytes_extended("The quick brown fox jumps over the lazy dog", kSeed),
            5870222023910117606ULL);
  EXPECT_EQ(hash_bytes_extended("The quick brown fox jumps over the lazy dog", 0), 2182139051089226439ULL);
}

TEST(PartitionHash, IntegersOfEveryWidthHashAlike) {
  for (const auto* text : {"0", "1", "-1", "42", "32767", "-32768"}) {
    EXPECT_EQ(hash_text(type::kInt2, text), hash_text(type::kInt4, text)) << text;
    EXPECT_EQ(hash_text(type::kInt2, text), hash_text(type::kInt8, text)) << text;
  }
}

TEST(PartitionHash, IgnoresWhatTheTypeIgnores) {
  EXPECT_EQ(hash_text(type::kBpchar, "ab"), hash_text(type::kBpchar, "ab   "));
  EXPECT_NE(hash_text(type::kText, "ab"), hash_text(type::kText, "ab   "));
  EXPECT_EQ(hash_text(type::kNumeric, "1.50"), hash_text(type::kNumeric, "01.5000"));
  EXPECT_EQ(hash_text(type::kNumeric, "-0.00"), hash_text(type::kNumeric, "0"));
  EXPECT_EQ(hash_text(type::kFloat8, "-0"), hash_text(type::kFloat8, "0"));
}

TEST(PartitionHash, SkipsNullsOfCompositeKeys) {
  const std::string one = binary(type::kInt4, "1");
  const Oid types[] = {type::kInt4, type::kInt4};
  const KeyValue first[] = {one, std::nullopt};
  const KeyValue second[] = {std::nullopt, one};
  const KeyValue none[] = {std::nullopt, std::nullopt};
  EXPECT_EQ(partition_hash(types, first).value(), partition_hash(types, second).value());
  EXPECT_EQ(partition_hash(types, none).value(), 0u);
}

TEST(PartitionHash, RefusesMalformedBinaryValues) {
  const auto state = [](Oid type, std::string_view bytes) {
    const Oid types[] = {type};
    const KeyValue values[] = {bytes};
    const auto hash = partition_hash(types, values);
    return hash ? std::string("none") : hash.error().sqlstate;
  };
  EXPECT_EQ(state(type::kInt4, "abc"), "22P03");
  EXPECT_EQ(state(type::kUuid, "0123456789abcde"), "22P03");
  EXPECT_EQ(state(type::kNumeric, std::string("\0\2\0\0\0\0\0\0\0\1", 10)),
            "22P03");  // fewer digits than told
  EXPECT_EQ(state(type::kNumeric, std::string("\0\1\0\0\0\0\0\0\x27\x10", 10)), "22P03");  // digit 10000
  EXPECT_EQ(state(type::kNumeric, std::string("\0\0\0\0\x12\x34\0\0", 8)), "22P03");       // unknown sign
  EXPECT_EQ(state(type::kText, ""), "none");
}

ShardGroup hash_group(std::vector<std::pair<uint32_t, uint32_t>> parts) {
  ShardGroup group;
  group.key_types = {type::kInt4};
  for (const auto& [modulus, remainder] : parts) {
    Bucket bucket;
    bucket.modulus = modulus;
    bucket.remainder = remainder;
    group.buckets.push_back(bucket);
  }
  return group;
}

TEST(BucketOf, FindsSplitHashBuckets) {
  const auto whole = hash_group({{2, 0}, {2, 1}});
  const auto split = hash_group({{2, 0}, {4, 1}, {4, 3}});
  for (int32_t i = 0; i < 1000; ++i) {
    const std::string key = to_be(i);
    const KeyValue values[] = {key};
    const auto before = bucket_of(whole, values).value();
    const auto after = bucket_of(split, values).value();
    ASSERT_TRUE(before && after);
    EXPECT_EQ(before->value == 0, after->value == 0);
  }
  const auto hole = hash_group({{4, 1}});
  size_t missing = 0;
  for (int32_t i = 0; i < 100; ++i) {
    const std::string key = to_be(i);
    const KeyValue values[] = {key};
    missing += bucket_of(hole, values).value() ? 0 : 1;
  }
  EXPECT_GT(missing, 50u);
}

TEST(BucketOf, RangesAreClosedBelowAndOpenAbove) {
  ShardGroup group;
  group.algorithm = Algorithm::kRange;
  group.key_types = {type::kInt4, type::kText};
  Bucket low, high, rest;
  low.lower = {std::nullopt, std::nullopt};
  low.upper = {to_be(int32_t{10}), "m"};
  high.lower = low.upper;
  high.upper = {to_be(int32_t{20}), std::nullopt};
  rest.is_default = true;
  group.buckets = {low, high, rest};
  const auto find = [&](KeyValue a, KeyValue b) {
    const KeyValue values[] = {a, b};
    return bucket_of(group, values).value()->value;
  };
  const std::string m5 = to_be(int32_t{-5}), ten = to_be(int32_t{10}), twenty = to_be(int32_t{20}),
                    more = to_be(int32_t{21});
  EXPECT_EQ(find(m5, "z"), 0u);
  EXPECT_EQ(find(ten, "a"), 0u);
  EXPECT_EQ(find(ten, "m"), 1u);
  EXPECT_EQ(find(twenty, "\xff"), 1u);
  EXPECT_EQ(find(more, "a"), 2u);
  EXPECT_EQ(find(std::nullopt, "a"), 2u);
}

TEST(BucketOf, ListsAcceptNullOnlyWhenTold) {
  ShardGroup group;
  group.algorithm = Algorithm::kList;
  group.key_types = {type::kBpchar};
  Bucket a, b;
  a.values = {"x", "y"};
  b.values = {"z"};
  b.accepts_null = true;
  group.buckets = {a, b};
  const auto find = [&](KeyValue key) {
    const KeyValue values[] = {key};
    return bucket_of(group, values).value();
  };
  EXPECT_EQ(find("y   "), BucketId{0});
  EXPECT_EQ(find(std::nullopt), BucketId{1});
  EXPECT_EQ(find("w"), std::nullopt);
}

TEST(BinaryFromText, JudgesLikeTheInputFunctions) {
  EXPECT_EQ(error_of(type::kInt2, "32768"), "22003");
  EXPECT_EQ(error_of(type::kInt4, " -2147483648\t"), "value");
  EXPECT_EQ(error_of(type::kInt8, "9223372036854775808"), "22003");
  for (const auto* text : {"", "1x", "+-1", "1.0", "0x10"})
    EXPECT_EQ(error_of(type::kInt4, text), "22P02") << text;
  EXPECT_EQ(binary(type::kInt4, "+7"), to_be(int32_t{7}));
  EXPECT_EQ(error_of(type::kUuid, "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"), "value");
  EXPECT_EQ(error_of(type::kUuid, "a0ee-bc999c0b4ef8bb6d6bb9bd380a11"), "value");
  EXPECT_EQ(error_of(type::kUuid, "a0e-ebc999c0b4ef8bb6d6bb9bd380a11"), "22P02");
  EXPECT_EQ(error_of(type::kBool, "o"), "22P02");
  EXPECT_EQ(binary(type::kBool, " ON "), "\1");
  EXPECT_EQ(binary(type::kBytea, "\\xDE ad"), "\xde\xad");
  EXPECT_EQ(binary(type::kBytea, "a\\\\b\\377"), "a\\b\xff");
  EXPECT_EQ(error_of(type::kBytea, "a\\9"), "22P02");
  EXPECT_EQ(error_of(type::kNumeric, "1.2.3"), "22P02");
  EXPECT_EQ(error_of(type::kNumeric, "1e999999"), "server");
  EXPECT_EQ(error_of(type::kNumeric, "."), "22P02");
}

TEST(BinaryFromText, LeavesDatesThatDependOnSettingsToTheServer) {
  EXPECT_EQ(binary(type::kDate, "2000-01-01"), to_be(int32_t{0}));
  EXPECT_EQ(binary(type::kDate, "1999-12-31"), to_be(int32_t{-1}));
  EXPECT_EQ(binary(type::kTimestamptz, "2000-01-01 01:00:00.5+01"), to_be(int64_t{500000}));
  EXPECT_EQ(binary(type::kTimestamptz, "1999-12-31T18:30-05:30"), to_be(int64_t{0}));
  EXPECT_EQ(binary(type::kTimestamp, "2000-01-01 00:00:01+07"), to_be(int64_t{1000000}));
  EXPECT_EQ(error_of(type::kTimestamptz, "2000-01-01 00:00:00"), "server");
  for (const auto* text : {"yesterday", "01/02/2000", "2000-1-1", "20000101", "99-01-01"}) {
    EXPECT_EQ(error_of(type::kDate, text), "server") << text;
  }
  EXPECT_EQ(error_of(type::kDate, "2023-02-29"), "22008");
  EXPECT_EQ(error_of(type::kDate, "2024-02-29"), "value");
  EXPECT_EQ(error_of(type::kTimestamp, "2024-01-01 25:00:00"), "22008");
  EXPECT_EQ(binary(type::kTime, "24:00:00"), to_be(int64_t{86400000000}));
}

TEST(ConvertBinary, ConvertsWithinAFamilyOnly) {
  const std::string five = to_be(int16_t{5});
  EXPECT_EQ(convert_binary(type::kInt2, type::kInt8, five), to_be(int64_t{5}));
  EXPECT_EQ(convert_binary(type::kInt8, type::kInt2, to_be(int64_t{70000})), std::nullopt);
  EXPECT_EQ(convert_binary(type::kInt2, type::kNumeric, five), binary(type::kNumeric, "5"));
  EXPECT_EQ(convert_binary(type::kInt8, type::kNumeric, to_be(INT64_MIN)),
            binary(type::kNumeric, "-9223372036854775808"));
  EXPECT_EQ(convert_binary(type::kBpchar, type::kText, "ab  "), "ab");
  EXPECT_EQ(convert_binary(type::kText, type::kBpchar, "ab  "), "ab  ");
  EXPECT_EQ(convert_binary(type::kText, type::kName, std::string(64, 'x')), std::nullopt);
  EXPECT_EQ(convert_binary(type::kInt4, type::kText, to_be(int32_t{1})), std::nullopt);
  EXPECT_EQ(convert_binary(type::kInt4, type::kInt8, "xy"), std::nullopt);
  EXPECT_EQ(convert_binary(type::kDate, type::kTimestamp, to_be(int32_t{1})), to_be(int64_t{86400000000}));
}

TEST(ApplyTypmod, RoundsAndLimitsAsAColumnDoes) {
  constexpr int32_t kNumeric52 = ((5 << 16) | 2) + 4;
  const auto store = [](Oid type, int32_t typmod, std::string_view text) {
    const auto stored = apply_typmod(type, typmod, binary(type, text));
    return stored ? *stored : stored.error().sqlstate;
  };
  EXPECT_EQ(store(type::kNumeric, kNumeric52, "1.005"), binary(type::kNumeric, "1.01"));
  EXPECT_EQ(store(type::kNumeric, kNumeric52, "-1.005"), binary(type::kNumeric, "-1.01"));
  EXPECT_EQ(store(type::kNumeric, kNumeric52, "999.994"), binary(type::kNumeric, "999.99"));
  EXPECT_EQ(store(type::kNumeric, kNumeric52, "999.995"), "22003");
  EXPECT_EQ(store(type::kNumeric, kNumeric52, "0.0049"), binary(type::kNumeric, "0.00"));
  EXPECT_EQ(store(type::kVarchar, 4 + 3, "ab\xc3\xa9 "), "ab\xc3\xa9");
  EXPECT_EQ(store(type::kVarchar, 4 + 3, "abcd"), "22001");
  EXPECT_EQ(store(type::kVarchar, -1, "abcd "), "abcd ");
  EXPECT_EQ(store(type::kTimestamp, 0, "2000-01-01 00:00:00.5"), to_be(int64_t{1000000}));
  EXPECT_EQ(store(type::kTimestamp, 0, "1999-12-31 23:59:59.5"), to_be(int64_t{-1000000}));
}

}  // namespace
}  // namespace decan::catalog
