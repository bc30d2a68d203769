#include "agent/certificate.h"

#include <fmt/format.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <memory>

#include "agent/files.h"

namespace decan::agent {
namespace {

constexpr long kValidSeconds = 10L * 365 * 86'400;

template <auto Free>
struct Freer {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
using Buffer = std::unique_ptr<BIO, Freer<BIO_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Freer<X509_EXTENSION_free>>;

std::unexpected<Error> broken() {
  return fail(sqlstate::kInternalError, "OpenSSL could not make a certificate", {},
              "Set tls.certificate and tls.key to files of your own, or tls.mode to off.");
}

std::string host_name() {
  char name[256] = "";
  if (::gethostname(name, sizeof name - 1) != 0) return {};
  const std::string text(name);
  const bool plain =
      text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") ==
      std::string::npos;
  return plain && text.size() <= 63 ? text : std::string();
}

bool add_extension(X509* certificate, int id, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str()));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool fill(X509* certificate, EVP_PKEY* key) {
  unsigned char serial[16];
  if (RAND_bytes(serial, sizeof serial) != 1) return false;
  serial[0] &= 0x7f;  // positive
  const std::unique_ptr<BIGNUM, Freer<BN_free>> number(BN_bin2bn(serial, sizeof serial, nullptr));
  if (!number || !BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate))) return false;
  const std::string host = host_name();
  const std::string common_name = host.empty() ? "localhost" : host;
  X509_NAME* name = X509_get_subject_name(certificate);
  std::string names = "DNS:localhost,IP:127.0.0.1,IP:::1";
  if (!host.empty() && host != "localhost") names += ",DNS:" + host;
  return X509_set_version(certificate, X509_VERSION_3) == 1 &&
         X509_gmtime_adj(X509_getm_notBefore(certificate), -86'400) &&
         X509_gmtime_adj(X509_getm_notAfter(certificate), kValidSeconds) &&
         X509_set_pubkey(certificate, key) == 1 &&
         X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1,
                                    0) == 1 &&
         X509_set_issuer_name(certificate, name) == 1 &&
         add_extension(certificate, NID_basic_constraints, "critical,CA:FALSE") &&
         add_extension(certificate, NID_subject_alt_name, names) &&
         X509_sign(certificate, key, EVP_sha256()) > 0;
}

std::string text_of(BIO* buffer) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(buffer, &bytes);
  return size > 0 ? std::string(bytes, static_cast<size_t>(size)) : std::string();
}

}  // namespace

Status ensure_certificate(const std::string& certificate_path, const std::string& key_path) {
  if (exists(certificate_path) && exists(key_path)) return {};
  const Key key(EVP_EC_gen("P-256"));
  const Certificate certificate(X509_new());
  if (!key || !certificate || !fill(certificate.get(), key.get())) return broken();
  const Buffer key_text(BIO_new(BIO_s_mem())), certificate_text(BIO_new(BIO_s_mem()));
  if (!key_text || !certificate_text ||
      PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1 ||
      PEM_write_bio_X509(certificate_text.get(), certificate.get()) != 1) {
    return broken();
  }
  // The certificate comes last and a former one goes first: as long as it is missing, the next start makes
  // both again.
  ::unlink(certificate_path.c_str());
  if (Status done = write_file(key_path, text_of(key_text.get()), 0600); !done) return done;
  return write_file(certificate_path, text_of(certificate_text.get()), 0644);
}

Result<int> days_left(const std::string& certificate_path) {
  const auto text = read_file(certificate_path);
  if (!text) return fail(text.error());
  if (!*text)
    return fail(sqlstate::kUndefinedObject, fmt::format("there is no certificate {}", certificate_path));
  const Buffer buffer(BIO_new_mem_buf((*text)->data(), static_cast<int>((*text)->size())));
  const Certificate certificate(buffer ? PEM_read_bio_X509(buffer.get(), nullptr, nullptr, nullptr)
                                       : nullptr);
  int days = 0, seconds = 0;
  if (!certificate || ASN1_TIME_diff(&days, &seconds, nullptr, X509_get0_notAfter(certificate.get())) != 1) {
    return fail(sqlstate::kDataCorrupted,
                fmt::format("{} is no certificate in PEM format", certificate_path));
  }
  return seconds < 0 ? days - 1 : days;
}

}  // namespace decan::agent
