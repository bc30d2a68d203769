// Property: rows spread over k sources and merged give the bytes that one PostgreSQL gives for the whole, in
// text and in binary format. DECAN_TEST_SEED repeats a run.
#include <gtest/gtest.h>
#include <libpq-fe.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <random>

#include "exec/merge.h"
#include "testing/pg.h"

namespace decan::exec {
namespace {

using plan::HavingTerm;
using plan::MergeSpec;
using plan::OutputColumn;
using plan::SortKey;
using Kind = OutputColumn::Kind;
using Random = std::mt19937_64;
using Row = std::vector<std::optional<std::string>>;

struct ColumnType {
  std::string name, type;
  std::string shown;  // expression that hides which of several equal values represents a group
  std::vector<std::string> values;
  bool min_max = true;
};

// Border values of each type; random ones are added per run.
std::vector<ColumnType> column_types() {
  return {
      {"c_int2", "int2", "", {"-32768", "32767", "0", "7"}},
      {"c_int4", "int4", "", {"-2147483648", "2147483647", "0", "-1", "12"}},
      {"c_int8", "int8", "", {"-9223372036854775808", "9223372036854775807", "0", "-1", "1000000007"}},
      {"c_oid", "oid", "", {"0", "4294967295", "1259"}},
      {"c_bool", "bool", "", {"t", "f"}, false},
      {"c_text", "text COLLATE \"C\"", "", {"", "a", "A", "ä", "z", "aa", "日本", "a\u00a0"}},
      {"c_varchar", "varchar(20) COLLATE \"C\"", "", {"", "b", "B ", "b  "}},
      {"c_bpchar", "char(6) COLLATE \"C\"", "", {"", "x", "xy", "x y", "é"}},
      {"c_name", "name COLLATE \"C\"", "", {"pg_class", "t", ""}, false},
      {"c_bytea", "bytea", "", {"\\x", "\\x00", "\\xff", "\\x00ff", "\\x61"}, false},
      {"c_date", "date", "", {"infinity", "-infinity", "4713-01-01 BC", "2000-01-01", "5874897-12-31"}},
      {"c_time", "time", "", {"00:00:00", "24:00:00", "12:34:56.789012"}},
      {"c_timetz", "timetz", "", {"12:00:00+00", "13:00:00+01", "11:00:00-01", "24:00:00-15:59"}},
      {"c_timestamp",
       "timestamp",
       "",
       {"infinity", "-infinity", "4713-01-01 BC", "2024-02-29 23:59:59.999999"}},
      {"c_timestamptz",
       "timestamptz",
       "",
       {"infinity", "-infinity", "1999-12-31 23:00:00-01", "2000-01-01 00:00:00+00"}},
      {"c_interval",
       "interval",
       "c_interval - c_interval",
       {"1 mon", "30 days", "720:00:00", "-1 day", "0", "178000000 years", "-178000000 years"}},
      {"c_uuid",
       "uuid",
       "",
       {"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"},
       false},
      {"c_numeric",
       "numeric",
       "trim_scale(c_numeric)",
       {"0", "0.00", "-0.0", "1", "1.0", "1.00000", "NaN", "10000", "9999", "0.0001", "0.00010", "-1.5",
        "1e40", "-1e-40", "1e1000", "1e-1000"}},
      {"c_infinite", "numeric", "", {"Infinity", "-Infinity", "NaN", "0"}},
      {"c_float4", "float4", "c_float4 + 0", {"NaN", "Infinity", "-Infinity", "0", "-0", "1e-40", "3.4e38"}},
      {"c_float8",
       "float8",
       "c_float8 + 0",
       {"NaN", "Infinity", "-Infinity", "0", "-0", "5e-324", "1.7976931348623157e308"}},
      {"c_money", "money", "", {"0", "-92233720368547758.08", "92233720368547758.07"}},
      {"c_macaddr", "macaddr", "", {"00:00:00:00:00:00", "ff:ff:ff:00:00:01", "7f:ff:ff:ff:ff:ff"}, false},
      {"c_lsn", "pg_lsn", "", {"0/0", "FFFFFFFF/FFFFFFFF", "1/0"}},
      {"c_xid8", "xid8", "", {"0", "18446744073709551615", "9"}},
      {"c_char", "\"char\"", "", {"a", "A", "\\377"}, false},
  };
}

std::string random_numeric(Random& random) {
  const auto digits = [&](size_t most) {
    std::string text;
    for (size_t n = random() % (most + 1); n > 0; --n) text += static_cast<char>('0' + random() % 10);
    return text;
  };
  std::string text = random() % 2 ? "-" : "";
  text += "0" + digits(random() % 4 == 0 ? 40 : 6);
  if (random() % 2) text += "." + digits(random() % 4 == 0 ? 30 : 5);
  return text;
}

std::string random_value(const ColumnType& type, Random& random) {
  if (type.name == "c_numeric" && random() % 2) return random_numeric(random);
  if (type.name == "c_int4" && random() % 2) return std::to_string(static_cast<int32_t>(random()));
  if (type.name == "c_int8" && random() % 2) return std::to_string(static_cast<int64_t>(random()));
  if (type.name == "c_float8" && random() % 2)
    return std::to_string(static_cast<double>(static_cast<int32_t>(random())) / 1e3);
  if (type.name == "c_date" && random() % 2) return "2000-01-" + std::to_string(random() % 28 + 1);
  return type.values[random() % type.values.size()];
}

struct Case {
  std::string name, whole, fragment;  // fragment: %SOURCE% stands for the condition on one source
  MergeSpec spec;
  std::optional<int64_t> limit, offset;
  std::vector<std::optional<std::string>> having_values;
  bool ordered = true;  // else compared as a set
};

struct Answer {
  std::vector<Row> rows;
  wire::RowDescription description;
};

Answer run_binary_or_text(testing::Connection& connection, const std::string& sql, bool binary) {
  const std::unique_ptr<PGresult, decltype(&PQclear)> result(
      PQexecParams(connection.raw(), sql.c_str(), 0, nullptr, nullptr, nullptr, nullptr, binary), &PQclear);
  if (PQresultStatus(result.get()) != PGRES_TUPLES_OK)
    throw std::runtime_error(sql + ": " + PQerrorMessage(connection.raw()));
  Answer answer;
  for (int c = 0; c < PQnfields(result.get()); ++c) {
    wire::FieldDescription field;
    field.name = PQfname(result.get(), c);
    field.type = PQftype(result.get(), c);
    field.type_bytes = static_cast<int16_t>(PQfsize(result.get(), c));
    field.typmod = PQfmod(result.get(), c);
    field.format = binary;
    answer.description.fields.push_back(field);
  }
  for (int r = 0; r < PQntuples(result.get()); ++r) {
    Row row;
    for (int c = 0; c < PQnfields(result.get()); ++c) {
      if (PQgetisnull(result.get(), r, c)) {
        row.emplace_back();
      } else {
        row.emplace_back(std::string(PQgetvalue(result.get(), r, c),
                                     static_cast<size_t>(PQgetlength(result.get(), r, c))));
      }
    }
    answer.rows.push_back(std::move(row));
  }
  return answer;
}

std::string printable(const std::vector<Row>& rows) {
  std::string out;
  for (const Row& row : rows) {
    for (const auto& value : row) {
      out += value ? "[" : "NULL";
      for (const char c : value.value_or("")) {
        constexpr char kHex[] = "0123456789abcdef";
        if (c >= ' ' && c <= '~') {
          out += c;
        } else {
          out += "\\", out += kHex[c >> 4 & 15], out += kHex[c & 15];
        }
      }
      if (value) out += "]";
      out += " ";
    }
    out += "\n";
  }
  return out;
}

std::string body_of(const Row& row) {
  std::vector<std::optional<std::string_view>> values(row.begin(), row.end());
  std::string message;
  wire::Writer(message).data_row(values);
  return message.substr(wire::kHeaderBytes);
}

std::vector<Row> rows_of(std::string_view messages) {
  std::vector<Row> rows;
  while (!messages.empty()) {
    const auto header = wire::decode_header(messages, wire::kMaxMessageBytes).value().value();
    EXPECT_EQ(header.type, 'D');
    std::vector<std::optional<std::string_view>> values;
    EXPECT_TRUE(wire::decode_data_row(messages.substr(wire::kHeaderBytes, header.body_bytes), values));
    Row row;
    for (const auto& value : values) row.push_back(value ? std::optional<std::string>(*value) : std::nullopt);
    rows.push_back(std::move(row));
    messages.remove_prefix(wire::kHeaderBytes + header.body_bytes);
  }
  return rows;
}

class MergeProperty : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    server_ = std::make_unique<testing::PgFixture>();
    connection_ = std::make_unique<testing::Connection>(server_->connect());
    connection_->exec("SET timezone='Europe/Berlin'; SET extra_float_digits=1");
  }
  static void TearDownTestSuite() {
    connection_.reset();
    server_.reset();
  }

