#include "catalog/session_code.h"

#include <cctype>

namespace decan::catalog {
namespace {

bool is_name_byte(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$' || c == '.' ||
         static_cast<unsigned char>(c) >= 0x80;
}

class Reader {
 public:
  explicit Reader(std::string_view code) : code_(code) {}
  bool at_end() const { return at_ >= code_.size(); }
  void skip_space() {
    while (!at_end() && std::isspace(static_cast<unsigned char>(code_[at_]))) ++at_;
  }
  // The next word in lower case, dots included; empty when something else is next.
  std::string word() {
    std::string out;
    for (; !at_end() && is_name_byte(code_[at_]); ++at_)
      out += static_cast<char>(std::tolower(static_cast<unsigned char>(code_[at_])));
    return out;
  }
  bool take(char c) {
    skip_space();
    if (at_end() || code_[at_] != c) return false;
    ++at_;
    return true;
  }
  void skip() { ++at_; }

 private:
  std::string_view code_;
  size_t at_ = 0;
};

}  // namespace

void CustomSettings::merge(const CustomSettings& other) {
  names.insert(other.names.begin(), other.names.end());
  unknown = unknown || other.unknown;
  by_parameter = by_parameter || other.by_parameter;
}

void find_custom_settings(std::string_view code, CustomSettings& found) {
  Reader in(code);
  while (!in.at_end()) {
    std::string word = in.word();
    if (word.empty()) {
      in.skip();
      continue;
    }
    if (word == "set_config" || word.ends_with(".set_config")) {
      if (!in.take('(')) continue;
      bool quoted = false;  // doubled where the code itself is in a string
      while (in.take('\'')) quoted = true;
      std::string name = in.word();
      if (!quoted && name.starts_with('$')) {
        found.by_parameter = true;
        continue;
      }
      while (in.take('\'')) {
      }
      if (!quoted || !in.take(',')) found.unknown = true;  // put together
      if (quoted && name.find('.') != std::string::npos) found.names.insert(std::move(name));
    } else if (word == "set") {
      in.skip_space();
      std::string name = in.word();
      if (name == "local" || name == "session") {
        in.skip_space();
        name = in.word();
      }
      if (name.empty() && (in.take('"') || in.take('\'')))
        found.unknown = true;  // a quoted name, or one that is put together
      else if (name.find('.') != std::string::npos)
        found.names.insert(std::move(name));
    }
  }
}

}  // namespace decan::catalog
