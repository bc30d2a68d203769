// SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677; channel binding tls-server-end-point, RFC 5929),
// both sides, as PostgreSQL 15 speaks them (documentation 55.3). Sans-io. Secrets are wiped when the objects
// die.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace decan::auth {

using Key = std::array<unsigned char, 32>;

// PostgreSQL's verifier: SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>
struct Verifier {
  int iterations = 0;
  std::string salt;  // raw bytes
  Key stored_key{};
  Key server_key{};
  std::string to_string() const;
};
// nullopt: not a SCRAM verifier (e.g. md5…).
std::optional<Verifier> parse_verifier(std::string_view text);
// Random salt of 16 bytes, 4096 iterations. The password goes through SASLprep (RFC 4013) as PostgreSQL does
// it: when that fails the raw bytes are used.
Result<Verifier> make_verifier(std::string_view password);
// What a role that does not exist (or has no SCRAM verifier) is challenged with: same cost, never matches,
// stable per role name for the life of `secret`.
Verifier mock_verifier(std::string_view role, std::string_view secret);

// What lets the compute node log in to units as the client's role: ClientKey and ServerKey of one (salt,
// iterations), which must be the unit's too. With iterations == 0 that is not checked.
struct PassThroughKeys {
  Key client_key{};
  Key server_key{};
  std::string salt;
  int iterations = 0;
  ~PassThroughKeys();
};

// Those that a login with this password would give. Takes about 2 ms of CPU.
Result<PassThroughKeys> keys_of(std::string_view password, const Verifier& verifier);

// The server's side of one exchange.
class ScramServer {
 public:
  struct Options {
    std::string role;
    Verifier verifier;
    bool role_may_log_in = true;  // false: runs to the end and fails there (mock verifier, NOLOGIN, expired)
    bool tls = false;             // whether PLUS is offered
    std::string channel_binding = {};  // hash of our certificate (tls-server-end-point) when tls
    std::string nonce = {};            // the server's part; empty: random. Set by tests only
  };
  explicit ScramServer(Options options);
  ~ScramServer();
  std::vector<std::string> mechanisms() const;  // for AuthenticationSASL, in order of preference
  // SASLInitialResponse -> server-first. Errors: 28P01/08P01 (FATAL for the client).
  Result<std::string> first(std::string_view mechanism, std::string_view client_first);
  // client-final -> server-final. Error 28P01 "password authentication failed for user …".
  Result<std::string> final(std::string_view client_final);
  const PassThroughKeys& keys() const { return keys_; }  // valid after final() succeeded

 private:
  Options options_;
  PassThroughKeys keys_;
  std::string nonce_, client_first_bare_, server_first_, gs2_header_;
  bool plus_ = false;
  int step_ = 0;
};

// The client's side, towards a unit.
class ScramClient {
 public:
  // With a password, or with keys from a client's own exchange (then their salt and iterations must be those
  // that the unit sends, else 28000: "verifiers differ between units").
  ScramClient(std::string user, std::string password);
  ScramClient(std::string user, PassThroughKeys keys);
  ~ScramClient();
  void set_nonce(std::string nonce) { nonce_ = std::move(nonce); }  // instead of a random one; by tests only
  // `channel_binding`: hash of the unit's certificate, empty without TLS (then an offer of PLUS is refused).
  Result<std::string> first(const std::vector<std::string>& mechanisms, std::string_view channel_binding);
  std::string_view mechanism() const { return mechanism_; }
  Result<std::string> final(std::string_view server_first);  // refuses more than 1,000,000 iterations
  Status verify(std::string_view server_final);
  // Whether verify() succeeded. An AuthenticationOk before that comes from a server that has proved nothing:
  // refuse it.
  bool verified() const { return verified_; }

 private:
  std::string user_, password_;
  std::optional<PassThroughKeys> keys_;
  std::string mechanism_, channel_binding_, gs2_header_, nonce_, client_first_bare_, auth_message_;
  Key server_key_{};
  bool verified_ = false;
};

// tls-server-end-point: hash of a DER certificate with its signature's digest (SHA-256 in place of MD5 and
// SHA-1).
Result<std::string> certificate_hash(std::string_view der);

std::string base64_encode(std::string_view bytes);
std::optional<std::string> base64_decode(std::string_view text);
bool constant_time_equal(std::string_view a, std::string_view b);
std::string random_bytes(size_t n);

}  // namespace decan::auth
