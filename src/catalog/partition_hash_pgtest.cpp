// Millions of generated values per key type: our hash, our parsing of the text form and our choice of bucket
// against the server's.
#include <gtest/gtest.h>

#include <fstream>
#include <iostream>
#include <random>

#include "catalog/hash_bytes.h"
#include "catalog/partition_hash.h"
#include "catalog/type_oids.h"
#include "catalog/value_binary.h"
#include "testing/pg.h"

namespace decan::catalog {
namespace {

constexpr std::string_view kSeedText = "8816678312871386365";  // HASH_PARTITION_SEED as bigint
// An array's hash is 31 + its element's: the way to the extended hash function of any type's default operator
// class.
constexpr uint64_t kArrayStart = 31;

testing::PgFixture& server() {
  static testing::PgFixture instance;
  return instance;
}

double random_seed() {
  static const double seed = [] {
    const char* given = std::getenv("DECAN_TEST_SEED");
    const double chosen =
        given != nullptr ? std::atof(given) : (std::random_device{}() % 1'000'000) / 1'000'000.0;
    std::cout << "seed: DECAN_TEST_SEED=" << chosen << '\n';
    return chosen;
  }();
  return seed;
}

struct TypeCase {
  Oid type;
  const char* sql_name;
  const char* generator;  // expression over i (row number) and h (hex of 32 random digits)
};

const TypeCase kCases[] = {
    {type::kInt2, "int2", "((i % 65536) - 32768)::int2"},
    {type::kInt4, "int4", "('x' || substr(h, 1, 8))::bit(32)::int4"},
    {type::kInt8, "int8", "('x' || substr(h, 1, 16))::bit(64)::int8 >> (i % 60)"},
    {type::kText, "text",
     "substr(h, 1, i % 33) || case when i % 5 = 0 then chr(256 + i % 50000) || ' ' else '' end"},
    {type::kVarchar, "varchar", "(substr(h, 1, i % 33) || repeat(' ', i % 3))::varchar"},
    {type::kBpchar, "bpchar", "(substr(h, 1, i % 33) || repeat(' ', i % 4))::bpchar"},
    {type::kName, "name", "(h || substr(h, 1, i % 32))::name"},
    {type::kChar, "\"char\"", "(i % 127 + 1)::\"char\""},
    {type::kUuid, "uuid", "h::uuid"},
    {type::kBool, "bool", "i % 2 = 0"},
    {type::kBytea, "bytea", "decode(substr(h, 1, i % 17 * 2), 'hex')"},
    {type::kOid, "oid", "('x' || substr(h, 1, 8))::bit(32)::int8::oid"},
    {type::kDate, "date",
     "case i % 1000 when 0 then 'infinity' when 1 then '-infinity' else date '2000-01-01' + (random() * "
     "4000000 - 2000000)::int end"},
    {type::kTime, "time", "time '00:00' + random() * interval '24 hours'"},
    {type::kTimestamp, "timestamp",
     "case i % 1000 when 0 then 'infinity' else timestamp '2000-01-01' + (random() - 0.5) * interval '12000 "
     "years' end"},
    {type::kTimestamptz, "timestamptz",
     "timestamptz '2000-01-01+00' + (random() - 0.5) * interval '200 years'"},
    {type::kNumeric, "numeric",
     "case i % 100 when 0 then 'NaN'::numeric when 1 then 'Infinity' when 2 then '-Infinity' when 3 then "
     "0.000 "
     "else round((random() - 0.5)::numeric * (10::numeric ^ (i % 41 - 20)), i % 30) end"},
    {type::kFloat4, "float4",
     "case i % 100 when 0 then 'NaN' when 1 then '-0' when 2 then '-Infinity' else ((random() - 0.5) * 10.0 "
     "^ (i % 61 - 30))::float4 end"},
    {type::kFloat8, "float8",
     "case i % 100 when 0 then 'NaN' when 1 then '-0' when 2 then 'Infinity' else (random() - 0.5) * 10.0 ^ "
     "(i % 401 - 200) end"},
};

// Walks the rows of COPY … BINARY data that comes in pieces: every chunk of libpq holds whole rows, the first
// one the header.
template <class Row>
class BinaryRows {
 public:
  explicit BinaryRows(Row row) : row_(std::move(row)) {}
  void feed(std::string_view chunk) {
    constexpr size_t kFileHeaderBytes = 19;
    if (!header_seen_) chunk.remove_prefix(kFileHeaderBytes);
    header_seen_ = true;
    while (chunk.size() >= 2) {
      const auto columns = read_be<int16_t>(chunk);
      chunk.remove_prefix(2);
      if (columns < 0) return;
      fields_.clear();
      for (int16_t i = 0; i < columns; ++i) {
        const auto bytes = read_be<int32_t>(chunk);
        chunk.remove_prefix(4);
        if (bytes < 0) {
          fields_.emplace_back(std::nullopt);
          continue;
        }
        fields_.emplace_back(chunk.substr(0, static_cast<size_t>(bytes)));
        chunk.remove_prefix(static_cast<size_t>(bytes));
      }
      row_(fields_);
    }
  }

