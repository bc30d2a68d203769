#include "plan/utility_planner.h"

#include <algorithm>
#include <array>

#include "plan/query_planner.h"
#include "plan/spellings.h"
#include "sql/lexer.h"

namespace decan::plan {
namespace {

using sql::Token;
using sql::TokenKind;
using sql::Tree;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return out;
}

// Tokens of the statement with absolute offsets.
std::vector<Token> tokens_of(const UtilityInput& input) {
  const sql::Range range = input.range();
  sql::Lexer lexer(input.sql.substr(0, range.end), input.context->standard_conforming_strings, range.begin);
  std::vector<Token> out;
  while (true) {
    const Token token = lexer.next();
    if (token.kind == TokenKind::kEnd || token.kind == TokenKind::kFail) return out;
    out.push_back(token);
  }
}

std::string word(const UtilityInput& input, const Token& token) {
  return token.kind == TokenKind::kIdentifier ? lower(input.sql.substr(token.begin, token.end - token.begin))
                                              : std::string();
}

std::string_view text_from(const UtilityInput& input, const std::vector<Token>& tokens, size_t first) {
  if (first >= tokens.size()) return {};
  return input.sql.substr(tokens[first].begin, tokens.back().end - tokens[first].begin);
}

// --- transactions ---

// The words after BEGIN [WORK|TRANSACTION], START TRANSACTION, COMMIT …, SET TRANSACTION.
std::string options_after(const UtilityInput& input, std::initializer_list<std::string_view> skip) {
  const auto tokens = tokens_of(input);
  size_t first = 1;
  while (first < tokens.size() && std::ranges::find(skip, word(input, tokens[first])) != skip.end()) ++first;
  return std::string(text_from(input, tokens, first));
}

void plan_transaction(const UtilityInput& input, Plan& out) {
  const Tree& tree = input.statement->tree;
  out.name = tree.str("savepoint_name");
  out.chain = tree.flag("chain");
  const std::string kind = tree.name_of("kind");
  if (kind == "TRANS_STMT_BEGIN" || kind == "TRANS_STMT_START") {
    out.action = Action::kBegin;
    out.tag = kind == "TRANS_STMT_BEGIN" ? "BEGIN" : "START TRANSACTION";
    out.transaction_options = options_after(input, {"transaction", "work"});
  } else if (kind == "TRANS_STMT_COMMIT") {
    out.action = Action::kCommit;
    out.tag = "COMMIT";
  } else if (kind == "TRANS_STMT_ROLLBACK") {
    out.action = Action::kRollback;
    out.tag = "ROLLBACK";
  } else if (kind == "TRANS_STMT_SAVEPOINT") {
    out.action = Action::kSavepoint;
    out.tag = "SAVEPOINT";
  } else if (kind == "TRANS_STMT_RELEASE") {
    out.action = Action::kRelease;
    out.tag = "RELEASE";
  } else if (kind == "TRANS_STMT_ROLLBACK_TO") {
    out.action = Action::kRollbackTo;
    out.tag = "ROLLBACK";
  } else {
    out.name = tree.str("gid");
    const bool prepare = kind == "TRANS_STMT_PREPARE";
    const bool commit = kind == "TRANS_STMT_COMMIT_PREPARED";
    out.action = prepare  ? Action::kPrepareTransaction
                 : commit ? Action::kCommitPrepared
                          : Action::kRollbackPrepared;
    out.tag = prepare ? "PREPARE TRANSACTION" : commit ? "COMMIT PREPARED" : "ROLLBACK PREPARED";
  }
}

// --- settings ---

std::string canonical_setting(std::string name) {
  name = lower(name);
  if (name == "session_authorization") return "session authorization";
  return name;
}

void plan_set(const UtilityInput& input, Plan& out) {
  const Tree& tree = input.statement->tree;
  const std::string kind = tree.name_of("kind");
  const std::string name = tree.str("name");
  out.action = Action::kSet;
  out.tag = "SET";
  SetSpec spec;
  spec.name = canonical_setting(name);
  spec.is_local = tree.flag("is_local");
  if (kind == "VAR_SET_MULTI") {
    if (name == "TRANSACTION SNAPSHOT")
      return refuse(out, "SET TRANSACTION SNAPSHOT is not supported",
                    "Snapshots of one unit do not hold for the others.");
    if (name == "TRANSACTION") {
      out.action = Action::kSetTransaction;
      out.transaction_options = options_after(input, {"local", "transaction"});
      out.name = "transaction";
      return;
    }
    spec.name = "session characteristics as transaction";
    out.transaction_options = options_after(input, {"session", "characteristics", "as", "transaction"});
  } else if (kind == "VAR_SET_DEFAULT") {
    spec.is_reset = true;
  } else if (kind == "VAR_RESET" || kind == "VAR_RESET_ALL") {
    out.action = Action::kReset;
    out.tag = "RESET";
    spec.is_reset = true;
    if (kind == "VAR_RESET_ALL") spec.name.clear();
  }
  out.detail = std::move(spec);
}

// --- SQL-level prepared statements ---

}  // namespace