  void SetUp() override {
    const char* given = std::getenv("DECAN_TEST_SEED");
    seed_ = given ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    random_.seed(seed_);
    RecordProperty("seed", std::to_string(seed_));
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed_));
  }

  void fill(size_t rows, size_t sources) {
    sources_ = sources;
    std::string ddl = "DROP TABLE IF EXISTS t; CREATE TABLE t(id int, src int, k int";
    for (const ColumnType& type : types_) ddl += ", " + type.name + " " + type.type;
    connection_->exec(ddl + ")");
    std::string data;
    for (size_t i = 0; i < rows; ++i) {
      data += std::to_string(i) + "\t" + std::to_string(random_() % sources) + "\t" +
              std::to_string(random_() % 12);
      for (const ColumnType& type : types_) {
        data += '\t';
        if (random_() % 8 == 0) {
          data += "\\N";
          continue;
        }
        for (const char c : random_value(type, random_)) data += c == '\\' ? "\\\\" : std::string(1, c);
      }
      data += '\n';
    }
    connection_->copy_in("COPY t FROM STDIN", data);
  }

  // The fragment of one source: visible columns in the client's format, hidden ones in binary.
  Answer fragment(const Case& c, size_t source, bool binary) {
    std::string sql = c.fragment;
    const std::string mark = "%SOURCE%";
    sql.replace(sql.find(mark), mark.size(), "src = " + std::to_string(source));
    Answer hidden = run_binary_or_text(*connection_, sql, true);
    if (binary) return hidden;
    const Answer shown = run_binary_or_text(*connection_, sql, false);
    for (size_t r = 0; r < hidden.rows.size(); ++r) {
      for (size_t v = 0; v < c.spec.visible; ++v) hidden.rows[r][v] = shown.rows[r][v];
    }
    return hidden;
  }

  std::string merge(const Case& c, bool binary, wire::RowDescription* description) {
    std::vector<Answer> parts;
    for (size_t s = 0; s < sources_; ++s) parts.push_back(fragment(c, s, binary));
    MergeInput input;
    input.spec = &c.spec;
    input.fragment = parts[0].description;
    input.result_formats.assign(c.spec.output.size(), binary);
    input.sources = sources_;
    input.limit = c.limit, input.offset = c.offset;
    input.having_values = c.having_values;
    auto merge = make_merge(std::move(input));
    if (!merge) throw std::runtime_error(c.name + ": " + merge.error().message);
    *description = (*merge)->description();
    std::string out;
    std::vector<size_t> next(sources_);
    std::vector<bool> ended(sources_);
    while ((*merge)->wanted().need == MergeNeed::kRow) {
      const auto wanted = (*merge)->wanted();
      size_t source = wanted.source;
      if (wanted.any) {
        do source = random_() % sources_;
        while (ended[source]);
      }
      Status status;
      if (next[source] < parts[source].rows.size()) {
        status = (*merge)->row(source, body_of(parts[source].rows[next[source]++]), out);
      } else {
        ended[source] = true;
        status = (*merge)->end_of(source, out);
      }
      if (!status) throw std::runtime_error(c.name + ": " + status.error().message);
    }
    return out;
  }

  void check(const Case& c) {
    for (const bool binary : {false, true}) {
      const Answer expected = run_binary_or_text(*connection_, c.whole, binary);
      wire::RowDescription description;
      std::vector<Row> got = rows_of(merge(c, binary, &description));
      std::vector<Row> want = expected.rows;
      if (!c.ordered) std::sort(got.begin(), got.end()), std::sort(want.begin(), want.end());
      ASSERT_EQ(printable(got), printable(want))
          << c.name << (binary ? " binary" : " text") << "\nseed " << seed_ << "\n"
          << c.whole;
      ASSERT_EQ(description.fields.size(), expected.description.fields.size());
      for (size_t i = 0; i < description.fields.size(); ++i) {
        EXPECT_EQ(description.fields[i].type, expected.description.fields[i].type)
            << c.whole << " column " << i;
        EXPECT_EQ(description.fields[i].type_bytes, expected.description.fields[i].type_bytes) << c.whole;
        EXPECT_EQ(description.fields[i].typmod, expected.description.fields[i].typmod) << c.whole;
        EXPECT_EQ(description.fields[i].format, binary) << c.whole;
      }
    }
  }

  static inline std::unique_ptr<testing::PgFixture> server_;
  static inline std::unique_ptr<testing::Connection> connection_;
  std::vector<ColumnType> types_ = column_types();
  uint64_t seed_ = 0;
  Random random_;
  size_t sources_ = 1;
};

