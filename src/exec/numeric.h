// PostgreSQL's numeric, exactly: base-10000 digits as on the wire (utils/adt/numeric.c, numeric_send). Only
// what merging needs: decode, encode, add, compare, and the division of avg. Values from units are foreign
// bytes: everything is checked.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace decan::exec {

__extension__ typedef __int128 int128;

class Numeric {
 public:
  Numeric() = default;  // 0, display scale 0
  static Numeric from_integer(int128 value);
  // Errors: 22P03 malformed.
  static Result<Numeric> from_binary(std::string_view bytes);
  // numeric_in: blanks around, sign, digits, point, exponent, NaN, [+-]inf[inity]. Errors: 22P02, 22003.
  static Result<Numeric> from_text(std::string_view text);

  // The result's display scale is the larger one, as in sum(numeric). NaN absorbs; +inf plus -inf is NaN.
  void add(const Numeric& other);
  // this / count, rounded half away from zero at the scale of select_div_scale: what avg() returns. count >
  // 0.
  Numeric divide(uint64_t count) const;
  // Total order of numeric_cmp: -inf < finite < inf < NaN.
  int compare(const Numeric& other) const;
  bool is_nan() const { return kind_ == Kind::kNaN; }
  size_t heap_bytes() const { return digits_.capacity() * sizeof(int16_t); }

  // Errors: 22003 when the value has no numeric representation any more.
  Status append_binary(std::string& out) const;
  Status append_text(std::string& out) const;

 private:
  enum class Kind : uint8_t { kFinite, kNaN, kPositiveInfinity, kNegativeInfinity };
  void strip();
  void round_to(int scale);
  Status check_range() const;
  int compare_magnitude(const Numeric& other) const;
  static std::vector<int16_t> add_magnitudes(const Numeric& a, const Numeric& b, int& weight);
  static std::vector<int16_t> subtract_magnitudes(const Numeric& larger, const Numeric& smaller, int& weight);
  int digit_at(int weight) const;  // base-10000 digit of that weight; 0 outside
  int order_class() const;

  // Finite value: sign * sum of digits_[i] * 10000^(weight_ - i). No leading or trailing zero digits; zero
  // has none.
  Kind kind_ = Kind::kFinite;
  bool negative_ = false;
  int weight_ = 0;
  int scale_ = 0;  // digits shown after the point
  std::vector<int16_t> digits_;
};

// On binary forms, without building a Numeric. Both compare functions need valid input.
bool valid_numeric(std::string_view binary);
int compare_numeric(std::string_view a, std::string_view b);
// Appends bytes that are equal exactly when the values are equal (1.0 and 1.00 are).
void append_numeric_identity(std::string_view binary, std::string& out);

}  // namespace decan::exec
