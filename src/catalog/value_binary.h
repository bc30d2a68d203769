// Values in PostgreSQL's binary (send/recv) format: decoding, comparison as the default btree operator class
// orders them, and rounding to a column's type modifier. Pure. Only the types that can be sharding keys.
#pragma once

#include <bit>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/ids.h"

namespace decan::catalog {

// Big-endian integer at the start of `bytes`, which must be long enough.
template <class T>
T read_be(std::string_view bytes) {
  T value{};
  std::memcpy(&value, bytes.data(), sizeof value);
  if constexpr (sizeof(T) == 1) {
    return value;
  } else if constexpr (sizeof(T) == 2) {
    return static_cast<T>(__builtin_bswap16(static_cast<uint16_t>(value)));
  } else if constexpr (sizeof(T) == 4) {
    return static_cast<T>(__builtin_bswap32(static_cast<uint32_t>(value)));
  } else {
    return static_cast<T>(__builtin_bswap64(static_cast<uint64_t>(value)));
  }
}

template <class T>
std::string to_be(T value) {
  T swapped = read_be<T>(std::string_view(reinterpret_cast<const char*>(&value), sizeof value));
  return std::string(reinterpret_cast<const char*>(&swapped), sizeof swapped);
}

// A numeric: digits in base 10000, the first one worth 10000^weight; no leading or trailing zero digits.
struct Numeric {
  enum class Kind { kFinite, kNan, kPlusInfinity, kMinusInfinity } kind = Kind::kFinite;
  bool negative = false;  // never for zero
  int32_t weight = 0;
  int32_t scale = 0;  // digits after the point when displayed
  std::vector<int16_t> digits;
};

// As numeric_recv: hidden digits are cut off at the scale, zeros are stripped. 22P03 when malformed.
Result<Numeric> decode_numeric(std::string_view binary);
std::string encode_numeric(const Numeric& value);
// From decimal digits: value = 0.digits × 10^point. `digits` holds '0'..'9' only.
Numeric numeric_from_decimal(bool negative, std::string_view digits, int32_t point, int32_t scale);
std::strong_ordering compare_numeric(const Numeric& left, const Numeric& right);

// A value without the blanks that char(n) ignores.
std::string_view trim_blanks(std::string_view text);

// 22P03 when `value` can not be a binary value of the type.
Status check_binary(Oid type, std::string_view value);

// Order of the type's default btree operator class; text types in the C collation. Both values passed
// check_binary.
std::weak_ordering compare_binary(Oid type, std::string_view left, std::string_view right);

// What storing `value` in a column of this type modifier makes of it: numeric(p,s) rounds, timestamp(p)
// rounds, varchar(n) and char(n) drop blanks that are too many. Errors: 22003, 22001 as PostgreSQL raises
// them. Call it for INSERT and COPY keys before hashing; comparisons in WHERE are not rounded.
Result<std::string> apply_typmod(Oid type, int32_t typmod, std::string_view value);

}  // namespace decan::catalog