OutputColumn column(uint32_t index) {
  OutputColumn output;
  output.column = index;
  return output;
}
OutputColumn aggregate(Kind kind, uint32_t index, uint32_t key = 0, Oid sum_type = 0) {
  OutputColumn output;
  output.kind = kind, output.column = index, output.key = key, output.sum_type = sum_type,
  output.c_ordered = true;
  return output;
}
SortKey sort_key(uint32_t index, bool descending, bool nulls_first) {
  SortKey key;
  key.column = index, key.descending = descending, key.nulls_first = nulls_first, key.c_ordered = true;
  return key;
}
std::string order_words(bool descending, bool nulls_first) {
  return std::string(descending ? " DESC" : " ASC") + (nulls_first ? " NULLS FIRST" : " NULLS LAST");
}

// SELECT c, id … ORDER BY c, id LIMIT … OFFSET …
Case ordered_case(const ColumnType& type, Random& random, bool with_ties) {
  Case c;
  const bool descending = random() % 2, nulls_first = random() % 2;
  if (with_ties || random() % 2) c.limit = static_cast<int64_t>(random() % 60);
  if (!with_ties && random() % 2) c.offset = static_cast<int64_t>(random() % 20);
  const std::string order =
      " ORDER BY " + type.name + order_words(descending, nulls_first) + (with_ties ? "" : ", id");
  std::string tail = order, fragment_tail = order;
  const std::string fetch = with_ties ? " ROWS WITH TIES" : " ROWS ONLY";
  if (c.offset) tail += " OFFSET " + std::to_string(*c.offset);
  if (c.limit) {
    tail += " FETCH FIRST " + std::to_string(*c.limit) + fetch;
    fragment_tail += " FETCH FIRST " + std::to_string(*c.limit + c.offset.value_or(0)) + fetch;
  }
  const std::string list = "SELECT id, " + type.name + ", k";
  c.name = "order by " + type.name;
  c.whole = list + " FROM t" + tail;
  c.fragment = list + ", " + type.name + ", id FROM t WHERE %SOURCE%" + fragment_tail;
  c.spec.visible = 3, c.spec.hidden = 2;
  c.spec.output = {column(0), column(1), column(2)};
  c.spec.order_by = {sort_key(3, descending, nulls_first)};
  if (!with_ties) c.spec.order_by.push_back(sort_key(4, false, false));
  c.spec.with_ties = with_ties;
  if (c.limit) c.spec.limit.emplace();
  c.ordered = !with_ties;
  return c;
}

