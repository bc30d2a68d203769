// A stream of client messages: headers and bodies. Decoders are strict, so that encoding what was decoded
// must give back the same bytes.
#include <string>

#include "check.h"
#include "wire/message.h"

using namespace decan;

namespace {

using wire::Writer;

template <class Decoded, class Encode>
void round_trip(std::string_view frame, const Result<Decoded>& decoded, Encode encode) {
  if (!decoded) {
    fuzz::check(decoded.error().sqlstate.size() == 5 && !decoded.error().message.empty(), "errors are whole");
    return;
  }
  std::string out;
  Writer writer(out);
  encode(writer, *decoded);
  fuzz::check(writer.status().has_value(), "what was decoded can be encoded");
  fuzz::check(out == frame, "decode and encode are inverse");
}

void bind(std::string_view frame, std::string_view body) {
  static wire::Bind reused;
  const auto fresh = wire::decode_bind(body);
  const bool again = wire::decode_bind(body, reused).has_value();
  fuzz::check(again == fresh.has_value(), "a used Bind decodes as a fresh one");
  if (!again) return;
  fuzz::check(reused.parameters == fresh->parameters && reused.result_formats == fresh->result_formats,
              "a used Bind holds nothing of the last one");
  for (size_t i = 0; i <= fresh->parameters.size(); ++i) (void)fresh->parameter_is_binary(i);
  round_trip(frame, fresh, [](Writer& writer, const wire::Bind& it) {
    writer.bind(it.portal, it.statement, it.parameter_formats, it.parameters, it.result_formats);
  });
}

// 'p' is a password or one of two SASL messages; which one, only the session knows. All three must hold.
void password(std::string_view frame, std::string_view body) {
  const auto text = wire::decode_password(body);
  if (text) fuzz::check(text->size() + 1 == body.size(), "a password is the whole body");
  const auto initial = wire::decode_sasl_initial(body);
  if (initial && !initial->data) return;  // the writer always sends data
  round_trip(frame, initial, [](Writer& writer, const wire::SaslInitialResponse& it) {
    writer.sasl_initial(it.mechanism, *it.data);
  });
}

void one_message(char type, std::string_view frame, std::string_view body) {
  switch (type) {
    case 'Q':
      return round_trip(frame, wire::decode_query(body), [](Writer& w, std::string_view it) { w.query(it); });
    case 'P':
      return round_trip(frame, wire::decode_parse(body), [](Writer& writer, const wire::Parse& it) {
        writer.parse(it.name, it.query, it.parameter_types);
      });
    case 'B':
      return bind(frame, body);
    case 'D':
      return round_trip(frame, wire::decode_describe(body),
                        [](Writer& writer, const wire::Describe& it) { writer.describe(it.kind, it.name); });
    case 'C':
      return round_trip(frame, wire::decode_close(body),
                        [](Writer& writer, const wire::Close& it) { writer.close(it.kind, it.name); });
    case 'E':
      return round_trip(frame, wire::decode_execute(body), [](Writer& writer, const wire::Execute& it) {
        writer.execute(it.portal, it.max_rows);
      });
    case 'f':
      return round_trip(frame, wire::decode_copy_fail(body),
                        [](Writer& writer, std::string_view it) { writer.copy_fail(it); });
    case 'p':
      return password(frame, body);
    default:
      return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest = fuzz::view(data, size);
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
