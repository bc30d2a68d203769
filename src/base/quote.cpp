#include "base/quote.h"

namespace decan {

std::string quote_identifier(std::string_view name) {
  std::string quoted = "\"";
  for (const char c : name) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted += '"';
}

std::string quote_literal(std::string_view value) {
  std::string quoted;
  if (value.find('\\') != std::string_view::npos) quoted += 'E';
  quoted += '\'';
  for (const char c : value) {
    if (c == '\'' || c == '\\') quoted += c;
    quoted += c;
  }
  return quoted += '\'';
}

}  // namespace decan
