#include "base/utf8.h"

#include <gtest/gtest.h>

namespace decan {
namespace {

TEST(Utf8, valid_texts_of_every_length_of_character) {
  for (const std::string_view text :
       {"", "a", "12345678", "123456789", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
        "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "1234567\xc3\xa4 12345678"}) {
    EXPECT_TRUE(check_utf8(text)) << text;
  }
}

TEST(Utf8, invalid_sequences_are_found_at_every_offset) {
  for (const std::string_view bad :
       {"\x80", "\xbf", "\xc0\xaf", "\xc1\xbf", "\xc3", "\xc3(", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xe2\x82",
        "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf0\x90\x80", "\xff", "\xfe"}) {
    for (size_t before = 0; before < 20; ++before) {
      for (const std::string_view behind : {"", "'", "' and more than eight bytes"}) {
        const std::string text = std::string(before, 'x') + std::string(bad) + std::string(behind);
        EXPECT_EQ(valid_utf8_bytes(text), before) << text;
      }
    }
  }
}

TEST(Utf8, nul_is_no_character_of_a_text) {
  for (size_t before = 0; before < 20; ++before) {
    const std::string text = std::string(before, 'x') + '\0' + std::string(20, 'y');
    EXPECT_EQ(valid_utf8_bytes(text), before);
  }
}

TEST(Utf8, the_error_names_the_bytes_as_postgresql_does) {
  const auto message = [](std::string_view text) {
    const auto checked = check_utf8(text);
    return checked ? "valid" : checked.error().sqlstate + " " + checked.error().message;
  };
  EXPECT_EQ(message("SELECT '\xff'"), "22021 invalid byte sequence for encoding \"UTF8\": 0xff");
  EXPECT_EQ(message("SELECT '\xc3'"), "22021 invalid byte sequence for encoding \"UTF8\": 0xc3 0x27");
  EXPECT_EQ(message("\xed\xa0\x80'"), "22021 invalid byte sequence for encoding \"UTF8\": 0xed 0xa0 0x80");
  EXPECT_EQ(message("\xf4\x90\x80\x80"),
            "22021 invalid byte sequence for encoding \"UTF8\": 0xf4 0x90 0x80 0x80");
  EXPECT_EQ(message(std::string_view("a\0b", 3)), "22021 invalid byte sequence for encoding \"UTF8\": 0x00");
}

TEST(Utf8, encodings_are_known_by_all_their_spellings) {
  for (const std::string_view name :
       {"LATIN1", "'win1252'", "Windows-1252", "SJIS", "EUC_JP", "ISO_8859_5", "KOI8-R"}) {
    EXPECT_TRUE(is_unsupported_encoding(name)) << name;
  }
  for (const std::string_view name : {"", "UTF8", "utf-8", "Unicode", "SQL_ASCII", "nonsense"})
    EXPECT_FALSE(is_unsupported_encoding(name)) << name;
  EXPECT_EQ(bare_encoding_name("'Sql_ASCII'"), "sqlascii");
}

}  // namespace
}  // namespace decan
