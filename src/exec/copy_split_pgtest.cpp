// Property: the splitter cuts, reads keys and refuses as PostgreSQL's COPY FROM STDIN does, for random data
// of all three formats. DECAN_TEST_SEED repeats a run.
#include <gtest/gtest.h>
#include <libpq-fe.h>

#include <cstdlib>
#include <memory>
#include <random>

#include "exec/copy_split.h"
#include "testing/pg.h"

namespace decan::exec {
namespace {

using Format = plan::CopySpec::Format;
using Random = std::mt19937_64;

struct Outcome {
  std::string sqlstate, message, context;  // empty: success
};

// COPY with its error's context, which tells the line.
Outcome copy_in(testing::Connection& connection, const std::string& sql, std::string_view data) {
  PGconn* conn = connection.raw();
  PQclear(PQexec(conn, sql.c_str()));
  PQputCopyData(conn, data.data(), static_cast<int>(data.size()));
  PQputCopyEnd(conn, nullptr);
  Outcome outcome;
  while (PGresult* result = PQgetResult(conn)) {
    const auto field = [&](int code) {
      const char* text = PQresultErrorField(result, code);
      return std::string(text ? text : "");
    };
    if (PQresultStatus(result) == PGRES_FATAL_ERROR)
      outcome = {field(PG_DIAG_SQLSTATE), field(PG_DIAG_MESSAGE_PRIMARY), field(PG_DIAG_CONTEXT)};
    PQclear(result);
  }
  return outcome;
}

struct Split {
  Status status;
  std::string whole;     // what arrived, joined
  std::string parts[2];  // rows dealt to two units by turns, with headers and trailers
  std::vector<std::vector<std::optional<std::string>>> keys;
};

Split split(const plan::CopySpec& spec, std::string_view data, Random& random) {
  Split result;
  CopySplitter splitter(spec);
  size_t rows = 0;
  const auto sink = [&](const CopySplitter::Row& row) -> Status {
    if (row.header || row.trailer) {
      for (std::string& part : result.parts) part += row.bytes;
    } else {
      result.parts[rows++ % 2] += row.bytes;
      result.keys.push_back(row.key);
    }
    if (!row.trailer) result.whole += row.bytes;
    return {};
  };
  while (!data.empty() && result.status) {
    const size_t piece = 1 + random() % 9;
    result.status = splitter.feed(data.substr(0, piece), sink);
    data.remove_prefix(std::min(piece, data.size()));
  }
  if (result.status) result.status = splitter.finish(sink);
  return result;
}

class CopySplitProperty : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* given = std::getenv("DECAN_TEST_SEED");
    seed_ = given ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    random_.seed(seed_);
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed_));
    connection_.exec(
        "CREATE TABLE whole(n serial, a text, b text, c text); CREATE TABLE half0(LIKE whole INCLUDING "
        "DEFAULTS); "
        "CREATE TABLE half1(LIKE whole INCLUDING DEFAULTS)");
    relation_.name = "whole";
    const char* names[] = {"a", "b", "c"};
    for (int16_t i = 0; i < 3; ++i) {
      catalog::Column column;
      column.name = names[i], column.attnum = static_cast<int16_t>(i + 2);
      relation_.columns.push_back(column);
    }
  }

  bool chance(unsigned one_in) { return random_() % one_in == 0; }
  template <size_t n>
  std::string pick(const char* const (&from)[n]) {
    return from[random_() % n];
  }

  std::string text_field() {
    static constexpr const char* kPieces[] = {"a",    "é",     "\\N",    "\\\\", "\\t",    "\\n",  "\\r",
                                              "\\\t", "\\101", "\\0607", "\\x4", "\\x4a7", "\\xg", "\"",
                                              ",",    " ",     "\\\\.",  "b",    "\\q",    "\\'",  "12"};
    std::string field;
    for (size_t n = random_() % 4; n > 0; --n) field += pick(kPieces);
    return field;
  }
  std::string csv_field(const plan::CopySpec& spec) {
    std::string field;
    for (size_t n = random_() % 3; n > 0; --n) {
      static constexpr const char* kPlain[] = {"a", "\\", ".", "é", " ", "\\N", "12"};
      static constexpr const char* kQuoted[] = {"\n", "\r", "\r\n", ",", "x", "\\.", ";", ""};
      if (chance(2)) {
        field += pick(kPlain);
        continue;
      }
      field += spec.quote;
      for (size_t m = random_() % 4; m > 0; --m) {
        if (chance(3)) {
          field += spec.escape;
          field += chance(2) ? spec.quote : spec.escape;
        } else {
          field += pick(kQuoted);
        }
      }
      field += spec.quote;
    }
    return field;
  }

  // Mostly valid lines; sometimes another line end, a missing or extra field, a marker, or a broken byte.
  std::string lines(const plan::CopySpec& spec) {
    static constexpr const char* kEnds[] = {"\n", "\r\n", "\r"};
    const std::string end = pick(kEnds);
    std::string data;
    for (size_t n = random_() % 8; n > 0; --n) {
      const size_t fields = chance(60) ? 2 : chance(60) ? 4 : 3;
      for (size_t i = 0; i < fields; ++i) {
        if (i > 0) data += spec.delimiter;
        data += spec.format == Format::kCsv ? csv_field(spec) : text_field();
      }
      if (chance(60)) data += spec.format == Format::kCsv ? std::string(1, spec.quote) : "\\";
      if (chance(60)) data += "\\.";
      if (chance(60)) data += chance(2) ? "\r" : "\n";
      if (n > 1 || !chance(4)) data += chance(60) ? pick(kEnds) : end;
      if (chance(30)) data += "\\." + (chance(4) ? pick(kEnds) : chance(6) ? "" : end);
    }
    return data;
  }

  std::string binary() {
    const auto be32 = [](uint32_t v) {
      std::string s;
      for (int shift = 24; shift >= 0; shift -= 8) s += static_cast<char>(v >> shift & 0xff);
      return s;
    };
    std::string data("PGCOPY\n\377\r\n\0", 11);
    const uint32_t extension = chance(4) ? static_cast<uint32_t>(random_() % 20) : 0;
    data += be32(chance(10) ? static_cast<uint32_t>(random_() % 65536) : 0) + be32(extension) +
            std::string(extension, 'x');
    for (size_t n = random_() % 6; n > 0; --n) {
      data += be32(3).substr(2);
      for (int i = 0; i < 3; ++i) {
        const size_t bytes = random_() % 5;
        data += chance(5)
                    ? be32(0xffffffff)
                    : be32(static_cast<uint32_t>(bytes)) + std::string(bytes, static_cast<char>('a' + i));
      }
    }
    if (!chance(3)) data += "\xff\xff";
    if (chance(6) && !data.empty()) data[random_() % data.size()] = static_cast<char>(random_());
    if (chance(6)) data.resize(random_() % (data.size() + 1));
    if (chance(20)) data += "x";
    return data;
  }

  static std::string options(const plan::CopySpec& spec) {
    const auto quoted = [](char c) {
      return c == '\'' ? std::string("''''") : "'" + std::string(1, c) + "'";
    };
    std::string sql = "(FORMAT ";
    if (spec.format == Format::kBinary) return sql + "binary)";
    sql += spec.format == Format::kCsv
               ? "csv, QUOTE " + quoted(spec.quote) + ", ESCAPE " + quoted(spec.escape)
               : "text";
    sql += ", DELIMITER " + quoted(spec.delimiter) + ", NULL '" + spec.null_text + "'";
    return sql + (spec.header ? ", HEADER)" : ")");
  }

  void check(const plan::CopySpec& spec, const std::string& data);
  void check_refusal(const plan::CopySpec& spec, const std::string& data, const Outcome& server,
                     const Split& ours);

  uint64_t seed_ = 0;
  Random random_;
  size_t accepted_ = 0, refused_ = 0;
  testing::PgFixture server_;
  testing::Connection connection_ = server_.connect();
  catalog::Relation relation_;
};

