#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509.h>

#include <array>
#include <memory>

#include "auth/scram.h"

namespace decan::auth {

// RFC 5929 section 4.1: the digest of the certificate's signature, SHA-256 in place of MD5 and SHA-1; a
// signature without a single digest (Ed25519) has no such binding.
Result<std::string> certificate_hash(std::string_view der) {
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const auto* end = at + der.size();
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(
      d2i_X509(nullptr, &at, static_cast<long>(der.size())), &X509_free);
  if (!certificate || at != end) {
    return fail(sqlstate::kInvalidAuthorization,
                "the TLS certificate is not a DER-encoded X.509 certificate");
  }
  int digest = NID_undef;
  if (X509_get_signature_info(certificate.get(), &digest, nullptr, nullptr, nullptr) != 1 ||
      digest == NID_undef) {
    return fail(sqlstate::kInvalidAuthorization,
                "the signature of the TLS certificate has no digest that channel binding could use", {},
                "Use a certificate signed with RSA or ECDSA.");
  }
  if (digest == NID_md5 || digest == NID_sha1) digest = NID_sha256;
  const EVP_MD* algorithm = EVP_get_digestbynid(digest);
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
  unsigned int bytes = 0;
  if (algorithm == nullptr || X509_digest(certificate.get(), algorithm, hash.data(), &bytes) != 1) {
    return fail(sqlstate::kInternalError, "OpenSSL could not hash the TLS certificate");
  }
  return std::string(reinterpret_cast<const char*>(hash.data()), bytes);
}

}  // namespace decan::auth
