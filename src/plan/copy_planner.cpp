// COPY: which columns, which of them are the key, and what every unit is sent.
#include <algorithm>

#include "base/quote.h"
#include "plan/query_planner.h"
#include "plan/utility_planner.h"
#include "sql/lexer.h"

namespace decan::plan {
namespace {

using catalog::Placement;
using sql::Token;
using sql::TokenKind;
using sql::Tree;

std::string lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return text;
}

struct Options {
  CopySpec spec;
  bool encoding = false;  // another encoding than UTF8
  bool names_encoding = false;
  bool freeze = false;
  std::vector<std::string> forced_columns;  // FORCE_NULL, FORCE_NOT_NULL; "*" for all
};

bool is_true(const Tree& arg) {
  const std::string value = lower(arg.constant());
  return !arg || value.empty() || value == "true" || value == "on" || value == "1" || value == "match";
}

Options read_options(const Tree& tree) {
  Options out;
  bool delimiter = false;
  bool null_text = false;
  bool escape = false;
  for (const Tree& option : tree.list("options")) {
    const std::string name = option.str("defname");
    const Tree arg = option.child("arg");
    const std::string value = arg.constant();
    if (name == "format") {
      const std::string format = lower(value);
      out.spec.format = format == "csv"      ? CopySpec::Format::kCsv
                        : format == "binary" ? CopySpec::Format::kBinary
                                             : CopySpec::Format::kText;
    } else if (name == "delimiter" && value.size() == 1) {
      out.spec.delimiter = value[0];
      delimiter = true;
    } else if (name == "null") {
      out.spec.null_text = value;
      null_text = true;
    } else if (name == "header") {
      out.spec.header = is_true(arg);
    } else if (name == "quote" && value.size() == 1) {
      out.spec.quote = value[0];
      if (!escape) out.spec.escape = value[0];
    } else if (name == "escape" && value.size() == 1) {
      out.spec.escape = value[0];
      escape = true;
    } else if (name == "encoding") {
      const std::string encoding = lower(value);
      out.encoding = encoding != "utf8" && encoding != "utf-8";
      out.names_encoding = true;
    } else if (name == "force_quote") {
      for (const Tree& column : arg.is("List") ? arg.list("items") : std::vector<Tree>{})
        out.spec.force_quote.push_back(column.constant());
      out.spec.force_quote_all = !arg.is("List");
    } else if (name == "freeze") {
      out.freeze = is_true(arg);
    } else if (name == "force_null" || name == "force_not_null") {
      for (const Tree& column : arg.is("List") ? arg.list("items") : std::vector<Tree>{})
        out.forced_columns.push_back(column.constant());
      if (!arg.is("List")) out.forced_columns.emplace_back("*");
    }
  }
  if (out.spec.format == CopySpec::Format::kCsv) {
    if (!delimiter) out.spec.delimiter = ',';
    if (!null_text) out.spec.null_text.clear();
  }
  return out;
}

// Columns of the data, in order; nullopt when a name is unknown (the unit gives the error).
std::optional<std::vector<const catalog::Column*>> data_columns(const Tree& tree,
                                                                const catalog::Relation& relation) {
  std::vector<const catalog::Column*> out;
  const auto names = tree.strings("attlist");
  for (const std::string& name : names) {
    const catalog::Column* column = relation.column(name);
    if (column == nullptr) return std::nullopt;
    out.push_back(column);
  }
  if (names.empty()) {
    for (const catalog::Column& column : relation.columns) {
      if (!column.is_generated) out.push_back(&column);
    }
  }
  return out;
}

void route_to(const catalog::Relation* relation, const UtilityInput& input, Plan& out) {
  const UnitId home = input.context->catalog->home;
  out.routing.unit = relation == nullptr ? home : relation->unit;
  out.routing.to = out.routing.unit == home ? RouteTo::kHome : RouteTo::kUnit;
}

bool check_key(const Options& options, const catalog::Relation& relation, CopySpec& spec,
               const std::vector<const catalog::Column*>& columns, Plan& out) {
  for (const int16_t key : relation.key_attnums) {
    const auto found =
        std::ranges::find(columns, key, [](const catalog::Column* column) { return column->attnum; });
    if (found == columns.end()) {
      refuse(out,
             "COPY into the sharded table \"" + relation.name + "\" needs its sharding key among the columns",
             "Name the key column in the column list.");
      return false;
    }
    const auto forced = [&](const std::string& name) { return name == "*" || name == (*found)->name; };
    if (std::ranges::any_of(options.forced_columns, forced) || options.encoding) {
      refuse(out,
             "FORCE_NULL, FORCE_NOT_NULL and ENCODING are not supported for the sharding key of \"" +
                 relation.name + "\"",
             "Use the client's encoding and leave the options out.");
      return false;
    }
    spec.key_fields.push_back(static_cast<uint32_t>(found - columns.begin()));
  }
  return true;
}

bool check_broadcast(const catalog::Relation& relation, const std::vector<const catalog::Column*>& columns,
                     Plan& out) {
  if (relation.has_row_triggers) {
    refuse(
        out,
        "the triggers of the broadcast table \"" + relation.name + "\" may store another value on every unit",
        "Load the table before its triggers are created.");
    return false;
  }
  for (const catalog::Column& column : relation.columns) {
    if (std::ranges::find(columns, &column) != columns.end()) continue;
    if (!column.default_is_volatile && !column.is_identity) continue;
    refuse(out,
           "the default of column \"" + column.name + "\" of the broadcast table \"" + relation.name +
               "\" may give another value on every unit",
           "Give the column in the data.");
    return false;
  }
  return true;
}

// FREEZE is a promise about a table that is loaded in one go; PostgreSQL does not take it for partitioned
// tables, which sharded ones are on their units. The same rows arrive without it, so it is left out.
std::string without_freeze(const UtilityInput& input) {
  const sql::Range range = input.range();
  sql::Lexer lexer(input.sql.substr(0, range.end), input.context->standard_conforming_strings, range.begin);
  std::string out;
  uint32_t copied = range.begin;
  bool in_list = false, behind_stdin = false;
  for (Token token = lexer.next(); token.kind != TokenKind::kEnd && token.kind != TokenKind::kFail;
       token = lexer.next()) {
    const std::string word = lower(std::string(input.sql.substr(token.begin, token.end - token.begin)));
    if (behind_stdin && word == "(") in_list = true;
    if (word == "stdin") behind_stdin = true;
    if (!behind_stdin || word != "freeze") continue;
    out += input.sql.substr(copied, token.begin - copied);
    copied = token.end;
    if (!in_list) continue;  // the old syntax: a word by itself
    out += "freeze false";   // (FREEZE [value], …)
    for (token = lexer.next(); token.kind != TokenKind::kEnd && token.kind != TokenKind::kFail;
         token = lexer.next()) {
      const char first = input.sql[token.begin];
      copied = token.begin;
      if (first == ',' || first == ')') break;
      copied = token.end;
    }
  }
  return out + std::string(input.sql.substr(copied, range.end - copied));
}

void copy_in(const UtilityInput& input, const catalog::Relation* relation, Options options, Plan& out) {
  if (relation != nullptr && !relation->waits_for.empty())
    return refuse_write_before_distribution(out, *relation);
  out.action = Action::kCopyIn;
  out.effects.writes = true;
  out.effects.uses_sequences = relation == nullptr || relation->uses_sequences;
  out.effects.changes_settings = relation != nullptr && relation->changes_session;
  if (relation == nullptr || relation->placement == Placement::kSingle) {
    route_to(relation, input, out);
    out.detail = std::move(options.spec);
    return;
  }
  CopySpec spec = options.spec;
  spec.relation = relation;
  const auto columns = data_columns(input.statement->tree, *relation);
  if (!columns) {
    // The home unit tells which column is unknown.
    out.routing.to = RouteTo::kHome;
    out.routing.unit = input.context->catalog->home;
    spec.relation = nullptr;
    out.detail = std::move(spec);
    return;
  }
  for (const auto* column : *columns) spec.attnums.push_back(column->attnum);
  out.routing.to = RouteTo::kAllUnits;
  if (relation->placement == Placement::kSharded) {
    if (!check_key(options, *relation, spec, *columns, out)) return;
    out.routing.group = relation->group;
    if (options.freeze) spec.unit_sql = without_freeze(input);
  } else if (!check_broadcast(*relation, *columns, out)) {
    return;
  }
  out.detail = std::move(spec);
}

// The text behind TO STDOUT: options in either syntax.
std::string_view option_text(const UtilityInput& input) {
  const sql::Range range = input.range();
  sql::Lexer lexer(input.sql.substr(0, range.end), input.context->standard_conforming_strings, range.begin);
  Token previous;
  while (true) {
    const Token token = lexer.next();
    if (token.kind == TokenKind::kEnd || token.kind == TokenKind::kFail) return {};
    const auto is = [&](const Token& t, std::string_view word) {
      return lower(std::string(input.sql.substr(t.begin, t.end - t.begin))) == word;
    };
    if (previous.end != 0 && is(previous, "to") && (is(token, "stdout") || is(token, "stdin")))
      return input.sql.substr(token.end, range.end - token.end);
    previous = token;
  }
}

void copy_table_out(const UtilityInput& input, const catalog::Relation* relation, Options options,
                    Plan& out) {
  out.action = Action::kCopyOut;
  if (relation == nullptr || relation->placement == Placement::kSingle) {
    route_to(relation, input, out);
    out.detail = std::move(options.spec);
    return;
  }
  CopySpec spec = options.spec;
  const auto columns = data_columns(input.statement->tree, *relation);
  if (relation->placement == Placement::kBroadcast || !columns) {
    out.routing.to = columns ? RouteTo::kAnyUnit : RouteTo::kHome;
    out.routing.unit = input.context->catalog->home;
    out.detail = std::move(spec);
    return;
  }
  spec.relation = relation;
  std::string list;
  for (const auto* column : *columns) {
    spec.attnums.push_back(column->attnum);
    list += (list.empty() ? "" : ", ") + quote_identifier(column->name);
  }
  // A partitioned table can not be copied itself.
  spec.unit_sql = "COPY (SELECT " + list + " FROM " + quote_identifier(relation->schema) + "." +
                  quote_identifier(relation->name) + " WHERE " +
                  guard_conjunct(input.context->catalog->epoch) + ") TO STDOUT" +
                  std::string(option_text(input));
  out.routing.to = RouteTo::kAllUnits;
  out.routing.group = relation->group;
  out.whole_text = {TextPiece{{}, {}, spec.unit_sql, nullptr, false}};
  out.guarded_sql = spec.unit_sql;
  out.detail = std::move(spec);
}

void copy_query_out(const UtilityInput& input, Options options, Plan& out) {
  const sql::Range range = input.range();
  sql::Lexer lexer(input.sql.substr(0, range.end), input.context->standard_conforming_strings, range.begin);
  sql::Range query_range;
  int depth = 0;
  for (Token token = lexer.next(); token.kind != TokenKind::kEnd && token.kind != TokenKind::kFail;
       token = lexer.next()) {
    const char c = token.kind == TokenKind::kPunctuation ? input.sql[token.begin] : ' ';
    if (c == '(' && depth++ == 0) query_range.begin = token.end;
    if (c == ')' && --depth == 0) {
      query_range.end = token.begin;
      break;
    }
  }
  if (query_range.end <= query_range.begin || input.statement->query == nullptr)
    return refuse(out, "this form of COPY is not supported", "");
  options.spec.query = std::string(input.sql.substr(query_range.begin, query_range.bytes()));
  options.spec.query_at = query_range.begin - (input.alone ? 0 : range.begin);
  const SourceText source(input.sql, nullptr, input.base());
  const QueryInput query{input.statement->query, input.statement->tree, query_range, range,
                         input.parameter_types};
  QueryPlanner planner(query, source, *input.context);
  planner.plan(out);
  if (out.action == Action::kScatter) {
    const MergeSpec& merge = *out.merge;
    options.spec.merged =
        merge.grouped || !merge.order_by.empty() || merge.limit || merge.offset || merge.hidden > 0;
    if (options.spec.merged && options.names_encoding)
      return refuse(
          out, "ENCODING in a COPY of a query that merges rows of several storage units is not supported",
          "Set client_encoding instead.");
    out.merge.reset();
    if (!options.spec.merged)
      options.spec.unit_sql =
          render_text(out.fragment_text, input.alone ? input.sql : input.own_text(), nullptr, std::nullopt);
  } else if (out.action != Action::kRoute) {
    if (out.action != Action::kRefuse)
      refuse(out, "COPY of a write over several storage units is not supported", "Run the write by itself.");
    return;
  }
  out.action = Action::kCopyOut;
  out.tag = "COPY";
  out.returns_rows = false;
  out.detail = std::move(options.spec);
}

}  // namespace

