#include <algorithm>

#include "auth/crypto.h"
#include "auth/scram.h"
#include "auth/scram_message.h"

namespace decan::auth {

namespace {

enum Step { kExpectsFirst, kExpectsFinal, kDone };

struct ClientFirst {
  std::string_view gs2_header;  // with its two commas
  std::string_view bare;
  std::string_view nonce;
};

// The GS2 flag says whether the client binds the channel. The answers are PostgreSQL's (auth-scram.c).
Status check_gs2_flag(std::string_view message, bool plus, bool plus_offered) {
  switch (message[0]) {
    case 'n':
      if (plus) {
        return malformed_scram(
            "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding "
            "data.");
      }
      return {};
    case 'y':
      if (plus) {
        return malformed_scram(
            "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding "
            "data.");
      }
      // The client supports binding and did not see it offered: somebody cut the offer out.
      if (plus_offered) {
        return fail(
            sqlstate::kInvalidAuthorization, "SCRAM channel binding negotiation error",
            "The client supports SCRAM channel binding but thinks the server does not. However, this server "
            "does support channel binding.");
      }
      return {};
    case 'p':
      if (!plus) {
        return malformed_scram(
            "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes "
            "channel "
            "binding data.");
      }
      return {};
    default:
      return malformed_scram("Unexpected channel-binding flag.");
  }
}

// The GS2 header ends with the second comma; between the two commas would be an authorization identity.
Result<size_t> read_gs2_header(std::string_view message) {
  const size_t comma = message.find(',');
  if (comma == std::string_view::npos)
    return malformed_scram("Comma expected after the channel-binding flag.");
  const std::string_view flag = message.substr(0, comma);
  if (flag[0] == 'p') {
    if (!flag.starts_with("p=")) return malformed_scram("Channel-binding type expected.");
    if (flag.substr(2) != kBindingType) {
      return fail(sqlstate::kProtocolViolation, "unsupported SCRAM channel-binding type");
    }
  } else if (flag.size() != 1) {
    return malformed_scram("Comma expected after the channel-binding flag.");
  }
  if (message.size() > comma + 1 && message[comma + 1] == 'a') {
    return fail(sqlstate::kFeatureNotSupported,
                "client uses authorization identity, but it is not supported");
  }
  if (message.size() <= comma + 1 || message[comma + 1] != ',') {
    return malformed_scram("Unexpected attribute after the channel-binding flag.");
  }
  return comma + 2;
}

Result<ClientFirst> parse_client_first(std::string_view message) {
  const auto header = read_gs2_header(message);
  if (!header) return std::unexpected(header.error());
  ClientFirst out{message.substr(0, *header), message.substr(*header), {}};
  if (out.bare.starts_with('m')) {
    return fail(sqlstate::kFeatureNotSupported, "client requires an unsupported SCRAM extension");
  }
  Attributes attributes(out.bare);
  // PostgreSQL ignores this name: the role is the one of the start-up packet.
  if (!attributes.next('n')) return malformed_scram("Attribute \"n\" expected.");
  const auto nonce = attributes.next('r');
  if (!nonce) return malformed_scram("Attribute \"r\" expected.");
  if (!is_nonce(*nonce)) return fail(sqlstate::kProtocolViolation, "non-printable characters in SCRAM nonce");
  out.nonce = *nonce;
  while (!attributes.at_end()) {
    if (!attributes.next()) return malformed_scram("Attribute expected.");
  }
  return out;
}

struct ClientFinal {
  std::string_view channel_binding, nonce, without_proof;
  Key proof{};
};

Result<ClientFinal> parse_client_final(std::string_view message) {
  ClientFinal out;
  Attributes attributes(message);
  const auto binding = attributes.next('c');
  if (!binding) return malformed_scram("Attribute \"c\" expected.");
  const auto nonce = attributes.next('r');
  if (!nonce) return malformed_scram("Attribute \"r\" expected.");
  out.channel_binding = *binding;
  out.nonce = *nonce;
  while (true) {
    const size_t begin = attributes.offset();
    const auto attribute = attributes.next();
    if (!attribute) return malformed_scram("Attribute \"p\" expected.");
    if (attribute->name != 'p') continue;
    const auto proof = base64_decode(attribute->value);
    if (!proof || proof->size() != out.proof.size()) {
      return malformed_scram("Malformed proof in client-final-message.");
    }
    if (!attributes.at_end()) return malformed_scram("Garbage found at the end of client-final-message.");
    std::ranges::copy(*proof, out.proof.begin());
    out.without_proof = message.substr(0, begin - 1);
    return out;
  }
}

}  // namespace

ScramServer::ScramServer(Options options) : options_(std::move(options)) {}

ScramServer::~ScramServer() {
  wipe(options_.verifier.stored_key);
  wipe(options_.verifier.server_key);
}

std::vector<std::string> ScramServer::mechanisms() const {
  if (options_.tls && !options_.channel_binding.empty()) {
    return {std::string(kMechanismPlus), std::string(kMechanism)};
  }
  return {std::string(kMechanism)};
}

Result<std::string> ScramServer::first(std::string_view mechanism, std::string_view client_first) {
  if (step_ != kExpectsFirst) return malformed_scram("The exchange has already begun.");
  step_ = kDone;  // unless this message is good
  const auto offered = mechanisms();
  if (std::ranges::find(offered, mechanism) == offered.end()) {
    return fail(sqlstate::kProtocolViolation, "client selected an invalid SASL authentication mechanism");
  }
  plus_ = mechanism == kMechanismPlus;
  if (auto checked = check_message(client_first); !checked)
    return std::unexpected(std::move(checked.error()));
  if (auto flag = check_gs2_flag(client_first, plus_, offered.size() > 1); !flag) {
    return std::unexpected(std::move(flag.error()));
  }
  const auto parsed = parse_client_first(client_first);
  if (!parsed) return std::unexpected(parsed.error());

  gs2_header_ = parsed->gs2_header;
  client_first_bare_ = parsed->bare;
  nonce_ = std::string(parsed->nonce) +
           (options_.nonce.empty() ? base64_encode(random_bytes(kNonceBytes)) : options_.nonce);
  server_first_ = "r=" + nonce_ + ",s=" + base64_encode(options_.verifier.salt) +
                  ",i=" + std::to_string(options_.verifier.iterations);
  step_ = kExpectsFinal;
  return server_first_;
}

Result<std::string> ScramServer::final(std::string_view client_final) {
  if (step_ != kExpectsFinal) return malformed_scram("No client-final-message is expected now.");
  step_ = kDone;
  if (auto checked = check_message(client_final); !checked)
    return std::unexpected(std::move(checked.error()));
  const auto parsed = parse_client_final(client_final);
  if (!parsed) return std::unexpected(parsed.error());

  const std::string expected =
      base64_encode(gs2_header_ + (plus_ ? options_.channel_binding : std::string()));
  if (!constant_time_equal(parsed->channel_binding, expected)) {
    if (plus_) return fail(sqlstate::kInvalidAuthorization, "SCRAM channel binding check failed");
    return fail(sqlstate::kProtocolViolation,
                "unexpected SCRAM channel-binding attribute in client-final-message");
  }
  if (!constant_time_equal(parsed->nonce, nonce_)) {
    return fail(sqlstate::kProtocolViolation, "invalid SCRAM response", "Nonce does not match.");
  }

  const std::string auth_message =
      client_first_bare_ + "," + server_first_ + "," + std::string(parsed->without_proof);
  const auto client_signature = hmac_sha256(view(options_.verifier.stored_key), auth_message);
  const auto server_signature = hmac_sha256(view(options_.verifier.server_key), auth_message);
  if (!client_signature || !server_signature) {
    return fail(sqlstate::kInternalError, "OpenSSL could not compute HMAC-SHA-256");
  }
  Key client_key = exclusive_or(parsed->proof, *client_signature);
  const auto stored_key = sha256(view(client_key));
  const bool matches =
      stored_key && constant_time_equal(view(*stored_key), view(options_.verifier.stored_key));
  if (!matches || !options_.role_may_log_in) {
    wipe(client_key);
    return fail(sqlstate::kInvalidPassword,
                "password authentication failed for user \"" + options_.role + "\"");
  }
  keys_.client_key = client_key;
  keys_.server_key = options_.verifier.server_key;
  keys_.salt = options_.verifier.salt;
  keys_.iterations = options_.verifier.iterations;
  wipe(client_key);
  return "v=" + base64_encode(view(*server_signature));
}

}  // namespace decan::auth
