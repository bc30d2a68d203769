// Plans, resolves and renders a statement for tests as the session does: by template when the text can be
// lifted.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "plan/planner.h"
#include "plan/test_catalog.h"

namespace decan::plan::testing {

struct RunResult {
  PlanPtr plan;
  std::vector<UnitTarget> targets;
  std::vector<std::string> texts;
  std::string error;  // of planning, of the plan's refusal, or of resolve()
  std::string sqlstate, hint;

  void failed(const Error& e) { error = e.message, sqlstate = e.sqlstate, hint = e.hint; }
};

inline constexpr std::string_view kNow = "2026-11-20 11:05:00+00";

inline RunResult plan_and_run(const Context& context, const std::string& sql,
                              const std::vector<ParameterValue>& parameters = {},
                              const std::vector<Oid>& types = {}) {
  RunResult out;
  sql::Template tpl;
  sql::scan_template(sql, true, tpl);
  auto planned = plan_statements(sql, tpl.exact ? nullptr : &tpl, types, context, nullptr);
  if (!planned) {
    out.failed(planned.error());
    return out;
  }
  if (planned->size() != 1) {
    out.error = "statements: " + std::to_string(planned->size());
    return out;
  }
  out.plan = planned->front().plan;
  if (out.plan->action == Action::kRefuse) {
    out.failed(out.plan->refusal);
    return out;
  }
  const Values values{sql, &tpl, parameters, kNow};
  auto targets = resolve(*out.plan, values);
  if (const auto one = resolve_one(*out.plan, values)) {
    // The short way never says anything else than the long one.
    EXPECT_TRUE(targets && targets->size() == 1 && targets->front().unit == one->unit &&
                targets->front().bucket == one->bucket && targets->front().insert_rows.empty());
  }
  if (!targets) {
    out.failed(targets.error());
    return out;
  }
  out.targets = std::move(*targets);
  for (const auto& target : out.targets)
    out.texts.push_back(render(*out.plan, values, target, out.targets.size()));
  return out;
}

inline RunResult plan_and_run(const std::string& sql, const std::vector<ParameterValue>& parameters = {},
                              const std::vector<Oid>& types = {}) {
  static const Context context = context_of(shop());
  return plan_and_run(context, sql, parameters, types);
}

inline const std::string kGuard =
    "(SELECT 1 OPERATOR(pg_catalog./) (m.epoch OPERATOR(pg_catalog.=) 17)::pg_catalog.int4 "
    "OPERATOR(pg_catalog.=) 1 FROM decan.map m)";

// With «G» for the epoch check.
inline std::string shortened(std::string text) {
  for (size_t at = text.find(kGuard); at != std::string::npos; at = text.find(kGuard))
    text.replace(at, kGuard.size(), "«G»");
  return text;
}

inline std::string describe(const ValueRef& value) {
  if (value.is_null) return "NULL";
  const std::string sign = value.negated ? "-" : "";
  switch (value.kind) {
    case ValueRef::Kind::kConstant:
      return value.constant;
    case ValueRef::Kind::kLiteral:
      return sign + "lit" + std::to_string(value.index);
    case ValueRef::Kind::kParameter:
      return sign + "$" + std::to_string(value.index);
  }
  return "";
}

// "visible+hidden [keys] outputs | order | limit offset | having".
inline std::string describe(const MergeSpec& merge) {
  static constexpr const char* kKinds[] = {"", "count", "sum", "min", "max", "avg", "and", "or"};
  static constexpr const char* kOps[] = {"=", "<>", "<", "<=", ">", ">="};
  std::string out = std::to_string(merge.visible) + "+" + std::to_string(merge.hidden);
  if (merge.grouped) {
    out += " group(";
    for (const uint32_t key : merge.group_keys) out += (out.back() == '(' ? "" : ",") + std::to_string(key);
    out += ")";
  }
  for (const auto& column : merge.output) {
    if (column.kind == OutputColumn::Kind::kColumn) {
      out += " " + std::to_string(column.column);
    } else {
      out +=
          std::string(" ") + kKinds[static_cast<size_t>(column.kind)] + ":" + std::to_string(column.column);
      if (column.key != 0) out += "/" + std::to_string(column.key);
    }
    if (column.c_ordered) out += "C";
  }
  for (const auto& key : merge.order_by) {
    out += (&key == merge.order_by.data() ? " order " : ",") + std::string(key.of_output ? "out" : "") +
           std::to_string(key.column);
    if (key.descending) out += "d";
    if (key.nulls_first) out += "n";
    if (key.c_ordered) out += "C";
  }
  if (merge.limit) out += " limit " + describe(*merge.limit);
  if (merge.offset) out += " offset " + describe(*merge.offset);
  if (merge.with_ties) out += " ties";
  for (const auto& term : merge.having)
    out += std::string(" having ") + kKinds[static_cast<size_t>(term.aggregate.kind)] + ":" +
           std::to_string(term.aggregate.column) + kOps[static_cast<size_t>(term.op)] + describe(term.value);
  return out;
}

}  // namespace decan::plan::testing
