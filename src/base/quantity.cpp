#include "base/quantity.h"

#include <fmt/format.h>

#include <charconv>
#include <span>

namespace decan {
namespace {

struct Unit {
  std::string_view name;
  uint64_t factor;
};

constexpr Unit kDurations[] = {{"d", 86'400'000}, {"h", 3'600'000}, {"min", 60'000}, {"s", 1000}, {"ms", 1}};
constexpr Unit kSizes[] = {{"TB", 1ull << 40}, {"GB", 1ull << 30}, {"MB", 1ull << 20},
                           {"kB", 1ull << 10}, {"KB", 1ull << 10}, {"B", 1}};
constexpr uint64_t kMaxDurationMs = 10ull * 366 * 86'400'000;
constexpr uint64_t kMaxSize = 1ull << 60;

std::optional<uint64_t> parse(std::string_view text, std::span<const Unit> units, uint64_t max) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  if (unit.starts_with(' ')) unit.remove_prefix(1);
  if (unit.empty()) return number == 0 ? std::optional<uint64_t>(0) : std::nullopt;
  for (const Unit& known : units) {
    if (known.name != unit) continue;
    if (number > max / known.factor) return std::nullopt;
    return number * known.factor;
  }
  return std::nullopt;
}

std::string format(uint64_t value, std::span<const Unit> units) {
  for (const Unit& unit : units) {
    if (value % unit.factor == 0) return fmt::format("{}{}", value / unit.factor, unit.name);
  }
  return fmt::format("{}", value);
}

}  // namespace

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  if (text == "off") return std::chrono::milliseconds(0);
  const auto value = parse(text, kDurations, kMaxDurationMs);
  if (!value) return std::nullopt;
  return std::chrono::milliseconds(static_cast<int64_t>(*value));
}

std::string format_duration(std::chrono::milliseconds value) {
  if (value.count() <= 0) return "off";
  return format(static_cast<uint64_t>(value.count()), kDurations);
}

std::optional<uint64_t> parse_size(std::string_view text) {
  return parse(text, kSizes, kMaxSize);
}

std::string format_size(uint64_t bytes) {
  return bytes == 0 ? "0" : format(bytes, kSizes);
}

}  // namespace decan
