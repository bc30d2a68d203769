// Texts that users and units hand in around passwords: verifiers, base64, and passwords for SASLprep.
#include <string>

#include "auth/saslprep.h"
#include "auth/scram.h"
#include "check.h"

using namespace decan;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view in = fuzz::view(data, size);

  if (const auto verifier = auth::parse_verifier(in)) {
    const auto again = auth::parse_verifier(verifier->to_string());
    fuzz::check(again && again->iterations == verifier->iterations && again->salt == verifier->salt &&
                    again->stored_key == verifier->stored_key && again->server_key == verifier->server_key,
                "a verifier survives its text");
  }
  fuzz::check(auth::base64_decode(auth::base64_encode(in)) == in, "bytes survive base64");
  if (const auto bytes = auth::base64_decode(in)) {
    fuzz::check(auth::base64_encode(*bytes) == in, "one text for each byte sequence");
  }
  if (const auto prepared = auth::saslprep(in)) {
    fuzz::check(prepared->size() <= 32 * in.size(), "SASLprep grows a text by a bounded factor");
    fuzz::check(auth::prepared_password(in) == *prepared, "what SASLprep allows is used");
  } else {
    fuzz::check(auth::prepared_password(in) == in, "else the raw bytes are");
  }
  return 0;
}