// SELECT g, all aggregates … GROUP BY g [ORDER BY g].
Case grouped_case(const ColumnType& type, bool descending, bool nulls_first) {
  Case c;
  c.name = "group by " + type.name;
  const std::string shown = type.shown.empty() ? type.name : type.shown;
  c.whole = "SELECT " + shown +
            ", count(*), count(c_int4), sum(c_int2), sum(c_int4), sum(c_int8), sum(c_numeric), "
            "sum(c_infinite), avg(c_int2), "
            "avg(c_int4), avg(c_int8), avg(c_numeric), avg(c_infinite), bool_and(c_bool), bool_or(c_bool) "
            "FROM t GROUP BY " +
            type.name + " ORDER BY " + type.name + order_words(descending, nulls_first);
  c.fragment =
      "SELECT " + shown + ", " + type.name +
      ", count(*), count(c_int4), sum(c_int2), sum(c_int4), sum(c_int8), sum(c_numeric), sum(c_infinite), "
      "count(c_int2), count(c_int8), count(c_numeric), count(c_infinite), bool_and(c_bool), bool_or(c_bool) "
      "FROM t WHERE %SOURCE% GROUP BY " +
      type.name;
  c.spec.visible = 1, c.spec.hidden = 14;
  c.spec.grouped = true;
  c.spec.group_keys = {1};
  c.spec.output = {column(0),
                   aggregate(Kind::kCount, 2),
                   aggregate(Kind::kCount, 3),
                   aggregate(Kind::kSum, 4),
                   aggregate(Kind::kSum, 5),
                   aggregate(Kind::kSum, 6),
                   aggregate(Kind::kSum, 7),
                   aggregate(Kind::kSum, 8),
                   aggregate(Kind::kAvg, 4, 9),
                   aggregate(Kind::kAvg, 5, 3),
                   aggregate(Kind::kAvg, 6, 10),
                   aggregate(Kind::kAvg, 7, 11),
                   aggregate(Kind::kAvg, 8, 12),
                   aggregate(Kind::kBoolAnd, 13),
                   aggregate(Kind::kBoolOr, 14)};
  c.spec.order_by = {sort_key(1, descending, nulls_first)};
  return c;
}

