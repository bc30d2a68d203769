// Aggregates over several units: partial ones in the fragment, combined by the merge.
#include <algorithm>

#include "plan/functions.h"
#include "plan/scatter_planner.h"

namespace decan::plan {
namespace {

using sql::Expr;
using sql::ExprKind;
using Kind = OutputColumn::Kind;

std::optional<Kind> aggregate_kind(const Expr& call) {
  if (call.names.size() > 1 && call.names[0] != "pg_catalog") return std::nullopt;
  const std::string& name = call.names.back();
  if (name == "count") return Kind::kCount;
  if (name == "sum") return Kind::kSum;
  if (name == "avg") return Kind::kAvg;
  if (name == "min") return Kind::kMin;
  if (name == "max") return Kind::kMax;
  if (name == "bool_and" || name == "every") return Kind::kBoolAnd;
  if (name == "bool_or") return Kind::kBoolOr;
  return std::nullopt;
}

std::optional<HavingTerm::Op> comparison(const Expr& expr) {
  if (expr.kind != ExprKind::kOperator || expr.op != sql::OperatorKind::kPlain || expr.args.size() != 2)
    return std::nullopt;
  if (expr.names.size() != 1) return std::nullopt;
  const std::string& op = expr.names[0];
  if (op == "=") return HavingTerm::Op::kEq;
  if (op == "<>" || op == "!=") return HavingTerm::Op::kNe;
  if (op == "<") return HavingTerm::Op::kLt;
  if (op == "<=") return HavingTerm::Op::kLe;
  if (op == ">") return HavingTerm::Op::kGt;
  if (op == ">=") return HavingTerm::Op::kGe;
  return std::nullopt;
}

HavingTerm::Op turned(HavingTerm::Op op) {
  switch (op) {
    case HavingTerm::Op::kLt:
      return HavingTerm::Op::kGt;
    case HavingTerm::Op::kLe:
      return HavingTerm::Op::kGe;
    case HavingTerm::Op::kGt:
      return HavingTerm::Op::kLt;
    case HavingTerm::Op::kGe:
      return HavingTerm::Op::kLe;
    case HavingTerm::Op::kEq:
    case HavingTerm::Op::kNe:
      break;
  }
  return op;
}

bool is_aggregate_call(const Expr& expr) {
  return expr.kind == ExprKind::kFunction && !expr.has_window && has_aggregate(&expr);
}

}  // namespace

// Whether an expression has one value per group: made of GROUP BY expressions and constants by pure
// functions.
bool ScatterPlanner::follows_from_groups(const Expr& expr) {
  for (const Group& group : groups_) {
    if (same(*group.expr, expr)) return true;
  }
  switch (expr.kind) {
    case ExprKind::kColumn:
    case ExprKind::kSubquery:
    case ExprKind::kOther:
    case ExprKind::kCurrentOf:
    case ExprKind::kDefault:
      return false;
    case ExprKind::kFunction:
      if (classify_function(expr.names, *in_.scope.context().catalog) != FunctionClass::kPure &&
          classify_function(expr.names, *in_.scope.context().catalog) != FunctionClass::kNow)
        return false;
      break;
    default:
      break;
  }
  return std::ranges::all_of(expr.args,
                             [&](const Expr* arg) { return arg == nullptr || follows_from_groups(*arg); });
}

bool ScatterPlanner::add_aggregate(const Expr& call, OutputColumn& out) {
  const std::string what = "the aggregate " + (call.names.empty() ? std::string() : call.names.back()) + "()";
  const auto kind = aggregate_kind(call);
  const auto layout = sql::call_layout(in_.source.sql(), call.location, in_.conforming_strings);
  if (!kind || !layout || call.within_group || !call.agg_order.empty() ||
      call.args.size() + (call.star ? 1 : 0) != 1)
    return fail_with(what + " over several storage units is not supported",
                     "Group by the sharding key, or use count, sum, min, max, avg, bool_and, bool_or.");
  for (const Expr* arg : call.args) {
    if (has_aggregate(arg) || has_window(arg))
      return fail_with("aggregate function calls cannot be nested", "");
  }
  if (call.distinct && *kind != Kind::kMin && *kind != Kind::kMax && *kind != Kind::kBoolAnd &&
      *kind != Kind::kBoolOr) {
    // Values are disjoint between units only if they contain the key.
    std::vector<const Expr*> parts = call.args;
    if (parts.size() == 1 && parts[0]->kind == ExprKind::kRow) parts = parts[0]->args;
    if (!finder_.contains_key(top_, spread_, parts) || *kind == Kind::kAvg)
      return fail_with(what + " with DISTINCT over several storage units must contain the sharding key",
                       "Group by the sharding key, or count in a query over SELECT DISTINCT.");
  }
  out.kind = *kind;
  // avg(x) is made of sum(x) and count(x).
  const auto call_text = [&](std::string_view function) {
    Snippet text{std::string(function) + "("};
    text.emplace_back(layout->arguments);
    text.emplace_back(std::string(")"));
    if (!layout->filter.empty()) {
      text.emplace_back(std::string(" "));
      text.emplace_back(layout->filter);
    }
    return text;
  };
  Snippet whole{layout->call};
  if (!layout->filter.empty()) {
    whole.emplace_back(std::string(" "));
    whole.emplace_back(layout->filter);
  }
  switch (*kind) {
    case Kind::kCount:
    case Kind::kSum:
    case Kind::kBoolAnd:
    case Kind::kBoolOr:
      out.column = hide(std::move(whole));
      break;
    case Kind::kAvg:
      out.column = hide(call_text("pg_catalog.sum"));
      out.key = hide(call_text("pg_catalog.count"));
      break;
    case Kind::kMin:
    case Kind::kMax:
      out.c_ordered = c_ordered(*call.args[0]);
      out.key = hide(std::move(whole));
      break;
    case Kind::kColumn:
      break;
  }
  return true;
}

bool ScatterPlanner::add_output(const Output& output) {
  OutputColumn column;
  column.name = output.name;
  if (output.expr == nullptr)
    return fail_with("* in a query that groups rows of several storage units is not supported",
                     "List the columns by name.");
  const Expr& expr = *output.expr;
  if (is_aggregate_call(expr)) {
    if (!add_aggregate(expr, column)) return false;
    if (column.kind == Kind::kMin || column.kind == Kind::kMax) {
      // The winner's bytes in the client's format come from a visible column.
      column.column = static_cast<uint32_t>(shown_.size());
      shown_.push_back(output.text);
    }
  } else if (has_aggregate(&expr)) {
    return fail_with("an expression over aggregates of several storage units is not supported",
                     "Select the aggregates themselves and compute with them in the client.");
  } else if (follows_from_groups(expr)) {
    column.column = static_cast<uint32_t>(shown_.size());
    shown_.push_back(output.text);
  } else {
    return fail_with(
        "an output column must appear in GROUP BY when rows of several storage units are grouped",
        "Add it to GROUP BY.");
  }
  merge_.output.push_back(std::move(column));
  return true;
}

bool ScatterPlanner::build_groups() {
  merge_.grouped = true;
  // Hidden columns come behind the shown ones, whose number must be known first.
  uint32_t shown = 0;
  for (const Output& output : outputs_) {
    if (output.expr == nullptr)
      return fail_with("* in a query that groups rows of several storage units is not supported",
                       "List the columns by name.");
    const auto kind = is_aggregate_call(*output.expr) ? aggregate_kind(*output.expr) : std::nullopt;
    if (!is_aggregate_call(*output.expr) || kind == Kind::kMin || kind == Kind::kMax) ++shown;
  }
  merge_.visible = shown;
  for (const Group& group : groups_) {
    if (is_volatile(group.expr))
      return fail_with(
          "GROUP BY of a function that may be volatile over several storage units is not supported", "");
    bool unsure = false;
    walk(group.expr, [&](const Expr& node) {
      if (node.kind == ExprKind::kCollate) unsure = true;
      if (node.kind == ExprKind::kFunction &&
          classify_function(node.names, *in_.scope.context().catalog) == FunctionClass::kSetReturning)
        unsure = true;
      if (node.kind != ExprKind::kColumn) return;
      const auto id = in_.scope.resolve(top_, node);
      const auto* column = id ? in_.scope.base_column(*id) : nullptr;
      if (column != nullptr && column->collation >= kFirstUserOid) unsure = true;
    });
    if (unsure)
      return fail_with("GROUP BY of this expression over several storage units is not supported",
                       "Group by plain columns.");
    merge_.group_keys.push_back(hide(group_text(group)));
  }
  for (const Output& output : outputs_) {
    if (!add_output(output)) return false;
  }
  return add_having() && add_group_order();
}

ScatterPlanner::Snippet ScatterPlanner::group_text(const Group& group) {
  if (!group.is_constant()) return {group.text};
  return {std::string("("), group.text, std::string(")::pg_catalog.text")};
}

bool ScatterPlanner::having_term(const Expr& expr) {
  const auto op = comparison(expr);
  if (!op || expr.args[0] == nullptr || expr.args[1] == nullptr) return false;
  const bool straight = is_aggregate_call(*expr.args[0]);
  const Expr& call = *expr.args[straight ? 0 : 1];
  const auto value = in_.values.plain(*expr.args[straight ? 1 : 0]);
  if (!is_aggregate_call(call) || !value) return false;
  HavingTerm term;
  term.op = straight ? *op : turned(*op);
  term.value = *value;
  if (!add_aggregate(call, term.aggregate)) return false;
  // Nothing of it is shown: the binary value serves for both.
  if (term.aggregate.kind == Kind::kMin || term.aggregate.kind == Kind::kMax)
    term.aggregate.column = term.aggregate.key;
  merge_.having.push_back(std::move(term));
  return true;
}

bool ScatterPlanner::add_having() {
  if (query_.having == nullptr) return true;
  std::vector<const Expr*> terms;
  if (query_.having->kind == ExprKind::kAnd) {
    terms = query_.having->args;
  } else {
    terms.push_back(query_.having);
  }
  const bool none = std::ranges::none_of(terms, [](const Expr* term) { return has_aggregate(term); });
  if (none && !groups_.empty()) {
    having_stays_ = follows_from_groups(*query_.having);
    if (having_stays_) return true;
  }
  for (const Expr* term : terms) {
    if (term == nullptr || !having_term(*term))
      return fail_with(
          "this HAVING over several storage units is not supported",
          "Compare one aggregate with a number in each of its terms, and filter columns in WHERE.");
  }
  return true;
}

bool ScatterPlanner::add_group_order() {
  for (const Key& key : order_) {
    const Expr* expr = key.expr;
    if (key.target && outputs_[*key.target].expr != nullptr &&
        is_aggregate_call(*outputs_[*key.target].expr)) {
      merge_.order_by.push_back(sort_key(key, static_cast<uint32_t>(*key.target), true));
      continue;
    }
    if (expr == nullptr || has_aggregate(expr))
      return fail_with(
          "ORDER BY of an aggregate that is not in the select list is not supported over several storage "
          "units",
          "Add it to the select list.");
    if (!follows_from_groups(*expr) || is_volatile(expr))
      return fail_with("ORDER BY must follow from GROUP BY when rows of several storage units are grouped",
                       "");
    std::optional<uint32_t> column;
    for (size_t i = 0; i < groups_.size() && !column; ++i) {
      if (same(*groups_[i].expr, *expr)) column = merge_.group_keys[i];
    }
    merge_.order_by.push_back(sort_key(key, column ? *column : hide(key.text), false));
  }
  return true;
}

}  // namespace decan::plan
