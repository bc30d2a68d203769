// Proofs that a call comes from a compute node: clients log in to units under their own roles and may call
// what is public there, so what only Decan may do takes an HMAC-SHA-256 of the call under the cluster's
// secret, which units and compute nodes have and clients have not.
#pragma once

#include <string>
#include <string_view>

namespace decan::auth {

class ProofKey {
 public:
  // Secrets above 64 bytes are hashed first (RFC 2104).
  explicit ProofKey(std::string_view secret);
  // 64 hexadecimal digits; none for an empty secret.
  std::string proof(std::string_view message) const;
  // The blocks that go in front of the inner and the outer hash, in hexadecimal: what a unit needs to check.
  std::string inner_block() const;
  std::string outer_block() const;

 private:
  std::string block(unsigned char pad) const;
  std::string padded_;  // 64 bytes
};

}  // namespace decan::auth
