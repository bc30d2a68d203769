// Header of a typed message, and the packets a connection may begin with (they have no type byte).
#include <algorithm>

#include "wire/message.h"
#include "wire/reader.h"

namespace decan::wire {

namespace {

constexpr size_t kMaxStartupParameters = 256;
constexpr size_t kLeastCancelKeyBytes = 4;
constexpr size_t kMaxCancelKeyBytes = 256;

std::unexpected<Error> bad_startup(std::string detail) {
  return fail(sqlstate::kProtocolViolation, "invalid startup packet", std::move(detail));
}

Status decode_cancel(Reader& in, StartupPacket& packet) {
  packet.kind = StartupPacket::Kind::kCancel;
  packet.cancel_pid = in.u32();
  packet.cancel_key = in.rest();
  if (!in.ok() || packet.cancel_key.size() < kLeastCancelKeyBytes ||
      packet.cancel_key.size() > kMaxCancelKeyBytes) {
    return bad_startup("A cancel request has a process id and a key of 4 to 256 bytes.");
  }
  return {};
}

Status decode_parameters(Reader& in, StartupPacket& packet) {
  while (true) {
    const std::string_view name = in.cstring();
    if (!in.ok()) return bad_startup("The list of parameters has no terminator.");
    if (name.empty()) break;
    const std::string_view value = in.cstring();
    if (!in.ok()) return bad_startup("The last parameter has no value.");
    if (packet.parameters.size() == kMaxStartupParameters) return bad_startup("Too many parameters.");
    packet.parameters.emplace_back(name, value);
  }
  if (in.remaining() != 0) return bad_startup("Bytes follow the terminator of the list of parameters.");
  // PostgreSQL lets the last of two equal names win; checks made on the first would then not hold.
  std::vector<std::string_view> names;
  names.reserve(packet.parameters.size());
  for (const auto& [name, value] : packet.parameters) names.push_back(name);
  std::ranges::sort(names);
  if (std::ranges::adjacent_find(names) != names.end()) return bad_startup("A parameter is given twice.");
  return {};
}

}  // namespace

std::unexpected<Error> malformed(std::string_view message, std::string detail) {
  return fail(sqlstate::kProtocolViolation, "malformed " + std::string(message) + " message",
              std::move(detail));
}

Result<std::optional<Header>> decode_header(std::string_view in, uint32_t max_body_bytes) {
  if (in.size() < kHeaderBytes) return std::nullopt;
  const uint32_t length = load_u32(in.data() + 1);
  if (length < 4 || length - 4 > max_body_bytes) [[unlikely]] {
    return fail(sqlstate::kProtocolViolation, "invalid message length",
                "A message of type " + std::to_string(static_cast<unsigned char>(in[0])) + " declares " +
                    std::to_string(length) + " bytes; at most " +
                    std::to_string(uint64_t{max_body_bytes} + 4) + " are accepted here.");
  }
  return Header{in[0], length - 4};
}

Result<std::optional<StartupPacket>> decode_startup(std::string_view in) {
  if (in.size() < 4) return std::nullopt;
  const uint32_t length = load_u32(in.data());
  if (length < 8 || length - 4 > kMaxStartupBytes) {
    return bad_startup("The declared length " + std::to_string(length) + " is not possible.");
  }
  if (in.size() < length) return std::nullopt;

  Reader body(in.substr(4, length - 4));
  StartupPacket packet;
  packet.bytes = length;
  packet.protocol = body.u32();
  if (packet.protocol == kCancelRequest) {
    if (auto done = decode_cancel(body, packet); !done) return std::unexpected(std::move(done.error()));
    return packet;
  }
  if (packet.protocol == kSslRequest || packet.protocol == kGssEncRequest) {
    packet.kind = packet.protocol == kSslRequest ? StartupPacket::Kind::kSslRequest
                                                 : StartupPacket::Kind::kGssEncRequest;
    if (body.remaining() != 0) return bad_startup("An encryption request has a length of 8.");
    return packet;
  }
  if (packet.protocol >> 16 != 3) {
    return fail(sqlstate::kFeatureNotSupported,
                "unsupported frontend protocol " + std::to_string(packet.protocol >> 16) + "." +
                    std::to_string(packet.protocol & 0xffff) + ": server supports 3.0 to 3.2");
  }
  if (auto done = decode_parameters(body, packet); !done) return std::unexpected(std::move(done.error()));
  return packet;
}

}  // namespace decan::wire
