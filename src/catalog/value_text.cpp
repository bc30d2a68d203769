// binary_from_text and convert_binary: input functions of the key types, for the spellings that need no
// server.
#include <charconv>
#include <cmath>
#include <limits>

#include "catalog/datetime_text.h"
#include "catalog/partition_hash.h"
#include "catalog/type_oids.h"
#include "catalog/value_binary.h"

namespace decan::catalog {
namespace {

using Maybe = Result<std::optional<std::string>>;

constexpr size_t kNameBytes = 63;  // NAMEDATALEN - 1
constexpr size_t kMaxNumericText =
    1'000;  // longer ones are the server's to judge (limits of weight and scale)
constexpr int32_t kMaxExponent = 1'000;

bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

std::unexpected<Error> bad_syntax(std::string_view type_name, std::string_view text) {
  return fail(sqlstate::kInvalidTextRepresentation,
              "invalid input syntax for type " + std::string(type_name) + ": \"" + std::string(text) + "\"");
}

template <class T>
Maybe integer(std::string_view type_name, std::string_view text) {
  std::string_view body = trim(text);
  const bool plus = !body.empty() && body.front() == '+';
  if (plus) body.remove_prefix(1);
  T value{};
  const auto [end, status] = std::from_chars(body.data(), body.data() + body.size(), value);
  const bool whole = end == body.data() + body.size();
  if (body.empty() || !whole || (plus && !is_digit(body.front())) || status == std::errc::invalid_argument) {
    return bad_syntax(type_name, text);
  }
  if (status == std::errc::result_out_of_range) {
    return fail("22003",
                "value \"" + std::string(text) + "\" is out of range for type " + std::string(type_name));
  }
  return to_be(value);
}

Maybe boolean(std::string_view text) {
  const std::string body = lower(trim(text));
  const auto is_prefix = [&](std::string_view word, size_t least) {
    return body.size() >= least && word.starts_with(body);
  };
  if (is_prefix("true", 1) || is_prefix("yes", 1) || body == "on" || body == "1") return std::string("\1", 1);
  if (is_prefix("false", 1) || is_prefix("no", 1) || is_prefix("off", 2) || body == "0")
    return std::string(1, '\0');
  return bad_syntax("boolean", text);
}

int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Maybe bytea_hex(std::string_view digits) {
  std::string out;
  out.reserve(digits.size() / 2);
  for (size_t i = 0; i < digits.size();) {
    if (digits[i] == ' ' || digits[i] == '\n' || digits[i] == '\t' || digits[i] == '\r') {
      ++i;
      continue;
    }
    if (hex_value(digits[i]) < 0)
      return fail("22023", "invalid hexadecimal digit: \"" + std::string(1, digits[i]) + "\"");
    if (i + 1 >= digits.size()) return fail("22023", "invalid hexadecimal data: odd number of digits");
    const int high = hex_value(digits[i]);
    const int low = hex_value(digits[i + 1]);
    if (low < 0) return fail("22023", "invalid hexadecimal digit: \"" + std::string(1, digits[i + 1]) + "\"");
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

Maybe bytea(std::string_view text) {
  if (text.starts_with("\\x")) return bytea_hex(text.substr(2));
  std::string out;
  const auto is_octal = [&](size_t at, char most) {
    return at < text.size() && text[at] >= '0' && text[at] <= most;
  };
  for (size_t i = 0; i < text.size();) {
    if (text[i] != '\\') {
      out += text[i++];
    } else if (is_octal(i + 1, '3') && is_octal(i + 2, '7') && is_octal(i + 3, '7')) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 4;
    } else if (i + 1 < text.size() && text[i + 1] == '\\') {
      out += '\\';
      i += 2;
    } else {
      return fail(sqlstate::kInvalidTextRepresentation, "invalid input syntax for type bytea");
    }
  }
  return out;
}

Maybe uuid(std::string_view text) {
  constexpr size_t kBytes = 16;
  std::string_view rest = text;
  const bool braces = rest.starts_with('{');
  if (braces) rest.remove_prefix(1);
  std::string out;
  for (size_t i = 0; i < kBytes; ++i) {
    if (rest.size() < 2 || hex_value(rest[0]) < 0 || hex_value(rest[1]) < 0) return bad_syntax("uuid", text);
    out += static_cast<char>(hex_value(rest[0]) * 16 + hex_value(rest[1]));
    rest.remove_prefix(2);
    if (rest.starts_with('-') && i % 2 == 1 && i < kBytes - 1) rest.remove_prefix(1);
  }
  if (braces) {
    if (!rest.starts_with('}')) return bad_syntax("uuid", text);
    rest.remove_prefix(1);
  }
  if (!rest.empty()) return bad_syntax("uuid", text);
  return out;
}

std::optional<Numeric> special_numeric(const std::string& word) {
  Numeric out;
  if (word == "nan") {
    out.kind = Numeric::Kind::kNan;
  } else if (word == "infinity" || word == "+infinity" || word == "inf" || word == "+inf") {
    out.kind = Numeric::Kind::kPlusInfinity;
  } else if (word == "-infinity" || word == "-inf") {
    out.kind = Numeric::Kind::kMinusInfinity;
  } else {
    return std::nullopt;
  }
  return out;
}

Maybe numeric(std::string_view text) {
  std::string_view rest = trim(text);
  if (const auto special = special_numeric(lower(rest))) return encode_numeric(*special);
  if (rest.size() > kMaxNumericText) return std::nullopt;
  const bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) rest.remove_prefix(1);
  std::string digits;
  std::optional<int32_t> point;
  for (; !rest.empty(); rest.remove_prefix(1)) {
    if (is_digit(rest.front())) {
      digits += rest.front();
    } else if (rest.front() == '.' && !point) {
      point = static_cast<int32_t>(digits.size());
    } else {
      break;
    }
  }
  if (digits.empty()) return bad_syntax("numeric", text);
  int32_t exponent = 0;
  if (!rest.empty()) {
    if (rest.front() != 'e' && rest.front() != 'E') return bad_syntax("numeric", text);
    rest.remove_prefix(1);
    if (rest.starts_with('+')) rest.remove_prefix(1);
    const auto [end, status] = std::from_chars(rest.data(), rest.data() + rest.size(), exponent);
    if (status == std::errc::invalid_argument || end != rest.data() + rest.size())
      return bad_syntax("numeric", text);
    if (status != std::errc() || exponent > kMaxExponent || exponent < -kMaxExponent) return std::nullopt;
  }
  const int32_t whole = point.value_or(static_cast<int32_t>(digits.size()));
  const int32_t scale = static_cast<int32_t>(digits.size()) - whole - exponent;
  return encode_numeric(numeric_from_decimal(negative, digits, whole + exponent, scale > 0 ? scale : 0));
}

// Decimal spellings that strtod and from_chars read alike; the rest (hexadecimal, overflow, …) is the
// server's.
template <class T, class Bits>
Maybe floating(std::string_view text) {
  const std::string body = lower(trim(text));
  T value{};
  if (body == "nan") {
    value = std::numeric_limits<T>::quiet_NaN();
  } else if (body == "infinity" || body == "inf" || body == "+infinity" || body == "+inf") {
    value = std::numeric_limits<T>::infinity();
  } else if (body == "-infinity" || body == "-inf") {
    value = -std::numeric_limits<T>::infinity();
  } else {
    if (body.empty() || body.find_first_not_of("0123456789+-.e") != std::string::npos) return std::nullopt;
    const auto [end, status] = std::from_chars(body.data(), body.data() + body.size(), value);
    if (status != std::errc() || end != body.data() + body.size() || std::fpclassify(value) == FP_SUBNORMAL) {
      return std::nullopt;
    }
  }
  return to_be(std::bit_cast<Bits>(value));
}

Maybe oid(std::string_view text) {
  uint32_t value = 0;
  const std::string_view body = trim(text);
  const auto [end, status] = std::from_chars(body.data(), body.data() + body.size(), value);
  if (body.empty() || status != std::errc() || end != body.data() + body.size()) return std::nullopt;
  return to_be(value);
}

std::optional<int64_t> read_integer(Oid type, std::string_view value) {
  switch (type) {
    case type::kInt2:
      return value.size() == 2 ? std::optional<int64_t>(read_be<int16_t>(value)) : std::nullopt;
    case type::kInt4:
      return value.size() == 4 ? std::optional<int64_t>(read_be<int32_t>(value)) : std::nullopt;
    case type::kInt8:
      return value.size() == 8 ? std::optional<int64_t>(read_be<int64_t>(value)) : std::nullopt;
    default:
      return std::nullopt;
  }
}

template <class T>
std::optional<std::string> narrow(int64_t value) {
  if (value < std::numeric_limits<T>::min() || value > std::numeric_limits<T>::max()) return std::nullopt;
  return to_be(static_cast<T>(value));
}

std::optional<std::string> write_integer(Oid type, int64_t value) {
  switch (type) {
    case type::kInt2:
      return narrow<int16_t>(value);
    case type::kInt4:
      return narrow<int32_t>(value);
    case type::kInt8:
      return to_be(value);
    case type::kNumeric: {
      const bool negative = value < 0;
      const std::string text = std::to_string(value);
      const std::string_view digits = std::string_view(text).substr(negative ? 1 : 0);
      return encode_numeric(numeric_from_decimal(negative, digits, static_cast<int32_t>(digits.size()), 0));
    }
    default:
      return std::nullopt;
  }
}

bool is_text(Oid type) {
  return type == type::kText || type == type::kVarchar || type == type::kBpchar || type == type::kName;
}

}  // namespace

Result<std::optional<std::string>> binary_from_text(Oid type, std::string_view text) {
  switch (type) {
    case type::kInt2:
      return integer<int16_t>("smallint", text);
    case type::kInt4:
      return integer<int32_t>("integer", text);
    case type::kInt8:
      return integer<int64_t>("bigint", text);
    case type::kText:
    case type::kVarchar:
    case type::kBpchar:
      return std::string(text);
    case type::kName:
      return text.size() > kNameBytes ? Maybe(std::nullopt) : Maybe(std::string(text));
    case type::kChar:
      return text.size() == 1 && static_cast<unsigned char>(text[0]) < 0x80 ? Maybe(std::string(text))
                                                                            : Maybe(std::nullopt);
    case type::kBool:
      return boolean(text);
    case type::kBytea:
      return bytea(text);
    case type::kUuid:
      return uuid(text);
    case type::kNumeric:
      return numeric(text);
    case type::kFloat4:
      return floating<float, uint32_t>(text);
    case type::kFloat8:
      return floating<double, uint64_t>(text);
    case type::kOid:
      return oid(text);
    case type::kDate:
      return date_from_text(text);
    case type::kTime:
      return time_from_text(text);
    case type::kTimestamp:
      return timestamp_from_text(text, false);
    case type::kTimestamptz:
      return timestamp_from_text(text, true);
    default:
      return std::nullopt;
  }
}

std::optional<std::string> convert_binary(Oid from, Oid to, std::string_view value) {
  if (!check_binary(from, value)) return std::nullopt;
  if (from == to) return std::string(value);
  if (const auto integer_value = read_integer(from, value)) return write_integer(to, *integer_value);
  if (is_text(from) && is_text(to)) {
    // char(n) loses its trailing blanks when it becomes another type.
    const std::string_view bytes = from == type::kBpchar ? trim_blanks(value) : value;
    if (to == type::kName && bytes.size() > kNameBytes) return std::nullopt;
    return std::string(bytes);
  }
  if (from == type::kDate && to == type::kTimestamp) return timestamp_from_date(value);
  return std::nullopt;
}

}  // namespace decan::catalog
