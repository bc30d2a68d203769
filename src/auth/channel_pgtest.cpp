#include "auth/channel_pgtest.h"

#include <openssl/pem.h>
#include <openssl/x509.h>

#include <stdexcept>

#include "wire/message.h"

namespace decan::auth::test {

namespace {

void require(bool good, const char* what) {
  if (!good) throw std::runtime_error(what);
}

std::string drain(BIO* bio) {
  char* data = nullptr;
  const long bytes = BIO_get_mem_data(bio, &data);
  return {data, static_cast<size_t>(bytes)};
}

}  // namespace

Identity Identity::make() {
  Identity out{std::unique_ptr<EVP_PKEY, Free>(EVP_EC_gen("P-256")), std::unique_ptr<X509, Free>(X509_new())};
  X509* certificate = out.certificate.get();
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_NAME* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("localhost"),
                             -1, -1, 0);
  X509_set_issuer_name(certificate, name);
  X509_set_pubkey(certificate, out.key.get());
  require(X509_sign(certificate, out.key.get(), EVP_sha384()) > 0, "X509_sign");
  return out;
}

std::string Identity::der() const {
  const BioPtr memory(BIO_new(BIO_s_mem()));
  require(i2d_X509_bio(memory.get(), certificate.get()) == 1, "i2d_X509_bio");
  return drain(memory.get());
}

std::string Identity::key_pem() const {
  const BioPtr memory(BIO_new(BIO_s_mem()));
  require(PEM_write_bio_PrivateKey(memory.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1,
          "PEM key");
  return drain(memory.get());
}

std::string Identity::certificate_pem() const {
  const BioPtr memory(BIO_new(BIO_s_mem()));
  require(PEM_write_bio_X509(memory.get(), certificate.get()) == 1, "PEM certificate");
  return drain(memory.get());
}

Channel Channel::connect(uint16_t port) {
  BioPtr bio(BIO_new_connect(("127.0.0.1:" + std::to_string(port)).c_str()));
  require(bio && BIO_do_connect(bio.get()) == 1, "connect");
  return Channel(std::move(bio));
}

Channel::Channel(int socket) : bio_(BIO_new_socket(socket, BIO_CLOSE)) {}

void Channel::send(std::string_view bytes) {
  require(
      BIO_write(bio_.get(), bytes.data(), static_cast<int>(bytes.size())) == static_cast<int>(bytes.size()),
      "write");
  require(BIO_flush(bio_.get()) == 1, "flush");
}

std::string Channel::read(size_t bytes) {
  std::string out(bytes, '\0');
  for (size_t at = 0; at < bytes;) {
    const int got = BIO_read(bio_.get(), out.data() + at, static_cast<int>(bytes - at));
    require(got > 0, "the peer closed the connection");
    at += static_cast<size_t>(got);
  }
  return out;
}

Message Channel::receive() {
  const std::string head = read(wire::kHeaderBytes);
  const auto header = wire::decode_header(head, wire::kMaxMessageBytes).value();
  return {header->type, read(header->body_bytes)};
}

wire::StartupPacket Channel::receive_startup() {
  std::string bytes;
  while (true) {
    auto packet = wire::decode_startup(bytes).value();
    if (packet) return *packet;
    bytes += read(1);
  }
}

void Channel::start_tls(bool client) {
  BIO* tls = BIO_new_ssl(context_.get(), client ? 1 : 0);
  require(tls != nullptr, "BIO_new_ssl");
  bio_.reset(BIO_push(tls, bio_.release()));
  require(BIO_do_handshake(bio_.get()) == 1, "TLS handshake");
}

void Channel::start_tls_as_client() {
  context_.reset(SSL_CTX_new(TLS_client_method()));
  start_tls(true);
}

void Channel::start_tls_as_server(const Identity& identity) {
  context_.reset(SSL_CTX_new(TLS_server_method()));
  require(SSL_CTX_use_certificate(context_.get(), identity.certificate.get()) == 1, "certificate");
  require(SSL_CTX_use_PrivateKey(context_.get(), identity.key.get()) == 1, "key");
  start_tls(false);
}

std::string Channel::peer_certificate_der() const {
  SSL* ssl = nullptr;
  BIO_get_ssl(bio_.get(), &ssl);
  const std::unique_ptr<X509, Free> certificate(SSL_get1_peer_certificate(ssl));
  const BioPtr memory(BIO_new(BIO_s_mem()));
  require(i2d_X509_bio(memory.get(), certificate.get()) == 1, "i2d_X509_bio");
  return drain(memory.get());
}

}  // namespace decan::auth::test
