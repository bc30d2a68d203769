// Who may log in from where: the host rules of the configuration. As in pg_hba.conf the first rule that
// matches decides, and without a match the login is refused. Pure; immutable after loading.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace decan {

// An IPv4 or IPv6 address; IPv4 is kept as IPv4-mapped IPv6, so 127.0.0.1 and ::ffff:127.0.0.1 are one.
using IpAddress = std::array<uint8_t, 16>;
std::optional<IpAddress> parse_ip(std::string_view text);

struct AddressRange {
  IpAddress address{};
  int prefix_bits = 0;  // of the 128
  bool contains(const IpAddress& other) const;
  std::string to_string() const;
};
// "all", "10.0.0.0/8", "::1/128"; an address without prefix is that one host. nullopt: not a range, or bits
// set behind the prefix.
std::optional<AddressRange> parse_range(std::string_view text);

enum class LoginMethod { kScramSha256, kReject };
enum class TlsNeed { kOptional, kRequired };

struct AccessRule {
  AddressRange address;
  std::vector<std::string> databases;  // empty: all
  std::vector<std::string> roles;      // empty: all
  LoginMethod method = LoginMethod::kScramSha256;
  TlsNeed tls = TlsNeed::kOptional;
};

struct LoginAttempt {
  IpAddress address{};
  std::string_view database, role;
  bool tls = false;
};
// The rule that decides; nullptr: none does. A rule that requires TLS does not match a connection without it,
// as hostssl.
const AccessRule* find_rule(const std::vector<AccessRule>& rules, const LoginAttempt& attempt);

}  // namespace decan
