#include <charconv>

#include "auth/crypto.h"
#include "auth/saslprep.h"
#include "auth/scram.h"

namespace decan::auth {

namespace {

constexpr std::string_view kScheme = "SCRAM-SHA-256";
constexpr int kDefaultIterations = 4096;  // PostgreSQL 15's, fixed there
constexpr size_t kSaltBytes = 16;         // likewise
constexpr size_t kMaxVerifierChars = 4096;

// Cuts the text before the first `separator` off `rest`; nullopt without one.
std::optional<std::string_view> cut(std::string_view& rest, char separator) {
  const size_t at = rest.find(separator);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view part = rest.substr(0, at);
  rest.remove_prefix(at + 1);
  return part;
}

bool read_key(std::string_view text, Key& key) {
  auto bytes = base64_decode(text);
  if (!bytes || bytes->size() != key.size()) return false;
  std::copy(bytes->begin(), bytes->end(), key.begin());
  wipe(*bytes);
  return true;
}

}  // namespace

std::string Verifier::to_string() const {
  return std::string(kScheme) + "$" + std::to_string(iterations) + ":" + base64_encode(salt) + "$" +
         base64_encode(view(stored_key)) + ":" + base64_encode(view(server_key));
}

std::optional<Verifier> parse_verifier(std::string_view text) {
  if (text.size() > kMaxVerifierChars || cut(text, '$') != kScheme) return std::nullopt;
  const auto iterations = cut(text, ':');
  const auto salt_text = cut(text, '$');
  const auto stored_key = cut(text, ':');
  if (!iterations || !salt_text || !stored_key) return std::nullopt;

  Verifier out;
  const char* end = iterations->data() + iterations->size();
  const auto [stop, error] = std::from_chars(iterations->data(), end, out.iterations);
  if (error != std::errc{} || stop != end || out.iterations < 1) return std::nullopt;
  auto salt = base64_decode(*salt_text);
  if (!salt || salt->empty()) return std::nullopt;
  out.salt = std::move(*salt);
  if (!read_key(*stored_key, out.stored_key) || !read_key(text, out.server_key)) return std::nullopt;
  return out;
}

Result<Verifier> make_verifier(std::string_view password) {
  if (password.empty()) {
    return fail(sqlstate::kInvalidParameterValue, "empty string is not a valid password");
  }
  Verifier out;
  out.iterations = kDefaultIterations;
  out.salt = random_bytes(kSaltBytes);
  std::string prepared = prepared_password(password);
  auto salted = salted_password(prepared, out.salt, out.iterations);
  wipe(prepared);
  if (!salted) return std::unexpected(std::move(salted.error()));
  auto client_key = hmac_sha256(view(*salted), "Client Key");
  auto server_key = hmac_sha256(view(*salted), "Server Key");
  wipe(*salted);
  if (!client_key || !server_key)
    return fail(sqlstate::kInternalError, "OpenSSL could not compute HMAC-SHA-256");
  auto stored_key = sha256(view(*client_key));
  wipe(*client_key);
  if (!stored_key) return std::unexpected(std::move(stored_key.error()));
  out.stored_key = *stored_key;
  out.server_key = *server_key;
  return out;
}

Verifier mock_verifier(std::string_view role, std::string_view secret) {
  const auto derived = [&](std::string_view purpose) {
    // Without HMAC nothing of this process can log in anyone; random bytes keep the promise "never matches".
    auto key = hmac_sha256(secret, std::string(purpose) + '\0' + std::string(role));
    if (key) return *key;
    Key random;
    const std::string bytes = random_bytes(random.size());
    std::copy(bytes.begin(), bytes.end(), random.begin());
    return random;
  };
  Verifier out;
  out.iterations = kDefaultIterations;
  const Key salt = derived("salt");
  out.salt = std::string(view(salt).substr(0, kSaltBytes));
  // Hashes of nothing that a client could know: a match would be a preimage of SHA-256.
  out.stored_key = derived("stored key");
  out.server_key = derived("server key");
  return out;
}

}  // namespace decan::auth
