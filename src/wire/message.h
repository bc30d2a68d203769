// PostgreSQL frontend/backend protocol, versions 3.0 and 3.2 (documentation chapter 55), sans-io: bytes in,
// structs out, and back. Decoders never read outside `body`, never allocate in proportion to a declared
// length before the bytes are there, and answer 08P01 on anything malformed. Views point into the caller's
// buffer.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/ids.h"

namespace decan::wire {

inline constexpr uint32_t kProtocol30 = 3 << 16;
inline constexpr uint32_t kProtocol32 = (3 << 16) | 2;
inline constexpr uint32_t kSslRequest = 80877103;
inline constexpr uint32_t kGssEncRequest = 80877104;
inline constexpr uint32_t kCancelRequest = 80877102;
inline constexpr uint32_t kMaxStartupBytes = 10'000;  // PostgreSQL's MAX_STARTUP_PACKET_LENGTH
inline constexpr uint32_t kMaxAuthBytes = 65'535;     // a password or SASL message
inline constexpr uint32_t kMaxMessageBytes =
    0x3fffffff;  // PostgreSQL's PQ_LARGE_MESSAGE_LIMIT (MaxAllocSize)
inline constexpr size_t kHeaderBytes = 5;

// Header of a typed message: type byte and length (which counts itself but not the type).
struct Header {
  char type = 0;
  uint32_t body_bytes = 0;
};
// nullopt: fewer than five bytes. Error 08P01: length below 4 or body above `max_body_bytes`.
Result<std::optional<Header>> decode_header(std::string_view in, uint32_t max_body_bytes);

// --- start-up ---
struct StartupPacket {
  enum class Kind { kStartup, kSslRequest, kGssEncRequest, kCancel } kind = Kind::kStartup;
  uint32_t protocol = 0;
  std::vector<std::pair<std::string, std::string>> parameters;  // kStartup; at most 256, names unique
  uint32_t cancel_pid = 0;
  std::string cancel_key;  // 4 bytes (3.0) up to 256 (3.2)
  size_t bytes = 0;        // consumed from the input
};
// nullopt: incomplete.
Result<std::optional<StartupPacket>> decode_startup(std::string_view in);

// --- messages from clients (bodies, without header) ---
struct Parse {
  std::string_view name, query;
  std::vector<Oid> parameter_types;
};
struct Bind {
  std::string_view portal, statement;
  std::vector<int16_t> parameter_formats;  // 0, 1 or as many as parameters; each 0 or 1
  std::vector<std::optional<std::string_view>> parameters;
  std::vector<int16_t> result_formats;  // 0, 1 or as many as columns; each 0 or 1
  bool parameter_is_binary(size_t i) const;
};
struct Describe {
  char kind;
  std::string_view name;
};  // 'S' or 'P'
struct Close {
  char kind;
  std::string_view name;
};
struct Execute {
  std::string_view portal;
  int32_t max_rows;
};
struct SaslInitialResponse {
  std::string_view mechanism;
  std::optional<std::string_view> data;
};

Result<std::string_view> decode_query(std::string_view body);
Result<Parse> decode_parse(std::string_view body);
Result<Bind> decode_bind(std::string_view body);
Status decode_bind(std::string_view body, Bind& out);  // hot path: reuses the vectors of `out`
Result<Describe> decode_describe(std::string_view body);
Result<Close> decode_close(std::string_view body);
Result<Execute> decode_execute(std::string_view body);
Result<std::string_view> decode_copy_fail(std::string_view body);
Result<std::string_view> decode_password(std::string_view body);
Result<SaslInitialResponse> decode_sasl_initial(std::string_view body);

// --- messages from units ---
struct FieldDescription {
  std::string name;
  Oid table = 0;
  int16_t attnum = 0;
  Oid type = 0;
  int16_t type_bytes = 0;
  int32_t typmod = -1;
  int16_t format = 0;
};
struct RowDescription {
  std::vector<FieldDescription> fields;
};
struct Authentication {
  int32_t code;
  std::string_view data;
};
struct BackendKey {
  uint32_t pid;
  std::string_view key;
};
struct Notification {
  uint32_t pid;
  std::string_view channel, payload;
};
struct CopyStart {
  bool binary;
  std::vector<int16_t> formats;
};

// ErrorResponse and NoticeResponse: fields by their code letter (chapter 55.8), in order. decode_error
// refuses a response without severity, SQLSTATE and text, and one with two fields of the same code.
struct ErrorFields {
  std::vector<std::pair<char, std::string>> fields;
  std::string_view get(char code) const;   // empty when absent
  void set(char code, std::string value);  // replaces or appends; an empty value removes
};
ErrorFields to_fields(const Error& error, std::string_view severity = "ERROR");
Error to_error(const ErrorFields& fields);

Result<RowDescription> decode_row_description(std::string_view body);
// Values of a DataRow; `out` is reused.
Status decode_data_row(std::string_view body, std::vector<std::optional<std::string_view>>& out);
Result<ErrorFields> decode_error(std::string_view body);
Result<std::string_view> decode_command_complete(std::string_view body);
Result<char> decode_ready_for_query(std::string_view body);  // 'I', 'T' or 'E'
Result<std::pair<std::string_view, std::string_view>> decode_parameter_status(std::string_view body);
Result<Authentication> decode_authentication(std::string_view body);
// The mechanisms offered by an Authentication message with code 10 (SASL).
Result<std::vector<std::string>> decode_sasl_mechanisms(std::string_view data);
Result<BackendKey> decode_backend_key(std::string_view body);
Result<Notification> decode_notification(std::string_view body);
Result<CopyStart> decode_copy_start(std::string_view body);  // CopyInResponse, CopyOutResponse
Result<std::vector<Oid>> decode_parameter_description(std::string_view body);

// --- encoders: append one whole message to `out` ---
// What can not be framed truthfully is not appended at all, and status() then tells why: 54000 (a message
// above kMaxMessageBytes, or more than 65,535 items), 22021 (NUL inside a string). Whoever sends text or
// values that may have grown asks status() before it waits for a reply. Texts of errors and notices are cut
// at a NUL.
class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}
  Writer(const Writer&) = delete;  // a copy would keep to itself what it left out
  Writer& operator=(const Writer&) = delete;
  Status status() const;

  // to a unit
  void startup(uint32_t protocol, std::span<const std::pair<std::string, std::string>> parameters);
  void ssl_request();
  void cancel_request(uint32_t pid, std::string_view key);
  void query(std::string_view sql);
  void parse(std::string_view name, std::string_view sql, std::span<const Oid> types);
  void bind(std::string_view portal, std::string_view statement, std::span<const int16_t> parameter_formats,
            std::span<const std::optional<std::string_view>> parameters,
            std::span<const int16_t> result_formats);
  void describe(char kind, std::string_view name);
  void execute(std::string_view portal, int32_t max_rows);
  void close(char kind, std::string_view name);
  void sync();
  void flush();
  void terminate();
  void copy_data(std::string_view data);
  void copy_done();
  void copy_fail(std::string_view reason);
  void password(
      std::string_view data);  // SASLResponse as it is; a PasswordMessage brings its own closing NUL
  void sasl_initial(std::string_view mechanism, std::string_view data);

  // to a client
  void authentication(int32_t code, std::string_view data = {});
  // The whole version (196610 for 3.2), as servers send and libpq reads it; the documentation speaks of the
  // minor one.
  void negotiate_protocol(uint32_t newest_protocol, std::span<const std::string> unknown_options);
  void parameter_status(std::string_view name, std::string_view value);
  void backend_key(uint32_t pid, std::string_view key);
  void ready_for_query(char status);
  void error(const ErrorFields& fields);   // 'E'
  void notice(const ErrorFields& fields);  // 'N'
  void row_description(const RowDescription& description);
  void parameter_description(std::span<const Oid> types);
  void data_row(std::span<const std::optional<std::string_view>> values);
  void command_complete(std::string_view tag);
  void notification(uint32_t pid, std::string_view channel, std::string_view payload);
  void copy_start(char type, bool binary, std::span<const int16_t> formats);  // 'G', 'H'
  void empty(char type);  // '1' ParseComplete, '2' BindComplete, '3' CloseComplete, 'n' NoData, 'I'
                          // EmptyQuery, 's', 'c'
  void raw(char type, std::string_view body);

 private:
  enum class Problem : uint8_t { kNone, kTooLong, kTooMany, kNul };

  size_t begin(char type);
  void end(size_t start);
  char* extend(size_t bytes);  // room at the end of out_; for messages whose size is known
  void u16(size_t value);      // kTooMany above 65,535
  void u32(uint32_t value);
  void cstring(std::string_view text);  // kNul when it holds one
  void fields(char type, const ErrorFields& fields);
  void note(Problem problem);

  std::string& out_;
  Problem pending_ = Problem::kNone;  // of the message under way
  Problem problem_ = Problem::kNone;  // the first of all messages
};

}  // namespace decan::wire