void CopySplitProperty::check_refusal(const plan::CopySpec& spec, const std::string& data,
                                      const Outcome& server, const Split& ours) {
  ++refused_;
  const bool only_server =
      server.message == "extra data after last expected column" || server.sqlstate != "22P04";
  if (!ours.status && only_server) return;  // it stopped at an earlier place
  if (!ours.status) {
    EXPECT_EQ(ours.status.error().sqlstate, server.sqlstate);
    EXPECT_EQ(ours.status.error().message, server.message);
    const size_t number = server.context.find("line");
    if (number == std::string::npos) return;
    EXPECT_EQ(ours.status.error().detail, server.context);
    return;
  }
  // What only the server checks must still fail on one of the units.
  bool failed = false;
  for (int half = 0; half < 2; ++half) {
    const std::string sql = "COPY half" + std::to_string(half) + "(a,b,c) FROM STDIN " + options(spec);
    failed = failed || !copy_in(connection_, sql, ours.parts[half]).sqlstate.empty();
  }
  EXPECT_TRUE(failed) << server.message << " was lost: " << ::testing::PrintToString(data);
}

void CopySplitProperty::check(const plan::CopySpec& spec, const std::string& data) {
  connection_.exec("TRUNCATE whole, half0, half1 RESTART IDENTITY");
  const Outcome server = copy_in(connection_, "COPY whole(a,b,c) FROM STDIN " + options(spec), data);
  const Split ours = split(spec, data, random_);
  SCOPED_TRACE("seed " + std::to_string(seed_) + " " + options(spec) + " " + ::testing::PrintToString(data));
  if (!server.sqlstate.empty()) return check_refusal(spec, data, server, ours);
  ++accepted_;
  ASSERT_TRUE(ours.status) << ours.status.error().message << " " << ours.status.error().detail;
  const auto rows = connection_.exec("SELECT a, b, c FROM whole ORDER BY n").rows;
  ASSERT_EQ(rows.size(), ours.keys.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t key = 0; key < spec.key_fields.size(); ++key)
      EXPECT_EQ(ours.keys[i][key], rows[i][spec.key_fields[key]]);
  }
  for (int half = 0; half < 2; ++half) {
    const std::string sql = "COPY half" + std::to_string(half) + "(a,b,c) FROM STDIN " + options(spec);
    const Outcome outcome = copy_in(connection_, sql, ours.parts[half]);
    ASSERT_EQ(outcome.sqlstate, "") << outcome.message << " " << ::testing::PrintToString(ours.parts[half]);
  }
  const char* difference =
      "SELECT count(*) FROM ((SELECT a,b,c FROM whole EXCEPT ALL (SELECT a,b,c FROM half0 UNION ALL SELECT "
      "a,b,c FROM half1)) "
      "UNION ALL ((SELECT a,b,c FROM half0 UNION ALL SELECT a,b,c FROM half1) EXCEPT ALL SELECT a,b,c FROM "
      "whole)) x";
  EXPECT_EQ(connection_.exec(difference).scalar(), "0");
}

