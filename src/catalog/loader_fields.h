// Reads the text of the catalog's rows.
#pragma once

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace decan::catalog {

// The fields of one row. Reading a field that does not parse is remembered and told at the end.
class Fields {
 public:
  explicit Fields(const std::vector<std::optional<std::string>>& row) : row_(row) {}
  bool is_null(size_t i) const { return !row_[i]; }
  std::string_view text(size_t i) const { return row_[i] ? std::string_view(*row_[i]) : std::string_view(); }
  bool flag(size_t i) const { return text(i) == "t"; }
  template <class T>
  T number(size_t i, T if_null = 0) {
    return row_[i] ? parse<T>(*row_[i]) : if_null;
  }
  // "1 3 4"
  template <class T>
  std::vector<T> numbers(size_t i) {
    std::vector<T> out;
    std::string_view rest = text(i);
    while (!rest.empty()) {
      const size_t end = std::min(rest.find(' '), rest.size());
      out.push_back(parse<T>(rest.substr(0, end)));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return out;
  }
  // "6162,-,": hexadecimal values, each followed by a comma; '-' is NULL.
  std::vector<std::optional<std::string>> values(size_t i) {
    std::vector<std::optional<std::string>> out;
    std::string_view rest = text(i);
    while (!rest.empty()) {
      const size_t end = std::min(rest.find(','), rest.size());
      const std::string_view item = rest.substr(0, end);
      if (item == "-") {
        out.emplace_back(std::nullopt);
      } else {
        out.emplace_back(unhex(item));
      }
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return out;
  }
  bool ok() const { return ok_; }

 private:
  template <class T>
  T parse(std::string_view digits) {
    T value{};
    const auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    ok_ = ok_ && status == std::errc() && end == digits.data() + digits.size();
    return value;
  }
  std::string unhex(std::string_view digits) {
    std::string out;
    for (size_t i = 0; i + 1 < digits.size(); i += 2) {
      unsigned value = 0;
      const auto [end, status] = std::from_chars(digits.data() + i, digits.data() + i + 2, value, 16);
      ok_ = ok_ && status == std::errc() && end == digits.data() + i + 2;
      out += static_cast<char>(value);
    }
    ok_ = ok_ && digits.size() % 2 == 0;
    return out;
  }
  const std::vector<std::optional<std::string>>& row_;
  bool ok_ = true;
};

}  // namespace decan::catalog