std::string identifier_value(std::string_view token) {
  if (token.size() >= 2 && token.front() == '"') {
    std::string out;
    for (size_t i = 1; i + 1 < token.size(); ++i) {
      out += token[i];
      if (token[i] == '"') ++i;
    }
    return out;
  }
  return lower(token);
}

namespace {

void plan_prepare(const UtilityInput& input, Plan& out) {
  out.action = Action::kPrepare;
  out.tag = "PREPARE";
  PreparedSpec spec;
  spec.name = input.statement->tree.str("name");
  const auto tokens = tokens_of(input);
  // PREPARE name [ ( type, … ) ] AS body
  size_t i = 2;
  const auto text = [&](size_t k) {
    return k < tokens.size() ? input.sql.substr(tokens[k].begin, tokens[k].end - tokens[k].begin) : "";
  };
  if (text(i) == "(") {
    size_t depth = 1;
    size_t start = ++i;
    for (; i < tokens.size() && depth > 0; ++i) {
      if (text(i) == "(") ++depth;
      if (text(i) == ")") --depth;
      if ((depth == 1 && text(i) == ",") || depth == 0) {
        if (i > start)
          spec.type_names.emplace_back(
              input.sql.substr(tokens[start].begin, tokens[i - 1].end - tokens[start].begin));
        start = i + 1;
      }
    }
  }
  while (i < tokens.size() && word(input, tokens[i]) != "as") ++i;
  spec.body = std::string(text_from(input, tokens, i + 1));
  out.detail = std::move(spec);
}

std::optional<ValueRef> constant_argument(const Tree& argument) {
  ValueRef value;
  if (argument.is("A_Const")) {
    value.is_null = argument.flag("isnull");
    if (!value.is_null) value.constant = argument.constant();
    return value;
  }
  // 'x'::type: the prepared statement's own parameter type reads the text, so only a cast that keeps it is
  // constant.
  return std::nullopt;
}

void plan_execute(const UtilityInput& input, Plan& out) {
  out.action = Action::kExecute;
  out.tag = "EXECUTE";
  out.returns_rows = true;
  PreparedSpec spec;
  spec.name = input.statement->tree.str("name");
  const auto tokens = tokens_of(input);
  if (tokens.size() > 1)
    spec.name_offset = tokens[1].begin, spec.name_bytes = tokens[1].end - tokens[1].begin;
  for (const Tree& argument : input.statement->tree.list("params")) {
    auto value = constant_argument(argument);
    if (!value) spec.constant_arguments = false;
    spec.arguments.push_back(value.value_or(ValueRef{}));
  }
  out.detail = std::move(spec);
  if (const auto call = hidden_call(input.statement->tree, *input.context->catalog))
    refuse_hidden(out, call.what, call.table);
}

// --- cursors ---

void plan_declare(const UtilityInput& input, Plan& out) {
  constexpr int64_t kBinary = 0x0001, kScroll = 0x0002, kNoScroll = 0x0004, kHold = 0x0020;  // parsenodes.h
  const Tree& tree = input.statement->tree;
  CursorSpec spec;
  spec.name = tree.str("portalname");
  spec.with_hold = (tree.num("options") & kHold) != 0;
  spec.no_scroll = (tree.num("options") & kNoScroll) != 0;
  if (input.statement->query == nullptr) return refuse(out, "this form of DECLARE is not supported", "");
  const auto tokens = tokens_of(input);
  // The query follows FOR, which the options before it do not contain.
  size_t i = 0;
  while (i < tokens.size() && word(input, tokens[i]) != "for") ++i;
  if (i + 1 >= tokens.size()) return refuse(out, "this form of DECLARE is not supported", "");
  const SourceText source(input.sql, nullptr, input.base());
  const sql::Range range{tokens[i + 1].begin, tokens.back().end};
  const QueryInput query{input.statement->query, input.statement->tree, range, input.range(),
                         input.parameter_types};
  QueryPlanner planner(query, source, *input.context);
  planner.plan(out);
  out.tag = "DECLARE CURSOR";
  if (!spec.with_hold) out.place = Place::kInBlock;
  if (out.action == Action::kScatter) {
    constexpr int64_t kRefused = kBinary | kScroll;
    if ((tree.num("options") & kRefused) != 0 || out.effects.takes_row_locks)
      return refuse(out,
                    "a cursor over several storage units with SCROLL, BINARY or FOR UPDATE is not supported",
                    "Declare it without these, or add an equality condition on the sharding key.");
  } else if (out.action != Action::kRoute) {
    return;
  }
  out.action = Action::kDeclareCursor;
  out.tag = "DECLARE CURSOR";
  out.returns_rows = false;
  out.detail = std::move(spec);
}

void plan_cursor(const UtilityInput& input, Plan& out) {
  const Tree& tree = input.statement->tree;
  CursorSpec spec;
  spec.name = tree.str("portalname");
  if (tree.is("FetchStmt")) {
    spec.is_move = tree.flag("ismove");
    spec.count = tree.num("how_many");
    const std::string direction = tree.name_of("direction");
    spec.direction = direction == "FETCH_BACKWARD"   ? CursorSpec::Direction::kBackward
                     : direction == "FETCH_ABSOLUTE" ? CursorSpec::Direction::kAbsolute
                     : direction == "FETCH_RELATIVE" ? CursorSpec::Direction::kRelative
                                                     : CursorSpec::Direction::kForward;
    out.action = Action::kFetch;
    out.tag = spec.is_move ? "MOVE" : "FETCH";
    out.returns_rows = !spec.is_move;
  } else {
    out.action = Action::kCloseCursor;
    out.tag = spec.name.empty() ? "CLOSE CURSOR ALL" : "CLOSE CURSOR";
  }
  out.detail = std::move(spec);
}

// --- code blocks ---

void plan_do(const UtilityInput& input, Plan& out) {
  out.action = Action::kRoute;
  out.tag = "DO";
  out.routing.to = RouteTo::kHome;
  out.routing.unit = input.context->catalog->home;
  out.effects.writes = true;
  out.effects.changes_settings = true;
  out.effects.uses_sequences = true;
  for (const Tree& option : input.statement->tree.list("args")) {
    if (option.str("defname") != "as") continue;
    const std::string code = option.child("arg").constant();
    const std::string table = table_in_code(code, *input.context->catalog);
    if (!table.empty())
      return refuse(out, "a DO block that uses the table \"" + table + "\" would see one unit's rows only",
                    "Send its statements one by one.");
    if (input.context->catalog->may_miss_rows() && builds_sql(code))
      return refuse(out,
                    "a DO block that puts SQL together would see one unit's rows only, should it read a "
                    "sharded table",
                    "Send its statements one by one.");
    if (const auto call = hidden_call_in_code(code, *input.context->catalog))
      return refuse_hidden(out, call.what, call.table);
  }
}

void plan_call(const UtilityInput& input, Plan& out) {
  out.action = Action::kRoute;
  out.tag = "CALL";
  out.returns_rows = true;
  out.routing.to = RouteTo::kHome;
  out.routing.unit = input.context->catalog->home;
  out.effects.writes = true;
  out.effects.changes_settings = true;
  out.effects.uses_sequences = true;
  const auto names = input.statement->tree.child("funccall").strings("funcname");
  const std::string schema = names.size() > 1 ? names[names.size() - 2] : "";
  const auto* hidden =
      names.empty() ? nullptr : input.context->catalog->hidden_function(schema, names.back());
  if (hidden != nullptr) return refuse_hidden(out, "procedure " + names.back() + "()", hidden->sharded_table);
  if (const auto call = hidden_call(input.statement->tree, *input.context->catalog))
    refuse_hidden(out, call.what, call.table);
}

bool plan_session_statement(const UtilityInput& input, const std::string& kind, Plan& out) {
  const Tree& tree = input.statement->tree;
  if (kind == "VariableSetStmt") {
    plan_set(input, out);
  } else if (kind == "VariableShowStmt") {
    out.action = Action::kShow;
    out.tag = "SHOW";
    out.returns_rows = true;
    out.name = tree.str("name");
  } else if (kind == "DiscardStmt") {
    out.action = Action::kDiscard;
    out.name = tree.name_of("target").substr(std::string_view("DISCARD_").size());
    out.tag = "DISCARD " + out.name;
  } else if (kind == "ConstraintsSetStmt") {
    // Local to the transaction, on every unit that works for it: treated as SET LOCAL is.
    out.action = Action::kSet;
    out.tag = "SET CONSTRAINTS";
    out.detail = SetSpec{"constraints", true, false, {}};
  } else if (kind == "ListenStmt") {
    out.action = Action::kListen;
    out.tag = "LISTEN";
    out.name = tree.str("conditionname");
  } else if (kind == "UnlistenStmt") {
    out.action = Action::kUnlisten;
    out.tag = "UNLISTEN";
    out.name = tree.str("conditionname");
  } else if (kind == "NotifyStmt") {
    out.action = Action::kRoute;
    out.tag = "NOTIFY";
    out.routing.to = RouteTo::kHome;
    out.routing.unit = input.context->catalog->home;
    out.effects.writes = true;
  } else {
    return false;
  }
  return true;
}

}  // namespace