// SELECT k, min(c), max(c) … GROUP BY k; without GROUP BY when `global`.
Case extreme_case(const ColumnType& type, bool global, const std::string& where) {
  Case c;
  c.name = "min, max of " + type.name;
  std::string shown = type.name;
  if (type.name == "c_numeric") shown = "trim_scale(c_numeric)";
  if (type.name == "c_float4" || type.name == "c_float8") shown = "(" + type.name + " + 0)::" + type.type;
  if (type.name == "c_interval") shown = "justify_interval(c_interval)";
  const std::string extremes = "min(" + shown + "), max(" + shown + ")";
  c.whole = "SELECT " + std::string(global ? "" : "k, ") + extremes + " FROM t WHERE " + where +
            (global ? "" : " GROUP BY k ORDER BY k");
  c.fragment =
      "SELECT k, " + extremes + ", k, " + extremes + " FROM t WHERE %SOURCE% AND " + where + " GROUP BY k";
  if (global)
    c.fragment = "SELECT 0, " + extremes + ", 0, " + extremes + " FROM t WHERE %SOURCE% AND " + where;
  c.spec.visible = 3, c.spec.hidden = 3;
  c.spec.grouped = true;
  if (!global) {
    c.spec.output = {column(0)};
    c.spec.group_keys = {3};
    c.spec.order_by = {sort_key(3, false, false)};
  }
  c.spec.output.push_back(aggregate(Kind::kMin, 1, 4));
  c.spec.output.push_back(aggregate(Kind::kMax, 2, 5));
  return c;
}

TEST_F(MergeProperty, OrderedRowsLeaveInTheServersOrderForEveryType) {
  for (int round = 0; round < 4; ++round) {
    fill(200, 1 + random_() % 5);
    for (const ColumnType& type : types_) {
      ASSERT_NO_FATAL_FAILURE(check(ordered_case(type, random_, false)));
      ASSERT_NO_FATAL_FAILURE(check(ordered_case(type, random_, true)));
    }
  }
}

TEST_F(MergeProperty, GroupsAndAggregatesEqualTheServersForEveryType) {
  for (int round = 0; round < 4; ++round) {
    fill(round == 0 ? 20 : 300, 1 + random_() % 5);
    for (const ColumnType& type : types_)
      ASSERT_NO_FATAL_FAILURE(check(grouped_case(type, random_() % 2, random_() % 2)));
  }
}

