// Hand-made messages for this module's tests.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace decan::wire::test {

inline std::string be16(uint32_t value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value)};
}
inline std::string be32(uint32_t value) {
  return be16(value >> 16) + be16(value & 0xffff);
}
// A string with its closing NUL.
inline std::string z(std::string_view text) {
  return std::string(text) + '\0';
}
inline std::string message(char type, std::string_view body) {
  return std::string(1, type) + be32(static_cast<uint32_t>(body.size() + 4)) + std::string(body);
}
inline std::string packet(uint32_t code, std::string_view rest) {
  return be32(static_cast<uint32_t>(rest.size() + 8)) + be32(code) + std::string(rest);
}

// SQLSTATE of a failed result, "" of a good one.
template <class R>
std::string state_of(const R& result) {
  return result ? std::string() : result.error().sqlstate;
}

}  // namespace decan::wire::test