std::string table_in_code(std::string_view code, const catalog::Snapshot& snapshot) {
  sql::Lexer lexer(code, true);
  bool writes = false;
  std::string broadcast;
  while (true) {
    const Token token = lexer.next();
    if (token.kind == TokenKind::kEnd || token.kind == TokenKind::kFail) break;
    if (token.kind != TokenKind::kIdentifier && token.kind != TokenKind::kQuotedIdentifier) {
      // Code in strings: EXECUTE 'UPDATE …', nested $$ bodies.
      if (token.kind == TokenKind::kString || token.kind == TokenKind::kEscape ||
          token.kind == TokenKind::kDollarString) {
        const size_t quote =
            token.kind == TokenKind::kDollarString ? code.find('$', token.begin + 1) + 1 - token.begin : 1;
        if (token.end - token.begin > 2 * quote) {
          const std::string inner =
              table_in_code(code.substr(token.begin + quote, token.end - token.begin - 2 * quote), snapshot);
          if (!inner.empty()) return inner;
        }
      }
      continue;
    }
    const std::string name = identifier_value(code.substr(token.begin, token.end - token.begin));
    static constexpr std::array<std::string_view, 6> kWrites = {"insert",   "update", "delete",
                                                                "truncate", "merge",  "copy"};
    writes = writes || std::ranges::find(kWrites, name) != kWrites.end();
    for (const auto& relation : snapshot.relations()) {
      if (relation->name != name) continue;
      const bool far = relation->placement == catalog::Placement::kSingle && relation->unit != snapshot.home;
      if (relation->placement == catalog::Placement::kSharded || !relation->hides_sharded.empty() || far)
        return name;
      if (relation->placement == catalog::Placement::kBroadcast) broadcast = name;
    }
  }
  return writes ? broadcast : "";
}

