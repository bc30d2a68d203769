// The primitives under SCRAM, over OpenSSL 3, and wiping of secrets.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "auth/scram.h"

namespace decan::auth {

inline std::string_view view(const Key& key) {
  return {reinterpret_cast<const char*>(key.data()), key.size()};
}

// 256-bit digests; an error (XX000) only when OpenSSL itself fails.
Result<Key> sha256(std::string_view data);
Result<Key> hmac_sha256(std::string_view key, std::string_view data);
// SaltedPassword of RFC 5802. Costs `iterations` HMACs: the caller has bounded them.
Result<Key> salted_password(std::string_view prepared_password, std::string_view salt, int iterations);

std::string hex(std::string_view bytes);  // lower case

Key exclusive_or(const Key& a, const Key& b);

void wipe(std::string& secret);  // overwrites all of its capacity, then clears it
void wipe(Key& secret);

}  // namespace decan::auth
