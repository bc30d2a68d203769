#include <algorithm>

#include "wire/message.h"

namespace decan::wire {

std::string_view ErrorFields::get(char code) const {
  const auto found = std::ranges::find(fields, code, &std::pair<char, std::string>::first);
  return found == fields.end() ? std::string_view{} : std::string_view(found->second);
}

void ErrorFields::set(char code, std::string value) {
  const auto found = std::ranges::find(fields, code, &std::pair<char, std::string>::first);
  if (found == fields.end()) {
    if (!value.empty()) fields.emplace_back(code, std::move(value));
  } else if (value.empty()) {
    fields.erase(found);
  } else {
    found->second = std::move(value);
  }
}

ErrorFields to_fields(const Error& error, std::string_view severity) {
  ErrorFields out;
  out.fields.reserve(6);
  out.fields.emplace_back('S', severity);
  out.fields.emplace_back('V', severity);
  out.fields.emplace_back('C', error.sqlstate);
  out.fields.emplace_back('M', error.message);
  out.set('D', error.detail);
  out.set('H', error.hint);
  return out;
}

Error to_error(const ErrorFields& fields) {
  return Error{.sqlstate = std::string(fields.get('C')),
               .message = std::string(fields.get('M')),
               .detail = std::string(fields.get('D')),
               .hint = std::string(fields.get('H'))};
}

}  // namespace decan::wire
