// EXPLAIN and PREVIEW: how a statement would be run, and each unit's own plan of its part.
#include <nlohmann/json.hpp>

#include "session/outcome.h"
#include "session/session.h"

namespace decan::session {
namespace {

using Json = nlohmann::ordered_json;

std::string merge_of(const plan::MergeSpec& merge) {
  std::string text = merge.grouped            ? "groups and aggregates are merged"
                     : merge.order_by.empty() ? "rows are concatenated"
                                              : "sorted rows are merged";
  if (merge.grouped && !merge.order_by.empty()) text += ", then sorted";
  if (!merge.having.empty()) text += ", filtered by HAVING";
  if (merge.offset) text += ", OFFSET";
  if (merge.limit) text += merge.with_ties ? ", LIMIT with ties" : ", LIMIT";
  return text;
}

std::string reason_of(const plan::Plan& plan, size_t targets) {
  if (plan.action == plan::Action::kScatter && targets == 1) return "all rows that it needs are on one unit";
  return plan.explain_reason;
}

// One unit's part of the answer.
struct UnitPlan {
  std::string unit;
  std::optional<uint32_t> bucket;
  std::string statement;
  std::vector<std::string> lines;
};

std::vector<std::string> as_text(const plan::Plan& plan, const std::vector<UnitPlan>& units) {
  const std::string reason = reason_of(plan, units.size());
  std::vector<std::string> lines = {std::string("Decan ") +
                                    (units.size() > 1 ? "Merge (tier 2)" : "Route (tier 1)") + " on " +
                                    std::to_string(units.size()) + (units.size() == 1 ? " unit" : " units") +
                                    (reason.empty() ? "" : ": " + reason)};
  if (units.size() > 1 && plan.merge) lines.push_back("  Merge: " + merge_of(*plan.merge));
  for (const UnitPlan& unit : units) {
    lines.push_back("  ->  Unit " + unit.unit +
                    (unit.bucket ? ", bucket " + std::to_string(*unit.bucket) : ""));
    lines.push_back("        Statement: " + unit.statement);
    for (const std::string& line : unit.lines) lines.push_back("        " + line);
  }
  return lines;
}

// In the shape of PostgreSQL's own, so that tools that draw plans can draw this one.
Result<std::string> as_json(const plan::Plan& plan, const std::vector<UnitPlan>& units) {
  Json root = {{"Node Type", units.size() > 1 ? "Decan Merge" : "Decan Route"},
               {"Tier", units.size() > 1 ? 2 : 1},
               {"Units", units.size()},
               {"Reason", reason_of(plan, units.size())}};
  if (units.size() > 1 && plan.merge) root["Merge"] = merge_of(*plan.merge);
  root["Plans"] = Json::array();
  for (const UnitPlan& unit : units) {
    std::string text;
    for (const std::string& line : unit.lines) text += line + "\n";
    Json own = Json::parse(text, nullptr, false);
    if (!own.is_array() || own.empty() || !own[0].is_object()) {
      return fail(sqlstate::kProtocolViolation, "storage unit \"" + unit.unit + "\" sent a malformed plan");
    }
    Json node = {{"Node Type", "Decan Unit"}, {"Unit", unit.unit}};
    if (unit.bucket) node["Bucket"] = *unit.bucket;
    node["Statement"] = unit.statement;
    for (const auto& [key, value] : own[0].items()) {
      if (key == "Plan")
        node["Plans"] = Json::array({value});
      else
        node[key] = value;  // planning and execution time, triggers, settings
    }
    root["Plans"].push_back(std::move(node));
  }
  return Json::array({Json{{"Plan", std::move(root)}}}).dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

Oid explain_type(const plan::ExplainSpec& spec) {
  constexpr Oid kText = 25, kJson = 114, kXml = 142;
  return spec.format == "json" ? kJson : spec.format == "xml" ? kXml : kText;
}

Task<Status> Session::explain(Call& call) {
  const auto& spec = std::get<plan::ExplainSpec>(call.plan->detail);
  const plan::Plan& inner = *spec.inner;
  if (!call.values.parameters.empty()) {
    co_return fail(sqlstate::kFeatureNotSupported, "EXPLAIN of a statement with parameters is not supported",
                   {}, "Write the values as literals.");
  }
  Call target_call;
  target_call.plan = spec.inner;
  target_call.values = call.values;
  target_call.values.sql = spec.inner_sql;
  target_call.values.tpl = nullptr;
  auto targets = targets_of(target_call);
  if (!targets) co_return fail(targets.error());
  if (spec.format != "text" && spec.format != "json" && targets->size() > 1) {
    co_return fail(sqlstate::kFeatureNotSupported,
                   "EXPLAIN over several storage units is given in the formats text and json only", {},
                   "Use FORMAT JSON, or leave FORMAT out.");
  }
  if (spec.analyze && inner.effects.writes) {
    if (auto opened = co_await begin_implicit(); !opened) co_return opened;
  }
  std::vector<UnitPlan> units;
  const auto units_map = node_.units();
  for (const plan::UnitTarget& target : *targets) {
    auto participant = co_await join(target.unit, txn_->in_block());
    if (!participant) co_return fail(participant.error());
    if (auto ready = co_await run_on(**participant, {}, false); !ready) co_return ready;
    UnitPlan unit;
    unit.unit = (*units_map)[target.unit.value]->name;
    if (target.bucket) unit.bucket = target.bucket->value;
    unit.statement = plan::render(inner, target_call.values, target, targets->size());
    auto answer =
        co_await (*participant)->connection->query("EXPLAIN " + spec.options + " " + unit.statement);
    if (!answer) co_return fail(answer.error());
    if (spec.analyze && inner.effects.writes) (*participant)->may_have_written = true;
    for (auto& row : answer->front().rows) unit.lines.push_back(std::move(row[0]).value_or(""));
    units.push_back(std::move(unit));
  }
  std::vector<std::string> lines;
  if (spec.format == "text") {
    lines = as_text(inner, units);
  } else if (spec.format == "json") {
    auto json = as_json(inner, units);
    if (!json) co_return fail(json.error());
    lines.push_back(std::move(*json));
  } else {
    lines = std::move(units.front().lines);
  }
  std::vector<std::vector<std::optional<std::string>>> rows;
  for (std::string& line : lines) rows.push_back({std::move(line)});
  send_rows({"QUERY PLAN"}, rows, "EXPLAIN", call.simple, explain_type(spec));
  co_return Status{};
}

Task<Result<std::vector<distsql::PreviewLine>>> Session::preview(std::string sql) {
  auto planned = co_await plan_text(sql);
  if (!planned) co_return fail(planned.error());
  std::vector<distsql::PreviewLine> rows;
  for (const plan::PlannedStatement& statement : (*planned)->statements) {
    if (statement.plan->action == plan::Action::kRefuse) co_return fail(statement.plan->refusal);
    Call call;
    call.plan = statement.plan;
    const std::string text = sql.substr(statement.offset, statement.bytes);
    sql::scan_template(text, standard_conforming_strings_, template_);
    call.values.sql = text;
    call.values.tpl = template_.exact ? nullptr : &template_;
    auto targets = targets_of(call);
    if (!targets) co_return fail(targets.error());
    const auto units_map = node_.units();
    for (const plan::UnitTarget& target : *targets) {
      rows.push_back({(*units_map)[target.unit.value]->name,
                      plan::render(*statement.plan, call.values, target, targets->size())});
    }
  }
  co_return rows;
}

}  // namespace decan::session
