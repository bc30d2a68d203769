#include "exec/numeric.h"

#include <gtest/gtest.h>

namespace decan::exec {
namespace {

std::string text(const Numeric& value) {
  std::string out;
  EXPECT_TRUE(value.append_text(out));
  return out;
}
std::string binary(const Numeric& value) {
  std::string out;
  EXPECT_TRUE(value.append_binary(out));
  return out;
}
Numeric parse(std::string_view input) {
  auto value = Numeric::from_text(input);
  EXPECT_TRUE(value) << input;
  return value.value_or(Numeric());
}

TEST(Numeric, TextSurvivesBothFormats) {
  for (const char* input :
       {"0", "0.00", "1", "-1", "10000", "9999.9999", "0.0001", "-0.00000001",
        "123456789012345678901234567890.5", "100000000", "NaN", "Infinity", "-Infinity", "0.10"}) {
    EXPECT_EQ(text(parse(input)), input);
    EXPECT_EQ(text(Numeric::from_binary(binary(parse(input))).value()), input);
  }
}

TEST(Numeric, ReadsWhatTheServerReads) {
  EXPECT_EQ(text(parse("  +1.50e1 ")), "15.0");
  EXPECT_EQ(text(parse("1e-3")), "0.001");
  EXPECT_EQ(text(parse("12e3")), "12000");
  EXPECT_EQ(text(parse(".5")), "0.5");
  EXPECT_EQ(text(parse("5.")), "5");
  EXPECT_EQ(text(parse("-0")), "0");
  EXPECT_EQ(text(parse("-inf")), "-Infinity");
  EXPECT_EQ(text(parse("nAn")), "NaN");
}

TEST(Numeric, RefusesWhatTheServerRefuses) {
  for (const char* input : {"", " ", "-", ".", "1.2.3", "1e", "1e+", "abc", "1 2", "0x10", "--1", "+NaN"}) {
    const auto value = Numeric::from_text(input);
    ASSERT_FALSE(value) << input;
    EXPECT_EQ(value.error().sqlstate, "22P02") << input;
  }
  for (const char* input : {"1e131072", "1e999999999999", "1e-16384"})
    EXPECT_EQ(Numeric::from_text(input).error().sqlstate, "22003") << input;
  EXPECT_TRUE(Numeric::from_text("1e131071"));
}

TEST(Numeric, RefusesMalformedBinary) {
  for (const std::string& bytes :
       {std::string(), std::string(7, '\0'), std::string("\0\1\0\0\0\0\0\0", 8),
        std::string("\0\1\0\0\0\0\0\0\x27\x10", 10), std::string("\0\0\0\0\x12\x34\0\0", 8),
        std::string("\0\0\0\0\0\0\xff\xff", 8), std::string("\0\1\0\0\xc0\0\0\0\0\1", 10)}) {
    EXPECT_FALSE(valid_numeric(bytes));
    EXPECT_EQ(Numeric::from_binary(bytes).error().sqlstate, "22P03");
  }
}

TEST(Numeric, AddsWithTheLargerScale) {
  const auto sum = [](const char* a, const char* b) {
    Numeric value = parse(a);
    value.add(parse(b));
    return text(value);
  };
  EXPECT_EQ(sum("1", "-1.00"), "0.00");
  EXPECT_EQ(sum("9999", "1"), "10000");
  EXPECT_EQ(sum("1e20", "1e-20"), "100000000000000000000.00000000000000000001");
  EXPECT_EQ(sum("1", "-10000"), "-9999");
  EXPECT_EQ(sum("-0.5", "0.25"), "-0.25");
  EXPECT_EQ(sum("NaN", "Infinity"), "NaN");
  EXPECT_EQ(sum("1", "-Infinity"), "-Infinity");
  EXPECT_EQ(sum("Infinity", "Infinity"), "Infinity");
  EXPECT_EQ(sum("Infinity", "-Infinity"), "NaN");
}

TEST(Numeric, DividesWithTheServersScale) {
  const auto quotient = [](const char* a, uint64_t b) { return text(parse(a).divide(b)); };
  EXPECT_EQ(quotient("0", 3), "0.00000000000000000000");
  EXPECT_EQ(quotient("10", 4), "2.5000000000000000");
  EXPECT_EQ(quotient("2", 3), "0.66666666666666666667");
  EXPECT_EQ(quotient("-2", 3), "-0.66666666666666666667");
  EXPECT_EQ(quotient("100000", 3), "33333.333333333333");
  EXPECT_EQ(quotient("Infinity", 3), "Infinity");
  EXPECT_EQ(quotient("9223372036854775807", UINT64_MAX), "0.49999999999999999997");
}

TEST(Numeric, OrdersEverythingAndNaNLast) {
  const char* ascending[] = {"-Infinity", "-1e30", "-10000",  "-9999",    "-1.5", "-1",
                             "-0.0001",   "0",     "0.00001", "0.0001",   "1",    "1.0001",
                             "9999",      "10000", "1e30",    "Infinity", "NaN"};
  for (size_t i = 0; i < std::size(ascending); ++i) {
    for (size_t j = 0; j < std::size(ascending); ++j) {
      const int expected = i < j ? -1 : i > j ? 1 : 0;
      EXPECT_EQ(parse(ascending[i]).compare(parse(ascending[j])), expected);
      EXPECT_EQ(compare_numeric(binary(parse(ascending[i])), binary(parse(ascending[j]))), expected);
    }
  }
}

TEST(Numeric, IdentityForgetsTrailingZerosOnly) {
  const auto identity = [](std::string_view input) {
    std::string out;
    append_numeric_identity(binary(parse(input)), out);
    return out;
  };
  EXPECT_EQ(identity("1"), identity("1.000000"));
  EXPECT_EQ(identity("0"), identity("-0.00"));
  EXPECT_NE(identity("1"), identity("10000"));
  EXPECT_NE(identity("1"), identity("-1"));
  EXPECT_NE(identity("NaN"), identity("0"));
}

}  // namespace
}  // namespace decan::exec
