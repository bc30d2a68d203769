// A blocking connection, plain or TLS, that speaks whole messages; for this module's tests on real servers.
#pragma once

#include <openssl/bio.h>
#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "wire/message.h"

namespace decan::auth::test {

struct Free {
  void operator()(BIO* bio) const { BIO_free_all(bio); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(X509* certificate) const { X509_free(certificate); }
};
using BioPtr = std::unique_ptr<BIO, Free>;
using ContextPtr = std::unique_ptr<SSL_CTX, Free>;

struct Identity {
  std::unique_ptr<EVP_PKEY, Free> key;
  std::unique_ptr<X509, Free> certificate;

  static Identity make();  // a self-signed P-256 certificate for "localhost"
  std::string der() const;
  std::string key_pem() const;
  std::string certificate_pem() const;
};

struct Message {
  char type = 0;
  std::string body;
};

// Failures throw std::runtime_error.
class Channel {
 public:
  static Channel connect(uint16_t port);
  explicit Channel(int socket);

  void send(std::string_view bytes);
  Message receive();
  wire::StartupPacket receive_startup();
  std::string read(size_t bytes);

  void start_tls_as_client();
  void start_tls_as_server(const Identity& identity);
  std::string peer_certificate_der() const;

 private:
  explicit Channel(BioPtr bio) : bio_(std::move(bio)) {}
  void start_tls(bool client);

  ContextPtr context_;
  BioPtr bio_;
};

}  // namespace decan::auth::test
