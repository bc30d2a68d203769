#include "agent/credentials.h"

#include <fmt/format.h>

#include <sstream>

#include "agent/files.h"

namespace decan::agent {
namespace {

std::string percent_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.' || c == '~';
    if (plain) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    }
  }
  return out;
}

// In a password file a backslash takes the meaning from the character behind it.
std::string unescaped(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    out += text[i];
  }
  return out;
}

}  // namespace

Result<std::optional<std::string>> stored_password(const Layout& layout, std::string_view role) {
  const auto text = read_file(layout.credentials());
  if (!text) return fail(text.error());
  if (!*text) return std::nullopt;
  std::istringstream in(**text);
  const std::string prefix = fmt::format("*:*:*:{}:", role);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(prefix)) return unescaped(std::string_view(line).substr(prefix.size()));
  }
  return std::nullopt;
}

Result<std::string> ensure_owner_password(const Layout& layout) {
  auto stored = stored_password(layout, kOwnerRole);
  if (!stored) return fail(stored.error());
  if (*stored) return **stored;
  auto existing = read_file(layout.credentials());
  if (!existing) return fail(existing.error());
  const std::string password = random_password();
  const std::string text = existing->value_or("# host:port:database:role:password; use it as PGPASSFILE.\n") +
                           fmt::format("*:*:*:{}:{}\n", kOwnerRole, password);
  if (Status done = write_file(layout.credentials(), text, 0600); !done) return fail(done.error());
  return password;
}

std::string client_url(const Config& config, const UrlOptions& options) {
  ListenAddress address = config.compute.listen.front();
  if (address.address == "0.0.0.0") address.address = "127.0.0.1";
  if (address.address == "::") address.address = "::1";
  std::string out = "postgresql://" + percent_encoded(options.role);
  if (!options.password.empty()) out += ":" + percent_encoded(options.password);
  out += fmt::format("@{}/{}", to_string(address), percent_encoded(options.database));
  if (config.tls.mode == TlsMode::kRequire) out += "?sslmode=require";
  if (options.connect_timeout_s > 0) {
    out += fmt::format("{}connect_timeout={}", out.find('?') == std::string::npos ? '?' : '&',
                       options.connect_timeout_s);
  }
  return out;
}

}  // namespace decan::agent
