#include "catalog/datetime_text.h"

#include <cstdint>
#include <limits>

#include "catalog/value_binary.h"

namespace decan::catalog {
namespace {

constexpr int64_t kMicrosPerSecond = 1'000'000;
constexpr int64_t kMicrosPerDay = 86'400 * kMicrosPerSecond;
constexpr int32_t kMaxYear = 294'000;  // inside every type's range; beyond it the server is asked
constexpr int32_t kMinYear = -4'700;
constexpr int32_t kDateInfinity = std::numeric_limits<int32_t>::max();
constexpr int32_t kDateMinusInfinity = std::numeric_limits<int32_t>::min();
constexpr int64_t kTimeInfinity = std::numeric_limits<int64_t>::max();
constexpr int64_t kTimeMinusInfinity = std::numeric_limits<int64_t>::min();

// Reads a text from left to right.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : rest_(text) {}
  bool done() const { return rest_.empty(); }
  bool accept(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool accept_any(std::string_view set) {
    if (rest_.empty() || set.find(rest_.front()) == std::string_view::npos) return false;
    rest_.remove_prefix(1);
    return true;
  }
  char peek() const { return rest_.empty() ? '\0' : rest_.front(); }
  // Between `least` and `most` digits, not followed by another one.
  std::optional<int32_t> digits(size_t least, size_t most) {
    size_t count = 0;
    int32_t value = 0;
    while (count < rest_.size() && count <= most && rest_[count] >= '0' && rest_[count] <= '9') {
      if (count < most) value = value * 10 + (rest_[count] - '0');
      ++count;
    }
    if (count < least || count > most) return std::nullopt;
    rest_.remove_prefix(count);
    last_count_ = count;
    return value;
  }
  size_t last_count() const { return last_count_; }

 private:
  std::string_view rest_;
  size_t last_count_ = 0;
};

std::string_view trim_space(std::string_view text) {
  constexpr std::string_view kSpace = " \t\n\v\f\r";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

bool equals_ignoring_case(std::string_view left, std::string_view lower) {
  if (left.size() != lower.size()) return false;
  for (size_t i = 0; i < left.size(); ++i) {
    const char c = left[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c) != lower[i]) return false;
  }
  return true;
}

// True when the text ended in " BC", which is cut off.
bool take_bc(std::string_view& text) {
  constexpr size_t kSuffixBytes = 3;
  if (text.size() <= kSuffixBytes || !equals_ignoring_case(text.substr(text.size() - kSuffixBytes), " bc"))
    return false;
  text.remove_suffix(kSuffixBytes);
  return true;
}

bool is_leap(int32_t year) {
  return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

int32_t days_in_month(int32_t year, int32_t month) {
  constexpr int32_t kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return month == 2 && is_leap(year) ? 29 : kDays[month - 1];
}

// Days since 2000-01-01 in the proleptic Gregorian calendar; years are counted from 1 BC = 0.
int32_t days_from_civil(int32_t year, int32_t month, int32_t day) {
  constexpr int32_t kDaysTo2000 = 730'425;  // from 0000-03-01
  const int32_t y = month <= 2 ? year - 1 : year;
  const int32_t era = (y >= 0 ? y : y - 399) / 400;
  const int32_t year_of_era = y - era * 400;
  const int32_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const int32_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146'097 + day_of_era - kDaysTo2000;
}

std::unexpected<Error> out_of_range(std::string_view text) {
  return fail("22008", "date/time field value out of range: \"" + std::string(text) + "\"");
}

// YYYY-MM-DD. With four or more year digits the order of fields does not depend on DateStyle.
Result<std::optional<int32_t>> parse_date(Cursor& in, bool bc, std::string_view whole) {
  const auto year = in.digits(4, 6);
  if (!year || !in.accept('-')) return std::nullopt;
  const auto month = in.digits(2, 2);
  if (!month || !in.accept('-')) return std::nullopt;
  const auto day = in.digits(2, 2);
  if (!day) return std::nullopt;
  const int32_t astronomical = bc ? 1 - *year : *year;
  if (*year == 0 || *month < 1 || *month > 12 || *day < 1 || *day > days_in_month(astronomical, *month)) {
    return out_of_range(whole);
  }
  if (astronomical > kMaxYear || astronomical < kMinYear) return std::nullopt;
  return days_from_civil(astronomical, *month, *day);
}

// HH:MM[:SS[.ffffff]] in microseconds, below 24 hours.
Result<std::optional<int64_t>> parse_time(Cursor& in, std::string_view whole) {
  const auto hour = in.digits(2, 2);
  if (!hour || !in.accept(':')) return std::nullopt;
  const auto minute = in.digits(2, 2);
  if (!minute) return std::nullopt;
  int32_t second = 0;
  int32_t micros = 0;
  if (in.accept(':')) {
    const auto read = in.digits(2, 2);
    if (!read) return std::nullopt;
    second = *read;
    if (in.accept('.')) {
      const auto fraction = in.digits(1, 6);
      if (!fraction) return std::nullopt;
      micros = *fraction;
      for (size_t i = in.last_count(); i < 6; ++i) micros *= 10;
    }
  }
  if (*hour > 24 || *minute > 59 || second > 60) return out_of_range(whole);
  const int64_t result = ((int64_t{*hour} * 60 + *minute) * 60 + second) * kMicrosPerSecond + micros;
  if (second == 60 || *hour == 24) {
    // 24:00:00 is a time of its own; the other border spellings are the server's to judge.
    return result == kMicrosPerDay && second == 0 ? std::optional(result) : std::nullopt;
  }
  return result;
}

// Z, +HH, +HH:MM, +HHMM, +HH:MM:SS: seconds east of Greenwich.
Result<std::optional<int32_t>> parse_zone(Cursor& in) {
  if (in.accept_any("zZ")) return 0;
  const char sign = in.peek();
  if (!in.accept_any("+-")) return std::nullopt;
  int32_t hour = 0;
  int32_t minute = 0;
  int32_t second = 0;
  if (const auto both = in.digits(4, 4)) {
    hour = *both / 100;
    minute = *both % 100;
  } else {
    const auto read = in.digits(2, 2);
    if (!read) return std::nullopt;
    hour = *read;
    if (in.accept(':')) {
      const auto read_minute = in.digits(2, 2);
      if (!read_minute) return std::nullopt;
      minute = *read_minute;
      if (in.accept(':')) {
        const auto read_second = in.digits(2, 2);
        if (!read_second) return std::nullopt;
        second = *read_second;
      }
    }
  }
  if (hour > 15 || minute > 59 || second > 59) return std::nullopt;
  const int32_t offset = (hour * 60 + minute) * 60 + second;
  return sign == '-' ? -offset : offset;
}

struct Instant {
  int32_t days = 0;
  int64_t micros = 0;
  std::optional<int32_t> zone_seconds;
};

Result<std::optional<Instant>> parse_instant(std::string_view text, bool bc, std::string_view whole) {
  Cursor in(text);
  Instant out;
  const auto days = parse_date(in, bc, whole);
  if (!days) return fail(days.error());
  if (!*days) return std::nullopt;
  out.days = **days;
  if (in.done()) return out;
  if (!in.accept_any(" T")) return std::nullopt;
  const auto micros = parse_time(in, whole);
  if (!micros) return fail(micros.error());
  if (!*micros) return std::nullopt;
  out.micros = **micros;
  if (in.done()) return out;
  const auto zone = parse_zone(in);
  if (!zone || !*zone || !in.done()) return std::nullopt;
  out.zone_seconds = **zone;
  return out;
}

}  // namespace

Result<std::optional<std::string>> date_from_text(std::string_view text) {
  text = trim_space(text);
  if (equals_ignoring_case(text, "infinity")) return to_be(kDateInfinity);
  if (equals_ignoring_case(text, "-infinity")) return to_be(kDateMinusInfinity);
  std::string_view body = text;
  const bool bc = take_bc(body);
  Cursor in(body);
  const auto days = parse_date(in, bc, text);
  if (!days) return fail(days.error());
  if (!*days || !in.done()) return std::nullopt;
  return to_be(**days);
}

Result<std::optional<std::string>> time_from_text(std::string_view text) {
  text = trim_space(text);
  Cursor in(text);
  const auto micros = parse_time(in, text);
  if (!micros) return fail(micros.error());
  if (!*micros || !in.done()) return std::nullopt;
  return to_be(**micros);
}

Result<std::optional<std::string>> timestamp_from_text(std::string_view text, bool with_zone) {
  text = trim_space(text);
  if (equals_ignoring_case(text, "infinity")) return to_be(kTimeInfinity);
  if (equals_ignoring_case(text, "-infinity")) return to_be(kTimeMinusInfinity);
  std::string_view body = text;
  const bool bc = take_bc(body);
  const auto instant = parse_instant(body, bc, text);
  if (!instant) return fail(instant.error());
  if (!*instant || (with_zone && !(*instant)->zone_seconds)) return std::nullopt;
  const int64_t shift = with_zone ? int64_t{*(*instant)->zone_seconds} * kMicrosPerSecond : 0;
  return to_be(int64_t{(*instant)->days} * kMicrosPerDay + (*instant)->micros - shift);
}

std::optional<std::string> timestamp_from_date(std::string_view date_binary) {
  constexpr int32_t kMaxDays = 106'000'000;  // 292,000 years: below the end of timestamp
  constexpr int32_t kMinDays = -2'400'000;
  const auto days = read_be<int32_t>(date_binary);
  if (days == kDateInfinity) return to_be(kTimeInfinity);
  if (days == kDateMinusInfinity) return to_be(kTimeMinusInfinity);
  if (days > kMaxDays || days < kMinDays) return std::nullopt;
  return to_be(int64_t{days} * kMicrosPerDay);
}

}  // namespace decan::catalog