bool builds_sql(std::string_view code) {
  sql::Lexer lexer(code, true);
  const auto word = [&](const Token& token) {
    return token.kind == TokenKind::kIdentifier
               ? identifier_value(code.substr(token.begin, token.end - token.begin))
               : std::string();
  };
  for (Token token = lexer.next(); token.kind != TokenKind::kEnd; token = lexer.next()) {
    if (token.kind == TokenKind::kFail) return true;
    if (runs_text({word(token)}, 2)) return true;
    if (word(token) != "execute") continue;
    const Token command = lexer.next();
    const std::string first = word(command);
    if (first == "function" || first == "procedure" || first == "on")
      continue;  // of CREATE TRIGGER, of GRANT
    if (command.kind != TokenKind::kString && command.kind != TokenKind::kDollarString) return true;
    const Token after = lexer.next();
    const std::string next = word(after);
    const bool ends = after.kind == TokenKind::kPunctuation && code[after.begin] == ';';
    if (!ends && next != "into" && next != "using" && next != "loop") return true;
  }
  return false;
}

bool plan_utility(const UtilityInput& input, Plan& out) {
  const std::string kind = input.statement->tree.kind();
  if (kind == "TransactionStmt") {
    plan_transaction(input, out);
  } else if (kind == "PrepareStmt") {
    plan_prepare(input, out);
  } else if (kind == "ExecuteStmt") {
    plan_execute(input, out);
  } else if (kind == "DeallocateStmt") {
    out.action = Action::kDeallocate;
    PreparedSpec spec;
    spec.name = input.statement->tree.str("name");
    out.tag = spec.name.empty() ? "DEALLOCATE ALL" : "DEALLOCATE";
    out.detail = std::move(spec);
  } else if (kind == "DeclareCursorStmt") {
    plan_declare(input, out);
  } else if (kind == "FetchStmt" || kind == "ClosePortalStmt") {
    plan_cursor(input, out);
  } else if (kind == "CopyStmt") {
    plan_copy(input, out);
  } else if (kind == "ExplainStmt") {
    plan_explain(input, out);
  } else if (kind == "DoStmt") {
    plan_do(input, out);
  } else if (kind == "CallStmt") {
    plan_call(input, out);
  } else {
    return plan_session_statement(input, kind, out);
  }
  return true;
}

