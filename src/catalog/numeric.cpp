#include <algorithm>

#include "catalog/value_binary.h"

namespace decan::catalog {
namespace {

constexpr uint16_t kPositive = 0x0000, kNegative = 0x4000, kNan = 0xC000, kPlusInfinity = 0xD000,
                   kMinusInfinity = 0xF000;
constexpr int32_t kMaxScale = 0x3FFF;
constexpr int32_t kInfinityScale = 32;  // what numeric_send happens to say; numeric_recv ignores it
constexpr int kDigitDecimals = 4;
constexpr size_t kHeaderBytes = 8;

std::unexpected<Error> malformed() {
  return fail("22P03", "invalid binary value of type numeric");
}

// Cuts digits beyond the scale off, as trunc_var does.
void truncate_to_scale(Numeric& value) {
  const int64_t kept_decimals = (static_cast<int64_t>(value.weight) + 1) * kDigitDecimals + value.scale;
  if (kept_decimals <= 0) {
    value.digits.clear();
    return;
  }
  const auto kept = static_cast<size_t>((kept_decimals + kDigitDecimals - 1) / kDigitDecimals);
  if (kept > value.digits.size()) return;
  value.digits.resize(kept);
  constexpr int16_t kUnits[] = {1, 1000, 100, 10};
  const int16_t unit = kUnits[kept_decimals % kDigitDecimals];
  value.digits.back() = static_cast<int16_t>(value.digits.back() / unit * unit);
}

void strip(Numeric& value) {
  const auto first = std::ranges::find_if(value.digits, [](int16_t digit) { return digit != 0; });
  value.weight -= static_cast<int32_t>(first - value.digits.begin());
  value.digits.erase(value.digits.begin(), first);
  while (!value.digits.empty() && value.digits.back() == 0) value.digits.pop_back();
  if (value.digits.empty()) {
    value.weight = 0;
    value.negative = false;
  }
}

int rank(Numeric::Kind kind) {
  switch (kind) {
    case Numeric::Kind::kMinusInfinity:
      return 0;
    case Numeric::Kind::kFinite:
      return 1;
    case Numeric::Kind::kPlusInfinity:
      return 2;
    case Numeric::Kind::kNan:
      return 3;
  }
  return 3;
}

std::strong_ordering compare_magnitude(const Numeric& left, const Numeric& right) {
  if (left.digits.empty() || right.digits.empty()) return left.digits.size() <=> right.digits.size();
  if (left.weight != right.weight) return left.weight <=> right.weight;
  return std::lexicographical_compare_three_way(left.digits.begin(), left.digits.end(), right.digits.begin(),
                                                right.digits.end());
}

}  // namespace

Result<Numeric> decode_numeric(std::string_view binary) {
  if (binary.size() < kHeaderBytes) return malformed();
  const auto count = read_be<uint16_t>(binary);
  const auto sign = read_be<uint16_t>(binary.substr(4));
  const auto scale = read_be<uint16_t>(binary.substr(6));
  if (binary.size() != kHeaderBytes + size_t{count} * 2 || scale > kMaxScale) return malformed();
  Numeric out;
  if (sign == kNan || sign == kPlusInfinity || sign == kMinusInfinity) {
    out.kind = sign == kNan            ? Numeric::Kind::kNan
               : sign == kPlusInfinity ? Numeric::Kind::kPlusInfinity
                                       : Numeric::Kind::kMinusInfinity;
    return out;
  }
  if (sign != kPositive && sign != kNegative) return malformed();
  out.negative = sign == kNegative;
  out.weight = read_be<int16_t>(binary.substr(2));
  out.scale = scale;
  out.digits.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const auto digit = read_be<int16_t>(binary.substr(kHeaderBytes + i * 2));
    if (digit < 0 || digit > 9999) return malformed();
    out.digits.push_back(digit);
  }
  truncate_to_scale(out);
  strip(out);
  return out;
}

std::string encode_numeric(const Numeric& value) {
  uint16_t sign = value.negative ? kNegative : kPositive;
  switch (value.kind) {
    case Numeric::Kind::kFinite:
      break;
    case Numeric::Kind::kNan:
      sign = kNan;
      break;
    case Numeric::Kind::kPlusInfinity:
      sign = kPlusInfinity;
      break;
    case Numeric::Kind::kMinusInfinity:
      sign = kMinusInfinity;
      break;
  }
  const bool infinite = sign == kPlusInfinity || sign == kMinusInfinity;
  std::string out = to_be(static_cast<uint16_t>(value.digits.size()));
  out += to_be(static_cast<int16_t>(value.weight));
  out += to_be(sign);
  out += to_be(static_cast<uint16_t>(infinite ? kInfinityScale : value.scale));
  for (const int16_t digit : value.digits) out += to_be(digit);
  return out;
}

Numeric numeric_from_decimal(bool negative, std::string_view digits, int32_t point, int32_t scale) {
  Numeric out;
  out.negative = negative;
  out.scale = scale;
  // Base-10000 digits align at the point: pad in front so that the integer part is a multiple of four
  // decimals.
  const int32_t whole =
      point >= 0 ? (point + kDigitDecimals - 1) / kDigitDecimals : -(-point / kDigitDecimals);
  out.weight = whole - 1;
  std::string padded(static_cast<size_t>(whole * kDigitDecimals - point), '0');
  padded += digits;
  padded.resize((padded.size() + kDigitDecimals - 1) / kDigitDecimals * kDigitDecimals, '0');
  for (size_t i = 0; i < padded.size(); i += kDigitDecimals) {
    int digit = 0;
    for (size_t j = 0; j < kDigitDecimals; ++j) digit = digit * 10 + (padded[i + j] - '0');
    out.digits.push_back(static_cast<int16_t>(digit));
  }
  strip(out);
  return out;
}

std::strong_ordering compare_numeric(const Numeric& left, const Numeric& right) {
  if (left.kind != right.kind) return rank(left.kind) <=> rank(right.kind);
  if (left.kind != Numeric::Kind::kFinite) return std::strong_ordering::equal;
  if (left.negative != right.negative) {
    return left.negative ? std::strong_ordering::less : std::strong_ordering::greater;
  }
  return left.negative ? compare_magnitude(right, left) : compare_magnitude(left, right);
}

}  // namespace decan::catalog
