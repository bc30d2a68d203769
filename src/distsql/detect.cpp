#include <algorithm>
#include <array>

#include "distsql/distsql.h"
#include "distsql/lexer.h"

namespace decan::distsql {
namespace {

// How statements begin. '…' at the end asks for one more word, where PostgreSQL accepts the words before it
// alone (SHOW name, SET name = …); '!' asks that nothing but ';' or LIKE follows.
constexpr std::string_view kBeginnings[] = {
    "register storage unit",
    "register migration source",
    "unregister storage unit",
    "unregister migration source",
    "alter storage unit",
    "alter sharding",
    "alter default sharding",
    "alter default shadow",
    "alter readwrite_splitting rule",
    "alter encrypt rule",
    "alter mask rule",
    "alter shadow rule",
    "alter transaction rule",
    "alter sql_parser rule",
    "alter sql_federation rule",
    "alter sql_translator rule",
    "alter global clock",
    "alter migration rule",
    "alter streaming rule",
    "create sharding",
    "create broadcast table",
    "create default sharding",
    "create default shadow",
    "create readwrite_splitting rule",
    "create encrypt rule",
    "create mask rule",
    "create shadow rule",
    "drop sharding",
    "drop broadcast table",
    "drop default sharding",
    "drop default shadow",
    "drop readwrite_splitting rule",
    "drop encrypt rule",
    "drop mask rule",
    "drop shadow rule",
    "drop shadow algorithm",
    "drop migration check",
    "drop streaming",
    "load single table",
    "unload single table",
    "unload all single",
    "set default single table",
    "set dist variable",
    "count sharding",
    "count broadcast",
    "count readwrite_splitting",
    "count encrypt",
    "count mask",
    "count shadow",
    "count single",
    "show storage …",
    "show rules …",
    "show logical …",
    "show full …",
    "show sharding …",
    "show broadcast …",
    "show unused …",
    "show default …",
    "show readwrite_splitting …",
    "show encrypt …",
    "show mask …",
    "show shadow …",
    "show single …",
    "show unloaded …",
    "show compute …",
    "show dist …",
    "show table …",
    "show status …",
    "show transaction rule",
    "show sql_parser …",
    "show sql_federation …",
    "show sql_translator …",
    "show global …",
    "show authority …",
    "show plugins …",
    "show key …",
    "show load …",
    "show migration …",
    "show streaming …",
    "show sessions !",
    "enable compute node",
    "disable compute node",
    "label compute node",
    "relabel compute node",
    "unlabel compute node",
    "refresh table metadata",
    "refresh database metadata",
    "force refresh database",
    "export database configuration",
    "export metadata",
    "export storage nodes",
    "import database configuration",
    "import metadata",
    "convert yaml configuration",
    "lock cluster with",
    "unlock cluster",
    "start migration",
    "stop migration",
    "rollback migration",
    "commit migration",
    "check migration",
    "migrate table",
    "preview",
    "parse",
    "kill",
};

bool ends_statement(const Token& token) {
  return token.kind == Token::Kind::kEnd || (token.kind == Token::Kind::kSymbol && token.text == ";");
}

// Whether the tokens begin as `beginning` says.
bool matches(std::string_view beginning, const std::array<Token, 4>& tokens) {
  for (const Token& token : tokens) {
    if (beginning.empty()) return true;
    const size_t blank = beginning.find(' ');
    const std::string_view word = beginning.substr(0, blank);
    beginning.remove_prefix(blank == std::string_view::npos ? beginning.size() : blank + 1);
    if (word == "!") {
      if (!ends_statement(token) && token.text != "like") return false;
    } else if (token.kind != Token::Kind::kWord || (word != "…" && token.text != word)) {
      return false;
    }
  }
  return beginning.empty();
}

bool is_first_word(std::string_view word) {
  return std::ranges::any_of(kBeginnings, [&](std::string_view beginning) {
    return beginning.starts_with(word) && (beginning.size() == word.size() || beginning[word.size()] == ' ');
  });
}

}  // namespace

bool looks_like_distsql(std::string_view sql) {
  Lexer lexer(sql);
  std::array<Token, 4> tokens;
  tokens[0] = lexer.next();
  if (tokens[0].kind != Token::Kind::kWord || !is_first_word(tokens[0].text)) return false;
  for (size_t i = 1; i < tokens.size(); ++i) {
    if (ends_statement(tokens[i - 1])) break;
    tokens[i] = lexer.next();
  }
  return std::ranges::any_of(kBeginnings,
                             [&](std::string_view beginning) { return matches(beginning, tokens); });
}

bool only_shows(std::string_view sql) {
  const Token first = Lexer(sql).next();
  return first.kind == Token::Kind::kWord &&
         (first.text == "show" || first.text == "preview" || first.text == "count" || first.text == "export");
}

}  // namespace decan::distsql
