#include "sql/lexer.h"

#include <array>

namespace decan::sql {
namespace {

enum CharClass : uint8_t {
  kSpace = 1,
  kDigit = 2,
  kIdentStart = 4,
  kIdentContinue = 8,
  kOpChar = 16,
  kSelf = 32,
};

constexpr std::array<uint8_t, 256> make_classes() {
  std::array<uint8_t, 256> classes{};
  for (const char c : {' ', '\t', '\n', '\r', '\f'}) classes[static_cast<uint8_t>(c)] |= kSpace;
  for (int c = '0'; c <= '9'; ++c) classes[static_cast<size_t>(c)] |= kDigit | kIdentContinue;
  for (int c = 'a'; c <= 'z'; ++c) classes[static_cast<size_t>(c)] |= kIdentStart | kIdentContinue;
  for (int c = 'A'; c <= 'Z'; ++c) classes[static_cast<size_t>(c)] |= kIdentStart | kIdentContinue;
  for (int c = 128; c < 256; ++c) classes[static_cast<size_t>(c)] |= kIdentStart | kIdentContinue;
  classes['_'] |= kIdentStart | kIdentContinue;
  classes['$'] |= kIdentContinue;
  for (const char c : std::string_view("~!@#^&|`?+-*/%<>=")) classes[static_cast<uint8_t>(c)] |= kOpChar;
  for (const char c : std::string_view(",()[].;:")) classes[static_cast<uint8_t>(c)] |= kSelf;
  return classes;
}

constexpr std::array<uint8_t, 256> kClasses = make_classes();

bool is(char c, uint8_t mask) {
  return (kClasses[static_cast<uint8_t>(c)] & mask) != 0;
}
bool is_newline(char c) {
  return c == '\n' || c == '\r';
}

}  // namespace

Token Lexer::token(TokenKind kind, size_t begin) {
  return {kind, static_cast<uint32_t>(begin), static_cast<uint32_t>(pos_)};
}

Token Lexer::fail(size_t begin) {
  pos_ = begin;
  return {TokenKind::kFail, static_cast<uint32_t>(begin), static_cast<uint32_t>(begin)};
}

bool Lexer::skip_block_comment() {
  size_t depth = 0;
  while (pos_ < sql_.size()) {
    if (at(pos_) == '/' && at(pos_ + 1) == '*') {
      ++depth, pos_ += 2;
    } else if (at(pos_) == '*' && at(pos_ + 1) == '/') {
      pos_ += 2;
      if (--depth == 0) return true;
    } else {
      ++pos_;
    }
  }
  return false;
}

// False: an unterminated comment starts at pos_.
bool Lexer::skip_space_and_comments() {
  while (pos_ < sql_.size()) {
    const char c = sql_[pos_];
    if (is(c, kSpace)) {
      ++pos_;
    } else if (c == '-' && at(pos_ + 1) == '-') {
      while (pos_ < sql_.size() && !is_newline(sql_[pos_])) ++pos_;
    } else if (c == '/' && at(pos_ + 1) == '*') {
      const size_t start = pos_;
      if (!skip_block_comment()) {
        pos_ = start;
        return false;
      }
    } else {
      break;
    }
  }
  return true;
}

Token Lexer::next() {
  if (!skip_space_and_comments()) return fail(pos_);
  const size_t begin = pos_;
  if (begin >= sql_.size()) return token(TokenKind::kEnd, begin);
  const char c = sql_[begin];
  const char following = at(begin + 1);
  if (is(c, kIdentStart)) return identifier(begin);
  if (is(c, kDigit) || (c == '.' && is(following, kDigit))) return number(begin);
  switch (c) {
    case '\'':
      return quoted(plain_is_escape_ ? TokenKind::kEscape : TokenKind::kString, begin, begin,
                    plain_is_escape_);
    case '"':
      return quoted_identifier(begin, begin);
    case '$':
      return dollar(begin);
    default:
      break;
  }
  if (is(c, kOpChar)) return operators(begin);
  if (is(c, kSelf)) {
    const bool pair = (c == ':' && (following == ':' || following == '=')) || (c == '.' && following == '.');
    pos_ = begin + (pair ? 2 : 1);
    return token(TokenKind::kPunctuation, begin);
  }
  return fail(begin);
}

Token Lexer::identifier(size_t begin) {
  const char c = static_cast<char>(sql_[begin] | 0x20);
  const char following = at(begin + 1);
  if (following == '\'') {
    if (c == 'e') return quoted(TokenKind::kEscape, begin, begin + 1, true);
    if (c == 'b' || c == 'x') return quoted(TokenKind::kOtherString, begin, begin + 1, false);
  }
  if (c == 'u' && following == '&') {
    if (at(begin + 2) == '"') return quoted_identifier(begin, begin + 2);
    if (at(begin + 2) == '\'') {
      if (plain_is_escape_)
        return fail(begin);  // PostgreSQL refuses U&'' without standard_conforming_strings
      return quoted(TokenKind::kOtherString, begin, begin + 2, false);
    }
  }
  pos_ = begin + 1;
  while (pos_ < sql_.size() && is(sql_[pos_], kIdentContinue)) ++pos_;
  return token(TokenKind::kIdentifier, begin);
}

// decimal and real of scan.l; "trailing junk after numeric literal" is an error there.
Token Lexer::number(size_t begin) {
  size_t i = begin;
  bool numeric = false;
  while (is(at(i), kDigit)) ++i;
  if (at(i) == '.' && !(at(i + 1) == '.' && i > begin)) {  // "1..2" is 1, then the operator ..
    numeric = true;
    ++i;
    while (is(at(i), kDigit)) ++i;
  }
  if (at(i) == 'e' || at(i) == 'E') {
    size_t exponent = i + 1;
    if (at(exponent) == '+' || at(exponent) == '-') ++exponent;
    if (!is(at(exponent), kDigit)) return fail(begin);
    while (is(at(exponent), kDigit)) ++exponent;
    i = exponent;
    numeric = true;
  }
  if (is(at(i), kIdentStart)) return fail(begin);
  pos_ = i;
  return token(numeric ? TokenKind::kNumeric : TokenKind::kInteger, begin);
}

// A string goes on when only white space with at least one line end (and -- comments) stands before another
// quote.
bool Lexer::continues_after(size_t after_quote, size_t& open_quote) const {
  size_t i = after_quote;
  bool newline = false;
  while (i < sql_.size()) {
    if (is(sql_[i], kSpace)) {
      newline = newline || is_newline(sql_[i]);
      ++i;
    } else if (sql_[i] == '-' && at(i + 1) == '-') {
      while (i < sql_.size() && !is_newline(sql_[i])) ++i;
      if (i == sql_.size()) return false;
    } else {
      break;
    }
  }
  if (!newline || at(i) != '\'') return false;
  open_quote = i;
  return true;
}

Token Lexer::quoted(TokenKind kind, size_t begin, size_t open_quote, bool backslash_escapes) {
  size_t i = open_quote + 1;
  const bool bits = kind == TokenKind::kOtherString && open_quote == begin + 1;  // B'…' and X'…' know no ''
  while (i < sql_.size()) {
    const char c = sql_[i];
    if (c == '\'') {
      if (at(i + 1) == '\'' && !bits) {
        i += 2;
        continue;
      }
      size_t next_open = 0;
      if (continues_after(i + 1, next_open)) {
        i = next_open + 1;
        continue;
      }
      pos_ = i + 1;
      return token(kind, begin);
    }
    i += (c == '\\' && backslash_escapes) ? 2 : 1;
  }
  return fail(begin);
}

Token Lexer::quoted_identifier(size_t begin, size_t open_quote) {
  size_t i = open_quote + 1;
  while (i < sql_.size()) {
    if (sql_[i] == '"') {
      if (at(i + 1) != '"') {
        pos_ = i + 1;
        return token(TokenKind::kQuotedIdentifier, begin);
      }
      ++i;
    }
    ++i;
  }
  return fail(begin);
}

Token Lexer::dollar(size_t begin) {
  size_t i = begin + 1;
  if (is(at(i), kDigit)) {
    while (is(at(i), kDigit)) ++i;
    if (is(at(i), kIdentStart)) return fail(begin);
    pos_ = i;
    return token(TokenKind::kParameter, begin);
  }
  if (is(at(i), kIdentStart)) {
    while (is(at(i), kIdentStart | kDigit)) ++i;
  }
  if (at(i) != '$') return fail(begin);
  const std::string_view delimiter = sql_.substr(begin, i + 1 - begin);
  const size_t close = sql_.find(delimiter, i + 1);
  if (close == std::string_view::npos) return fail(begin);
  pos_ = close + delimiter.size();
  return token(TokenKind::kDollarString, begin);
}

// Longest run of operator characters, cut before a comment; a trailing + or - belongs to it only when one of
// ~ ! @ # % ^ & | ` ? is in it (documentation 4.1.3).
Token Lexer::operators(size_t begin) {
  size_t i = begin;
  bool special = false;
  while (is(at(i), kOpChar)) {
    const char c = sql_[i];
    if (i > begin && ((c == '-' && at(i + 1) == '-') || (c == '/' && at(i + 1) == '*'))) break;
    special = special || std::string_view("~!@#^&|`?%").contains(c);
    ++i;
  }
  if (!special) {
    while (i > begin + 1 && (sql_[i - 1] == '+' || sql_[i - 1] == '-')) --i;
  }
  pos_ = i;
  return token(TokenKind::kOperator, begin);
}

}  // namespace decan::sql
