#include "plan/query_planner.h"

#include <algorithm>

#include "catalog/type_oids.h"
#include "plan/scatter_planner.h"
#include "plan/spellings.h"
#include "plan/spread.h"

namespace decan::plan {
namespace {

using catalog::Placement;
using sql::ExprKind;
using sql::QueryKind;
namespace type = catalog::type;

constexpr std::string_view kOneUnitHint =
    "Restrict every sharded table to one key, or make the other tables broadcast with "
    "create_reference_table().";

// Types whose every text form can be converted here, so that one value means one bucket.
bool always_routable(Oid oid) {
  switch (oid) {
    case type::kInt2:
    case type::kInt4:
    case type::kInt8:
    case type::kText:
    case type::kVarchar:
    case type::kBpchar:
    case type::kUuid:
    case type::kNumeric:
    case type::kBytea:
    case type::kBool:
      return true;
    default:
      return false;
  }
}

std::optional<UnitId> only_unit_of(const catalog::ShardGroup& group) {
  std::optional<UnitId> out;
  for (const auto& bucket : group.buckets) {
    if (out && *out != bucket.unit) return std::nullopt;
    out = bucket.unit;
  }
  return out;
}

}  // namespace

void refuse(Plan& out, std::string message, std::string hint, std::string detail) {
  out.action = Action::kRefuse;
  out.refusal = Error{std::string(sqlstate::kFeatureNotSupported), std::move(message), std::move(detail),
                      std::move(hint)};
}

QueryPlanner::QueryPlanner(const QueryInput& input, const SourceText& source, const Context& context)
    : input_(input),
      query_(*input.query),
      source_(source),
      context_(context),
      snapshot_(*context.catalog),
      scope_(query_, context),
      survey_(survey_of(scope_)),
      values_(source, input.parameter_types, scope_),
      facts_(scope_, values_),
      proof_(input.tree) {
  note_spellings();
}

// Hidden functions that the statement calls without their names.
void QueryPlanner::note_spellings() {
  if (!snapshot_.has_hidden_spellings() || !survey_.hidden_what.empty()) return;
  if (auto found = hidden_call(input_.tree, snapshot_)) {
    survey_.hidden_what = std::move(found.what), survey_.hidden_table = std::move(found.table);
    return;
  }
  for (size_t i = 0; i < input_.parameter_types.size(); ++i) {
    const auto table = snapshot_.hidden_type(input_.parameter_types[i]);
    if (table.empty()) continue;
    survey_.hidden_what = "the type of parameter $" + std::to_string(i + 1), survey_.hidden_table = table;
  }
}

namespace {

void note_origin(const catalog::Relation* relation, UnitId home, Plan& out) {
  if (relation == nullptr || std::ranges::find(out.origins, relation) != out.origins.end()) return;
  const bool on_others = relation->placement != Placement::kSingle ||
                         relation->kind == catalog::RelationKind::kView || relation->unit != home;
  if (on_others) out.origins.push_back(relation);
}

}  // namespace

void QueryPlanner::plan(Plan& out) {
  describe(out);
  decide(out);
  if (out.action == Action::kRefuse && out.refusal.hint.empty() && out.refusal.detail.empty())
    out.refusal.hint = "Restrict the query to one sharding key, or run its parts one by one.";
}

void QueryPlanner::describe(Plan& out) const {
  switch (query_.kind) {
    case QueryKind::kSelect:
    case QueryKind::kValues:
    case QueryKind::kSetOperation:
      out.tag = "SELECT";
      out.returns_rows = true;
      break;
    case QueryKind::kInsert:
      out.tag = "INSERT";
      break;
    case QueryKind::kUpdate:
      out.tag = "UPDATE";
      break;
    case QueryKind::kDelete:
      out.tag = "DELETE";
      break;
    case QueryKind::kMerge:
      out.tag = "MERGE";
      break;
  }
  out.returns_rows = out.returns_rows || !query_.returning.empty();
  if (out.returns_rows) {
    for (const Source& source : scope_.sources()) note_origin(source.relation, snapshot_.home, out);
  }
  out.effects.writes = survey_.write_target != nullptr || !survey_.inner_writes.empty() ||
                       survey_.calls_volatile_user_function || survey_.advances_sequence;
  out.effects.takes_row_locks = survey_.locks_rows;
  out.effects.session_advisory_lock = survey_.session_advisory_lock;
  out.effects.uses_sequences = survey_.uses_sequences;
  out.effects.reads_sequences = survey_.reads_sequences;
  out.effects.changes_settings = survey_.sets_config || survey_.changes_session;
  out.effects.uses_session_value = survey_.reads_session_value;
  out.effects.uses_temp = survey_.uses_temp;
  out.tables = known_tables();
}

void refuse_hidden(Plan& out, const std::string& what, std::string_view table) {
  if (table == catalog::kDynamicSql) {
    return refuse(
        out,
        what +
            " runs SQL that it puts together; from a sharded table that would see one unit's rows "
            "only",
        "Query sharded tables directly. A function of yours whose SQL never touches one may say so: "
        "ALTER FUNCTION … SET decan.dynamic_sql = 'local'.");
  }
  refuse(out, what + " reads the table \"" + std::string(table) + "\" and would see one unit's rows only",
         "Query the table itself.");
}

std::optional<std::vector<Oid>> QueryPlanner::known_tables() const {
  if (!survey_.unknown_function.empty() || survey_.calls_volatile_user_function) return std::nullopt;
  std::vector<Oid> oids;
  for (const Source& source : scope_.sources()) {
    if (source.kind != Source::Kind::kRelation || source.relation == nullptr) continue;
    if (source.relation->kind != catalog::RelationKind::kTable || source.relation->has_row_triggers)
      return std::nullopt;
    oids.push_back(source.relation->oid);
  }
  std::ranges::sort(oids);
  return oids;
}

bool QueryPlanner::refuse_hidden(Plan& out) const {
  if (survey_.hidden_what.empty()) return false;
  plan::refuse_hidden(out, survey_.hidden_what, survey_.hidden_table);
  return true;
}

void refuse_write_before_distribution(Plan& out, const catalog::Relation& relation) {
  refuse(out,
         "table \"" + relation.name + "\" refers to the sharded table \"" + relation.waits_for +
             "\" and takes no rows before it is distributed itself",
         "SELECT create_distributed_table('" + relation.name + "', '<key>', colocate_with => '" +
             relation.waits_for + "').");
}

bool QueryPlanner::refuse_waiting(Plan& out) const {
  if (query_.kind != QueryKind::kInsert && query_.kind != QueryKind::kMerge && survey_.inner_writes.empty())
    return false;
  std::vector<const Source*> targets = survey_.inner_writes;
  if (survey_.write_target != nullptr) targets.push_back(survey_.write_target);
  for (const Source* target : targets) {
    if (target->relation == nullptr || target->relation->waits_for.empty()) continue;
    refuse_write_before_distribution(out, *target->relation);
    return true;
  }
  return false;
}

void QueryPlanner::decide(Plan& out) {
  if (refuse_hidden(out)) return;
  for (const Source* target : survey_.inner_writes) {
    if (target->relation != nullptr && target->relation->placement == Placement::kBroadcast)
      return refuse(out, "a broadcast table can not be written in WITH",
                    "Run the statements one by one in a transaction.");
  }
  if (refuse_waiting(out)) return;
  const Source* target = survey_.write_target;
  const bool writes_known = target != nullptr && target->relation != nullptr;
  if (writes_known && target->relation->placement == Placement::kBroadcast) return plan_broadcast_write(out);
  if (survey_.sharded.empty()) return route_without_shards(out);
  if (query_.kind == QueryKind::kMerge)
    return refuse(out, "MERGE with a sharded table is not supported",
                  "Use INSERT … ON CONFLICT, UPDATE and DELETE.");
  if (survey_.current_of)
    return refuse(out, "WHERE CURRENT OF is not supported for sharded tables",
                  "Restrict by the table's key instead.");
  if (survey_.units.size() > 1 ||
      (!survey_.home_function.empty() && !survey_.units.empty() && !survey_.units.contains(snapshot_.home)))
    return refuse(out, "the statement joins a sharded table with tables that live on different storage units",
                  std::string(kOneUnitHint));
  if (survey_.system_column == "tableoid")
    return refuse(out, "the system column \"tableoid\" of a sharded table is not supported",
                  "It would tell the bucket's partition, not the table.");
  if (key_is_changed(out)) return;
  if (writes_known && query_.kind == QueryKind::kInsert && target->relation->placement == Placement::kSharded)
    return plan_insert(out);
  if (route_by_key(out) || all_on_one_unit(out)) return;
  scatter(out);
}

void QueryPlanner::route_without_shards(Plan& out) {
  out.action = Action::kRoute;
  std::set<UnitId> units = survey_.units;
  // Object ids mean something on the home unit only.
  const bool home = !survey_.home_function.empty() || survey_.uses_temp || survey_.locks_broadcast ||
                    !survey_.regclass_cast.empty();
  if (home) units.insert(snapshot_.home);
  if (units.size() > 1)
    return refuse(out, "the statement uses tables that live on different storage units",
                  "Make one of them a broadcast table with create_reference_table().");
  if (!units.empty()) {
    out.routing.to = *units.begin() == snapshot_.home ? RouteTo::kHome : RouteTo::kUnit;
    out.routing.unit = *units.begin();
    if (survey_.reads_system) make_catalog_text(out);
    out.explain_reason = survey_.reads_system ? "catalogs and unknown names are answered by the home unit"
                                              : "all its tables live on one unit";
    return;
  }
  // Users' functions may read single tables, which are on the home unit.
  const bool any = survey_.unknown_function.empty() && !out.effects.writes;
  out.routing.to = any ? RouteTo::kAnyUnit : RouteTo::kHome;
  out.routing.unit = snapshot_.home;
  out.explain_reason = any ? "every unit can answer it" : "functions run on the home unit";
}

std::optional<Routing::Pin> QueryPlanner::pin_of(const Source& source) const {
  const Closure closure(facts_.facts_for(source));
  Routing::Pin pin;
  pin.group = source.relation->group;
  for (size_t i = 0; i < source.relation->key_attnums.size(); ++i) {
    const auto column = key_column_of(source, i);
    const KeyCondition* condition = column ? closure.condition(*column) : nullptr;
    if (condition == nullptr) return std::nullopt;
    pin.keys.push_back(*condition);
  }
  return pin;
}

bool QueryPlanner::single_valued(const Routing& routing) const {
  for (size_t i = 0; i < routing.keys.size(); ++i) {
    if (routing.keys[i].any_of.size() != 1 || !always_routable(routing.group->key_types[i])) return false;
    if (routing.keys[i].any_of[0].uncertain) return false;
  }
  return true;
}

bool QueryPlanner::route_by_key(Plan& out) {
  std::vector<Routing::Pin> pins;
  for (const Source* source : survey_.sharded) {
    // The target of an INSERT inside WITH has no conditions of its own.
    if (source->is_write_target && source->level->query->kind == QueryKind::kInsert &&
        source->level != &scope_.top())
      return false;
    auto pin = pin_of(*source);
    if (!pin) return false;
    if (std::ranges::find(pins, *pin) == pins.end()) pins.push_back(std::move(*pin));
  }
  route_pins(out, std::move(pins));
  return true;
}

void QueryPlanner::route_pins(Plan& out, std::vector<Routing::Pin> pins) {
  Routing routing;
  routing.to = RouteTo::kByKey;
  routing.group = pins[0].group;
  routing.keys = pins[0].keys;
  routing.also.assign(pins.begin() + 1, pins.end());
  if (!survey_.units.empty()) routing.only_unit = *survey_.units.begin();
  if (!survey_.home_function.empty()) routing.only_unit = snapshot_.home;
  const bool alone = routing.also.empty() && !routing.only_unit;
  const bool narrow = single_valued(routing);
  out.routing = routing;
  out.action = Action::kRoute;
  if (alone) make_leaf_text(out);
  // ONLY of a partitioned table finds nothing: it is right with leaves alone.
  // One value that names its leaf needs no other text: where it matches nothing, the statement itself will
  // do.
  const bool leaf_is_enough = narrow && !out.leaf_text.empty();
  const bool whole = !leaf_is_enough && !names_only() && make_whole_text(out);
  if (!whole && out.leaf_text.empty()) {
    refuse(out, "the statement has a form that can not be checked against moving data",
           "Write the statement without outer parentheses, VALUES and ONLY.");
    return;
  }
  out.explain_reason = "every sharded table is restricted to one key";
  // More than one unit may be needed: then only if the parts can be merged.
  if (!narrow && alone && whole) {
    Plan several = out;
    scatter(several);
    if (several.action != Action::kRefuse) {
      several.routing = routing;
      several.leaf_text = out.leaf_text;
      several.whole_text = out.whole_text;
      several.guarded_sql = out.guarded_sql;
      out = std::move(several);
    }
  }
}

// Every bucket that the statement may touch is on one unit, which can run it whole.
bool QueryPlanner::all_on_one_unit(Plan& out) {
  std::set<UnitId> units = survey_.units;
  if (!survey_.home_function.empty()) units.insert(snapshot_.home);
  for (const Source* source : survey_.sharded) {
    const auto unit = only_unit_of(*source->relation->group);
    if (!unit) return false;
    units.insert(*unit);
  }
  if (units.size() != 1 || !make_whole_text(out)) return false;
  if (names_only()) return false;
  out.action = Action::kRoute;
  out.routing.to = RouteTo::kUnit;
  out.routing.unit = *units.begin();
  out.explain_reason = "all buckets of its tables are on one unit";
  return true;
}

// UPDATE … SET key = something else would have to move the row.
bool QueryPlanner::key_is_changed(Plan& out) const {
  for (const Source* source : survey_.sharded) {
    if (!source->is_write_target) continue;
    const sql::Query& query = *source->level->query;
    const auto& list = query.kind == QueryKind::kUpdate ? query.targets : query.conflict_set;
    for (const sql::Target& target : list) {
      for (size_t key = 0; key < source->relation->key_attnums.size(); ++key) {
        const auto column = key_column_of(*source, key);
        if (!column || source->relation->columns[column->index].name != target.name) continue;
        if (assigns_same_key(*source->level, target, *source, key)) continue;
        refuse(out,
               "the sharding key column \"" + target.name + "\" of \"" + source->relation->name +
                   "\" can not be changed by UPDATE",
               "DELETE the row and INSERT it with its new key, in one transaction.");
        return true;
      }
    }
  }
  return false;
}

bool QueryPlanner::assigns_same_key(const Level& level, const sql::Target& target, const Source& source,
                                    size_t key) const {
  const auto column = key_column_of(source, key);
  if (target.indirection || target.expr == nullptr || !column) return false;
  if (target.expr->kind == ExprKind::kColumn) {
    const auto assigned = scope_.resolve(level, *target.expr);
    // ON CONFLICT DO UPDATE SET k = excluded.k: the conflicting row may have another key when the constraint
    // is not on it.
    return assigned && *assigned == *column;
  }
  if (level.query->kind != QueryKind::kUpdate) return false;
  const Closure closure(facts_.facts_for(source));
  const KeyCondition* condition = closure.condition(*column);
  const auto value = values_.assigned(*target.expr, source.relation->columns[column->index]);
  if (condition == nullptr || !value || condition->any_of.size() != 1) return false;
  if (source.relation->columns[column->index].typmod >= 0) return false;
  if (value->kind == ValueRef::Kind::kLiteral && condition->any_of[0].kind == ValueRef::Kind::kLiteral)
    literal_dependent_ = true;
  if (*value == condition->any_of[0]) return value->kind != ValueRef::Kind::kConstant || !value->is_null;
  return false;
}

const NowCalls& QueryPlanner::now_calls() {
  if (!now_) now_ = find_now_calls(scope_, source_, context_.standard_conforming_strings);
  return *now_;
}

void QueryPlanner::scatter_everywhere(Plan& out) const {
  out.routing = Routing{};
  out.routing.to = RouteTo::kAllUnits;
  // Tables of several groups can not be joined, so one group tells the units; if they could, all units would
  // be right too.
  const auto* group = survey_.sharded[0]->relation->group;
  const bool one = std::ranges::all_of(
      survey_.sharded, [&](const Source* source) { return source->relation->group == group; });
  out.routing.group = one ? group : nullptr;
}

bool QueryPlanner::names_only() const {
  return std::ranges::any_of(survey_.sharded, [](const Source* source) { return source->ref->only; });
}

void QueryPlanner::scatter(Plan& out) {
  if (names_only())
    return refuse(out, "ONLY of a sharded table over several storage units is not supported",
                  "Leave ONLY out.");
  if (survey_.write_target != nullptr) return scatter_write(out);
  const sql::QueryLayout* found = layout();
  if (found == nullptr || found->selects.empty())
    return refuse(out, "this form of query over several storage units is not supported",
                  "Write the query without outer parentheses, VALUES and TABLE.");
  const ScatterInput input{scope_,      survey_,          facts_,
                           values_,     source_,          *found,
                           now_calls(), input_.statement, context_.standard_conforming_strings};
  ScatterPlanner planner(input);
  const bool built = planner.build(out);
  literal_dependent_ = literal_dependent_ || planner.literal_dependent();
  if (!built) return refuse(out, planner.obstacle().message, planner.obstacle().hint);
  // With one target the whole statement runs there.
  if (out.whole_text.empty() && !make_whole_text(out))
    return refuse(out, "this form of query over several storage units is not supported", "");
  out.action = Action::kScatter;
  out.explain_reason = "rows of several units are merged";
  scatter_everywhere(out);
}

}  // namespace decan::plan
