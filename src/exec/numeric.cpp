#include "exec/numeric.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace decan::exec {
namespace {

constexpr int kBase = 10000;
constexpr int kDigitWidth = 4;             // decimal digits per base-10000 digit
constexpr int kMinSignificantDigits = 16;  // NUMERIC_MIN_SIG_DIGITS
constexpr int kMaxDisplayScale = 1000;     // NUMERIC_MAX_DISPLAY_SCALE
constexpr int kMaxScale = 0x3fff;          // NUMERIC_DSCALE_MAX
constexpr int kMaxWeight = 0x7fff;         // NUMERIC_WEIGHT_MAX
constexpr int64_t kMaxExponent = 200'000;  // beyond it every value overflows or has too many decimals

constexpr uint16_t kSignPositive = 0x0000;
constexpr uint16_t kSignNegative = 0x4000;
constexpr uint16_t kSignNaN = 0xC000;
constexpr uint16_t kSignPositiveInfinity = 0xD000;
constexpr uint16_t kSignNegativeInfinity = 0xF000;
constexpr size_t kHeaderBytes = 8;

uint16_t read16(std::string_view bytes, size_t at) {
  return static_cast<uint16_t>(static_cast<unsigned char>(bytes[at]) << 8 |
                               static_cast<unsigned char>(bytes[at + 1]));
}

void write16(std::string& out, uint16_t value) {
  out += static_cast<char>(value >> 8);
  out += static_cast<char>(value & 0xff);
}

std::unexpected<Error> overflow() {
  return fail("22003", "value overflows numeric format");
}

bool equals_ignoring_case(std::string_view text, std::string_view lower) {
  return text.size() == lower.size() &&
         std::equal(text.begin(), text.end(), lower.begin(),
                    [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + ('a' - 'A') : a) == b; });
}

bool is_blank(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// The parts of a number's text: sign, decimal digits without point, and where the point stood.
struct Decimal {
  bool negative = false;
  std::string digits;
  int64_t integer_digits = 0;   // digits before the point, after applying the exponent
  int64_t fraction_digits = 0;  // digits after the point, after applying the exponent; never below 0
};

enum class ParseOutcome { kOk, kSyntax, kOverflow };

ParseOutcome parse_exponent(std::string_view text, int64_t& exponent) {
  bool minus = false;
  if (!text.empty() && (text[0] == '+' || text[0] == '-')) {
    minus = text[0] == '-';
    text.remove_prefix(1);
  }
  if (text.empty()) return ParseOutcome::kSyntax;
  exponent = 0;
  for (const char c : text) {
    if (!is_digit(c)) return ParseOutcome::kSyntax;
    exponent = std::min<int64_t>(exponent * 10 + (c - '0'), kMaxExponent + 1);
  }
  if (exponent > kMaxExponent) return ParseOutcome::kOverflow;
  if (minus) exponent = -exponent;
  return ParseOutcome::kOk;
}

ParseOutcome parse_decimal(std::string_view text, Decimal& out) {
  size_t at = 0;
  if (at < text.size() && (text[at] == '+' || text[at] == '-')) out.negative = text[at++] == '-';
  bool point = false;
  int64_t before = 0, after = 0;
  for (; at < text.size(); ++at) {
    if (is_digit(text[at])) {
      out.digits += text[at];
      ++(point ? after : before);
    } else if (text[at] == '.' && !point) {
      point = true;
    } else {
      break;
    }
  }
  if (out.digits.empty()) return ParseOutcome::kSyntax;
  int64_t exponent = 0;
  if (at < text.size()) {
    if (text[at] != 'e' && text[at] != 'E') return ParseOutcome::kSyntax;
    if (const auto outcome = parse_exponent(text.substr(at + 1), exponent); outcome != ParseOutcome::kOk)
      return outcome;
  }
  out.integer_digits = before + exponent;
  out.fraction_digits = std::max<int64_t>(after - exponent, 0);
  return ParseOutcome::kOk;
}

int64_t floor_divide(int64_t a, int64_t b) {
  return a >= 0 ? a / b : -((-a + b - 1) / b);
}

// A binary numeric without leading and trailing zero digits.
struct WireDigits {
  std::string_view digits;  // two bytes each
  int weight = 0;
  uint16_t sign = 0;
  size_t count() const { return digits.size() / 2; }
  int digit(size_t i) const { return read16(digits, 2 * i); }
};

WireDigits wire_digits(std::string_view binary) {
  WireDigits w{binary.substr(kHeaderBytes), static_cast<int16_t>(read16(binary, 2)), read16(binary, 4)};
  while (w.count() > 0 && w.digit(0) == 0) w.digits.remove_prefix(2), --w.weight;
  while (w.count() > 0 && w.digit(w.count() - 1) == 0) w.digits.remove_suffix(2);
  if (w.count() == 0) w.weight = 0;
  if (w.count() == 0 && w.sign == kSignNegative) w.sign = kSignPositive;
  return w;
}

int wire_class(const WireDigits& w) {
  switch (w.sign) {
    case kSignNegativeInfinity:
      return -2;
    case kSignPositiveInfinity:
      return 2;
    case kSignNaN:
      return 3;
    case kSignNegative:
      return -1;
    default:
      return w.count() == 0 ? 0 : 1;
  }
}

int sign_of(int difference) {
  return difference < 0 ? -1 : difference > 0 ? 1 : 0;
}

}  // namespace

