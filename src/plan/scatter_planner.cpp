#include "plan/scatter_planner.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "base/quote.h"
#include "catalog/type_oids.h"
#include "plan/functions.h"

namespace decan::plan {
namespace {

using sql::Expr;
using sql::ExprKind;
using sql::QueryKind;

bool has_literal(const Expr& expr) {
  bool found = false;
  walk(&expr, [&](const Expr& node) {
    found = found || (node.kind == ExprKind::kLiteral && node.literal != sql::LiteralType::kNull);
  });
  return found;
}

}  // namespace

ScatterPlanner::ScatterPlanner(const ScatterInput& input)
    : in_(input), top_(input.scope.top()), query_(*top_.query), finder_(input.scope, input.facts) {}

bool ScatterPlanner::fail_with(std::string message, std::string hint) {
  if (obstacle_.message.empty()) obstacle_ = {std::move(message), std::move(hint)};
  return false;
}

bool ScatterPlanner::build(Plan& out) {
  if (!check_statement()) return false;
  const bool built = query_.kind == QueryKind::kSetOperation ? build_union() : build_select();
  literal_dependent_ = literal_dependent_ || finder_.literal_dependent();
  if (!built) return false;
  const bool grouped_text = !shown_.empty() || (merge_.grouped && !query_.distinct);
  merge_.hidden = static_cast<uint32_t>(hidden_.size());
  write(out, grouped_text, !grouped_text);
  out.needs_now = !in_.now.calls.empty();
  out.clock_literals = in_.now.literals;
  out.clock_parameters = in_.now.parameters;
  out.merge = std::move(merge_);
  return true;
}

bool ScatterPlanner::check_statement() {
  const Survey& survey = in_.survey;
  const std::string over = " over several storage units is not supported";
  const std::string key_hint = "Restrict the query to one sharding key.";
  if (query_.kind != QueryKind::kSelect && query_.kind != QueryKind::kSetOperation)
    return fail_with("this form of query" + over, key_hint);
  if (!survey.inner_writes.empty())
    return fail_with("a data-modifying WITH" + over, "Run the statements one by one in a transaction.");
  if (!survey.system_column.empty())
    return fail_with("the system column \"" + survey.system_column + "\"" + over,
                     "Use the table's own columns.");
  if (survey.samples) return fail_with("TABLESAMPLE" + over, key_hint);
  if (!survey.regclass_cast.empty())
    return fail_with("a cast to " + survey.regclass_cast + over + ", since object ids differ between units",
                     "Compare names instead.");
  if (!survey.home_function.empty())
    return fail_with(survey.home_function + "()" + over, "Call it in a statement of its own.");
  if (survey.reads_session_value || survey.sets_config)
    return fail_with("a function whose value belongs to one server's session" + over,
                     "Call it in a statement of its own.");
  if (survey.calls_volatile_user_function)
    return fail_with("the volatile function " + survey.unknown_function + "()" + over,
                     "Call it in a statement of its own.");
  if (!in_.now.obstacle.empty())
    return fail_with(in_.now.obstacle + over, "Use now() or CURRENT_DATE, or pass the time as a parameter.");
  if (survey.locks_broadcast)
    return fail_with("FOR UPDATE of a broadcast table" + over,
                     "Lock the sharded table only: FOR UPDATE OF …");
  if (!survey.units.empty())
    return fail_with("a query over several storage units can not read \"" + survey.single_name +
                         "\", which is on one unit only",
                     "Make it a broadcast table with create_reference_table(), or restrict the query to one "
                     "key of the sharded table.");
  return true;
}

// Calls in the output and in ORDER BY: everywhere else PostgreSQL refuses aggregates itself.
bool ScatterPlanner::check_calls() {
  const bool windows_local = windows_are_local();
  bool ok = true;
  const auto check = [&](const Expr* expr) {
    walk(expr, [&](const Expr& node) {
      if (!ok || node.kind != ExprKind::kFunction) return;
      const FunctionClass kind = classify_function(node.names, *in_.scope.context().catalog);
      if (node.has_window || kind == FunctionClass::kWindow) {
        if (!windows_local)
          ok = fail_with(
              "a window function over several storage units must be partitioned by the sharding key",
              "Add all columns of the sharding key to PARTITION BY.");
      } else if (kind == FunctionClass::kUnknown && !local_groups_) {
        ok = fail_with("the function " + node.names.back() +
                           "() may be an aggregate and can not be called over several storage units",
                       "Group by the sharding key, or restrict the query to one key.");
      }
    });
  };
  for (const auto& target : query_.targets) check(target.expr);
  for (const auto& item : query_.order_by) check(item.expr);
  return ok;
}

bool ScatterPlanner::windows_are_local() const {
  bool local = true;
  const auto check = [&](const Expr* expr) {
    walk(expr, [&](const Expr& node) {
      if (node.kind != ExprKind::kFunction || !node.has_window) return;
      local = local && node.window != nullptr &&
              finder_.contains_key(top_, spread_, partition_of(query_, *node.window));
    });
  };
  for (const auto& target : query_.targets) check(target.expr);
  for (const auto& item : query_.order_by) check(item.expr);
  return local;
}

bool ScatterPlanner::list_outputs() {
  const auto outputs = in_.scope.outputs(top_);
  const auto names = in_.scope.output_names(top_);
  if (!outputs || !names || outputs->size() != names->size())
    return fail_with("the output columns of * are not known for this query over several storage units",
                     "List the columns by name.");
  const sql::SelectLayout& select = in_.layout.selects.at(0);
  size_t next = 0;
  for (size_t t = 0; t < query_.targets.size(); ++t) {
    const Expr* expr = query_.targets[t].expr;
    if (!(expr->kind == ExprKind::kColumn && expr->star)) {
      if (t >= select.targets.size())
        return fail_with("this form of query over several storage units is not supported", "");
      outputs_.push_back({expr, (*outputs)[next].column, {select.targets.at(t)}, (*names)[next]});
      ++next;
      continue;
    }
    const size_t columns = in_.scope.expand_star(top_, *expr)->size();
    for (size_t i = 0; i < columns; ++i, ++next) {
      const auto& output = (*outputs)[next];
      std::string text = quote_identifier((*names)[next]);
      if (!output.merged) text = quote_identifier(output.column->source->alias) + "." + text;
      outputs_.push_back({nullptr, output.column, {std::move(text)}, (*names)[next]});
    }
  }
  merge_.visible = static_cast<uint32_t>(outputs_.size());
  return true;
}

// ORDER BY 2, GROUP BY 1: the output column; nullopt for anything else.
std::optional<size_t> ScatterPlanner::position_of(const Expr& expr) {
  if (expr.kind != ExprKind::kLiteral || expr.literal != sql::LiteralType::kInteger) return std::nullopt;
  literal_dependent_ = true;
  size_t position = 0;
  const auto parsed = std::from_chars(expr.text.data(), expr.text.data() + expr.text.size(), position);
  if (parsed.ec != std::errc() || position == 0 || position > outputs_.size()) return std::nullopt;
  return position - 1;
}

// Whether two expressions always have the same value; with lifted literals that holds for this text only.
bool ScatterPlanner::same(const Expr& a, const Expr& b) {
  if (a.kind == ExprKind::kColumn && b.kind == ExprKind::kColumn && !a.star && !b.star) {
    const auto left = in_.scope.resolve(top_, a);
    const auto right = in_.scope.resolve(top_, b);
    return left && right && *left == *right;
  }
  if (!sql::same_expression(a, b)) return false;
  if (has_literal(a)) literal_dependent_ = true;
  return true;
}

bool ScatterPlanner::resolve_groups() {
  const sql::SelectLayout& select = in_.layout.selects.at(0);
  if (query_.grouping_sets || query_.group_distinct)
    return fail_with("GROUPING SETS, CUBE and ROLLUP over several storage units are not supported",
                     "Run one query per grouping.");
  if (select.group_by.size() != query_.group_by.size())
    return fail_with("this form of GROUP BY over several storage units is not supported",
                     "List the columns one by one.");
  for (size_t i = 0; i < query_.group_by.size(); ++i) {
    const Expr& expr = *query_.group_by[i];
    Group group{&expr, select.group_by[i]};
    std::optional<size_t> target = position_of(expr);
    const bool name = expr.kind == ExprKind::kColumn && expr.names.size() == 1 && !expr.star;
    if (name) {
      // A column of FROM comes first, then an output name.
      const auto column = in_.scope.resolve(top_, expr);
      if (!column || column->source->level != &top_) {
        for (size_t k = 0; k < outputs_.size() && !target; ++k) {
          if (outputs_[k].name == expr.names[0]) target = k;
        }
      }
    } else if (expr.kind == ExprKind::kLiteral && !target) {
      return fail_with("GROUP BY of a constant over several storage units is not supported", "");
    }
    if (target) {
      const Output& output = outputs_[*target];
      if (output.expr == nullptr)
        return fail_with("GROUP BY of a column of * over several storage units is not supported",
                         "Write the column's name.");
      group = {output.expr, std::get<sql::Range>(output.text.at(0))};
    }
    groups_.push_back(group);
  }
  return true;
}

bool ScatterPlanner::resolve_order() {
  if (in_.layout.order_by.size() != query_.order_by.size())
    return fail_with("this form of ORDER BY over several storage units is not supported", "");
  for (size_t i = 0; i < query_.order_by.size(); ++i) {
    const sql::SortItem& item = query_.order_by[i];
    Key key{item.expr, {in_.layout.order_by[i]}, position_of(*item.expr), &item};
    if (item.expr->kind == ExprKind::kColumn && item.expr->names.size() == 1 && !item.expr->star) {
      for (size_t k = 0; k < outputs_.size() && !key.target; ++k) {
        if (outputs_[k].name == item.expr->names[0]) key.target = k;
      }
    } else if (item.expr->kind == ExprKind::kLiteral && !key.target) {
      return fail_with("ORDER BY of this constant is not supported", "Order by a column's name.");
    }
    for (size_t k = 0; k < outputs_.size() && !key.target; ++k) {
      if (outputs_[k].expr != nullptr && same(*outputs_[k].expr, *item.expr)) key.target = k;
      const auto column = outputs_[k].expr == nullptr ? in_.scope.resolve(top_, *item.expr) : std::nullopt;
      if (column && column == outputs_[k].column) key.target = k;
    }
    if (key.target) {
      key.expr = outputs_[*key.target].expr;
      key.text = outputs_[*key.target].text;
    }
    order_.push_back(std::move(key));
  }
  return true;
}

// LIMIT and OFFSET values that exec can evaluate.
std::optional<ValueRef> ScatterPlanner::count_value(const Expr& expr) const {
  const Expr* inner = &expr;
  if (expr.kind == ExprKind::kCast && !expr.args.empty() &&
      type_family(cast_type(expr.type)) == catalog::type::kInt8)
    inner = expr.args[0];
  const bool numeric = inner->kind == ExprKind::kLiteral && inner->literal == sql::LiteralType::kNumeric;
  return numeric ? std::nullopt : in_.values.plain(*inner);
}

// Sums and products of int4 constants, within int4 as PostgreSQL computes them.
std::optional<int64_t> ScatterPlanner::folded(const Expr& expr) {
  const auto in_range = [](int64_t value) {
    const bool fits =
        value >= std::numeric_limits<int32_t>::min() && value <= std::numeric_limits<int32_t>::max();
    return fits ? std::optional(value) : std::nullopt;
  };
  if (expr.kind == ExprKind::kLiteral && expr.literal == sql::LiteralType::kInteger) {
    int64_t value = 0;
    const auto parsed = std::from_chars(expr.text.data(), expr.text.data() + expr.text.size(), value);
    const bool whole = parsed.ec == std::errc() && parsed.ptr == expr.text.data() + expr.text.size();
    return whole ? in_range(value) : std::nullopt;
  }
  if (expr.kind != ExprKind::kOperator || expr.op != sql::OperatorKind::kPlain || expr.args.size() != 2 ||
      expr.names.size() != 1 || expr.args[0] == nullptr || expr.args[1] == nullptr)
    return std::nullopt;
  const auto left = folded(*expr.args[0]), right = folded(*expr.args[1]);
  if (!left || !right) return std::nullopt;
  if (expr.names[0] == "+") return in_range(*left + *right);
  if (expr.names[0] == "-") return in_range(*left - *right);
  if (expr.names[0] == "*") return in_range(*left * *right);
  return std::nullopt;
}

bool ScatterPlanner::limits() {
  for (const bool offset : {false, true}) {
    const Expr* expr = offset ? query_.offset : query_.limit;
    if (expr == nullptr) continue;
    auto value = count_value(*expr);
    if (const auto sum = value ? std::nullopt : folded(*expr)) {
      literal_dependent_ = true;
      value.emplace();
      value->constant = std::to_string(*sum);
    }
    if (!value)
      return fail_with(std::string(offset ? "OFFSET" : "LIMIT") +
                           " of this form over several storage units is not supported",
                       "Use a number or a parameter.");
    const bool constant_null = value->kind == ValueRef::Kind::kConstant && value->is_null;
    if (!constant_null) (offset ? merge_.offset : merge_.limit) = *value;
  }
  merge_.with_ties = query_.with_ties;
  const bool cut = merge_.limit || merge_.offset;
  if (cut && query_.locking)
    return fail_with("FOR UPDATE with LIMIT over several storage units would lock more rows than it returns",
                     "Restrict the query to one sharding key, or leave LIMIT out.");
  return true;
}

bool ScatterPlanner::outputs_contain_key() const {
  std::vector<ColumnId> columns;
  for (const Output& output : outputs_) {
    if (output.column) columns.push_back(*output.column);
  }
  return finder_.contains_key(top_, spread_, columns);
}

bool ScatterPlanner::build_select() {
  auto spread = finder_.rows_of(top_);
  if (!spread) {
    obstacle_ = finder_.obstacle();
    return false;
  }
  if (!spread->sharded)
    return fail_with("a sub-query reads a sharded table on several storage units",
                     "Join the tables on their sharding keys instead.");
  spread_ = std::move(*spread);
  if (in_.layout.selects.size() != 1)
    return fail_with("this form of query over several storage units is not supported",
                     "Write the query without outer parentheses.");
  if (!list_outputs() || !resolve_groups()) return false;
  std::vector<const Expr*> group_exprs;
  for (const Group& group : groups_) group_exprs.push_back(group.expr);
  local_groups_ = !groups_.empty() && finder_.contains_key(top_, spread_, group_exprs);
  if (!check_calls() || !resolve_order() || !limits()) return false;
  has_aggregates_ = query_.having != nullptr || !groups_.empty();
  bool windows = !query_.windows.empty();
  for (const auto& target : query_.targets)
    has_aggregates_ = has_aggregates_ || has_aggregate(target.expr),
    windows = windows || has_window(target.expr);
  for (const auto& item : query_.order_by)
    has_aggregates_ = has_aggregates_ || has_aggregate(item.expr), windows = windows || has_window(item.expr);
  if (query_.locking && (has_aggregates_ || query_.distinct || windows))
    return fail_with("FOR UPDATE is not allowed with aggregates, DISTINCT or window functions", "");
  if (!query_.distinct_on.empty() && !finder_.contains_key(top_, spread_, query_.distinct_on))
    return fail_with("DISTINCT ON over several storage units must contain the sharding key",
                     "Add all columns of the sharding key.");
  if (has_aggregates_ && !local_groups_) {
    if (query_.distinct || !query_.distinct_on.empty() || windows)
      return fail_with(
          "DISTINCT or window functions over aggregates of several storage units are not supported",
          "Group by the sharding key, or leave one of them out.");
    return build_groups();
  }
  if (query_.distinct && (local_groups_ || !outputs_contain_key())) return build_distinct();
  return build_rows();
}

// UNION ALL of parts that each unit answers for itself.
bool ScatterPlanner::build_union() {
  const Source none;
  const auto visit = [&](const auto& self, const Level& level) -> bool {
    const sql::Query& query = *level.query;
    if (query.kind != QueryKind::kSetOperation) {
      const auto spread = finder_.output_of(level, none);
      if (!spread) {
        obstacle_ = finder_.obstacle();
        return false;
      }
      return spread->sharded || fail_with(
                                    "a set operation of a sharded and a broadcast table over several storage "
                                    "units is not supported",
                                    "Run the queries one by one.");
    }
    if (query.set_operation != sql::SetOperation::kUnion || !query.set_all)
      return fail_with("UNION, INTERSECT and EXCEPT over several storage units are not supported",
                       "Use UNION ALL, or restrict every part to one sharding key.");
    return std::ranges::all_of(level.children, [&](const Level* child) {
      return child->role != LevelRole::kLeg || self(self, *child);
    });
  };
  if (!visit(visit, top_)) return false;
  if (!query_.order_by.empty())
    return fail_with("ORDER BY over UNION ALL of several storage units is not supported",
                     "Leave ORDER BY out, or run the queries one by one.");
  if (!limits()) return false;
  const auto names = in_.scope.output_names(top_);
  if (!names)
    return fail_with("the output columns of * are not known for this query over several storage units",
                     "List the columns by name.");
  merge_.visible = static_cast<uint32_t>(names->size());
  for (uint32_t i = 0; i < merge_.visible; ++i) {
    OutputColumn column;
    column.column = i;
    merge_.output.push_back(column);
  }
  return true;
}

}  // namespace decan::plan