void plan_explain(const UtilityInput& input, Plan& out) {
  out.action = Action::kExplain;
  out.tag = "EXPLAIN";
  out.returns_rows = true;
  ExplainSpec spec;
  for (const Tree& option : input.statement->tree.list("options")) {
    const std::string name = option.str("defname");
    const std::string value = lower(option.child("arg").constant());
    const bool on = value.empty() || value == "true" || value == "on" || value == "1";
    if (name == "analyze") spec.analyze = on;
    if (name == "verbose") spec.verbose = on;
    if (name == "format") spec.format = value;
  }
  const auto tokens = tokens_of(input);
  size_t i = 1;
  const auto text = [&](size_t k) {
    return k < tokens.size() ? input.sql.substr(tokens[k].begin, tokens[k].end - tokens[k].begin) : "";
  };
  if (text(1) == "(" && !input.statement->tree.list("options").empty()) {
    while (i < tokens.size() && text(i) != ")") ++i;
    ++i;
  } else {
    while (word(input, tokens[std::min(i, tokens.size() - 1)]) == "analyze" ||
           word(input, tokens[std::min(i, tokens.size() - 1)]) == "analyse" ||
           word(input, tokens[std::min(i, tokens.size() - 1)]) == "verbose")
      ++i;
  }
  if (i >= tokens.size()) return refuse(out, "this form of EXPLAIN is not supported", "");
  if (i > 1)
    spec.options = std::string(input.sql.substr(tokens[1].begin, tokens[i - 1].end - tokens[1].begin));
  spec.inner_sql = std::string(text_from(input, tokens, i));
  auto planned = plan_statements(spec.inner_sql, nullptr, input.parameter_types, *input.context, nullptr);
  if (!planned || planned->size() != 1) return refuse(out, "this form of EXPLAIN is not supported", "");
  spec.inner = planned->front().plan;
  switch (spec.inner->action) {
    case Action::kRefuse:
      out.action = Action::kRefuse;
      out.refusal = spec.inner->refusal;
      break;
    case Action::kRoute:
    case Action::kScatter:
    case Action::kScatterWrite:
    case Action::kInsertRows:
      out.parameter_count = spec.inner->parameter_count;
      break;
    default:
      return refuse(out, "EXPLAIN of this kind of statement is not supported", "EXPLAIN the query itself.");
  }
  out.detail = std::move(spec);
}

