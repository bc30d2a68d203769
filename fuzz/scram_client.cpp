// The client's side of SCRAM. Input: a byte of switches, server-first and server-final, with a line feed
// between them. The client's nonce is fixed, so that a corpus can hold a whole good exchange.
#include <string>

#include "auth/scram.h"
#include "check.h"

using namespace decan;

namespace {

void run(auth::ScramClient client, bool tls, std::string_view server_first, std::string_view server_final) {
  client.set_nonce("rOprNGfwEbeRWgbNEkqO");
  const std::string binding = tls ? std::string(32, 'h') : std::string();
  const auto first = tls ? client.first({"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"}, binding)
                         : client.first({"SCRAM-SHA-256"}, binding);
  fuzz::check(first.has_value(), "the first message depends on us alone");
  const auto last = client.final(server_first);
  const auto verified = client.verify(server_final);
  if (!last) {
    fuzz::check(!verified, "nothing follows a refused server-first");
    return;
  }
  fuzz::check(server_first.starts_with("r=rOprNGfwEbeRWgbNEkqO"), "the server's nonce continues ours");
  fuzz::check(last->starts_with(tls ? "c=cD10" : "c=biws") && last->find(",p=") != std::string::npos,
              "client-final is whole");
  fuzz::check(!client.final(server_first), "a proof is sent once");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view rest = fuzz::view(data, size).substr(1);
  const bool tls = (data[0] & 1) != 0;
  const std::string_view server_first = fuzz::cut(rest, '\n');
  auth::PassThroughKeys keys;
  keys.client_key.fill(1);
  keys.server_key.fill(2);
  if ((data[0] & 2) != 0) {
    keys.salt = "salt";
    keys.iterations = 1;
  }
  run(auth::ScramClient("us,er=", keys), tls, server_first, rest);
  // With a password the server decides how long we work: only tiny counts are worth the fuzzer's time.
  if (server_first.ends_with(",i=1")) run(auth::ScramClient("user", "pencil"), tls, server_first, rest);
  return 0;
}
