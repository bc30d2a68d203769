#include "plan/spellings.h"

#include <algorithm>
#include <array>
#include <vector>

#include "catalog/type_words.h"
#include "plan/utility_planner.h"
#include "sql/lexer.h"

namespace decan::plan {
namespace {

using sql::Token;
using sql::TokenKind;
using sql::Tree;

class Finder {
 public:
  explicit Finder(const catalog::Snapshot& snapshot) : snapshot_(snapshot) {}

  HiddenCall run(const Tree& tree) {
    visit(tree);
    return std::move(out_);
  }

 private:
  void visit(const Tree& node) {
    if (out_) return;
    const std::string kind = node.kind();
    if (kind == "TypeCast") {
      const Tree value = node.child("arg");
      const Tree constant = value.is("A_Const") ? value : Tree();
      type(node.child("type_name"), constant && (constant.flag("isnull") || constant.child("sval")));
      return visit(value);
    }
    if (kind == "TypeName") return type(node, false);
    if (kind == "A_Expr") {
      operation(node);
    } else if (kind == "SubLink") {
      const bool compares = node.name_of("sub_link_type") == "ANY_SUBLINK";
      const auto names = node.strings("oper_name");
      if (compares || !names.empty()) op(names.empty() ? "=" : names.back());
    } else if (kind == "SortBy") {
      if (const auto names = node.strings("use_op"); !names.empty()) op(names.back());
    } else if (kind == "CaseExpr") {
      if (node.child("arg")) op("=");
    } else if (kind == "JoinExpr") {
      if (node.flag("is_natural") || !node.list("using_clause").empty()) op("=");
    } else if (kind == "FuncCall") {
      function(node);
    } else if (kind == "ColumnRef") {
      // A first part is a table's name or a column's.
      const auto names = node.strings("fields");
      for (size_t i = 1; i < names.size(); ++i) attribute(names[i]);
    } else if (kind == "A_Indirection") {
      for (const std::string& name : node.strings("indirection")) attribute(name);
    } else if (kind == "RangeVar") {
      if (node.str("schemaname") != "pg_catalog") any_cast();
    }
    for (const Tree& child : node.children()) visit(child);
  }

  void note(std::string what, std::string_view table) {
    if (!out_ && !table.empty()) out_ = {std::move(what), std::string(table)};
  }
  void op(const std::string& name) { note("operator " + name, snapshot_.hidden_operator(name)); }
  void attribute(const std::string& name) {
    note("function " + name + "()", snapshot_.hidden_attribute(name));
  }
  void any_cast() { note("an implicit cast between built-in types", snapshot_.casts_hidden); }

  void operation(const Tree& node) {
    any_cast();
    if (node.name_of("kind").contains("BETWEEN")) {
      for (const char* name : {"<", "<=", ">", ">="}) op(name);
    } else if (const auto names = node.strings("name"); !names.empty()) {
      op(names.back());
    }
  }

  void type(const Tree& node, bool literal) {
    const auto names = node.strings("names");
    if (names.empty()) return;
    const std::string schema = names.size() > 1 ? names[names.size() - 2] : "";
    note("a cast to type " + names.back(), snapshot_.hidden_type(schema, names.back(), literal));
  }

  void function(const Tree& node) {
    const auto names = node.strings("funcname");
    if (names.empty()) return;
    const size_t arguments = node.list("args").size();
    if (arguments > 0) any_cast();
    const std::string schema = names.size() > 1 ? names[names.size() - 2] : "";
    if (const auto* hidden =
            schema == "pg_catalog" ? nullptr : snapshot_.hidden_function(schema, names.back()))
      note("function " + names.back() + "()", hidden->sharded_table);
    // type(value) means a cast where no function has that name; those to a type's own function are calls.
    if (arguments == 1)
      note("a cast to type " + names.back(), snapshot_.hidden_type(schema, names.back(), true));
  }

  const catalog::Snapshot& snapshot_;
  HiddenCall out_;
};

bool writes(std::string_view word) {
  static constexpr std::array<std::string_view, 5> kWords = {"insert", "update", "delete", "merge", "copy"};
  return std::ranges::find(kWords, word) != kWords.end();
}

// Code that names a type by another word for it (catalog/type_words.h).
std::string_view hidden_type_by_word(std::string_view name, const catalog::Snapshot& snapshot) {
  for (const auto& [word, type] : catalog::kTypeWords) {
    if (word != name) continue;
    if (const auto table = snapshot.hidden_type("pg_catalog", type, false); !table.empty()) return table;
  }
  return {};
}

}  // namespace

HiddenCall hidden_call(const Tree& tree, const catalog::Snapshot& snapshot) {
  return Finder(snapshot).run(tree);
}

HiddenCall hidden_call_in_code(std::string_view code, const catalog::Snapshot& snapshot) {
  sql::Lexer lexer(code, true);
  bool may_write = false;
  for (Token token = lexer.next(); token.kind != TokenKind::kEnd && token.kind != TokenKind::kFail;
       token = lexer.next()) {
    const std::string_view text = code.substr(token.begin, token.end - token.begin);
    if (token.kind == TokenKind::kString || token.kind == TokenKind::kEscape ||
        token.kind == TokenKind::kDollarString) {
      const size_t quote = token.kind == TokenKind::kDollarString ? text.find('$', 1) + 1 : 1;
      if (text.size() <= 2 * quote) continue;
      if (auto inner = hidden_call_in_code(text.substr(quote, text.size() - 2 * quote), snapshot))
        return inner;
    } else if (token.kind == TokenKind::kOperator) {
      if (const auto table = snapshot.hidden_operator(text); !table.empty())
        return {"operator " + std::string(text), std::string(table)};
    } else if (token.kind == TokenKind::kIdentifier || token.kind == TokenKind::kQuotedIdentifier) {
      const std::string name = identifier_value(text);
      may_write = may_write || writes(name);
      if (const auto* hidden = snapshot.hidden_function("", name))
        return {"function " + name + "()", hidden->sharded_table};
      auto table = snapshot.hidden_type("", name, false);
      if (table.empty()) table = hidden_type_by_word(name, snapshot);
      if (!table.empty()) return {"a cast to type " + name, std::string(table)};
      for (const auto& relation : snapshot.relations()) {
        if (relation->name != name) continue;
        if (may_write && !relation->calls_hidden.empty())
          return {"a trigger, default or constraint of \"" + name + "\"", relation->calls_hidden};
        if (!relation->use_hidden.empty())
          return {"a policy, or a cast or comparison of values, of \"" + name + "\"", relation->use_hidden};
      }
    }
  }
  return {};
}

}  // namespace decan::plan