 private:
  Row row_;
  bool header_seen_ = false;
  std::vector<std::optional<std::string_view>> fields_;
};

template <class Row>
void copy_binary(testing::Connection& connection, const std::string& query, Row row) {
  BinaryRows<Row> rows(std::move(row));
  connection.copy_out("COPY (" + query + ") TO STDOUT BINARY",
                      [&](std::string_view chunk) { rows.feed(chunk); });
}

std::string generated_rows(const std::string& expression, size_t count) {
  return "SELECT " + expression + " FROM (SELECT i, md5(random()::text) h FROM generate_series(1, " +
         std::to_string(count) + ") i) g";
}

class HashOfType : public ::testing::TestWithParam<TypeCase> {};

TEST_P(HashOfType, EqualsTheServersForAMillionValues) {
  const TypeCase& type_case = GetParam();
  constexpr size_t kValues = 1'000'000;
  auto connection = server().connect();
  connection.exec("SELECT setseed(" + std::to_string(random_seed()) + "); SET timezone = 'Asia/Kolkata'");
  const std::string query =
      "SELECT v, hash_array_extended(ARRAY[v], " + std::string(kSeedText) + "), v::text FROM (" +
      generated_rows("(" + std::string(type_case.generator) + ")::" + type_case.sql_name + " v", kValues) +
      ") t";
  size_t rows = 0, wrong_hash = 0, wrong_text = 0, unread = 0;
  std::string example;
  const Oid types[] = {type_case.type};
  copy_binary(connection, query, [&](const std::vector<std::optional<std::string_view>>& fields) {
    ++rows;
    const KeyValue values[] = {*fields[0]};
    const auto ours = partition_hash(types, values);
    const uint64_t servers = hash_combine64(0, read_be<uint64_t>(*fields[1]) - kArrayStart);
    if (!ours || *ours != servers) {
      ++wrong_hash;
      example = *fields[2];
    }
    const auto parsed = binary_from_text(type_case.type, *fields[2]);
    if (parsed && !*parsed) {
      ++unread;
    } else if (!parsed || **parsed != *fields[0]) {
      // bpchar's cast to text drops the blanks, which the hash ignores.
      if (type_case.type != type::kBpchar || !parsed || **parsed != trim_blanks(*fields[0])) {
        ++wrong_text;
        example = *fields[2];
      }
    }
  });
  EXPECT_EQ(rows, kValues);
  EXPECT_EQ(wrong_hash, 0u) << "for example " << example;
  EXPECT_EQ(wrong_text, 0u) << "for example " << example;
  EXPECT_LT(unread, kValues / 20) << "text forms left to the server";
}

INSTANTIATE_TEST_SUITE_P(AllKeyTypes, HashOfType, ::testing::ValuesIn(kCases), [](const auto& info) {
  std::string name = info.param.sql_name;
  std::erase(name, '"');
  return name;
});

// Every row must lie in the leaf that bucket_of names; leaves are called <table>_<bucket>.
void expect_rows_where_bucket_of_says(testing::Connection& connection, const std::string& table,
                                      const std::string& key, const ShardGroup& group, size_t expected_rows) {
  size_t rows = 0, wrong = 0;
  copy_binary(connection, "SELECT tableoid::regclass::text, " + key + " FROM " + table,
              [&](const std::vector<std::optional<std::string_view>>& fields) {
                ++rows;
                std::vector<KeyValue> values(fields.begin() + 1, fields.end());
                const auto bucket = bucket_of(group, values);
                const bool right =
                    bucket && *bucket && *fields[0] == table + "_" + std::to_string((*bucket)->value);
                wrong += right ? 0 : 1;
              });
  EXPECT_EQ(rows, expected_rows);
  EXPECT_EQ(wrong, 0u);
}

TEST(BucketOfOnServer, CompositeHashKeysWithNullsLandInTheSameLeaf) {
  auto connection = server().connect();
  connection.exec("CREATE TABLE hashed(a int8, b text COLLATE \"C\", c numeric) PARTITION BY HASH(a, b, c)");
  ShardGroup group;
  group.key_types = {type::kInt8, type::kText, type::kNumeric};
  constexpr std::pair<uint32_t, uint32_t> kParts[] = {{4, 0}, {8, 1}, {8, 5}, {4, 2}, {4, 3}};
  for (size_t i = 0; i < std::size(kParts); ++i) {
    const auto [modulus, remainder] = kParts[i];
    Bucket bucket;
    bucket.modulus = modulus;
    bucket.remainder = remainder;
    group.buckets.push_back(bucket);
    connection.exec("CREATE TABLE hashed_" + std::to_string(i) +
                    " PARTITION OF hashed FOR VALUES WITH (MODULUS " + std::to_string(modulus) +
                    ", REMAINDER " + std::to_string(remainder) + ")");
  }
  connection.exec("SELECT setseed(" + std::to_string(random_seed()) + ")");
  connection.exec("INSERT INTO hashed " +
                  generated_rows("nullif(i % 7, 0) * i, nullif(substr(h, 1, i % 6), ''), "
                                 "case when i % 3 > 0 then random()::numeric end",
                                 100'000));
  expect_rows_where_bucket_of_says(connection, "hashed", "a, b, c", group, 100'000);
}

std::string scalar_binary(testing::Connection& connection, const std::string& expression) {
  std::string out;
  copy_binary(connection, "SELECT " + expression,
              [&](const std::vector<std::optional<std::string_view>>& fields) { out = *fields[0]; });
  return out;
}

// Range partitions with random cuts over generated values, for each type that has an order.
TEST_P(HashOfType, RangesAndListsSplitAsTheServerDoes) {
  const TypeCase& type_case = GetParam();
  if (type_case.type == type::kBool) GTEST_SKIP() << "two values make no ranges";
  auto connection = server().connect();
  connection.exec("SELECT setseed(" + std::to_string(random_seed()) + ")");
  const std::string name = type_case.sql_name;
  const bool collatable =
      type_case.type == type::kText || type_case.type == type::kVarchar || type_case.type == type::kBpchar;
  connection.exec("DROP TABLE IF EXISTS source, r, l; CREATE TABLE source(v " + name +
                  (collatable ? " COLLATE \"C\"" : "") + ")");
  connection.exec("INSERT INTO source " +
                  generated_rows("(" + std::string(type_case.generator) + ")::" + name, 5'000));
  connection.exec(
      "CREATE TABLE r(LIKE source) PARTITION BY RANGE(v); CREATE TABLE l(LIKE source) PARTITION BY LIST(v)");
  const auto cuts = connection.exec(
      "SELECT quote_literal(v::text) FROM (SELECT DISTINCT v FROM source) d ORDER BY v OFFSET 1 LIMIT 9");
  ASSERT_GT(cuts.size(), 2u);
  ShardGroup ranges, lists;
  ranges.algorithm = Algorithm::kRange;
  lists.algorithm = Algorithm::kList;
  ranges.key_types = lists.key_types = {type_case.type};
  for (size_t i = 0; i <= cuts.size(); ++i) {
    Bucket bucket;
    bucket.lower = {i == 0 ? std::nullopt : ranges.buckets[i - 1].upper[0]};
    const bool last = i == cuts.size();
    bucket.upper = {last ? std::nullopt
                         : std::optional(scalar_binary(connection, cuts.at(i, 0) + "::" + name))};
    ranges.buckets.push_back(bucket);
    const std::string number = std::to_string(i);
    connection.exec("CREATE TABLE r_" + number + " PARTITION OF r FOR VALUES FROM (" +
                    (i == 0 ? "MINVALUE" : cuts.at(i - 1, 0)) + ") TO (" +
                    (last ? "MAXVALUE" : cuts.at(i, 0)) + ")");
    Bucket listed;
    listed.is_default = last;
    if (!last) listed.values = {*bucket.upper[0]};
    lists.buckets.push_back(listed);
    connection.exec("CREATE TABLE l_" + number + " PARTITION OF l " +
                    (last ? "DEFAULT" : "FOR VALUES IN (" + cuts.at(i, 0) + ")"));
  }
  connection.exec("INSERT INTO l SELECT * FROM source; INSERT INTO l VALUES(NULL)");
  // The greatest values equal MAXVALUE nowhere: MAXVALUE is above infinity and NaN too.
  connection.exec("INSERT INTO r SELECT * FROM source");
  expect_rows_where_bucket_of_says(connection, "r", "v", ranges, 5'000);
  expect_rows_where_bucket_of_says(connection, "l", "v", lists, 5'001);
}

TEST(ApplyTypmodOnServer, RoundsNumericsAsTheServerDoes) {
  auto connection = server().connect();
  connection.exec("SELECT setseed(" + std::to_string(random_seed()) + ")");
  constexpr int32_t kTypmod = ((20 << 16) | 3) + 4;
  size_t wrong = 0;
  const std::string source =
      generated_rows("((random() - 0.5) * 10.0 ^ (i % 12))::numeric + (i % 7) * 0.0005 v", 100'000);
  copy_binary(connection, "SELECT v, v::numeric(20, 3) FROM (" + source + ") t",
              [&](const std::vector<std::optional<std::string_view>>& fields) {
                const auto ours = apply_typmod(type::kNumeric, kTypmod, *fields[0]);
                wrong += ours && *ours == *fields[1] ? 0 : 1;
              });
  EXPECT_EQ(wrong, 0u);
  wrong = 0;
  const std::string times =
      generated_rows("timestamp '2000-01-01' + (random() - 0.5) * interval '200 years' v", 100'000);
  copy_binary(connection, "SELECT v, v::timestamp(3) FROM (" + times + ") t",
              [&](const std::vector<std::optional<std::string_view>>& fields) {
                const auto ours = apply_typmod(type::kTimestamp, 3, *fields[0]);
                wrong += ours && *ours == *fields[1] ? 0 : 1;
              });
  EXPECT_EQ(wrong, 0u);
}

}  // namespace
}  // namespace decan::catalog