void plan_copy(const UtilityInput& input, Plan& out) {
  const Tree& tree = input.statement->tree;
  out.tag = "COPY";
  if (tree.flag("is_program") || !tree.str("filename").empty()) {
    out.action = Action::kRefuse;
    out.refusal = Error{std::string(sqlstate::kInsufficientPrivilege),
                        "COPY with a server-side file or program is not allowed",
                        {},
                        "Use COPY FROM STDIN or COPY TO STDOUT, in psql \\copy."};
    return;
  }
  Options options = read_options(tree);
  const Tree relation_tree = tree.child("relation");
  if (!relation_tree) return copy_query_out(input, std::move(options), out);
  const std::string schema = relation_tree.str("schemaname");
  const std::string name = relation_tree.str("relname");
  const auto* temps = input.context->temp_relations;
  const bool temp = schema == "pg_temp" ||
                    (schema.empty() && temps != nullptr && std::ranges::find(*temps, name) != temps->end());
  out.effects.uses_temp = temp;
  const catalog::Relation* relation =
      temp ? nullptr : input.context->catalog->find(schema, name, input.context->search_path);
  if (relation != nullptr && !relation->hides_sharded.empty())
    return refuse_hidden(out, "view \"" + name + "\"", relation->hides_sharded);
  if (relation != nullptr && !relation->use_hidden.empty() &&
      (tree.flag("is_from") || !relation->use_hidden_in_writes_only))
    return refuse_hidden(out, "a policy, or a cast or comparison of values, of \"" + name + "\"",
                         relation->use_hidden);
  if (relation != nullptr && !relation->calls_hidden.empty() && tree.flag("is_from"))
    return refuse_hidden(out, "a trigger, default or constraint of \"" + name + "\"", relation->calls_hidden);
  if (tree.flag("is_from")) {
    copy_in(input, relation, std::move(options), out);
  } else {
    copy_table_out(input, relation, std::move(options), out);
  }
}

}  // namespace decan::plan