TEST_F(MergeProperty, MinAndMaxEqualTheServersForEveryType) {
  for (int round = 0; round < 3; ++round) {
    fill(200, 1 + random_() % 5);
    for (const ColumnType& type : types_) {
      if (!type.min_max) continue;
      for (const bool global : {false, true}) {
        ASSERT_NO_FATAL_FAILURE(check(extreme_case(type, global, "true")));
        ASSERT_NO_FATAL_FAILURE(check(extreme_case(type, global, "false")));
      }
    }
  }
}

TEST_F(MergeProperty, AveragesOfRandomNumericsHaveTheServersScale) {
  for (int round = 0; round < 5; ++round) {
    fill(1500, 3);
    Case c;
    c.name = "avg by id";
    c.whole =
        "SELECT id / 3, sum(c_numeric), avg(c_numeric), avg(c_int8), avg(c_int4) FROM t GROUP BY 1 ORDER BY "
        "1";
    c.fragment =
        "SELECT id / 3, id / 3, sum(c_numeric), count(c_numeric), sum(c_int8), count(c_int8), sum(c_int4), "
        "count(c_int4) "
        "FROM t WHERE %SOURCE% GROUP BY 1";
    c.spec.visible = 1, c.spec.hidden = 7, c.spec.grouped = true, c.spec.group_keys = {1};
    c.spec.output = {column(0), aggregate(Kind::kSum, 2), aggregate(Kind::kAvg, 2, 3),
                     aggregate(Kind::kAvg, 4, 5), aggregate(Kind::kAvg, 6, 7)};
    c.spec.order_by = {sort_key(1, false, false)};
    ASSERT_NO_FATAL_FAILURE(check(c));
  }
}

TEST_F(MergeProperty, DistinctRowsEqualTheServersForEveryPairOfTypes) {
  fill(400, 4);
  for (size_t i = 0; i < types_.size(); ++i) {
    const ColumnType& a = types_[i];
    const ColumnType& b = types_[(i * 7 + 3) % types_.size()];
    if (!a.shown.empty() || !b.shown.empty()) continue;
    Case c;
    c.name = "distinct " + a.name + ", " + b.name;
    const std::string list = a.name + ", " + b.name;
    c.whole = "SELECT DISTINCT " + list + " FROM t";
    c.fragment = "SELECT " + list + ", " + list + " FROM t WHERE %SOURCE% GROUP BY " + list;
    c.spec.visible = 2, c.spec.hidden = 2, c.spec.grouped = true, c.spec.group_keys = {2, 3};
    c.spec.output = {column(0), column(1)};
    c.ordered = false;
    ASSERT_NO_FATAL_FAILURE(check(c));
  }
}

TEST_F(MergeProperty, HavingKeepsTheGroupsThatTheServerKeeps) {
  const std::pair<const char*, HavingTerm::Op> operators[] = {
      {"=", HavingTerm::Op::kEq},  {"<>", HavingTerm::Op::kNe}, {"<", HavingTerm::Op::kLt},
      {"<=", HavingTerm::Op::kLe}, {">", HavingTerm::Op::kGt},  {">=", HavingTerm::Op::kGe}};
  fill(150, 4);
  const std::tuple<std::string, OutputColumn, std::vector<const char*>> terms[] = {
      {"count(*)", aggregate(Kind::kCount, 2), {"3", "12", "12.5", "-1", "1e1"}},
      {"sum(c_int4)", aggregate(Kind::kSum, 3), {"0", "2147483647", "1e12"}},
      {"avg(c_int4)", aggregate(Kind::kAvg, 3, 4), {"0", "0.5", "1000000"}},
      {"max(c_numeric)", aggregate(Kind::kMax, 5, 5), {"1", "1.50", "'NaN'", "1e40"}},
      {"min(c_float8)", aggregate(Kind::kMin, 6, 6), {"0", "0.1", "-1e9", "'-inf'"}},
      {"bool_and(c_bool)", aggregate(Kind::kBoolAnd, 7), {"true", "'f'"}},
  };
  for (const auto& [text, output, values] : terms) {
    for (const char* value : values) {
      for (const auto& [op, code] : operators) {
        Case c;
        c.name = "having";
        c.whole = "SELECT k, count(*) FROM t GROUP BY k HAVING " + text + op + value + " ORDER BY k";
        c.fragment =
            "SELECT k, k, count(*), sum(c_int4), count(c_int4), max(c_numeric), min(c_float8), "
            "bool_and(c_bool) "
            "FROM t WHERE %SOURCE% GROUP BY k";
        c.spec.visible = 1, c.spec.hidden = 7, c.spec.grouped = true, c.spec.group_keys = {1};
        c.spec.output = {column(0), aggregate(Kind::kCount, 2)};
        c.spec.order_by = {sort_key(1, false, false)};
        c.spec.having = {HavingTerm{output, code, {}}};
        std::string plain = value;
        std::erase(plain, '\'');
        c.having_values = {plain};
        ASSERT_NO_FATAL_FAILURE(check(c));
      }
    }
  }
}