namespace {

std::optional<ValueRef> plain_argument(const Tree& raw) {
  const Tree value = raw.is("TypeCast") ? raw.child("arg") : raw;
  if (!value.is("ParamRef")) return constant_argument(value);
  ValueRef parameter;
  parameter.kind = ValueRef::Kind::kParameter;
  parameter.index = static_cast<uint32_t>(value.num("number"));
  return parameter;
}

// SELECT set_config(…), set_config(…): SET in another spelling, so every unit has to run it.
bool plan_set_config(const UtilityInput& input, Plan& out) {
  const sql::Query& query = *input.statement->query;
  const auto targets = input.statement->tree.list("target_list");
  SetSpec spec;
  for (size_t i = 0; i < query.targets.size(); ++i) {
    const sql::Expr* call = query.targets[i].expr;
    if (call == nullptr || call->kind != sql::ExprKind::kFunction || call->names.empty() ||
        call->names.back() != "set_config" || (call->names.size() > 1 && call->names[0] != "pg_catalog") ||
        i >= targets.size())
      return false;
    const auto arguments = targets[i].child("val").list("args");
    if (arguments.size() != 3) return false;
    std::optional<ValueRef> values[3];
    for (size_t k = 0; k < 3; ++k) {
      values[k] = plain_argument(arguments[k]);
      if (!values[k] || values[k]->is_null) return false;  // NULL: the unit says what it means
    }
    const std::string alias = targets[i].str("name");
    spec.calls.push_back({alias.empty() ? "set_config" : alias, *values[0], *values[1], *values[2]});
  }
  if (spec.calls.empty()) return false;
  out.action = Action::kSet;
  out.tag = "SELECT";
  out.returns_rows = true;
  out.detail = std::move(spec);
  return true;
}

}  // namespace

bool plan_special_select(const UtilityInput& input, Plan& out) {
  const sql::Query& query = *input.statement->query;
  if (query.kind != sql::QueryKind::kSelect || !query.from.empty() || query.where != nullptr ||
      query.limit != nullptr || query.offset != nullptr || !query.ctes.empty() || query.targets.empty())
    return false;
  if (plan_set_config(input, out)) return true;
  if (query.targets.size() != 1) return false;
  const sql::Expr& call = *query.targets[0].expr;
  if (call.kind != sql::ExprKind::kFunction || call.names.empty()) return false;
  const std::string& name = call.names.back();
  const bool admin =
      name == "create_distributed_table" || name == "create_reference_table" || name == "undistribute_table";
  if (!admin) return false;
  const Tree tree = input.statement->tree.list("target_list").at(0).child("val");
  AdminCall spec;
  spec.function = name;
  for (const Tree& raw : tree.list("args")) {
    const bool named = raw.is("NamedArgExpr");
    Tree value = named ? raw.child("arg") : raw;
    if (value.is("TypeCast")) value = value.child("arg");
    const auto constant = constant_argument(value);
    if (!constant) {
      out.detail = std::move(spec);
      refuse(out, name + "() takes constants only",
             "Write the table's and the column's name between single quotes.");
      return true;
    }
    spec.arguments.emplace_back(named ? raw.str("name") : "", *constant);
  }
  out.action = Action::kAdmin;
  out.tag = "SELECT";
  out.returns_rows = true;
  out.detail = std::move(spec);
  return true;
}

}  // namespace decan::plan
