// Packets before the first typed message.
#include <string>

#include "check.h"
#include "wire/message.h"

using namespace decan;
using wire::StartupPacket;

namespace {

// The encoder gives back the very bytes that were decoded, but for what a decoder may not know.
void check_round_trip(std::string_view in, const StartupPacket& packet) {
  std::string out;
  wire::Writer writer(out);
  switch (packet.kind) {
    case StartupPacket::Kind::kStartup:
      writer.startup(packet.protocol, packet.parameters);
      break;
    case StartupPacket::Kind::kSslRequest:
      writer.ssl_request();
      break;
    case StartupPacket::Kind::kGssEncRequest:
      return;
    case StartupPacket::Kind::kCancel:
      writer.cancel_request(packet.cancel_pid, packet.cancel_key);
      break;
  }
  fuzz::check(writer.status().has_value(), "what was decoded can be encoded");
  fuzz::check(out == in.substr(0, packet.bytes), "decode and encode are inverse");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view in = fuzz::view(data, size);
  const auto decoded = wire::decode_startup(in);
  if (!decoded) {
    fuzz::check(decoded.error().sqlstate.size() == 5 && !decoded.error().message.empty(), "errors are whole");
    return 0;
  }
  if (!*decoded) {
    fuzz::check(size < wire::kMaxStartupBytes + 4, "a packet above the limit is refused, not waited for");
    return 0;
  }
  const StartupPacket& packet = **decoded;
  fuzz::check(packet.bytes >= 8 && packet.bytes <= size, "no more is consumed than there is");
  fuzz::check(packet.parameters.size() <= 256, "parameters are bounded");
  const auto shorter = wire::decode_startup(in.substr(0, packet.bytes - 1));
  fuzz::check(shorter && !*shorter, "one byte less is incomplete");
  check_round_trip(in, packet);
  return 0;
}
