#include "base/utf8.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstring>
#include <string>

namespace decan {
namespace {

unsigned char byte_at(std::string_view text, size_t i) {
  return static_cast<unsigned char>(text[i]);
}

// Length that the first byte announces; 1 for bytes that begin no character.
size_t announced_bytes(unsigned char first) {
  if ((first & 0xe0) == 0xc0) return 2;
  if ((first & 0xf0) == 0xe0) return 3;
  if ((first & 0xf8) == 0xf0) return 4;
  return 1;
}

// Bytes of the whole character above ASCII at `at`, 0 when it is invalid (table 3-7 of the Unicode standard).
size_t character_bytes(std::string_view text, size_t at) {
  const unsigned char first = byte_at(text, at);
  const size_t bytes = announced_bytes(first);
  if (bytes == 1 || first < 0xc2 || first > 0xf4 || text.size() - at < bytes) return 0;
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte_at(text, at + i) & 0xc0) != 0x80) return 0;
  }
  const unsigned char second = byte_at(text, at + 1);
  const bool overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  const bool surrogate = first == 0xed && second > 0x9f;
  const bool too_large = first == 0xf4 && second > 0x8f;
  return overlong || surrogate || too_large ? 0 : bytes;
}

}  // namespace

size_t valid_utf8_bytes(std::string_view text) {
  constexpr uint64_t kHigh = 0x8080808080808080u, kOnes = 0x0101010101010101u;
  size_t at = 0;
  while (at < text.size()) {
    uint64_t word = 0;
    if (text.size() - at >= sizeof word) {
      std::memcpy(&word, text.data() + at, sizeof word);
      // No high bit, and no borrow from a zero byte.
      if (((word | (word - kOnes)) & kHigh) == 0) {
        at += sizeof word;
        continue;
      }
    }
    const unsigned char first = byte_at(text, at);
    if (first == 0) return at;
    const size_t bytes = first < 0x80 ? 1 : character_bytes(text, at);
    if (bytes == 0) return at;
    at += bytes;
  }
  return at;
}

Status check_utf8(std::string_view text) {
  const size_t at = valid_utf8_bytes(text);
  if (at == text.size()) return {};
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string shown;
  const size_t end = std::min(text.size(), at + announced_bytes(byte_at(text, at)));
  for (size_t i = at; i < end; ++i) {
    const unsigned char byte = byte_at(text, i);
    shown += (i == at ? "0x" : " 0x");
    shown += kHex[byte >> 4];
    shown += kHex[byte & 15];
  }
  return fail(sqlstate::kCharacterNotInRepertoire, "invalid byte sequence for encoding \"UTF8\": " + shown);
}

std::string bare_encoding_name(std::string_view name) {
  std::string bare;
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)))
      bare += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return bare;
}

bool is_unsupported_encoding(std::string_view name) {
  constexpr std::string_view kFamilies[] = {"abc",      "alt",   "big5", "euc",   "gb18030", "gbk",
                                            "iso8859",  "johab", "koi8", "latin", "mskanji", "mule",
                                            "shiftjis", "sjis",  "tcvn", "uhc",   "vscii",   "win"};
  const std::string bare = bare_encoding_name(name);
  return std::ranges::any_of(kFamilies, [&](std::string_view family) { return bare.starts_with(family); });
}

}  // namespace decan
