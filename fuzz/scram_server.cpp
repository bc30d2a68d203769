// The server's side of SCRAM. Input: a byte of switches, the mechanism, client-first, client-final, with line
// feeds between them. The server's nonce is fixed, so that a corpus can hold a whole good exchange.
#include <algorithm>
#include <string>

#include "auth/scram.h"
#include "check.h"

using namespace decan;

namespace {

constexpr std::string_view kVerifier =  // RFC 7677's: password "pencil"
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

auth::ScramServer::Options options(bool tls, bool may_log_in) {
  auth::ScramServer::Options out;
  out.role = "user";
  out.verifier = *auth::parse_verifier(kVerifier);
  out.role_may_log_in = may_log_in;
  out.tls = tls;
  if (tls) out.channel_binding = std::string(32, 'h');
  out.nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view rest = fuzz::view(data, size).substr(1);
  const bool tls = (data[0] & 1) != 0;
  const bool may_log_in = (data[0] & 2) == 0;
  auth::ScramServer server(options(tls, may_log_in));
  const std::string_view mechanism = fuzz::cut(rest, '\n');
  const std::string_view client_first = fuzz::cut(rest, '\n');
  const auto first = server.first(mechanism, client_first);
  const auto outcome = server.final(rest);
  if (!first) {
    fuzz::check(!outcome, "nothing follows a refused client-first");
  } else {
    fuzz::check(first->starts_with("r=") && first->size() < 2'048, "server-first is whole and bounded");
  }
  const bool has_keys = std::ranges::any_of(server.keys().client_key, [](unsigned char c) { return c != 0; });
  fuzz::check(has_keys == outcome.has_value(), "keys exist after success only");
  if (!outcome) return 0;
  fuzz::check(may_log_in, "a role that may not log in does not");
  fuzz::check(client_first.starts_with(mechanism == "SCRAM-SHA-256" ? "" : "p="), "PLUS binds the channel");
  fuzz::check(!(tls && client_first.starts_with('y')), "no downgrade");
  fuzz::check(!server.final(rest), "a proof is taken once");
  return 0;
}
