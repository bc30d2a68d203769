#include "auth/proof.h"

#include "auth/crypto.h"

namespace decan::auth {
namespace {

constexpr size_t kBlockBytes = 64;

}  // namespace

ProofKey::ProofKey(std::string_view secret) {
  if (secret.empty()) return;
  if (secret.size() > kBlockBytes) {
    const auto hashed = sha256(secret);
    if (!hashed) return;
    padded_ = view(*hashed);
  } else {
    padded_ = secret;
  }
  padded_.resize(kBlockBytes, '\0');
}

std::string ProofKey::proof(std::string_view message) const {
  if (padded_.empty()) return {};
  const auto mac = hmac_sha256(padded_, message);
  return mac ? hex(view(*mac)) : std::string();
}

std::string ProofKey::block(unsigned char pad) const {
  std::string out = padded_;
  for (char& c : out) c = static_cast<char>(static_cast<unsigned char>(c) ^ pad);
  return hex(out);
}

std::string ProofKey::inner_block() const {
  return block(0x36);
}

std::string ProofKey::outer_block() const {
  return block(0x5c);
}

}  // namespace decan::auth
