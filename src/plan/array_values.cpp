#include "plan/array_values.h"

#include <algorithm>
#include <cstdint>

namespace decan::plan {
namespace {

constexpr size_t kMaxArrayElements = 10'000;

uint32_t read_u32(std::string_view bytes, size_t at) {
  uint32_t out = 0;
  for (size_t i = 0; i < 4; ++i) out = out << 8 | static_cast<uint8_t>(bytes[at + i]);
  return out;
}

}  // namespace

std::optional<std::vector<std::string>> text_elements(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\n\r\v\f");
  const size_t last = text.find_last_not_of(" \t\n\r\v\f");
  if (first == std::string_view::npos || text[first] != '{' || text[last] != '}') return std::nullopt;
  text = text.substr(first + 1, last - first - 1);
  std::vector<std::string> out;
  size_t i = 0;
  const auto skip_space = [&] {
    while (i < text.size() && std::string_view(" \t\n\r\v\f").contains(text[i])) ++i;
  };
  skip_space();
  if (i == text.size()) return out;
  while (true) {
    skip_space();
    std::string element;
    bool quoted = false;
    if (i < text.size() && text[i] == '"') {
      quoted = true;
      for (++i; i < text.size() && text[i] != '"'; ++i) {
        if (text[i] == '\\' && ++i == text.size()) return std::nullopt;
        element += text[i];
      }
      if (i++ >= text.size()) return std::nullopt;
      skip_space();
    } else {
      for (; i < text.size() && text[i] != ','; ++i) {
        if (text[i] == '{' || text[i] == '}' || text[i] == '"' || text[i] == '\\') return std::nullopt;
        element += text[i];
      }
      element.erase(element.find_last_not_of(" \t\n\r\v\f") + 1);
      if (element.empty()) return std::nullopt;
    }
    const bool null =
        !quoted && element.size() == 4 &&
        std::ranges::equal(element, std::string_view("null"), [](char a, char b) { return (a | 0x20) == b; });
    if (!null) out.push_back(std::move(element));
    if (out.size() > kMaxArrayElements) return std::nullopt;
    if (i == text.size()) return out;
    if (text[i++] != ',') return std::nullopt;
  }
}

std::optional<BinaryArray> binary_elements(std::string_view bytes) {
  constexpr size_t kHeader = 12;
  constexpr size_t kDimension = 8;
  if (bytes.size() < kHeader) return std::nullopt;
  BinaryArray out;
  out.element = read_u32(bytes, 8);
  const uint32_t dimensions = read_u32(bytes, 0);
  if (dimensions == 0) return out;
  if (dimensions != 1 || bytes.size() < kHeader + kDimension) return std::nullopt;
  const uint32_t count = read_u32(bytes, kHeader);
  if (count > kMaxArrayElements) return std::nullopt;
  size_t at = kHeader + kDimension;
  for (uint32_t i = 0; i < count; ++i) {
    if (bytes.size() - at < 4) return std::nullopt;
    const uint32_t length = read_u32(bytes, at);
    at += 4;
    if (length == 0xFFFFFFFF) continue;
    if (bytes.size() - at < length) return std::nullopt;
    out.values.push_back(bytes.substr(at, length));
    at += length;
  }
  return out;
}

}  // namespace decan::plan
