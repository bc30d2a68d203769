#include "auth/scram_message.h"

#include <algorithm>

namespace decan::auth {

std::optional<Attribute> Attributes::next() {
  comma_pending_ = false;
  if (all_.size() - at_ < 2 || all_[at_ + 1] != '=') return std::nullopt;
  const char name = all_[at_];
  if (!((name >= 'a' && name <= 'z') || (name >= 'A' && name <= 'Z'))) return std::nullopt;
  const size_t begin = at_ + 2;
  const size_t end = std::min(all_.find(',', begin), all_.size());
  comma_pending_ = end != all_.size();
  at_ = comma_pending_ ? end + 1 : end;
  return Attribute{name, all_.substr(begin, end - begin)};
}

std::optional<std::string_view> Attributes::next(char name) {
  const auto attribute = next();
  if (!attribute || attribute->name != name) return std::nullopt;
  return attribute->value;
}

bool is_nonce(std::string_view text) {
  return !text.empty() &&
         std::ranges::all_of(text, [](char c) { return c >= 0x21 && c <= 0x7e && c != ','; });
}

std::unexpected<Error> malformed_scram(std::string detail) {
  return fail(sqlstate::kProtocolViolation, "malformed SCRAM message", std::move(detail));
}

Status check_message(std::string_view message) {
  if (message.empty()) return malformed_scram("The message is empty.");
  if (message.size() > kMaxSaslMessageBytes) return malformed_scram("The message is too long.");
  if (message.find('\0') != std::string_view::npos) return malformed_scram("The message has a NUL in it.");
  return {};
}

}  // namespace decan::auth
