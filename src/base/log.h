// Structured log: a constant text plus fields, one line of logfmt or JSON on standard error.
// Thread-safe. Never put secrets in a field, nor SQL literals at info level.
#pragma once

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>

namespace decan::log {

enum class Level { kDebug, kInfo, kWarning, kError };
enum class Format { kText, kJson };

struct Field {
  std::string_view key;
  std::string value;
  Field(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
  Field(std::string_view k, std::string_view v) : key(k), value(v) {}
  Field(std::string_view k, const char* v) : key(k), value(v) {}
  template <class T>
    requires std::integral<T> || std::floating_point<T>
  Field(std::string_view k, T v) : key(k), value(std::to_string(v)) {}
};

// Sets the least level written and the format; may be called again at reload.
void configure(Level least, Format format);
bool enabled(Level level);
void write(Level level, std::string_view text, std::initializer_list<Field> fields);

inline void debug(std::string_view text, std::initializer_list<Field> fields = {}) {
  if (enabled(Level::kDebug)) write(Level::kDebug, text, fields);
}
inline void info(std::string_view text, std::initializer_list<Field> fields = {}) {
  write(Level::kInfo, text, fields);
}
inline void warning(std::string_view text, std::initializer_list<Field> fields = {}) {
  write(Level::kWarning, text, fields);
}
inline void error(std::string_view text, std::initializer_list<Field> fields = {}) {
  write(Level::kError, text, fields);
}

}  // namespace decan::log
