#include "auth/crypto.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <cstdlib>

namespace decan::auth {

namespace {

const unsigned char* raw(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::unexpected<Error> openssl_failed(const char* what) {
  return fail(sqlstate::kInternalError, std::string("OpenSSL could not compute ") + what);
}

}  // namespace

Result<Key> sha256(std::string_view data) {
  Key out;
  unsigned int bytes = 0;
  if (EVP_Digest(data.data(), data.size(), out.data(), &bytes, EVP_sha256(), nullptr) != 1 ||
      bytes != out.size()) {
    return openssl_failed("SHA-256");
  }
  return out;
}

Result<Key> hmac_sha256(std::string_view key, std::string_view data) {
  Key out;
  unsigned int bytes = 0;
  if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), raw(data), data.size(), out.data(),
           &bytes) == nullptr ||
      bytes != out.size()) {
    return openssl_failed("HMAC-SHA-256");
  }
  return out;
}

Result<Key> salted_password(std::string_view prepared_password, std::string_view salt, int iterations) {
  Key out;
  if (PKCS5_PBKDF2_HMAC(prepared_password.data(), static_cast<int>(prepared_password.size()), raw(salt),
                        static_cast<int>(salt.size()), iterations, EVP_sha256(), static_cast<int>(out.size()),
                        out.data()) != 1) {
    return openssl_failed("PBKDF2");
  }
  return out;
}

Key exclusive_or(const Key& a, const Key& b) {
  Key out;
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<unsigned char>(a[i] ^ b[i]);
  return out;
}

void wipe(std::string& secret) {
  secret.resize(secret.capacity());
  OPENSSL_cleanse(secret.data(), secret.size());
  secret.clear();
}

void wipe(Key& secret) {
  OPENSSL_cleanse(secret.data(), secret.size());
}

bool constant_time_equal(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

std::string random_bytes(size_t n) {
  std::string out(n, '\0');
  // No login may go on with a predictable nonce or salt, and the kernel's generator does not fail in
  // practice.
  if (RAND_bytes(reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(n)) != 1) std::abort();
  return out;
}

}  // namespace decan::auth
