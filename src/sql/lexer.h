// Tokens of SQL text by PostgreSQL 15's lexical rules (documentation chapter 4.1, src/backend/parser/scan.l).
// Single pass, no allocation. Used for templates and to find the clauses of a statement that is rewritten as
// text.
#pragma once

#include <cstdint>
#include <string_view>

namespace decan::sql {

enum class TokenKind : uint8_t {
  kEnd,
  kIdentifier,        // keyword or unquoted identifier
  kQuotedIdentifier,  // "…" or U&"…"
  kParameter,         // $n
  kInteger,
  kNumeric,
  kString,        // '…', with continuations over line ends
  kEscape,        // E'…', or '…' without standard_conforming_strings
  kOtherString,   // B'…', X'…', U&'…'
  kDollarString,  // $tag$…$tag$
  kOperator,      // one or more operator characters
  kPunctuation,   // ( ) [ ] , ; . : and :: .. :=
  kFail,          // the text can not be scanned from here on; the parser knows the error
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  uint32_t begin = 0;
  uint32_t end = 0;
};

class Lexer {
 public:
  Lexer(std::string_view sql, bool standard_conforming_strings, size_t start = 0)
      : sql_(sql), pos_(start), plain_is_escape_(!standard_conforming_strings) {}

  // After kEnd or kFail every further call answers the same.
  Token next();

 private:
  char at(size_t i) const { return i < sql_.size() ? sql_[i] : '\0'; }
  bool skip_space_and_comments();
  bool skip_block_comment();
  Token token(TokenKind kind, size_t begin);
  Token fail(size_t begin);
  Token number(size_t begin);
  Token quoted(TokenKind kind, size_t begin, size_t open_quote, bool backslash_escapes);
  bool continues_after(size_t after_quote, size_t& open_quote) const;
  Token quoted_identifier(size_t begin, size_t open_quote);
  Token dollar(size_t begin);
  Token identifier(size_t begin);
  Token operators(size_t begin);

  std::string_view sql_;
  size_t pos_;
  bool plain_is_escape_;
};

}  // namespace decan::sql
