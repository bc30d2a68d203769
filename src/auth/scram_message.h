// The text of SCRAM messages (RFC 5802 section 7): attributes `a=value` with commas between them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace decan::auth {

inline constexpr std::string_view kMechanism = "SCRAM-SHA-256";
inline constexpr std::string_view kMechanismPlus = "SCRAM-SHA-256-PLUS";
inline constexpr std::string_view kBindingType = "tls-server-end-point";
inline constexpr size_t kMaxSaslMessageBytes = 1024;  // PostgreSQL's PG_MAX_SASL_MESSAGE_LENGTH
inline constexpr size_t kNonceBytes = 18;             // as PostgreSQL: 24 characters of base64
inline constexpr int kMaxIterations = 1'000'000;

struct Attribute {
  char name;
  std::string_view value;
};

// Reads attributes one after another.
class Attributes {
 public:
  explicit Attributes(std::string_view text) : all_(text) {}

  bool at_end() const { return at_ == all_.size() && !comma_pending_; }
  // Offset of the next attribute in the text.
  size_t offset() const { return at_; }
  // nullopt: the end, no letter, or no equals sign.
  std::optional<Attribute> next();
  // nullopt also when the next attribute has another name.
  std::optional<std::string_view> next(char name);

 private:
  std::string_view all_;
  size_t at_ = 0;
  bool comma_pending_ = false;  // a comma was read: an attribute must follow
};

// Printable ASCII without the comma, at least one character.
bool is_nonce(std::string_view text);
// 08P01, with PostgreSQL's wording.
std::unexpected<Error> malformed_scram(std::string detail);
// What both sides refuse before they look at it: empty, too long, with a NUL.
Status check_message(std::string_view message);

}  // namespace decan::auth