TEST_F(CopySplitProperty, TextIsCutAsTheServerReadsIt) {
  for (int i = 0; i < 500 && !HasFailure(); ++i) {
    plan::CopySpec spec;
    spec.relation = &relation_;
    spec.attnums = {2, 3, 4};
    spec.key_fields = {2, 0, 1};
    if (chance(3)) spec.null_text = "";
    if (chance(3)) spec.delimiter = ',';
    spec.header = chance(5);
    check(spec, lines(spec));
  }
  EXPECT_GT(accepted_, 100u);
  EXPECT_GT(refused_, 50u);
}

TEST_F(CopySplitProperty, CsvIsCutAsTheServerReadsIt) {
  for (int i = 0; i < 500 && !HasFailure(); ++i) {
    plan::CopySpec spec;
    spec.relation = &relation_;
    spec.attnums = {2, 3, 4};
    spec.key_fields = {2, 0, 1};
    spec.format = Format::kCsv;
    spec.delimiter = ',', spec.null_text = "";
    if (chance(3)) spec.escape = '\\';
    if (chance(4)) spec.quote = '\'';
    if (chance(4)) spec.null_text = "\\N";
    if (chance(4)) spec.delimiter = ';';
    spec.header = chance(5);
    check(spec, lines(spec));
  }
  EXPECT_GT(accepted_, 100u);
  EXPECT_GT(refused_, 50u);
}

TEST_F(CopySplitProperty, BinaryIsCutAsTheServerReadsIt) {
  for (int i = 0; i < 400 && !HasFailure(); ++i) {
    plan::CopySpec spec;
    spec.relation = &relation_;
    spec.attnums = {2, 3, 4};
    spec.key_fields = {2, 0, 1};
    spec.format = Format::kBinary;
    check(spec, binary());
  }
  EXPECT_GT(accepted_, 100u);
  EXPECT_GT(refused_, 50u);
}

}  // namespace
}  // namespace decan::exec
