// A stream of unit messages: headers, bodies, and the relay's scan over whole frames.
#include <string>
#include <vector>

#include "check.h"
#include "wire/frame_scan.h"
#include "wire/message.h"

using namespace decan;

namespace {

using wire::Writer;

template <class Decoded, class Encode>
void round_trip(std::string_view frame, const Result<Decoded>& decoded, Encode encode) {
  if (!decoded) {
    fuzz::check(decoded.error().sqlstate == "08P01", "malformed bytes are a protocol violation");
    return;
  }
  std::string out;
  Writer writer(out);
  encode(writer, *decoded);
  fuzz::check(writer.status().has_value(), "what was decoded can be encoded");
  fuzz::check(out == frame, "decode and encode are inverse");
}

void data_row(std::string_view frame, std::string_view body) {
  static std::vector<std::optional<std::string_view>> values;
  if (!wire::decode_data_row(body, values)) return;
  std::string out;
  Writer(out).data_row(values);
  fuzz::check(out == frame, "decode and encode are inverse");
}

void error(char type, std::string_view frame, std::string_view body) {
  round_trip(frame, wire::decode_error(body), [&](Writer& writer, const wire::ErrorFields& it) {
    fuzz::check(wire::to_error(it).sqlstate.size() == 5, "an error has a SQLSTATE");
    type == 'E' ? writer.error(it) : writer.notice(it);
  });
}

void authentication(std::string_view frame, std::string_view body) {
  const auto decoded = wire::decode_authentication(body);
  round_trip(frame, decoded,
             [](Writer& writer, const wire::Authentication& it) { writer.authentication(it.code, it.data); });
  if (!decoded || decoded->code != 10) return;
  const auto mechanisms = wire::decode_sasl_mechanisms(decoded->data);
  if (!mechanisms) return;
  size_t bytes = 1;
  for (const std::string& name : *mechanisms) bytes += name.size() + 1;
  fuzz::check(bytes == decoded->data.size(), "the list of mechanisms is the whole message");
}

void small_message(char type, std::string_view frame, std::string_view body) {
  switch (type) {
    case 'C':
      return round_trip(frame, wire::decode_command_complete(body),
                        [](Writer& writer, std::string_view it) { writer.command_complete(it); });
    case 'Z':
      return round_trip(frame, wire::decode_ready_for_query(body),
                        [](Writer& writer, char it) { writer.ready_for_query(it); });
    case 'S':
      return round_trip(frame, wire::decode_parameter_status(body),
                        [](Writer& writer, const auto& it) { writer.parameter_status(it.first, it.second); });
    case 'K':
      return round_trip(
          frame, wire::decode_backend_key(body),
          [](Writer& writer, const wire::BackendKey& it) { writer.backend_key(it.pid, it.key); });
    case 'A':
      return round_trip(frame, wire::decode_notification(body),
                        [](Writer& writer, const wire::Notification& it) {
                          writer.notification(it.pid, it.channel, it.payload);
                        });
    case 't':
      return round_trip(frame, wire::decode_parameter_description(body),
                        [](Writer& writer, const std::vector<Oid>& it) { writer.parameter_description(it); });
    default:
      return;
  }
}

void one_message(char type, std::string_view frame, std::string_view body) {
  switch (type) {
    case 'T':
      return round_trip(frame, wire::decode_row_description(body),
                        [](Writer& writer, const wire::RowDescription& it) { writer.row_description(it); });
    case 'D':
      return data_row(frame, body);
    case 'E':
    case 'N':
      return error(type, frame, body);
    case 'R':
      return authentication(frame, body);
    case 'G':
    case 'H':
    case 'W':
      return round_trip(frame, wire::decode_copy_start(body), [&](Writer& writer, const wire::CopyStart& it) {
        writer.copy_start(type, it.binary, it.formats);
      });
    default:
      return small_message(type, frame, body);
  }
}

// The scan must stop exactly where reading header by header stops.
void check_scan(std::string_view in) {
  const auto scan = wire::scan_frames(in);
  size_t at = 0;
  size_t frames = 0;
  while (true) {
    const auto header = wire::decode_header(in.substr(at), wire::kMaxMessageBytes);
    if (!header)
      return fuzz::check(scan.stop == wire::FrameScan::Stop::kMalformed, "a bad length is malformed");
    if (!*header || !wire::kRowsOnly.passes((*header)->type)) break;
    const size_t bytes = wire::kHeaderBytes + size_t{(*header)->body_bytes};
    if (in.size() - at < bytes) break;
    at += bytes;
    ++frames;
  }
  fuzz::check(scan.bytes == at && scan.frames == frames, "the scan passes what reading one by one passes");
  fuzz::check(scan.stop != wire::FrameScan::Stop::kMalformed, "a good length is not malformed");
  fuzz::check((scan.stop == wire::FrameScan::Stop::kEnd) == (at == in.size()), "the end is the end");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest = fuzz::view(data, size);
  check_scan(rest);
  while (true) {
    const auto header = wire::decode_header(rest, wire::kMaxMessageBytes);
    if (!header || !*header) return 0;
    const size_t frame_bytes = wire::kHeaderBytes + size_t{(*header)->body_bytes};
    if (rest.size() < frame_bytes) return 0;
    const std::string_view frame = rest.substr(0, frame_bytes);
    one_message((*header)->type, frame, frame.substr(wire::kHeaderBytes));
    rest.remove_prefix(frame_bytes);
  }
}
