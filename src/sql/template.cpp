#include "sql/template.h"

#include <functional>
#include <limits>

#include "sql/lexer.h"

namespace decan::sql {
namespace {

std::optional<LiteralKind> literal_kind(TokenKind kind) {
  switch (kind) {
    case TokenKind::kInteger:
      return LiteralKind::kInteger;
    case TokenKind::kNumeric:
      return LiteralKind::kNumeric;
    case TokenKind::kString:
      return LiteralKind::kString;
    case TokenKind::kEscape:
      return LiteralKind::kEscape;
    case TokenKind::kOtherString:
      return LiteralKind::kOther;
    case TokenKind::kEnd:
    case TokenKind::kIdentifier:
    case TokenKind::kQuotedIdentifier:
    case TokenKind::kParameter:
    case TokenKind::kDollarString:
    case TokenKind::kOperator:
    case TokenKind::kPunctuation:
    case TokenKind::kFail:
      break;
  }
  return std::nullopt;
}

void keep_whole(std::string_view sql, Template& out) {
  out.clear();
  out.text.assign(sql);
  out.exact = true;
}

void append_utf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | (code >> 12));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (code >> 18));
    out += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

int digit_value(char c, int base) {
  int value = -1;
  if (c >= '0' && c <= '9') value = c - '0';
  if (c >= 'a' && c <= 'f') value = c - 'a' + 10;
  if (c >= 'A' && c <= 'F') value = c - 'A' + 10;
  return value < base ? value : -1;
}

// Reads up to `most` digits of `base` at `i`; returns how many there were.
size_t read_digits(std::string_view text, size_t i, size_t most, int base, uint32_t& value) {
  size_t count = 0;
  value = 0;
  while (count < most && i + count < text.size()) {
    const int digit = digit_value(text[i + count], base);
    if (digit < 0) break;
    value = value * static_cast<uint32_t>(base) + static_cast<uint32_t>(digit);
    ++count;
  }
  return count;
}

// One backslash sequence of E'…' at text[i] (after the backslash); returns bytes consumed, 0 when invalid.
// Surrogate pairs are left to the server.
size_t unescape(std::string_view text, size_t i, std::string& out) {
  const char c = text[i];
  uint32_t value = 0;
  switch (c) {
    case 'b':
      out += '\b';
      return 1;
    case 'f':
      out += '\f';
      return 1;
    case 'n':
      out += '\n';
      return 1;
    case 'r':
      out += '\r';
      return 1;
    case 't':
      out += '\t';
      return 1;
    case 'v':
      out += '\v';
      return 1;
    case 'x': {
      const size_t digits = read_digits(text, i + 1, 2, 16, value);
      if (digits == 0) {
        out += 'x';
        return 1;
      }
      if (value == 0) return 0;
      out += static_cast<char>(value);
      return 1 + digits;
    }
    case 'u':
    case 'U': {
      const size_t wanted = c == 'u' ? 4 : 8;
      if (read_digits(text, i + 1, wanted, 16, value) != wanted) return 0;
      if (value == 0 || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) return 0;
      append_utf8(out, value);
      return 1 + wanted;
    }
    default:
      break;
  }
  if (c >= '0' && c <= '7') {
    const size_t digits = read_digits(text, i, 3, 8, value);
    if ((value & 0xFF) == 0) return 0;
    out += static_cast<char>(value);
    return digits;
  }
  out += c;
  return 1;
}

// Value of a quoted token from its first quote on; pieces may be continued after line ends.
std::optional<std::string> quoted_value(std::string_view token, bool escapes) {
  std::string out;
  out.reserve(token.size());
  bool inside = false;
  bool comment = false;  // between pieces, a -- comment may hold quotes
  for (size_t i = 0; i < token.size(); ++i) {
    const char c = token[i];
    if (!inside) {
      if (comment) {
        comment = c != '\n' && c != '\r';
      } else if (c == '-') {
        comment = true;
      } else {
        inside = c == '\'';
      }
    } else if (c == '\'') {
      if (i + 1 < token.size() && token[i + 1] == '\'') {
        out += '\'';
        ++i;
      } else {
        inside = false;
      }
    } else if (c == '\\' && escapes) {
      if (i + 1 >= token.size()) return std::nullopt;
      const size_t consumed = unescape(token, i + 1, out);
      if (consumed == 0) return std::nullopt;
      i += consumed;
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

void scan_template(std::string_view sql, bool standard_conforming_strings, Template& out) {
  out.clear();
  if (sql.size() > std::numeric_limits<uint32_t>::max()) return keep_whole(sql, out);
  Lexer lexer(sql, standard_conforming_strings);
  size_t copied = 0;
  while (true) {
    const Token token = lexer.next();
    if (token.kind == TokenKind::kEnd) break;
    if (token.kind == TokenKind::kFail) {
      keep_whole(sql, out);
      break;
    }
    const auto kind = literal_kind(token.kind);
    if (!kind) continue;
    if (out.literals.size() == kMaxLiterals) {
      keep_whole(sql, out);
      break;
    }
    out.text.append(sql, copied, token.begin - copied);
    out.text += static_cast<char>(1 + static_cast<int>(*kind));
    out.literals.push_back({*kind, token.begin, token.end - token.begin});
    copied = token.end;
  }
  if (!out.exact) out.text.append(sql, copied);
  out.hash = std::hash<std::string_view>{}(out.text);
}

std::optional<std::string> literal_value(std::string_view sql, const Literal& literal) {
  if (literal.offset > sql.size() || literal.bytes > sql.size() - literal.offset) return std::nullopt;
  std::string_view token = sql.substr(literal.offset, literal.bytes);
  switch (literal.kind) {
    case LiteralKind::kInteger:
    case LiteralKind::kNumeric:
      return std::string(token);
    case LiteralKind::kString:
      return quoted_value(token, false);
    case LiteralKind::kEscape:
      if (!token.empty() && token[0] != '\'') token.remove_prefix(1);
      return quoted_value(token, true);
    case LiteralKind::kOther:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace decan::sql