TEST_F(MergeProperty, GroupsAreOrderedByTheirAggregates) {
  for (int round = 0; round < 3; ++round) {
    fill(300, 3);
    const std::pair<std::string, OutputColumn> aggregates[] = {
        {"count(*)", aggregate(Kind::kCount, 3)},         {"sum(c_numeric)", aggregate(Kind::kSum, 4)},
        {"avg(c_int4)", aggregate(Kind::kAvg, 5, 6)},     {"max(c_text)", aggregate(Kind::kMax, 1, 7)},
        {"bool_or(c_bool)", aggregate(Kind::kBoolOr, 8)}, {"sum(c_int4)", aggregate(Kind::kSum, 5)}};
    for (const auto& [text, output] : aggregates) {
      const bool descending = random_() % 2, nulls_first = random_() % 2;
      Case c;
      c.name = "order by " + text;
      c.limit = static_cast<int64_t>(random_() % 40), c.offset = static_cast<int64_t>(random_() % 5);
      c.whole = "SELECT c_date, " + text + " FROM t GROUP BY c_date ORDER BY 2" +
                order_words(descending, nulls_first) + ", c_date LIMIT " + std::to_string(*c.limit) +
                " OFFSET " + std::to_string(*c.offset);
      c.fragment =
          "SELECT c_date, max(c_text), c_date, count(*), sum(c_numeric), sum(c_int4), count(c_int4), "
          "max(c_text), "
          "bool_or(c_bool) FROM t WHERE %SOURCE% GROUP BY c_date";
      c.spec.visible = 2, c.spec.hidden = 7, c.spec.grouped = true, c.spec.group_keys = {2};
      c.spec.output = {column(0), output};
      SortKey by_aggregate = sort_key(1, descending, nulls_first);
      by_aggregate.of_output = true;
      c.spec.order_by = {by_aggregate, sort_key(2, false, false)};
      ASSERT_NO_FATAL_FAILURE(check(c));
    }
  }
}

TEST_F(MergeProperty, AggregatesOverNoRowsAreTheServers) {
  fill(10, 3);
  Case c;
  c.name = "no rows";
  c.whole =
      "SELECT count(*), sum(c_int4), sum(c_numeric), avg(c_int8), bool_and(c_bool) FROM t WHERE k > 100";
  c.fragment =
      "SELECT count(*), sum(c_int4), sum(c_numeric), sum(c_int8), count(c_int8), bool_and(c_bool) FROM t "
      "WHERE k > 100 AND %SOURCE%";
  c.spec.hidden = 6, c.spec.grouped = true;
  c.spec.output = {aggregate(Kind::kCount, 0), aggregate(Kind::kSum, 1), aggregate(Kind::kSum, 2),
                   aggregate(Kind::kAvg, 3, 4), aggregate(Kind::kBoolAnd, 5)};
  check(c);
}

TEST_F(MergeProperty, ConcatenationIsAllRowsOnce) {
  fill(100, 4);
  Case c;
  c.name = "concatenation";
  c.whole = "SELECT * FROM t";
  c.fragment = "SELECT * FROM t WHERE %SOURCE%";
  c.spec.visible = static_cast<uint32_t>(types_.size()) + 3;
  for (uint32_t i = 0; i < c.spec.visible; ++i) c.spec.output.push_back(column(i));
  c.ordered = false;
  check(c);
}

}  // namespace
}  // namespace decan::exec
