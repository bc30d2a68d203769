// Fragments whose rows are final: concatenation, ordered merge, DISTINCT.
#include <algorithm>

#include "catalog/type_oids.h"
#include "plan/functions.h"
#include "plan/scatter_planner.h"

namespace decan::plan {

using sql::Expr;
using sql::ExprKind;

uint32_t ScatterPlanner::hide(Snippet text) {
  hidden_.push_back(std::move(text));
  return merge_.visible + static_cast<uint32_t>(hidden_.size()) - 1;
}

bool ScatterPlanner::is_volatile(const Expr* expr) const {
  bool found = false;
  walk(expr, [&](const Expr& node) {
    if (node.kind != ExprKind::kFunction) return;
    const std::string schema = node.names.size() > 1 ? node.names[node.names.size() - 2] : "";
    const FunctionClass kind = classify_function(node.names, *in_.scope.context().catalog);
    found = found || kind == FunctionClass::kVolatile ||
            (kind == FunctionClass::kUnknown &&
             in_.scope.context().catalog->is_volatile_function(schema, node.names.back()));
  });
  return found;
}

// Whether every text that the expression is made of, and so its own collation, orders as memcmp does. What is
// no text is told apart by its type when the merge runs.
bool ScatterPlanner::c_ordered(const Expr& expr) const {
  bool c = true;
  bool collate_c = false;
  walk(&expr, [&](const Expr& node) {
    if (node.kind == ExprKind::kCollate) {
      const bool is_c = !node.names.empty() && (node.names.back() == "C" || node.names.back() == "POSIX" ||
                                                node.names.back() == "ucs_basic");
      if (&node == &expr) {
        collate_c = is_c;
      } else {
        c = false;
      }
    } else if (node.kind == ExprKind::kColumn) {
      const auto id = in_.scope.resolve(top_, node);
      const auto* column = id ? in_.scope.base_column(*id) : nullptr;
      c = c && column != nullptr &&
          (column->c_ordered || (column->collation == 0 && in_.scope.context().catalog->database_c_ordered));
    } else if (node.kind == ExprKind::kLiteral || node.kind == ExprKind::kParameter ||
               node.kind == ExprKind::kFunction) {
      c = c && in_.scope.context().catalog->database_c_ordered;
    } else if (node.kind == ExprKind::kSubquery || node.kind == ExprKind::kOther) {
      c = false;
    }
  });
  // A plain column counts by itself, whatever the database's default is.
  if (expr.kind == ExprKind::kColumn) {
    const auto id = in_.scope.resolve(top_, expr);
    const auto* column = id ? in_.scope.base_column(*id) : nullptr;
    return column != nullptr && column->c_ordered;
  }
  return collate_c || (expr.kind != ExprKind::kCollate && c);
}

bool ScatterPlanner::c_ordered(const Key& key) const {
  if (key.expr != nullptr) return c_ordered(*key.expr);
  const auto& column = outputs_[key.target.value()].column;
  const auto* base = column ? in_.scope.base_column(*column) : nullptr;
  return base != nullptr && base->c_ordered;
}

SortKey ScatterPlanner::sort_key(const Key& key, uint32_t column, bool of_output) const {
  SortKey out;
  out.column = column;
  out.of_output = of_output;
  out.descending = key.item->descending;
  out.nulls_first = key.item->nulls_first;
  out.c_ordered = !of_output && c_ordered(key);
  return out;
}

bool ScatterPlanner::build_rows() {
  for (uint32_t i = 0; i < outputs_.size(); ++i) {
    OutputColumn column;
    column.column = i;
    // A replaced clock call would give the column another name.
    if (!in_.now.calls.empty()) column.name = outputs_[i].name;
    merge_.output.push_back(std::move(column));
  }
  if (!order_.empty() && outputs_.empty())
    return fail_with("ORDER BY of a query without output columns is not supported", "");
  for (const Key& key : order_) {
    if (is_volatile(key.expr))
      return fail_with("ORDER BY of a volatile function over several storage units is not supported",
                       "Order by a column.");
    if (query_.distinct && !key.target)
      return fail_with("for SELECT DISTINCT, ORDER BY expressions must appear in the select list", "");
    merge_.order_by.push_back(sort_key(key, hide(key.text), false));
  }
  return true;
}

bool ScatterPlanner::build_distinct() {
  merge_.grouped = true;
  for (uint32_t i = 0; i < outputs_.size(); ++i) {
    if (is_volatile(outputs_[i].expr))
      return fail_with("DISTINCT of a volatile function over several storage units is not supported", "");
    if (outputs_[i].column) {
      const auto* column = in_.scope.base_column(*outputs_[i].column);
      if (column == nullptr || column->collation >= kFirstUserOid)
        return fail_with(
            "DISTINCT of a column whose collation may not be deterministic is not supported over several "
            "storage units",
            "");
    }
    OutputColumn column;
    column.column = i;
    if (!in_.now.calls.empty()) column.name = outputs_[i].name;
    merge_.output.push_back(std::move(column));
  }
  for (const Output& output : outputs_) merge_.group_keys.push_back(hide(output.text));
  for (const Key& key : order_) {
    if (!key.target)
      return fail_with("for SELECT DISTINCT, ORDER BY expressions must appear in the select list", "");
    merge_.order_by.push_back(sort_key(key, merge_.group_keys[*key.target], false));
  }
  return true;
}

}  // namespace decan::plan