Numeric Numeric::from_integer(int128 value) {
  Numeric n;
  n.negative_ = value < 0;
  __extension__ typedef unsigned __int128 uint128;
  uint128 rest = n.negative_ ? uint128{0} - static_cast<uint128>(value) : static_cast<uint128>(value);
  while (rest > 0) {
    n.digits_.push_back(static_cast<int16_t>(rest % kBase));
    rest /= kBase;
  }
  std::reverse(n.digits_.begin(), n.digits_.end());
  n.weight_ = static_cast<int>(n.digits_.size()) - 1;
  n.strip();
  return n;
}

bool valid_numeric(std::string_view binary) {
  if (binary.size() < kHeaderBytes) return false;
  const size_t count = read16(binary, 0);
  if (binary.size() != kHeaderBytes + 2 * count) return false;
  const uint16_t sign = read16(binary, 4);
  if (sign != kSignPositive && sign != kSignNegative) {
    return count == 0 && (sign == kSignNaN || sign == kSignPositiveInfinity || sign == kSignNegativeInfinity);
  }
  if (read16(binary, 6) > kMaxScale) return false;
  for (size_t i = 0; i < count; ++i) {
    if (read16(binary, kHeaderBytes + 2 * i) >= kBase) return false;
  }
  return true;
}

Result<Numeric> Numeric::from_binary(std::string_view bytes) {
  if (!valid_numeric(bytes)) return fail("22P03", "malformed binary numeric from a storage unit");
  Numeric n;
  const uint16_t sign = read16(bytes, 4);
  if (sign == kSignNaN) n.kind_ = Kind::kNaN;
  if (sign == kSignPositiveInfinity) n.kind_ = Kind::kPositiveInfinity;
  if (sign == kSignNegativeInfinity) n.kind_ = Kind::kNegativeInfinity;
  if (n.kind_ != Kind::kFinite) return n;
  const size_t count = read16(bytes, 0);
  n.negative_ = sign == kSignNegative;
  n.weight_ = static_cast<int16_t>(read16(bytes, 2));
  n.scale_ = read16(bytes, 6);
  n.digits_.reserve(count);
  for (size_t i = 0; i < count; ++i)
    n.digits_.push_back(static_cast<int16_t>(read16(bytes, kHeaderBytes + 2 * i)));
  n.strip();
  return n;
}

