#include "exec/copy_rows.h"

#include <gtest/gtest.h>

namespace decan::exec {
namespace {

using Format = plan::CopySpec::Format;
using Values = std::vector<std::optional<std::string_view>>;

std::string row(const Values& values) {
  std::string out;
  wire::Writer writer(out);
  writer.data_row(values);
  return out;
}

wire::RowDescription named(const std::vector<std::string>& names) {
  wire::RowDescription out;
  for (const std::string& name : names) {
    out.fields.emplace_back();
    out.fields.back().name = name;
  }
  return out;
}

// Bodies of the messages, one behind the other.
std::string data_of(std::string_view messages) {
  std::string out;
  while (!messages.empty()) {
    EXPECT_EQ(messages[0], 'd');
    const auto header = wire::decode_header(messages, wire::kMaxMessageBytes);
    out += messages.substr(wire::kHeaderBytes, (*header)->body_bytes);
    messages.remove_prefix(wire::kHeaderBytes + (*header)->body_bytes);
  }
  return out;
}

std::string written(const plan::CopySpec& spec, const Values& values,
                    const std::vector<std::string>& names = {"a", "b"}) {
  CopyRows rows(spec, {});
  rows.columns(named(names));
  EXPECT_TRUE(rows.add(row(values)));
  return data_of(rows.take());
}

TEST(CopyRows, TextEscapesControlCharactersBackslashAndDelimiter) {
  EXPECT_EQ(written({}, {"a\tb", std::nullopt}), "a\\tb\t\\N\n");
  EXPECT_EQ(written({}, {"\b\f\n\r\v\\", "\x01"}), "\\b\\f\\n\\r\\v\\\\\t\x01\n");
  plan::CopySpec spec;
  spec.delimiter = '|';
  spec.null_text = "";
  EXPECT_EQ(written(spec, {"a|b\t", std::nullopt}), "a\\|b\\t|\n");
}

TEST(CopyRows, CsvQuotesWhatNeedsIt) {
  plan::CopySpec spec;
  spec.format = Format::kCsv;
  spec.delimiter = ',';
  spec.null_text.clear();
  EXPECT_EQ(written(spec, {"", std::nullopt}), "\"\",\n");  // the empty string is not NULL
  EXPECT_EQ(written(spec, {"a,b", "say \"x\""}), "\"a,b\",\"say \"\"x\"\"\"\n");
  EXPECT_EQ(written(spec, {"two\nlines", " x "}), "\"two\nlines\", x \n");
  EXPECT_EQ(written(spec, {"\\."}, {"a"}), "\"\\.\"\n");
  EXPECT_EQ(written(spec, {"\\.", "\\."}), "\\.,\\.\n");
  spec.force_quote = {"b"};
  EXPECT_EQ(written(spec, {"1", "2"}), "1,\"2\"\n");
  EXPECT_EQ(written(spec, {"1", std::nullopt}), "1,\n");
  spec.force_quote_all = true;
  spec.quote = '\'';
  spec.escape = '\\';
  EXPECT_EQ(written(spec, {"it's \\", "2"}), "'it\\'s \\\\','2'\n");
}

TEST(CopyRows, BinaryTuplesAndTheHead) {
  plan::CopySpec spec;
  spec.format = Format::kBinary;
  std::string head;
  wire::Writer(head).raw('d', "head");
  CopyRows rows(spec, head);
  rows.columns(named({"a", "b"}));
  EXPECT_TRUE(rows.add(row({"xy", std::nullopt}) + row({"", "z"})));
  EXPECT_EQ(data_of(rows.take()), std::string("head\0\2\0\0\0\2xy\xff\xff\xff\xff\0\2\0\0\0\0\0\0\0\1z", 27));
  EXPECT_EQ(rows.take(), "");
  EXPECT_FALSE(rows.add("D"));
}

}  // namespace
}  // namespace decan::exec
