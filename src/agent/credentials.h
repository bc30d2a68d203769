// The file D/credentials (0600): passwords that Decan generated, in the format of libpq's password file, so
// that PGPASSFILE=D/credentials works.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "agent/layout.h"
#include "base/config.h"
#include "base/error.h"

namespace decan::agent {

inline constexpr std::string_view kOwnerRole = "app";
inline constexpr std::string_view kOwnerDatabase = "decan";

Result<std::optional<std::string>> stored_password(const Layout& layout, std::string_view role);
// The stored password of the owner role; generates and stores one when there is none.
Result<std::string> ensure_owner_password(const Layout& layout);

struct UrlOptions {
  std::string role = std::string(kOwnerRole);
  std::string database = std::string(kOwnerDatabase);
  std::string password;  // empty: the URL holds none
  int connect_timeout_s = 0;
};
// postgresql://role:password@host:port/database for the first address that the compute node listens on.
std::string client_url(const Config& config, const UrlOptions& options);

}  // namespace decan::agent
