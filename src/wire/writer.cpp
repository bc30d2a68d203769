#include <cstring>

#include "wire/message.h"

namespace decan::wire {

namespace {

constexpr size_t kMaxItems = 65'535;
constexpr std::string_view kSync("S\0\0\0\4", 5);
constexpr std::string_view kFlush("H\0\0\0\4", 5);
constexpr std::string_view kTerminate("X\0\0\0\4", 5);
constexpr std::string_view kCopyDone("c\0\0\0\4", 5);

bool has_nul(std::string_view text) {
  return !text.empty() && std::memchr(text.data(), 0, text.size()) != nullptr;
}

char* put_u16(char* at, size_t value) {
  at[0] = static_cast<char>(value >> 8);
  at[1] = static_cast<char>(value);
  return at + 2;
}
char* put_u32(char* at, uint32_t value) {
  at[0] = static_cast<char>(value >> 24);
  at[1] = static_cast<char>(value >> 16);
  at[2] = static_cast<char>(value >> 8);
  at[3] = static_cast<char>(value);
  return at + 4;
}
char* put_bytes(char* at, std::string_view bytes) {
  if (!bytes.empty()) std::memcpy(at, bytes.data(), bytes.size());
  return at + bytes.size();
}
char* put_cstring(char* at, std::string_view text) {
  at = put_bytes(at, text);
  *at = 0;
  return at + 1;
}
char* put_header(char* at, char type, size_t body_bytes) {
  *at = type;
  return put_u32(at + 1, static_cast<uint32_t>(body_bytes + 4));
}
char* put_formats(char* at, std::span<const int16_t> formats) {
  at = put_u16(at, formats.size());
  for (const int16_t format : formats) at = put_u16(at, static_cast<uint16_t>(format));
  return at;
}

using Values = std::span<const std::optional<std::string_view>>;

size_t bytes_of_values(Values values) {
  size_t bytes = 2 + 4 * values.size();
  for (const auto& value : values) bytes += value ? value->size() : 0;
  return bytes;
}
char* put_values(char* at, Values values) {
  at = put_u16(at, values.size());
  for (const auto& value : values) {
    if (!value) {
      at = put_u32(at, 0xffffffff);
    } else {
      at = put_bytes(put_u32(at, static_cast<uint32_t>(value->size())), *value);
    }
  }
  return at;
}

}  // namespace

Status Writer::status() const {
  switch (problem_) {
    case Problem::kNone:
      return {};
    case Problem::kTooLong:
      return fail(sqlstate::kProgramLimitExceeded, "message is longer than the " +
                                                       std::to_string(kMaxMessageBytes) +
                                                       " bytes of the protocol's limit");
    case Problem::kTooMany:
      return fail(sqlstate::kProgramLimitExceeded,
                  "more than " + std::to_string(kMaxItems) + " parameters or columns in one message");
    case Problem::kNul:
      return fail("22021", "invalid byte sequence for encoding \"UTF8\": 0x00");
  }
  return {};
}

void Writer::note(Problem problem) {
  if (pending_ == Problem::kNone) pending_ = problem;
}

size_t Writer::begin(char type) {
  const size_t start = out_.size();
  pending_ = Problem::kNone;
  out_.push_back(type);
  out_.append(4, 0);
  return start;
}

// A message that can not be sent as it was meant leaves nothing behind: half of one would shift every later
// byte.
void Writer::end(size_t start) {
  const size_t length = out_.size() - start - 1;
  if (length - 4 > kMaxMessageBytes) note(Problem::kTooLong);
  if (pending_ != Problem::kNone) [[unlikely]] {
    out_.resize(start);
    if (problem_ == Problem::kNone) problem_ = pending_;
    return;
  }
  put_u32(out_.data() + start + 1, static_cast<uint32_t>(length));
}

char* Writer::extend(size_t bytes) {
  const size_t start = out_.size();
  // libstdc++ 12 calls back with the new capacity where the standard says the asked size.
  out_.resize_and_overwrite(start + bytes, [size = start + bytes](char*, size_t) { return size; });
  return out_.data() + start;
}

void Writer::u16(size_t value) {
  if (value > kMaxItems) return note(Problem::kTooMany);
  put_u16(extend(2), value);
}
void Writer::u32(uint32_t value) {
  put_u32(extend(4), value);
}

void Writer::cstring(std::string_view text) {
  if (text.size() > kMaxMessageBytes) return note(Problem::kTooLong);
  if (has_nul(text)) return note(Problem::kNul);
  put_cstring(extend(text.size() + 1), text);
}

// --- to a unit ---

void Writer::startup(uint32_t protocol, std::span<const std::pair<std::string, std::string>> parameters) {
  // This packet has no type: a place holder keeps begin() and end() usable and is removed at the end.
  std::string packet;
  Writer inner(packet);
  const size_t start = inner.begin('0');
  inner.u32(protocol);
  for (const auto& [name, value] : parameters) {
    inner.cstring(name);
    inner.cstring(value);
  }
  inner.cstring({});
  if (packet.size() - kHeaderBytes > kMaxStartupBytes) inner.note(Problem::kTooLong);
  inner.end(start);
  if (problem_ == Problem::kNone) problem_ = inner.problem_;
  if (!packet.empty()) out_.append(packet, 1);
}

void Writer::ssl_request() {
  u32(8);
  u32(kSslRequest);
}

void Writer::cancel_request(uint32_t pid, std::string_view key) {
  u32(static_cast<uint32_t>(12 + key.size()));
  u32(kCancelRequest);
  u32(pid);
  out_.append(key);
}

void Writer::query(std::string_view sql) {
  const size_t start = begin('Q');
  cstring(sql);
  end(start);
}

void Writer::parse(std::string_view name, std::string_view sql, std::span<const Oid> types) {
  const size_t start = begin('P');
  cstring(name);
  cstring(sql);
  u16(types.size());
  for (const Oid type : types) u32(type);
  end(start);
}

void Writer::bind(std::string_view portal, std::string_view statement,
                  std::span<const int16_t> parameter_formats,
                  std::span<const std::optional<std::string_view>> parameters,
                  std::span<const int16_t> result_formats) {
  const size_t body = portal.size() + 1 + statement.size() + 1 + 2 + 2 * parameter_formats.size() +
                      bytes_of_values(parameters) + 2 + 2 * result_formats.size();
  Problem found = Problem::kNone;
  if (body > kMaxMessageBytes) found = Problem::kTooLong;
  if (parameter_formats.size() > kMaxItems || parameters.size() > kMaxItems ||
      result_formats.size() > kMaxItems) {
    found = Problem::kTooMany;
  }
  if (has_nul(portal) || has_nul(statement)) found = Problem::kNul;
  if (found != Problem::kNone) [[unlikely]] {
    if (problem_ == Problem::kNone) problem_ = found;
    return;
  }
  char* at = put_header(extend(kHeaderBytes + body), 'B', body);
  at = put_cstring(at, portal);
  at = put_cstring(at, statement);
  at = put_formats(at, parameter_formats);
  at = put_values(at, parameters);
  put_formats(at, result_formats);
}

void Writer::describe(char kind, std::string_view name) {
  const size_t start = begin('D');
  out_.push_back(kind);
  cstring(name);
  end(start);
}

void Writer::execute(std::string_view portal, int32_t max_rows) {
  if (has_nul(portal)) [[unlikely]] {
    if (problem_ == Problem::kNone) problem_ = Problem::kNul;
    return;
  }
  const size_t body = portal.size() + 1 + 4;
  char* at = put_header(extend(kHeaderBytes + body), 'E', body);
  put_u32(put_cstring(at, portal), static_cast<uint32_t>(max_rows));
}

void Writer::close(char kind, std::string_view name) {
  const size_t start = begin('C');
  out_.push_back(kind);
  cstring(name);
  end(start);
}

void Writer::sync() {
  out_.append(kSync);
}
void Writer::flush() {
  out_.append(kFlush);
}
void Writer::terminate() {
  out_.append(kTerminate);
}
void Writer::copy_data(std::string_view data) {
  raw('d', data);
}
void Writer::copy_done() {
  out_.append(kCopyDone);
}

void Writer::copy_fail(std::string_view reason) {
  const size_t start = begin('f');
  cstring(reason.substr(0, reason.find('\0')));
  end(start);
}

void Writer::password(std::string_view data) {
  raw('p', data);
}

void Writer::sasl_initial(std::string_view mechanism, std::string_view data) {
  const size_t start = begin('p');
  cstring(mechanism);
  u32(static_cast<uint32_t>(data.size()));
  out_.append(data);
  end(start);
}

// --- to a client ---

void Writer::authentication(int32_t code, std::string_view data) {
  const size_t start = begin('R');
  u32(static_cast<uint32_t>(code));
  out_.append(data);
  end(start);
}

void Writer::negotiate_protocol(uint32_t newest_protocol, std::span<const std::string> unknown_options) {
  const size_t start = begin('v');
  u32(newest_protocol);
  u32(static_cast<uint32_t>(unknown_options.size()));
  for (const std::string& option : unknown_options) cstring(option);
  end(start);
}

void Writer::parameter_status(std::string_view name, std::string_view value) {
  const size_t start = begin('S');
  cstring(name);
  cstring(value);
  end(start);
}

void Writer::backend_key(uint32_t pid, std::string_view key) {
  const size_t start = begin('K');
  u32(pid);
  out_.append(key);
  end(start);
}

void Writer::ready_for_query(char status) {
  char* at = put_header(extend(kHeaderBytes + 1), 'Z', 1);
  *at = status;
}

void Writer::fields(char type, const ErrorFields& fields) {
  const size_t start = begin(type);
  for (const auto& [code, value] : fields.fields) {
    if (code == 0) continue;  // would end the list
    out_.push_back(code);
    cstring(std::string_view(value).substr(0, value.find('\0')));
  }
  out_.push_back(0);
  end(start);
}
void Writer::error(const ErrorFields& of) {
  fields('E', of);
}
void Writer::notice(const ErrorFields& of) {
  fields('N', of);
}

void Writer::row_description(const RowDescription& description) {
  const size_t start = begin('T');
  u16(description.fields.size());
  for (const FieldDescription& field : description.fields) {
    cstring(field.name);
    char* at = put_u32(extend(18), field.table);
    at = put_u16(at, static_cast<uint16_t>(field.attnum));
    at = put_u32(at, field.type);
    at = put_u16(at, static_cast<uint16_t>(field.type_bytes));
    at = put_u32(at, static_cast<uint32_t>(field.typmod));
    put_u16(at, static_cast<uint16_t>(field.format));
  }
  end(start);
}

void Writer::parameter_description(std::span<const Oid> types) {
  const size_t start = begin('t');
  u16(types.size());
  for (const Oid type : types) u32(type);
  end(start);
}

void Writer::data_row(std::span<const std::optional<std::string_view>> values) {
  const size_t body = bytes_of_values(values);
  if (body > kMaxMessageBytes || values.size() > kMaxItems) [[unlikely]] {
    if (problem_ == Problem::kNone)
      problem_ = values.size() > kMaxItems ? Problem::kTooMany : Problem::kTooLong;
    return;
  }
  put_values(put_header(extend(kHeaderBytes + body), 'D', body), values);
}

void Writer::command_complete(std::string_view tag) {
  const size_t start = begin('C');
  cstring(tag);
  end(start);
}

void Writer::notification(uint32_t pid, std::string_view channel, std::string_view payload) {
  const size_t start = begin('A');
  u32(pid);
  cstring(channel);
  cstring(payload);
  end(start);
}

void Writer::copy_start(char type, bool binary, std::span<const int16_t> formats) {
  const size_t start = begin(type);
  out_.push_back(binary ? 1 : 0);
  u16(formats.size());
  for (const int16_t format : formats) put_u16(extend(2), static_cast<uint16_t>(format));
  end(start);
}

void Writer::empty(char type) {
  put_header(extend(kHeaderBytes), type, 0);
}

void Writer::raw(char type, std::string_view body) {
  if (body.size() > kMaxMessageBytes) [[unlikely]] {
    if (problem_ == Problem::kNone) problem_ = Problem::kTooLong;
    return;
  }
  put_bytes(put_header(extend(kHeaderBytes + body.size()), type, body.size()), body);
}

}  // namespace decan::wire
