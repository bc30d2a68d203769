#include "auth/saslprep.h"

#include <openssl/crypto.h>
#include <uninorm.h>
#include <unistr.h>

#include <algorithm>
#include <cstdlib>
#include <span>
#include <vector>

#include "auth/saslprep_tables.h"

namespace decan::auth {

namespace {

using tables::Range;

// A password's code points; overwritten at the end.
struct Codes : std::vector<uint32_t> {
  explicit Codes(size_t most) { reserve(most); }
  Codes(const Codes&) = delete;
  Codes& operator=(const Codes&) = delete;
  ~Codes() {
    resize(capacity());
    OPENSSL_cleanse(data(), size() * sizeof(uint32_t));
  }
};

// A buffer that libunistring returns, with a password in it.
template <class Unit>
struct Buffer {
  Unit* data = nullptr;
  size_t size = 0;

  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    if (data == nullptr) return;
    OPENSSL_cleanse(data, size * sizeof(Unit));
    std::free(data);
  }
};

bool in_table(std::span<const Range> table, uint32_t code) {
  const auto* after =
      std::upper_bound(table.data(), table.data() + table.size(), code,
                       [](uint32_t value, const Range& range) { return value < range.first; });
  return after != table.data() && code <= after[-1].last;
}

bool decode_utf8(std::string_view text, Codes& codes) {
  const auto* at = reinterpret_cast<const uint8_t*>(text.data());
  for (size_t left = text.size(); left != 0;) {
    ucs4_t code = 0;
    const int bytes = u8_mbtoucr(&code, at, left);
    if (bytes <= 0) return false;
    codes.push_back(code);
    at += bytes;
    left -= static_cast<size_t>(bytes);
  }
  return true;
}

void map_characters(Codes& codes) {
  // U+200B is in both tables; PostgreSQL asks for the space first.
  size_t kept = 0;
  for (const uint32_t code : codes) {
    if (in_table(tables::kNonAsciiSpaces, code)) {
      codes[kept++] = ' ';
    } else if (!in_table(tables::kMappedToNothing, code)) {
      codes[kept++] = code;
    }
  }
  codes.resize(kept);
}

bool bidi_allowed(const Codes& codes) {
  bool any_right_to_left = false;
  bool any_left_to_right = false;
  for (const uint32_t code : codes) {
    any_right_to_left = any_right_to_left || in_table(tables::kRightToLeft, code);
    any_left_to_right = any_left_to_right || in_table(tables::kLeftToRight, code);
  }
  if (!any_right_to_left) return true;
  return !any_left_to_right && in_table(tables::kRightToLeft, codes.front()) &&
         in_table(tables::kRightToLeft, codes.back());
}

std::optional<std::string> normalize_to_utf8(const Codes& codes) {
  Buffer<uint32_t> normal;
  normal.data = u32_normalize(UNINORM_NFKC, codes.data(), codes.size(), nullptr, &normal.size);
  if (normal.data == nullptr) return std::nullopt;
  Buffer<uint8_t> utf8;
  utf8.data = u32_to_u8(normal.data, normal.size, nullptr, &utf8.size);
  if (utf8.data == nullptr) return std::nullopt;
  return std::string(reinterpret_cast<const char*>(utf8.data), utf8.size);
}

}  // namespace

std::optional<std::string> saslprep(std::string_view password) {
  // PostgreSQL takes pure ASCII as it is, control characters included, which the RFC would prohibit.
  if (std::ranges::all_of(password, [](char c) { return static_cast<unsigned char>(c) < 0x80; })) {
    return std::string(password);
  }
  Codes codes(password.size());
  if (!decode_utf8(password, codes)) return std::nullopt;
  map_characters(codes);
  if (codes.empty()) return std::nullopt;
  // The RFC checks the normalized text; PostgreSQL checks the mapped text before its normalization.
  for (const uint32_t code : codes) {
    if (in_table(tables::kProhibited, code) || in_table(tables::kUnassigned, code)) return std::nullopt;
  }
  if (!bidi_allowed(codes)) return std::nullopt;
  return normalize_to_utf8(codes);
}

std::string prepared_password(std::string_view password) {
  auto prepared = saslprep(password);
  return prepared ? std::move(*prepared) : std::string(password);
}

}  // namespace decan::auth
