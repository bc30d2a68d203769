// Bodies of the messages that units send. A unit is untrusted here: whatever is malformed costs it its
// connection.
#include <array>

#include "wire/message.h"
#include "wire/reader.h"

namespace decan::wire {

namespace {

constexpr size_t kLeastFieldBytes = 19;  // an empty name's NUL and six numbers
constexpr size_t kMaxBackendKeyBytes = 256;

FieldDescription read_field(Reader& in) {
  FieldDescription field;
  field.name = in.cstring();
  field.table = in.u32();
  field.attnum = in.i16();
  field.type = in.u32();
  field.type_bytes = in.i16();
  field.typmod = in.i32();
  field.format = in.i16();
  return field;
}

bool is_sqlstate(std::string_view code) {
  if (code.size() != 5) return false;
  for (const char c : code) {
    if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'))) return false;
  }
  return true;
}

}  // namespace

Result<RowDescription> decode_row_description(std::string_view body) {
  Reader in(body);
  const size_t count = in.u16();
  if (!in.can_hold(count, kLeastFieldBytes)) return malformed("RowDescription");
  RowDescription out;
  out.fields.reserve(count);
  for (size_t i = 0; i < count && in.ok(); ++i) {
    out.fields.push_back(read_field(in));
    const int16_t format = out.fields.back().format;
    if (format != 0 && format != 1) return malformed("RowDescription");
  }
  if (!in.finished()) return malformed("RowDescription");
  return out;
}

Status decode_data_row(std::string_view body, std::vector<std::optional<std::string_view>>& out) {
  Reader in(body);
  out.clear();
  const size_t count = in.u16();
  if (!in.can_hold(count, 4)) return malformed("DataRow");
  out.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const int32_t bytes = in.i32();
    if (bytes == -1) {
      out.emplace_back(std::nullopt);
      continue;
    }
    if (bytes < 0) return malformed("DataRow");
    out.emplace_back(in.bytes(static_cast<size_t>(bytes)));
    if (!in.ok()) return malformed("DataRow");
  }
  if (!in.finished()) return malformed("DataRow");
  return {};
}

Result<ErrorFields> decode_error(std::string_view body) {
  Reader in(body);
  ErrorFields out;
  std::array<bool, 256> seen{};
  while (true) {
    const uint8_t code = in.u8();
    if (code == 0) break;  // also what a read past the end gives
    const std::string_view value = in.cstring();
    if (!in.ok() || seen[code]) return malformed("ErrorResponse");
    seen[code] = true;
    out.fields.emplace_back(static_cast<char>(code), value);
  }
  if (!in.finished()) return malformed("ErrorResponse");
  // Severity, SQLSTATE and text are always present (documentation 55.8); clients and retries depend on them.
  if (!seen['S'] || !seen['M'] || !is_sqlstate(out.get('C'))) {
    return malformed("ErrorResponse", "Severity, SQLSTATE or text is missing.");
  }
  return out;
}

Result<std::string_view> decode_command_complete(std::string_view body) {
  Reader in(body);
  const std::string_view tag = in.cstring();
  if (!in.finished()) return malformed("CommandComplete");
  return tag;
}

Result<char> decode_ready_for_query(std::string_view body) {
  if (body.size() != 1 || (body[0] != 'I' && body[0] != 'T' && body[0] != 'E')) {
    return malformed("ReadyForQuery");
  }
  return body[0];
}

Result<std::pair<std::string_view, std::string_view>> decode_parameter_status(std::string_view body) {
  Reader in(body);
  const std::string_view name = in.cstring();
  const std::string_view value = in.cstring();
  if (!in.finished() || name.empty()) return malformed("ParameterStatus");
  return std::pair{name, value};
}

Result<Authentication> decode_authentication(std::string_view body) {
  Reader in(body);
  Authentication out{};
  out.code = in.i32();
  out.data = in.rest();
  if (!in.finished() || (out.code == 0 && !out.data.empty())) return malformed("Authentication");
  return out;
}

Result<std::vector<std::string>> decode_sasl_mechanisms(std::string_view data) {
  Reader in(data);
  std::vector<std::string> out;
  while (true) {
    const std::string_view name = in.cstring();
    if (name.empty()) break;
    out.emplace_back(name);
  }
  if (!in.finished() || out.empty()) return malformed("AuthenticationSASL");
  return out;
}

Result<BackendKey> decode_backend_key(std::string_view body) {
  Reader in(body);
  BackendKey out{};
  out.pid = in.u32();
  out.key = in.rest();
  if (!in.ok() || out.key.size() < 4 || out.key.size() > kMaxBackendKeyBytes)
    return malformed("BackendKeyData");
  return out;
}

Result<Notification> decode_notification(std::string_view body) {
  Reader in(body);
  Notification out{};
  out.pid = in.u32();
  out.channel = in.cstring();
  out.payload = in.cstring();
  if (!in.finished()) return malformed("NotificationResponse");
  return out;
}

Result<CopyStart> decode_copy_start(std::string_view body) {
  Reader in(body);
  CopyStart out{};
  const uint8_t format = in.u8();
  const size_t count = in.u16();
  if (format > 1 || !in.can_hold(count, 2)) return malformed("CopyResponse");
  out.binary = format == 1;
  out.formats.resize(count);
  for (int16_t& column : out.formats) {
    column = in.i16();
    if (column != format)
      return malformed("CopyResponse", "Column formats differ from the format of the copy.");
  }
  if (!in.finished()) return malformed("CopyResponse");
  return out;
}

Result<std::vector<Oid>> decode_parameter_description(std::string_view body) {
  Reader in(body);
  const size_t count = in.u16();
  if (!in.can_hold(count, 4)) return malformed("ParameterDescription");
  std::vector<Oid> out(count);
  for (Oid& type : out) type = in.u32();
  if (!in.finished()) return malformed("ParameterDescription");
  return out;
}

}  // namespace decan::wire