Result<Numeric> Numeric::from_text(std::string_view text) {
  const std::string_view whole = text;
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  Numeric n;
  const bool has_sign = !text.empty() && (text[0] == '+' || text[0] == '-');
  const std::string_view word = text.substr(has_sign ? 1 : 0);
  if (equals_ignoring_case(text, "nan")) {
    n.kind_ = Kind::kNaN;
    return n;
  }
  if (equals_ignoring_case(word, "inf") || equals_ignoring_case(word, "infinity")) {
    n.kind_ = text[0] == '-' ? Kind::kNegativeInfinity : Kind::kPositiveInfinity;
    return n;
  }
  Decimal decimal;
  switch (parse_decimal(text, decimal)) {
    case ParseOutcome::kOk:
      break;
    case ParseOutcome::kOverflow:
      return overflow();
    case ParseOutcome::kSyntax:
      return fail("22P02", "invalid input syntax for type numeric: \"" + std::string(whole) + "\"");
  }
  if (decimal.fraction_digits > kMaxScale) return overflow();
  const size_t leading = std::min(decimal.digits.find_first_not_of('0'), decimal.digits.size());
  decimal.digits.erase(0, leading);
  decimal.integer_digits -= static_cast<int64_t>(leading);
  n.negative_ = decimal.negative;
  n.scale_ = static_cast<int>(decimal.fraction_digits);
  if (decimal.digits.empty()) {
    n.strip();
    return n;
  }
  if (decimal.integer_digits > int64_t{kMaxWeight + 1} * kDigitWidth) return overflow();
  // Pad on the left so that the point falls between base-10000 digits.
  const int64_t weight = floor_divide(decimal.integer_digits - 1, kDigitWidth);
  const int64_t pad = (weight + 1) * kDigitWidth - decimal.integer_digits;
  decimal.digits.insert(0, static_cast<size_t>(pad), '0');
  decimal.digits.append((kDigitWidth - decimal.digits.size() % kDigitWidth) % kDigitWidth, '0');
  n.weight_ = static_cast<int>(weight);
  for (size_t i = 0; i < decimal.digits.size(); i += kDigitWidth) {
    int value = 0;
    for (size_t j = 0; j < kDigitWidth; ++j) value = value * 10 + (decimal.digits[i + j] - '0');
    n.digits_.push_back(static_cast<int16_t>(value));
  }
  n.strip();
  return n;
}

void Numeric::strip() {
  size_t zeros = 0;
  while (zeros < digits_.size() && digits_[zeros] == 0) ++zeros;
  digits_.erase(digits_.begin(), digits_.begin() + static_cast<std::ptrdiff_t>(zeros));
  weight_ -= static_cast<int>(zeros);
  while (!digits_.empty() && digits_.back() == 0) digits_.pop_back();
  if (digits_.empty()) weight_ = 0, negative_ = false;
}

int Numeric::digit_at(int weight) const {
  const int index = weight_ - weight;
  return index >= 0 && index < static_cast<int>(digits_.size()) ? digits_[static_cast<size_t>(index)] : 0;
}

int Numeric::compare_magnitude(const Numeric& other) const {
  if (digits_.empty() || other.digits_.empty())
    return static_cast<int>(!digits_.empty()) - static_cast<int>(!other.digits_.empty());
  if (weight_ != other.weight_) return weight_ < other.weight_ ? -1 : 1;
  const size_t shared = std::min(digits_.size(), other.digits_.size());
  for (size_t i = 0; i < shared; ++i) {
    if (digits_[i] != other.digits_[i]) return digits_[i] < other.digits_[i] ? -1 : 1;
  }
  return digits_.size() == other.digits_.size() ? 0 : digits_.size() < other.digits_.size() ? -1 : 1;
}

int Numeric::order_class() const {
  switch (kind_) {
    case Kind::kNaN:
      return 3;
    case Kind::kPositiveInfinity:
      return 2;
    case Kind::kNegativeInfinity:
      return -2;
    case Kind::kFinite:
      break;
  }
  return digits_.empty() ? 0 : negative_ ? -1 : 1;
}

int Numeric::compare(const Numeric& other) const {
  const int mine = order_class(), theirs = other.order_class();
  if (mine != theirs) return mine < theirs ? -1 : 1;
  if (mine != 1 && mine != -1) return 0;
  return negative_ ? -compare_magnitude(other) : compare_magnitude(other);
}

