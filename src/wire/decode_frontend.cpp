// Bodies of the messages that clients send after start-up.
#include "wire/message.h"
#include "wire/reader.h"

namespace decan::wire {

namespace {

// Counts are unsigned 16-bit numbers, as PostgreSQL reads them: 65,535 parameters are legal.
bool read_formats(Reader& in, std::vector<int16_t>& formats) {
  const size_t count = in.u16();
  formats.clear();
  if (!in.can_hold(count, 2)) return false;
  formats.resize(count);
  for (int16_t& format : formats) format = in.i16();
  return true;
}

Status check_formats(const std::vector<int16_t>& formats) {
  for (const int16_t format : formats) {
    if (format != 0 && format != 1) [[unlikely]] {
      return fail(sqlstate::kInvalidParameterValue, "unsupported format code: " + std::to_string(format));
    }
  }
  return {};
}

bool read_parameters(Reader& in, std::vector<std::optional<std::string_view>>& parameters) {
  const size_t count = in.u16();
  parameters.clear();
  if (!in.can_hold(count, 4)) return false;
  parameters.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const int32_t bytes = in.i32();
    if (bytes == -1) {
      parameters.emplace_back(std::nullopt);
    } else if (bytes < 0) {
      return false;
    } else {
      parameters.emplace_back(in.bytes(static_cast<size_t>(bytes)));
    }
    if (!in.ok()) return false;
  }
  return true;
}

struct KindAndName {
  char kind;
  std::string_view name;
};
Result<KindAndName> read_kind_and_name(std::string_view body, std::string_view message) {
  Reader in(body);
  const KindAndName out{static_cast<char>(in.u8()), in.cstring()};
  if (!in.finished()) return malformed(message);
  if (out.kind != 'S' && out.kind != 'P') {
    return fail(sqlstate::kProtocolViolation, "invalid " + std::string(message) + " message subtype " +
                                                  std::to_string(static_cast<unsigned char>(out.kind)));
  }
  return out;
}

Result<std::string_view> read_one_string(std::string_view body, std::string_view message) {
  Reader in(body);
  const std::string_view text = in.cstring();
  if (!in.finished()) return malformed(message);
  return text;
}

}  // namespace

bool Bind::parameter_is_binary(size_t i) const {
  if (parameter_formats.empty()) return false;
  if (parameter_formats.size() == 1) return parameter_formats[0] == 1;
  return i < parameter_formats.size() && parameter_formats[i] == 1;
}

Result<std::string_view> decode_query(std::string_view body) {
  return read_one_string(body, "Query");
}

Result<Parse> decode_parse(std::string_view body) {
  Reader in(body);
  Parse out;
  out.name = in.cstring();
  out.query = in.cstring();
  const size_t count = in.u16();
  if (!in.can_hold(count, 4)) return malformed("Parse");
  out.parameter_types.resize(count);
  for (Oid& type : out.parameter_types) type = in.u32();
  if (!in.finished()) return malformed("Parse");
  return out;
}

Status decode_bind(std::string_view body, Bind& out) {
  Reader in(body);
  out.portal = in.cstring();
  out.statement = in.cstring();
  if (!read_formats(in, out.parameter_formats) || !read_parameters(in, out.parameters) ||
      !read_formats(in, out.result_formats) || !in.finished()) [[unlikely]] {
    return malformed("Bind");
  }
  if (out.parameter_formats.size() > 1 && out.parameter_formats.size() != out.parameters.size())
      [[unlikely]] {
    return fail(sqlstate::kProtocolViolation,
                "bind message has " + std::to_string(out.parameter_formats.size()) +
                    " parameter formats but " + std::to_string(out.parameters.size()) + " parameters");
  }
  if (auto checked = check_formats(out.parameter_formats); !checked) return checked;
  return check_formats(out.result_formats);
}

Result<Bind> decode_bind(std::string_view body) {
  Result<Bind> out;
  if (auto done = decode_bind(body, *out); !done) return std::unexpected(std::move(done.error()));
  return out;
}

Result<Describe> decode_describe(std::string_view body) {
  auto read = read_kind_and_name(body, "DESCRIBE");
  if (!read) return std::unexpected(std::move(read.error()));
  return Describe{read->kind, read->name};
}

Result<Close> decode_close(std::string_view body) {
  auto read = read_kind_and_name(body, "CLOSE");
  if (!read) return std::unexpected(std::move(read.error()));
  return Close{read->kind, read->name};
}

Result<Execute> decode_execute(std::string_view body) {
  Reader in(body);
  Execute out{};
  out.portal = in.cstring();
  out.max_rows = in.i32();
  if (!in.finished()) return malformed("Execute");
  return out;
}

Result<std::string_view> decode_copy_fail(std::string_view body) {
  return read_one_string(body, "CopyFail");
}

Result<std::string_view> decode_password(std::string_view body) {
  return read_one_string(body, "PasswordMessage");
}

Result<SaslInitialResponse> decode_sasl_initial(std::string_view body) {
  Reader in(body);
  SaslInitialResponse out;
  out.mechanism = in.cstring();
  const int32_t bytes = in.i32();
  if (bytes < -1) return malformed("SASLInitialResponse");
  if (bytes >= 0) out.data = in.bytes(static_cast<size_t>(bytes));
  if (!in.finished()) return malformed("SASLInitialResponse");
  return out;
}

}  // namespace decan::wire
