#include <algorithm>
#include <charconv>

#include "auth/crypto.h"
#include "auth/saslprep.h"
#include "auth/scram.h"
#include "auth/scram_message.h"

namespace decan::auth {

namespace {

struct ServerFirst {
  std::string_view nonce;
  std::string salt;
  int iterations = 0;
};

Result<ServerFirst> parse_server_first(std::string_view message) {
  ServerFirst out;
  Attributes attributes(message);
  const auto nonce = attributes.next('r');
  if (!nonce || !is_nonce(*nonce)) return malformed_scram("Attribute \"r\" expected.");
  const auto salt_text = attributes.next('s');
  if (!salt_text) return malformed_scram("Attribute \"s\" expected.");
  auto salt = base64_decode(*salt_text);
  if (!salt || salt->empty()) return malformed_scram("Invalid salt.");
  const auto iterations = attributes.next('i');
  if (!iterations) return malformed_scram("Attribute \"i\" expected.");
  const char* end = iterations->data() + iterations->size();
  const auto [stop, error] = std::from_chars(iterations->data(), end, out.iterations);
  if (error != std::errc{} || stop != end || out.iterations < 1) {
    return malformed_scram("Invalid iteration count.");
  }
  if (!attributes.at_end()) return malformed_scram("Garbage at the end of server-first-message.");
  // A hostile server could otherwise keep this thread busy for minutes.
  if (out.iterations > kMaxIterations) {
    return fail(sqlstate::kInvalidAuthorization,
                "the server asks for more than " + std::to_string(kMaxIterations) + " SCRAM iterations");
  }
  out.nonce = *nonce;
  out.salt = std::move(*salt);
  return out;
}

// saslname of RFC 5802: the comma separates and the equals sign escapes.
std::string escaped(std::string_view user) {
  std::string out;
  for (const char c : user) {
    if (c == ',') {
      out += "=2C";
    } else if (c == '=') {
      out += "=3D";
    } else {
      out += c;
    }
  }
  return out;
}

Result<PassThroughKeys> derive_keys(std::string_view password, const std::string& salt, int iterations) {
  std::string prepared = prepared_password(password);
  auto salted = salted_password(prepared, salt, iterations);
  wipe(prepared);
  if (!salted) return std::unexpected(std::move(salted.error()));
  const auto client_key = hmac_sha256(view(*salted), "Client Key");
  const auto server_key = hmac_sha256(view(*salted), "Server Key");
  wipe(*salted);
  if (!client_key || !server_key)
    return fail(sqlstate::kInternalError, "OpenSSL could not compute HMAC-SHA-256");
  PassThroughKeys keys;
  keys.client_key = *client_key;
  keys.server_key = *server_key;
  return keys;
}

}  // namespace

Result<PassThroughKeys> keys_of(std::string_view password, const Verifier& verifier) {
  auto keys = derive_keys(password, verifier.salt, verifier.iterations);
  if (!keys) return keys;
  keys->salt = verifier.salt;
  keys->iterations = verifier.iterations;
  return keys;
}

PassThroughKeys::~PassThroughKeys() {
  wipe(client_key);
  wipe(server_key);
}

ScramClient::ScramClient(std::string user, std::string password)
    : user_(std::move(user)), password_(password) {
  wipe(password);  // a moved-from short string still holds its characters
}

ScramClient::ScramClient(std::string user, PassThroughKeys keys) : user_(std::move(user)), keys_(keys) {}

ScramClient::~ScramClient() {
  wipe(password_);
  wipe(server_key_);
}

Result<std::string> ScramClient::first(const std::vector<std::string>& mechanisms,
                                       std::string_view channel_binding) {
  const auto offers = [&](std::string_view name) {
    return std::ranges::find(mechanisms, name) != mechanisms.end();
  };
  if (offers(kMechanismPlus) && channel_binding.empty()) {
    return fail(sqlstate::kInvalidAuthorization,
                "server offered SCRAM-SHA-256-PLUS authentication over a connection without TLS");
  }
  if (offers(kMechanismPlus)) {
    mechanism_ = kMechanismPlus;
    channel_binding_ = channel_binding;
    gs2_header_ = "p=" + std::string(kBindingType) + ",,";
  } else if (offers(kMechanism)) {
    mechanism_ = kMechanism;
    channel_binding_.clear();
    gs2_header_ = channel_binding.empty() ? "n,," : "y,,";
  } else {
    return fail(sqlstate::kFeatureNotSupported,
                "none of the server's SASL authentication mechanisms are supported");
  }
  if (nonce_.empty()) nonce_ = base64_encode(random_bytes(kNonceBytes));
  client_first_bare_ = "n=" + escaped(user_) + ",r=" + nonce_;
  return gs2_header_ + client_first_bare_;
}

Result<std::string> ScramClient::final(std::string_view server_first) {
  if (client_first_bare_.empty() || !auth_message_.empty()) {
    return malformed_scram("No server-first-message is expected now.");
  }
  if (auto checked = check_message(server_first); !checked)
    return std::unexpected(std::move(checked.error()));
  const auto server = parse_server_first(server_first);
  if (!server) return std::unexpected(server.error());
  if (!server->nonce.starts_with(nonce_) || server->nonce.size() == nonce_.size()) {
    return fail(sqlstate::kProtocolViolation, "invalid SCRAM response", "Nonce does not match.");
  }

  PassThroughKeys keys;
  if (keys_) {
    if (keys_->iterations != 0 && (keys_->iterations != server->iterations || keys_->salt != server->salt)) {
      return fail(sqlstate::kInvalidAuthorization,
                  "verifiers differ between units: the password of role \"" + user_ + "\" must be set again",
                  {}, "Set it through this database, never on one unit alone.");
    }
    keys = *keys_;
  } else {
    auto derived = derive_keys(password_, server->salt, server->iterations);
    if (!derived) return std::unexpected(std::move(derived.error()));
    keys = *derived;
  }

  const std::string without_proof =
      "c=" + base64_encode(gs2_header_ + channel_binding_) + ",r=" + std::string(server->nonce);
  auth_message_ = client_first_bare_ + "," + std::string(server_first) + "," + without_proof;
  const auto stored_key = sha256(view(keys.client_key));
  if (!stored_key) return std::unexpected(stored_key.error());
  const auto signature = hmac_sha256(view(*stored_key), auth_message_);
  if (!signature) return std::unexpected(signature.error());
  server_key_ = keys.server_key;
  return without_proof + ",p=" + base64_encode(view(exclusive_or(keys.client_key, *signature)));
}

Status ScramClient::verify(std::string_view server_final) {
  if (auth_message_.empty()) return malformed_scram("No server-final-message is expected now.");
  if (auto checked = check_message(server_final); !checked) return checked;
  Attributes attributes(server_final);
  const auto attribute = attributes.next();
  if (!attribute || !attributes.at_end()) return malformed_scram("Attribute \"v\" expected.");
  if (attribute->name == 'e') {
    return fail(sqlstate::kInvalidPassword, "the server refused the SCRAM exchange",
                std::string(attribute->value));
  }
  if (attribute->name != 'v') return malformed_scram("Attribute \"v\" expected.");
  const auto signature = base64_decode(attribute->value);
  const auto expected = hmac_sha256(view(server_key_), auth_message_);
  if (!expected) return std::unexpected(expected.error());
  if (!signature || !constant_time_equal(*signature, view(*expected))) {
    return fail(sqlstate::kInvalidAuthorization, "incorrect server signature",
                "The server does not know the role's verifier.");
  }
  verified_ = true;
  return {};
}

}  // namespace decan::auth
