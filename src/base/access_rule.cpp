#include "base/access_rule.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace decan {
namespace {

constexpr std::array<uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr int kMappedBits = 96;

bool is_mapped(const IpAddress& address) {
  return std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), address.begin());
}

// Bits of byte `index` that belong to the prefix.
uint8_t mask_of(int prefix_bits, size_t index) {
  const int bits = std::clamp(prefix_bits - static_cast<int>(index) * 8, 0, 8);
  return static_cast<uint8_t>(0xff00 >> bits);
}

bool names(const std::vector<std::string>& list, std::string_view name) {
  return list.empty() || std::ranges::find(list, name) != list.end();
}

}  // namespace

std::optional<IpAddress> parse_ip(std::string_view text) {
  const std::string terminated(text);
  IpAddress address{};
  if (::inet_pton(AF_INET6, terminated.c_str(), address.data()) == 1) return address;
  if (::inet_pton(AF_INET, terminated.c_str(), address.data() + kMappedPrefix.size()) == 1) {
    std::ranges::copy(kMappedPrefix, address.begin());
    return address;
  }
  return std::nullopt;
}

bool AddressRange::contains(const IpAddress& other) const {
  for (size_t i = 0; i < address.size(); ++i) {
    if (((address[i] ^ other[i]) & mask_of(prefix_bits, i)) != 0) return false;
  }
  return true;
}

std::string AddressRange::to_string() const {
  if (prefix_bits == 0) return "all";
  char text[INET6_ADDRSTRLEN] = "";
  if (is_mapped(address) && prefix_bits >= kMappedBits) {
    ::inet_ntop(AF_INET, address.data() + kMappedPrefix.size(), text, sizeof text);
    return fmt::format("{}/{}", text, prefix_bits - kMappedBits);
  }
  ::inet_ntop(AF_INET6, address.data(), text, sizeof text);
  return fmt::format("{}/{}", text, prefix_bits);
}

std::optional<AddressRange> parse_range(std::string_view text) {
  if (text == "all") return AddressRange{};
  const size_t slash = text.find('/');
  const auto address = parse_ip(text.substr(0, slash));
  if (!address) return std::nullopt;
  const bool v4 = text.substr(0, slash).find(':') == std::string_view::npos;
  AddressRange range{*address, 128};
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    int bits = -1;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
    if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
    if (bits < 0 || bits > (v4 ? 32 : 128)) return std::nullopt;
    range.prefix_bits = v4 ? kMappedBits + bits : bits;
  }
  for (size_t i = 0; i < range.address.size(); ++i) {
    if ((range.address[i] & ~mask_of(range.prefix_bits, i)) != 0) return std::nullopt;
  }
  return range;
}

const AccessRule* find_rule(const std::vector<AccessRule>& rules, const LoginAttempt& attempt) {
  for (const AccessRule& rule : rules) {
    if (rule.tls == TlsNeed::kRequired && !attempt.tls) continue;
    if (rule.address.contains(attempt.address) && names(rule.databases, attempt.database) &&
        names(rule.roles, attempt.role)) {
      return &rule;
    }
  }
  return nullptr;
}

}  // namespace decan
