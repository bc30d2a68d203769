#include "distsql/parser.h"

#include <algorithm>
#include <charconv>

#include "distsql/distsql.h"

namespace decan::distsql {

Result<Statement> parse(std::string_view sql, uint32_t* position_out) {
  if (sql.size() > kMaxStatementBytes) {
    return fail(sqlstate::kProgramLimitExceeded, "an administrative statement is longer than " +
                                                     std::to_string(kMaxStatementBytes) + " bytes");
  }
  return Parser(sql).statement(position_out);
}

Result<Statement> Parser::statement(uint32_t* position_out) {
  Node node = dispatch();
  expect_end();
  if (position_out != nullptr) *position_out = position_;
  if (error_) return std::unexpected(std::move(*error_));
  return Statement{std::move(node), std::move(tag_)};
}

// --- tokens ---

void Parser::advance() {
  token_ = lexer_.next();
  if (token_.kind == Token::Kind::kBad) fail_here();
}

void Parser::fail_at(const Token& token, std::string message) {
  if (failed()) return;
  position_ = character_position(lexer_.sql(), token.offset);
  error_ = Error{std::string(sqlstate::kSyntaxError), std::move(message)};
}

void Parser::fail_here(std::string hint) {
  if (failed()) return;
  const bool at_end = token_.kind == Token::Kind::kEnd;
  fail_at(token_, at_end ? "syntax error at end of input"
                         : "syntax error at or near \"" + std::string(raw(token_)) + "\"");
  error_->hint = std::move(hint);
}

bool Parser::accept(std::string_view words) {
  if (failed()) return false;
  const Token first = token_;
  const size_t position = lexer_.position();
  while (!words.empty()) {
    const size_t blank = std::min(words.find(' '), words.size());
    if (!at_word(words.substr(0, blank))) {
      token_ = first;
      lexer_.rewind(position);
      return false;
    }
    words.remove_prefix(std::min(blank + 1, words.size()));
    token_ = lexer_.next();
  }
  if (token_.kind == Token::Kind::kBad) fail_here();
  return !failed();
}

void Parser::expect(std::string_view words) {
  while (!words.empty() && !failed()) {
    const size_t blank = std::min(words.find(' '), words.size());
    if (!accept(words.substr(0, blank))) fail_here();
    words.remove_prefix(std::min(blank + 1, words.size()));
  }
}

bool Parser::accept_symbol(char symbol) {
  if (failed() || token_.kind != Token::Kind::kSymbol || token_.text[0] != symbol) return false;
  advance();
  return !failed();
}

void Parser::expect_symbol(char symbol) {
  if (!accept_symbol(symbol)) fail_here();
}

void Parser::expect_end() {
  accept_symbol(';');
  if (token_.kind == Token::Kind::kEnd || failed()) return;
  fail_here("Send administrative statements one by one.");
}

// --- pieces ---

std::string Parser::name() {
  if (failed() || (token_.kind != Token::Kind::kWord && token_.kind != Token::Kind::kQuoted) ||
      token_.text.empty()) {
    fail_here();
    return {};
  }
  std::string text = std::move(token_.text);
  advance();
  return text;
}

std::string Parser::value() {
  std::string text;
  switch (token_.kind) {
    case Token::Kind::kWord:
      text = raw(token_);
      break;
    case Token::Kind::kQuoted:
    case Token::Kind::kString:
    case Token::Kind::kNumber:
      text = token_.text;
      break;
    case Token::Kind::kSymbol:
    case Token::Kind::kEnd:
    case Token::Kind::kBad:
      fail_here();
      return {};
  }
  advance();
  return text;
}

std::string Parser::string_literal() {
  if (token_.kind != Token::Kind::kString) {
    fail_here();
    return {};
  }
  return value();
}

int64_t Parser::integer() {
  const Token token = token_;
  const std::string text = value();
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size())
    fail_at(token, "an integer is expected at or near \"" + std::string(raw(token)) + "\"");
  return number;
}

bool Parser::boolean() {
  const Token token = token_;
  std::string text = value();
  std::ranges::transform(text, text.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (text != "true" && text != "false")
    fail_at(token, "true or false is expected at or near \"" + std::string(raw(token)) + "\"");
  return text == "true";
}

TableName Parser::table_name() {
  TableName table;
  table.name = name();
  if (accept_symbol('.')) {
    table.schema = std::move(table.name);
    table.name = name();
  }
  return table;
}

std::vector<std::string> Parser::names() {
  std::vector<std::string> list;
  do list.push_back(name());
  while (accept_symbol(','));
  return list;
}

std::vector<std::string> Parser::values() {
  std::vector<std::string> list;
  do list.push_back(value());
  while (accept_symbol(','));
  return list;
}

std::vector<TableName> Parser::table_names() {
  std::vector<TableName> list;
  do list.push_back(table_name());
  while (accept_symbol(','));
  return list;
}

// Whether what follows the comma here is one more plain name of a list: a name, then ',' or ')'.
bool Parser::followed_by_list_end() {
  const size_t position = lexer_.position();
  const Token item = lexer_.next();
  const Token behind = lexer_.next();
  lexer_.rewind(position);
  const bool is_name = item.kind == Token::Kind::kWord || item.kind == Token::Kind::kQuoted;
  return is_name && behind.kind == Token::Kind::kSymbol && (behind.text == "," || behind.text == ")");
}

std::vector<std::string> Parser::columns() {
  std::vector<std::string> list{name()};
  while (!failed() && token_.kind == Token::Kind::kSymbol && token_.text == "," && followed_by_list_end()) {
    advance();
    list.push_back(name());
  }
  return list;
}

Properties Parser::properties() {
  Properties list;
  expect_symbol('(');
  if (accept_symbol(')')) return list;
  do {
    std::string key = value();
    expect_equals();
    list.emplace_back(std::move(key), value());
  } while (accept_symbol(','));
  expect_symbol(')');
  return list;
}

Algorithm Parser::algorithm() {
  Algorithm made;
  expect("type");
  expect_symbol('(');
  expect("name");
  expect_equals();
  made.type = value();
  if (accept_symbol(',')) {
    expect("properties");
    made.properties = properties();
  }
  expect_symbol(')');
  return made;
}

Algorithm Parser::wrapped_algorithm() {
  expect_symbol('(');
  Algorithm made = algorithm();
  expect_symbol(')');
  return made;
}

std::string Parser::rest_of_text() {
  if (failed() || token_.kind == Token::Kind::kEnd) {
    fail_here();
    return {};
  }
  std::string_view rest = lexer_.sql().substr(token_.offset);
  while (!rest.empty() && (rest.back() == ';' || static_cast<unsigned char>(rest.back()) <= ' '))
    rest.remove_suffix(1);
  if (rest.empty()) fail_here();
  lexer_.rewind(lexer_.sql().size());
  advance();
  return std::string(rest);
}

}  // namespace decan::distsql
