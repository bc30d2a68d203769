// Tokens of the admin language. Pure; the text must outlive the lexer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace decan::distsql {

struct Token {
  enum class Kind : uint8_t {
    kWord,    // unquoted; `text` is folded to lower case as PostgreSQL folds names
    kQuoted,  // "name" or `name`; `text` is unquoted
    kString,  // '…'; `text` is unquoted
    kNumber,  // digits, with point or sign
    kSymbol,  // one character
    kEnd,
    kBad,  // an unclosed quote or comment, a NUL byte
  };
  Kind kind = Kind::kEnd;
  std::string text;
  size_t offset = 0, bytes = 0;  // in the statement's text
};

class Lexer {
 public:
  explicit Lexer(std::string_view sql) : sql_(sql) {}
  Token next();
  size_t position() const { return at_; }
  void rewind(size_t position) { at_ = position; }
  std::string_view sql() const { return sql_; }

 private:
  bool skip_blanks();  // and comments; false: a comment is not closed
  Token quoted(char quote, Token::Kind kind);
  std::string_view sql_;
  size_t at_ = 0;
};

// Number of characters before `offset`, plus one: the position of an ErrorResponse.
uint32_t character_position(std::string_view sql, size_t offset);

bool is_word_start(char c);
bool is_word_part(char c);

}  // namespace decan::distsql
