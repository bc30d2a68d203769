#include "exec/copy_split.h"

#include <gtest/gtest.h>

namespace decan::exec {
namespace {

using Format = plan::CopySpec::Format;

struct Seen {
  std::string bytes;
  std::vector<std::optional<std::string>> key;
  uint64_t line;
  bool header, trailer;
};

catalog::Relation orders() {
  catalog::Relation relation;
  relation.name = "orders";
  const char* names[] = {"a", "b", "c"};
  for (int16_t i = 0; i < 3; ++i) {
    catalog::Column column;
    column.name = names[i], column.attnum = static_cast<int16_t>(i + 1);
    relation.columns.push_back(column);
  }
  return relation;
}

plan::CopySpec spec_of(Format format, std::vector<uint32_t> keys) {
  static const catalog::Relation relation = orders();
  plan::CopySpec spec;
  spec.relation = &relation;
  spec.attnums = {1, 2, 3};
  spec.key_fields = std::move(keys);
  spec.format = format;
  if (format == Format::kCsv) spec.delimiter = ',', spec.null_text = "";
  return spec;
}

// All rows, fed in pieces of `piece` bytes.
std::vector<Seen> split(const plan::CopySpec& spec, std::string_view data, size_t piece, Status* status) {
  CopySplitter splitter(spec);
  std::vector<Seen> rows;
  const auto sink = [&](const CopySplitter::Row& row) -> Status {
    rows.push_back({std::string(row.bytes), row.key, row.line, row.header, row.trailer});
    return {};
  };
  for (size_t at = 0; at < data.size() && *status; at += piece)
    *status = splitter.feed(data.substr(at, piece), sink);
  if (*status) *status = splitter.finish(sink);
  return rows;
}

std::string summary(const std::vector<Seen>& rows) {
  std::string out;
  for (const Seen& row : rows) {
    out += std::to_string(row.line) + (row.header ? "H" : "") + (row.trailer ? "T" : "") + ":";
    for (const auto& key : row.key) out += key ? "[" + *key + "]" : "NULL";
    out += "|" + row.bytes + "|";
  }
  return out;
}

// What every piece size gives; they must agree.
std::string rows_of(const plan::CopySpec& spec, std::string_view data) {
  std::string first;
  for (const size_t piece : {data.size() + 1, size_t{1}, size_t{2}, size_t{3}, size_t{7}}) {
    Status status;
    const std::string got = summary(split(spec, data, piece, &status));
    EXPECT_TRUE(status) << status.error().message << " in pieces of " << piece;
    if (first.empty()) first = got;
    EXPECT_EQ(got, first) << "in pieces of " << piece;
  }
  return first;
}

Error error_of(const plan::CopySpec& spec, std::string_view data) {
  Error first;
  for (const size_t piece : {data.size() + 1, size_t{1}, size_t{3}}) {
    Status status;
    split(spec, data, piece, &status);
    EXPECT_FALSE(status) << "in pieces of " << piece;
    if (status) continue;
    if (first.message.empty()) first = status.error();
    EXPECT_EQ(status.error().message, first.message) << "in pieces of " << piece;
    EXPECT_EQ(status.error().detail, first.detail) << "in pieces of " << piece;
  }
  return first;
}

TEST(CopySplitText, CutsRowsAndFindsKeysInAnyPieces) {
  const auto spec = spec_of(Format::kText, {2, 0});
  EXPECT_EQ(rows_of(spec, "1\tx\t2\n\\N\ty\t\n"), "1:[2][1]|1\tx\t2\n|2:[]NULL|\\N\ty\t\n|");
  EXPECT_EQ(rows_of(spec, "1\tx\t2"), "1:[2][1]|1\tx\t2|");
  EXPECT_EQ(rows_of(spec, ""), "");
}

TEST(CopySplitText, UnescapesKeysAsTheServerDoes) {
  const auto spec = spec_of(Format::kText, {0});
  EXPECT_EQ(rows_of(spec, "\\b\\f\\n\\r\\t\\v\\q\\\\\tx\ty\n"),
            "1:[\b\f\n\r\t\vq\\]|\\b\\f\\n\\r\\t\\v\\q\\\\\tx\ty\n|");
  EXPECT_EQ(rows_of(spec, "\\101\\60\\7x\\1018\tx\ty\n"), "1:[A0\7xA8]|\\101\\60\\7x\\1018\tx\ty\n|");
  EXPECT_EQ(rows_of(spec, "\\x41\\x4G\\xZ\tx\ty\n"), "1:[A\4GxZ]|\\x41\\x4G\\xZ\tx\ty\n|");
  EXPECT_EQ(rows_of(spec, "a\\\tb\tx\ty\n"), "1:[a\tb]|a\\\tb\tx\ty\n|");
  EXPECT_EQ(rows_of(spec, "a\\\nb\tx\ty\n"), "1:[a\nb]|a\\\nb\tx\ty\n|");
  EXPECT_EQ(rows_of(spec, "\\\\N\tx\ty\n"), "1:[\\N]|\\\\N\tx\ty\n|");
}

TEST(CopySplitText, TakesTheLineEndOfTheFirstLine) {
  const auto spec = spec_of(Format::kText, {0});
  EXPECT_EQ(rows_of(spec, "1\t\t\r2\t\t\r"), "1:[1]|1\t\t\r|2:[2]|2\t\t\r|");
  EXPECT_EQ(rows_of(spec, "1\t\t\r\n2\t\t\r\n"), "1:[1]|1\t\t\r\n|2:[2]|2\t\t\r\n|");
  EXPECT_EQ(rows_of(spec, "1\t\t\r"), "1:[1]|1\t\t\r|");
}

TEST(CopySplitText, RefusesMixedLineEndsInTheServersWords) {
  const auto spec = spec_of(Format::kText, {0});
  const Error error = error_of(spec, "1\t\t\n2\t\r\t\n");
  EXPECT_EQ(error.sqlstate, "22P04");
  EXPECT_EQ(error.message, "literal carriage return found in data");
  EXPECT_EQ(error.hint, "Use \"\\r\" to represent carriage return.");
  EXPECT_EQ(error.detail, "COPY orders, line 2");
  EXPECT_EQ(error_of(spec, "1\t\t\r\n2\t\t\n").message, "literal newline found in data");
  EXPECT_EQ(error_of(spec, "1\t\t\r\n2\t\rx\t\r\n").message, "literal carriage return found in data");
  EXPECT_EQ(error_of(spec, "1\t\t\r2\t\t\n").message, "literal newline found in data");
}

TEST(CopySplitText, EndsAtTheMarkerAndIgnoresTheRest) {
  const auto spec = spec_of(Format::kText, {0});
  EXPECT_EQ(rows_of(spec, "1\t\t\n\\.\nrubbish\r\n"), "1:[1]|1\t\t\n|2T:|\\.\n|");
  EXPECT_EQ(rows_of(spec, "1\t\t\r\n\\.\r\n"), "1:[1]|1\t\t\r\n|2T:|\\.\r\n|");
  EXPECT_EQ(rows_of(spec, "1\t\t\\.\n"), "1:[1]|1\t\t|2T:|\\.\n|");
  EXPECT_EQ(rows_of(spec, "1\t\t\\\\.\n"), "1:[1]|1\t\t\\\\.\n|");
  EXPECT_EQ(error_of(spec, "1\t\t\n\\.x\n").message, "end-of-copy marker corrupt");
  EXPECT_EQ(error_of(spec, "1\t\t\n\\.").message, "end-of-copy marker corrupt");
  EXPECT_EQ(error_of(spec, "1\t\t\r\n\\.\n").message,
            "end-of-copy marker does not match previous newline style");
}

TEST(CopySplitText, NamesTheColumnOfAShortRow) {
  const auto spec = spec_of(Format::kText, {2});
  const Error error = error_of(spec, "1\t2\t3\n4\t5\n");
  EXPECT_EQ(error.sqlstate, "22P04");
  EXPECT_EQ(error.message, "missing data for column \"c\"");
  EXPECT_EQ(error.detail, "COPY orders, line 2: \"4\t5\"");
  EXPECT_EQ(error_of(spec, "\n").message, "missing data for column \"b\"");
}

TEST(CopySplitCsv, AHeaderThatEndsWithinQuotesIsSkippedAsTheServerDoes) {
  plan::CopySpec spec = spec_of(Format::kCsv, {0});
  spec.header = true;
  EXPECT_EQ(rows_of(spec, "a,\"b"), "1H:|a,\"b|");
  EXPECT_EQ(error_of(spec, "a,b,c\n1,\"b").message, "unterminated CSV quoted field");
}

TEST(CopySplitText, GivesTheHeaderWithoutKeys) {
  auto spec = spec_of(Format::kText, {0});
  spec.header = true;
  EXPECT_EQ(rows_of(spec, "a\tb\tc\n1\t2\t3\n"), "1H:|a\tb\tc\n|2:[1]|1\t2\t3\n|");
}

TEST(CopySplitText, LooksForNoKeysInBroadcastTables) {
  EXPECT_EQ(rows_of(spec_of(Format::kText, {}), "1\n\n"), "1:|1\n|2:|\n|");
}

TEST(CopySplitCsv, CutsRowsAndFindsKeysInAnyPieces) {
  const auto spec = spec_of(Format::kCsv, {0, 2});
  EXPECT_EQ(rows_of(spec, "1,x,2\n,\"\",\"\"\n"), "1:[1][2]|1,x,2\n|2:NULL[]|,\"\",\"\"\n|");
  EXPECT_EQ(rows_of(spec, "\"a,\"\"b\",x,y\"z\"\n"), "1:[a,\"b][yz]|\"a,\"\"b\",x,y\"z\"\n|");
}

TEST(CopySplitCsv, KeepsLineEndsWithinQuotes) {
  const auto spec = spec_of(Format::kCsv, {0});
  EXPECT_EQ(rows_of(spec, "1,,\n\"a\nb\",\"\r\",\n3,,\n"),
            "1:[1]|1,,\n|3:[a\nb]|\"a\nb\",\"\r\",\n|4:[3]|3,,\n|");
}

// The line end within quotes of the very first row is not counted: its style is not known yet (nor does the
// server).
TEST(CopySplitCsv, FollowsOtherQuotesAndEscapes) {
  auto spec = spec_of(Format::kCsv, {0, 1});
  spec.quote = '\'', spec.escape = '\\', spec.delimiter = ';';
  EXPECT_EQ(rows_of(spec, "'a\\'\n;b';c\\;\n'x\\\\';'\\y';\n"),
            "1:[a'\n;b][c\\]|'a\\'\n;b';c\\;\n|2:[x\\][\\y]|'x\\\\';'\\y';\n|");
}

TEST(CopySplitCsv, TakesTheMarkerOnlyAloneOnItsLine) {
  const auto spec = spec_of(Format::kCsv, {0});
  EXPECT_EQ(rows_of(spec, "\\.x,,\n,\\.,\n\\.\n,,\n"), "1:[\\.x]|\\.x,,\n|2:NULL|,\\.,\n|3T:|\\.\n|");
  EXPECT_EQ(rows_of(spec, "\\.,,"), "1:[\\.]|\\.,,|");
}

TEST(CopySplitCsv, RefusesWhatTheServerRefuses) {
  const auto spec = spec_of(Format::kCsv, {0});
  EXPECT_EQ(error_of(spec, "1,,\n\"open,,\n").message, "unterminated CSV quoted field");
  EXPECT_EQ(error_of(spec, "1,,\n2,\r,\n").message, "unquoted carriage return found in data");
  EXPECT_EQ(error_of(spec, "1,,\r\n2,,\n").hint, "Use quoted CSV field to represent newline.");
}

std::string be16(int value) {
  return {static_cast<char>(value >> 8 & 0xff), static_cast<char>(value & 0xff)};
}
std::string be32(int64_t value) {
  return be16(static_cast<int>(value >> 16)) + be16(static_cast<int>(value));
}
const std::string kSignature("PGCOPY\n\377\r\n\0", 11);
const std::string kHeader = kSignature + be32(0) + be32(0);
const std::string kTuple = be16(3) + be32(2) + "ab" + be32(-1) + be32(0);

TEST(CopySplitBinary, CutsTuplesInAnyPieces) {
  const auto spec = spec_of(Format::kBinary, {0, 1, 2});
  const std::string head = "0H:|" + kHeader + "|";
  EXPECT_EQ(rows_of(spec, kHeader + kTuple + kTuple + be16(-1)),
            head + "1:[ab]NULL[]|" + kTuple + "|2:[ab]NULL[]|" + kTuple + "|3T:|" + be16(-1) + "|");
  EXPECT_EQ(rows_of(spec, kHeader), head);
}

TEST(CopySplitBinary, FlagsAreRefusedBeforeTheLengthBehindThem) {
  const plan::CopySpec spec = spec_of(Format::kBinary, {0});
  EXPECT_EQ(error_of(spec, kSignature + be32(0x00020000) + "x").message,
            "unrecognized critical flags in COPY file header");
  EXPECT_EQ(error_of(spec, kSignature + be32(0) + "x").message, "invalid COPY file header (missing length)");
}

TEST(CopySplitBinary, DropsTheHeaderExtension) {
  const auto spec = spec_of(Format::kBinary, {0});
  EXPECT_EQ(rows_of(spec, kSignature + be32(3) + be32(5) + "12345" + kTuple),
            "0H:|" + kSignature + be32(3) + be32(0) + "|1:[ab]|" + kTuple + "|");
}

TEST(CopySplitBinary, RefusesWhatTheServerRefuses) {
  const auto spec = spec_of(Format::kBinary, {0});
  EXPECT_EQ(error_of(spec, "PGCOPX\n\377\r\n").message, "COPY file signature not recognized");
  EXPECT_EQ(error_of(spec, "PG").message, "COPY file signature not recognized");
  EXPECT_EQ(error_of(spec, kSignature).message, "invalid COPY file header (missing flags)");
  EXPECT_EQ(error_of(spec, kSignature + be32(1 << 16) + be32(0)).message,
            "invalid COPY file header (WITH OIDS)");
  EXPECT_EQ(error_of(spec, kSignature + be32(1 << 17) + be32(0)).message,
            "unrecognized critical flags in COPY file header");
  EXPECT_EQ(error_of(spec, kSignature + be32(0) + be32(-1)).message,
            "invalid COPY file header (missing length)");
  EXPECT_EQ(error_of(spec, kSignature + be32(0) + be32(9) + "x").message,
            "invalid COPY file header (wrong length)");
  EXPECT_EQ(error_of(spec, kHeader + be16(2)).message, "row field count is 2, expected 3");
  EXPECT_EQ(error_of(spec, kHeader + be16(3) + be32(-2)).message, "invalid field size");
  EXPECT_EQ(error_of(spec, kHeader + kTuple + be16(3) + be32(4) + "abc").message,
            "unexpected EOF in COPY data");
  EXPECT_EQ(error_of(spec, kHeader + kTuple + be16(3)).detail, "COPY orders, line 2, column a");
  EXPECT_EQ(error_of(spec, kHeader + be16(-1) + "x").message, "received copy data after EOF marker");
}

TEST(CopySplit, RefusesEndlessRows) {
  for (const Format format : {Format::kText, Format::kCsv, Format::kBinary}) {
    CopySplitter splitter(spec_of(format, {0}), 1000);
    Status status;
    const auto sink = [](const CopySplitter::Row&) -> Status { return {}; };
    if (format == Format::kBinary) status = splitter.feed(kHeader + be16(3) + be32(5000), sink);
    for (int i = 0; i < 100 && status; ++i) status = splitter.feed(std::string(100, 'x'), sink);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().sqlstate, "54000");
    EXPECT_LE(splitter.bytes_held(), 1000u);
  }
}

TEST(CopySplit, PassesOnTheSinksError) {
  CopySplitter splitter(spec_of(Format::kText, {0}));
  const auto status =
      splitter.feed("1\t\t\n", [](const CopySplitter::Row&) -> Status { return fail("57014", "stop"); });
  EXPECT_EQ(status.error().sqlstate, "57014");
}

TEST(CopySplit, KnowsWhichEncodingsItCanRead) {
  EXPECT_TRUE(copy_encoding_can_be_split("utf8", "UTF8"));
  EXPECT_TRUE(copy_encoding_can_be_split("SQL_ASCII", "UTF8"));
  EXPECT_FALSE(copy_encoding_can_be_split("SJIS", "UTF8"));
  EXPECT_FALSE(copy_encoding_can_be_split("LATIN1", "UTF8"));
}

}  // namespace
}  // namespace decan::exec
