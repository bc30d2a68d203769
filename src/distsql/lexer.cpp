#include "distsql/lexer.h"

#include <algorithm>

namespace decan::distsql {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_blank(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

}  // namespace

bool is_word_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         (static_cast<unsigned char>(c) & 0x80) != 0;
}
bool is_word_part(char c) {
  return is_word_start(c) || is_digit(c) || c == '$';
}

bool Lexer::skip_blanks() {
  while (at_ < sql_.size()) {
    if (is_blank(sql_[at_])) {
      ++at_;
    } else if (sql_.substr(at_, 2) == "--") {
      at_ = std::min(sql_.find('\n', at_), sql_.size());
    } else if (sql_.substr(at_, 2) == "/*") {
      // Comments nest, as PostgreSQL's do.
      size_t p = at_ + 2;
      for (int depth = 1; depth > 0; ++p) {
        if (p + 1 >= sql_.size()) return false;
        const std::string_view two = sql_.substr(p, 2);
        if (two == "/*") ++depth, ++p;
        if (two == "*/") --depth, ++p;
      }
      at_ = p;
    } else {
      break;
    }
  }
  return true;
}

Token Lexer::quoted(char quote, Token::Kind kind) {
  Token token{kind, {}, at_, 0};
  for (size_t p = at_ + 1; p < sql_.size(); ++p) {
    if (sql_[p] != quote) {
      token.text += sql_[p];
    } else if (p + 1 < sql_.size() && sql_[p + 1] == quote) {
      token.text += quote;
      ++p;
    } else {
      token.bytes = p + 1 - at_;
      at_ = p + 1;
      return token;
    }
  }
  token.kind = Token::Kind::kBad;
  token.bytes = sql_.size() - at_;
  at_ = sql_.size();
  return token;
}

Token Lexer::next() {
  if (!skip_blanks()) {
    const Token bad{Token::Kind::kBad, {}, at_, sql_.size() - at_};
    at_ = sql_.size();
    return bad;
  }
  Token token{Token::Kind::kEnd, {}, at_, 0};
  if (at_ >= sql_.size()) return token;
  const char c = sql_[at_];
  if (c == '\'') return quoted(c, Token::Kind::kString);
  if (c == '"' || c == '`') return quoted(c, Token::Kind::kQuoted);
  const size_t start = at_;
  const auto next_is_digit = [&](size_t p) { return p < sql_.size() && is_digit(sql_[p]); };
  if (is_word_start(c)) {
    while (at_ < sql_.size() && is_word_part(sql_[at_])) ++at_;
    token.kind = Token::Kind::kWord;
    for (const char part : sql_.substr(start, at_ - start))
      token.text += part >= 'A' && part <= 'Z' ? static_cast<char>(part + ('a' - 'A')) : part;
  } else if (is_digit(c) || (c == '-' && next_is_digit(at_ + 1))) {
    ++at_;
    while (next_is_digit(at_) || (at_ < sql_.size() && sql_[at_] == '.' && next_is_digit(at_ + 1))) ++at_;
    token.kind = Token::Kind::kNumber;
    token.text = sql_.substr(start, at_ - start);
  } else {
    ++at_;
    token.kind = c == '\0' ? Token::Kind::kBad : Token::Kind::kSymbol;
    token.text = c;
  }
  token.bytes = at_ - start;
  return token;
}

uint32_t character_position(std::string_view sql, size_t offset) {
  const auto continues = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; };
  const std::string_view before = sql.substr(0, offset);
  return static_cast<uint32_t>(before.size()) + 1 -
         static_cast<uint32_t>(std::ranges::count_if(before, continues));
}

}  // namespace decan::distsql
