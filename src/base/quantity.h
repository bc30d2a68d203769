// Durations and sizes as people write them in the configuration: "30s", "256MB".
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace decan {

// Units ms, s, min, h, d; one number, one unit. "0" and "off" are zero. nullopt: not a duration, or above 10
// years.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);
std::string format_duration(std::chrono::milliseconds value);  // "off" for zero, else the largest exact unit

// Units B, kB, MB, GB, TB: powers of 1024, as in postgresql.conf. nullopt: not a size, or above 2^60.
std::optional<uint64_t> parse_size(std::string_view text);
std::string format_size(uint64_t bytes);

}  // namespace decan