std::vector<int16_t> Numeric::add_magnitudes(const Numeric& a, const Numeric& b, int& weight) {
  weight = std::max(a.weight_, b.weight_) + 1;
  const int low = std::min(a.weight_ - static_cast<int>(a.digits_.size()),
                           b.weight_ - static_cast<int>(b.digits_.size())) +
                  1;
  std::vector<int16_t> sum(static_cast<size_t>(weight - low + 1));
  int carry = 0;
  for (int w = low; w <= weight; ++w) {
    const int digit = a.digit_at(w) + b.digit_at(w) + carry;
    carry = digit >= kBase ? 1 : 0;
    sum[static_cast<size_t>(weight - w)] = static_cast<int16_t>(digit - carry * kBase);
  }
  return sum;
}

std::vector<int16_t> Numeric::subtract_magnitudes(const Numeric& larger, const Numeric& smaller,
                                                  int& weight) {
  weight = larger.weight_;
  const int low = std::min(larger.weight_ - static_cast<int>(larger.digits_.size()),
                           smaller.weight_ - static_cast<int>(smaller.digits_.size())) +
                  1;
  std::vector<int16_t> difference(static_cast<size_t>(weight - low + 1));
  int borrow = 0;
  for (int w = low; w <= weight; ++w) {
    const int digit = larger.digit_at(w) - smaller.digit_at(w) - borrow;
    borrow = digit < 0 ? 1 : 0;
    difference[static_cast<size_t>(weight - w)] = static_cast<int16_t>(digit + borrow * kBase);
  }
  return difference;
}

void Numeric::add(const Numeric& other) {
  if (kind_ != Kind::kFinite || other.kind_ != Kind::kFinite) {
    if (kind_ == Kind::kFinite) {
      *this = other;
    } else if (other.kind_ != Kind::kFinite && other.kind_ != kind_) {
      kind_ = Kind::kNaN;
    }
    return;
  }
  scale_ = std::max(scale_, other.scale_);
  if (other.digits_.empty()) return;
  if (digits_.empty()) {
    digits_ = other.digits_, weight_ = other.weight_, negative_ = other.negative_;
    return;
  }
  int weight = 0;
  if (negative_ == other.negative_) {
    digits_ = add_magnitudes(*this, other, weight);
  } else if (compare_magnitude(other) >= 0) {
    digits_ = subtract_magnitudes(*this, other, weight);
  } else {
    digits_ = subtract_magnitudes(other, *this, weight);
    negative_ = other.negative_;
  }
  weight_ = weight;
  strip();
}

// Rounds half away from zero to `scale` decimals and makes it the display scale (round_var).
void Numeric::round_to(int scale) {
  scale_ = scale;
  // Index, in decimal digits from the first one, of the first digit that is dropped.
  const int64_t keep = int64_t{weight_ + 1} * kDigitWidth + scale;
  if (keep >= static_cast<int64_t>(digits_.size()) * kDigitWidth) return;
  if (keep < 0) {
    digits_.clear();
    return strip();
  }
  const size_t index = static_cast<size_t>(keep / kDigitWidth);
  constexpr int kPowers[] = {10000, 1000, 100, 10};
  const int unit = kPowers[keep % kDigitWidth];  // value of the last kept decimal within its digit
  const int rest = digits_[index] % unit;
  const bool up = rest >= unit / 2;
  digits_.resize(index + 1);
  digits_[index] = static_cast<int16_t>(digits_[index] - rest);
  if (up) {
    int carry = unit;
    for (size_t i = index + 1; carry > 0 && i-- > 0;) {
      const int digit = digits_[i] + carry;
      carry = digit >= kBase ? 1 : 0;
      digits_[i] = static_cast<int16_t>(digit - carry * kBase);
    }
    if (carry > 0) digits_.insert(digits_.begin(), int16_t{1}), ++weight_;
  }
  strip();
}

Numeric Numeric::divide(uint64_t count) const {
  if (kind_ != Kind::kFinite) return *this;
  Numeric divisor = from_integer(count);
  // select_div_scale: at least 16 significant digits, judged by the leading base-10000 digits.
  const int first = digits_.empty() ? 0 : digits_[0];
  int quotient_weight = weight_ - divisor.weight_;
  if (first <= divisor.digits_[0]) --quotient_weight;
  int scale = kMinSignificantDigits - quotient_weight * kDigitWidth;
  scale = std::min(std::max({scale, scale_, 0}), kMaxDisplayScale);

  Numeric quotient;
  quotient.negative_ = negative_;
  quotient.weight_ = weight_;
  // Long division, down to one base-10000 digit beyond the scale: enough to round exactly.
  const int lowest = -((scale + kDigitWidth - 1) / kDigitWidth) - 1;
  __extension__ typedef unsigned __int128 uint128;
  uint128 remainder = 0;
  for (int w = weight_; w >= lowest; --w) {
    remainder = remainder * kBase + static_cast<uint128>(digit_at(w));
    quotient.digits_.push_back(static_cast<int16_t>(remainder / count));
    remainder %= count;
  }
  quotient.round_to(scale);
  return quotient;
}

