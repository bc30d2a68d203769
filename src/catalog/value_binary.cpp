#include "catalog/value_binary.h"

#include <cmath>

#include "catalog/type_oids.h"

namespace decan::catalog {
namespace {

constexpr int32_t kHeaderTypmod = 4;  // VARHDRSZ, added to the type modifiers of numeric and character types

// Bytes of a fixed-length type; 0 for the others.
size_t fixed_bytes(Oid type) {
  switch (type) {
    case type::kBool:
    case type::kChar:
      return 1;
    case type::kInt2:
      return 2;
    case type::kInt4:
    case type::kOid:
    case type::kFloat4:
    case type::kDate:
      return 4;
    case type::kInt8:
    case type::kFloat8:
    case type::kTime:
    case type::kTimestamp:
    case type::kTimestamptz:
      return 8;
    case type::kUuid:
      return 16;
    default:
      return 0;
  }
}

double read_float(Oid type, std::string_view value) {
  return type == type::kFloat4 ? static_cast<double>(std::bit_cast<float>(read_be<uint32_t>(value)))
                               : std::bit_cast<double>(read_be<uint64_t>(value));
}

// NaN equals NaN and is greater than everything else.
std::weak_ordering compare_float(double left, double right) {
  if (std::isnan(left) || std::isnan(right)) return std::isnan(left) <=> std::isnan(right);
  return left < right   ? std::weak_ordering::less
         : left > right ? std::weak_ordering::greater
                        : std::weak_ordering::equivalent;
}

Result<std::string> round_numeric(int32_t typmod, std::string_view binary) {
  auto value = decode_numeric(binary);
  if (!value) return fail(std::move(value.error()));
  const int32_t packed = typmod - kHeaderTypmod;
  const int32_t precision = (packed >> 16) & 0xffff;
  const int32_t scale = ((packed & 0x7ff) ^ 1024) - 1024;
  const auto overflow = [&] {
    return fail("22003", "numeric field overflow",
                "A field with precision " + std::to_string(precision) + ", scale " + std::to_string(scale) +
                    " cannot hold the value.");
  };
  if (value->kind == Numeric::Kind::kNan) return std::string(binary);
  if (value->kind != Numeric::Kind::kFinite) return overflow();
  std::string digits;
  for (const int16_t digit : value->digits) {
    const std::string text = std::to_string(10000 + digit);
    digits += text.substr(1);
  }
  int32_t point = (value->weight + 1) * 4;
  const int32_t kept = point + scale;  // decimals that stay
  if (kept < 0 || digits.empty()) {
    digits.clear();
  } else if (static_cast<size_t>(kept) < digits.size()) {
    const bool up = digits[static_cast<size_t>(kept)] >= '5';  // half away from zero
    digits.resize(static_cast<size_t>(kept));
    size_t at = digits.size();
    bool carry = up;
    while (carry && at > 0) {
      --at;
      carry = digits[at] == '9';
      digits[at] = carry ? '0' : static_cast<char>(digits[at] + 1);
    }
    if (carry) {
      digits.insert(digits.begin(), '1');
      ++point;
    }
  }
  const size_t first = digits.find_first_not_of('0');
  if (first != std::string::npos && point - static_cast<int32_t>(first) > precision - scale)
    return overflow();
  return encode_numeric(numeric_from_decimal(value->negative, digits, point, scale > 0 ? scale : 0));
}

bool is_continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

Result<std::string> limit_characters(Oid type, int32_t typmod, std::string_view value) {
  const auto limit = static_cast<size_t>(typmod - kHeaderTypmod);
  size_t characters = 0;
  size_t at = 0;
  for (; at < value.size(); ++at) {
    if (!is_continuation(value[at]) && ++characters > limit) break;
  }
  if (value.find_first_not_of(' ', at) != std::string_view::npos) {
    return fail("22001", std::string("value too long for type character") +
                             (type == type::kVarchar ? " varying(" : "(") + std::to_string(limit) + ")");
  }
  return std::string(value.substr(0, at));
}

std::string round_time(int32_t typmod, std::string_view value) {
  constexpr int64_t kScales[] = {1000000, 100000, 10000, 1000, 100, 10, 1};
  const auto time = read_be<int64_t>(value);
  const bool infinite = time == INT64_MIN || time == INT64_MAX;
  if (infinite || typmod < 0 || typmod > 6) return std::string(value);
  const int64_t scale = kScales[typmod];
  const int64_t half = scale / 2;
  if (time > INT64_MAX - half || time < INT64_MIN + half) return std::string(value);
  return to_be(time >= 0 ? (time + half) / scale * scale : -((-time + half) / scale * scale));
}

}  // namespace

std::string_view trim_blanks(std::string_view text) {
  const size_t last = text.find_last_not_of(' ');
  return last == std::string_view::npos ? text.substr(0, 0) : text.substr(0, last + 1);
}

Status check_binary(Oid type, std::string_view value) {
  if (type == type::kNumeric) {
    auto decoded = decode_numeric(value);
    if (!decoded) return fail(std::move(decoded.error()));
    return {};
  }
  const size_t bytes = fixed_bytes(type);
  if (bytes != 0 && value.size() != bytes) {
    return fail("22P03", "incorrect binary data format",
                "A value of " + std::to_string(bytes) + " bytes was expected, " +
                    std::to_string(value.size()) + " came.");
  }
  return {};
}

std::weak_ordering compare_binary(Oid type, std::string_view left, std::string_view right) {
  switch (type) {
    case type::kInt2:
      return read_be<int16_t>(left) <=> read_be<int16_t>(right);
    case type::kInt4:
    case type::kDate:
      return read_be<int32_t>(left) <=> read_be<int32_t>(right);
    case type::kOid:
      return read_be<uint32_t>(left) <=> read_be<uint32_t>(right);
    case type::kInt8:
    case type::kTime:
    case type::kTimestamp:
    case type::kTimestamptz:
      return read_be<int64_t>(left) <=> read_be<int64_t>(right);
    case type::kFloat4:
    case type::kFloat8:
      return compare_float(read_float(type, left), read_float(type, right));
    case type::kNumeric:
      return compare_numeric(*decode_numeric(left), *decode_numeric(right));
    case type::kBool:
      return (left[0] != 0) <=> (right[0] != 0);
    case type::kBpchar:
      return trim_blanks(left).compare(trim_blanks(right)) <=> 0;
    default:
      return left.compare(right) <=> 0;  // text, varchar, name, bytea, uuid, "char": unsigned bytes
  }
}

Result<std::string> apply_typmod(Oid type, int32_t typmod, std::string_view value) {
  if (auto checked = check_binary(type, value); !checked) return fail(std::move(checked.error()));
  switch (type) {
    case type::kNumeric:
      return typmod < kHeaderTypmod ? Result<std::string>(std::string(value)) : round_numeric(typmod, value);
    case type::kVarchar:
    case type::kBpchar:
      return typmod < kHeaderTypmod ? Result<std::string>(std::string(value))
                                    : limit_characters(type, typmod, value);
    case type::kTime:
    case type::kTimestamp:
    case type::kTimestamptz:
      return round_time(typmod, value);
    default:
      return std::string(value);
  }
}

}  // namespace decan::catalog
