// SASLprep (RFC 4013) exactly as PostgreSQL's pg_saslprep does it, its deviations included.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace decan::auth {

// nullopt: not UTF-8, or the profile prohibits it. SCRAM then uses the raw bytes, on both sides.
std::optional<std::string> saslprep(std::string_view password);
// The bytes that SCRAM derives its keys from.
std::string prepared_password(std::string_view password);

}  // namespace decan::auth