Status Numeric::check_range() const {
  if (kind_ == Kind::kFinite && (weight_ > kMaxWeight || weight_ < -kMaxWeight - 1 || scale_ > kMaxScale))
    return overflow();
  return {};
}

Status Numeric::append_binary(std::string& out) const {
  if (auto status = check_range(); !status) return status;
  uint16_t sign = negative_ ? kSignNegative : kSignPositive;
  switch (kind_) {
    case Kind::kFinite:
      break;
    case Kind::kNaN:
      sign = kSignNaN;
      break;
    case Kind::kPositiveInfinity:
      sign = kSignPositiveInfinity;
      break;
    case Kind::kNegativeInfinity:
      sign = kSignNegativeInfinity;
      break;
  }
  const bool finite = kind_ == Kind::kFinite;
  write16(out, static_cast<uint16_t>(finite ? digits_.size() : 0));
  write16(out, static_cast<uint16_t>(finite ? weight_ : 0));
  write16(out, sign);
  // The server's special values are short headers, whose bits read as scale 32 for the infinities.
  write16(out, static_cast<uint16_t>(finite ? scale_ : kind_ == Kind::kNaN ? 0 : 32));
  if (!finite) return {};
  for (const int16_t digit : digits_) write16(out, static_cast<uint16_t>(digit));
  return {};
}

Status Numeric::append_text(std::string& out) const {
  if (auto status = check_range(); !status) return status;
  switch (kind_) {
    case Kind::kFinite:
      break;
    case Kind::kNaN:
      out += "NaN";
      return {};
    case Kind::kPositiveInfinity:
      out += "Infinity";
      return {};
    case Kind::kNegativeInfinity:
      out += "-Infinity";
      return {};
  }
  if (negative_) out += '-';
  const auto put_digit = [&out](int digit, int width) {
    constexpr int kPowers[] = {1000, 100, 10, 1};
    for (int i = 0; i < width; ++i) out += static_cast<char>('0' + digit / kPowers[i] % 10);
  };
  const size_t start = out.size();
  for (int w = weight_; w >= 0; --w) put_digit(digit_at(w), kDigitWidth);
  const size_t zeros = std::min(out.find_first_not_of('0', start), out.size()) - start;
  out.erase(start, zeros);
  if (out.size() == start) out += '0';
  if (scale_ > 0) out += '.';
  for (int w = -1, left = scale_; left > 0; --w, left -= kDigitWidth)
    put_digit(digit_at(w), std::min(left, kDigitWidth));
  return {};
}

int compare_numeric(std::string_view a, std::string_view b) {
  const WireDigits x = wire_digits(a), y = wire_digits(b);
  const int x_class = wire_class(x), y_class = wire_class(y);
  if (x_class != y_class) return sign_of(x_class - y_class);
  if (x_class != 1 && x_class != -1) return 0;
  int magnitude = sign_of(x.weight - y.weight);
  // Digits are big-endian, so memcmp over them orders as the values do.
  if (magnitude == 0) {
    magnitude =
        sign_of(std::memcmp(x.digits.data(), y.digits.data(), std::min(x.digits.size(), y.digits.size())));
  }
  if (magnitude == 0 && x.count() != y.count()) magnitude = x.count() < y.count() ? -1 : 1;
  return x_class < 0 ? -magnitude : magnitude;
}

void append_numeric_identity(std::string_view binary, std::string& out) {
  const WireDigits w = wire_digits(binary);
  write16(out, w.sign);
  write16(out, static_cast<uint16_t>(w.weight));
  out += w.digits;
}

}  // namespace decan::exec
