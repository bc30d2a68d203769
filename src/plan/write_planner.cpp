// INSERT into sharded tables, and writes to broadcast tables.
#include <algorithm>

#include "catalog/type_oids.h"
#include "plan/query_planner.h"
#include "plan/spread.h"

namespace decan::plan {
namespace {

using sql::Expr;
using sql::ExprKind;
using sql::QueryKind;
namespace type = catalog::type;

constexpr std::string_view kKeyHint =
    "Give the sharding key as a constant or a parameter of the column's type.";

// Modifiers that may change a value when it is stored.
bool modifier_changes(const catalog::Column& column) {
  return column.typmod >= 0 && column.type != type::kBpchar;
}

}  // namespace

void QueryPlanner::plan_insert(Plan& out) {
  if (query_.source == nullptr)
    return refuse(out, "INSERT … DEFAULT VALUES into a sharded table is not supported",
                  std::string(kKeyHint));
  if (query_.source->kind == QueryKind::kValues && query_.source->order_by.empty() &&
      query_.source->limit == nullptr && query_.source->offset == nullptr && query_.source->ctes.empty())
    return insert_values(out, *query_.source);
  insert_select(out);
}

// The key of one VALUES row.
std::optional<std::vector<ValueRef>> QueryPlanner::row_key(const std::vector<const Expr*>& row,
                                                           std::string& why) const {
  const catalog::Relation& relation = *survey_.write_target->relation;
  std::vector<ValueRef> key;
  for (size_t i = 0; i < relation.key_attnums.size(); ++i) {
    const auto id = key_column_of(*survey_.write_target, i);
    if (!id) return std::nullopt;
    const catalog::Column& column = relation.columns[id->index];
    size_t position = id->index;
    if (!query_.columns.empty()) {
      const auto found = std::ranges::find(query_.columns, column.name, &sql::Target::name);
      position = static_cast<size_t>(found - query_.columns.begin());
    }
    const Expr* expr = position < row.size() ? row[position] : nullptr;
    if (expr == nullptr || expr->kind == ExprKind::kDefault) {
      if (column.has_default) {
        why = "the sharding key column \"" + column.name +
              "\" takes its default value, which is not known here";
        return std::nullopt;
      }
      ValueRef null;
      null.is_null = true;
      key.push_back(null);
      continue;
    }
    auto value = values_.assigned(*expr, column);
    if (!value) {
      why = "the value of the sharding key column \"" + column.name + "\" is not known here";
      return std::nullopt;
    }
    key.push_back(*value);
  }
  return key;
}

void QueryPlanner::insert_values(Plan& out, const sql::Query& source) {
  const catalog::Relation& relation = *survey_.write_target->relation;
  if (survey_.sharded.size() > 1)
    return refuse(out, "an INSERT with a sub-query on a sharded table is not supported",
                  "Read the values first.");
  InsertRows rows;
  rows.returning = !query_.returning.empty();
  for (const int16_t attnum : relation.key_attnums) {
    for (const catalog::Column& column : relation.columns) {
      if (column.attnum == attnum) rows.key_typmods.push_back(column.typmod);
    }
  }
  const sql::QueryLayout* found = layout();
  if (found == nullptr || found->value_rows.size() != source.rows.size())
    return refuse(out, "this form of INSERT is not supported for sharded tables",
                  "Write INSERT INTO … VALUES (…), (…).");
  for (size_t i = 0; i < source.rows.size(); ++i) {
    std::string why = "the sharding key of a row is not known here";
    auto key = row_key(source.rows[i], why);
    if (!key) return refuse(out, why, std::string(kKeyHint));
    rows.rows.push_back({source_.position(found->value_rows[i].begin),
                         source_.position(found->value_rows[i].end), std::move(*key)});
  }
  out.routing.group = relation.group;
  out.routing.to = RouteTo::kByKey;
  if (!survey_.units.empty()) out.routing.only_unit = *survey_.units.begin();
  if (!survey_.home_function.empty()) out.routing.only_unit = snapshot_.home;
  // Many rows seldom share a bucket.
  constexpr size_t kMostRowsForLeaf = 32;
  if (!out.routing.only_unit && rows.rows.size() <= kMostRowsForLeaf) make_leaf_text(out);
  if (rows.rows.size() == 1) {
    // A partition that is not there refuses the row (23514), so the parent needs no check.
    out.action = Action::kRoute;
    for (const ValueRef& value : rows.rows[0].key)
      out.routing.keys.push_back(KeyCondition{{value}, {}, {}, 0});
    out.explain_reason = "the row's key tells its bucket";
  } else {
    out.action = Action::kInsertRows;
    out.explain_reason = "rows are split by bucket";
  }
  out.detail = std::move(rows);
}

// Conditions on the target's key that the source query's output satisfies: constants, or columns pinned by
// conditions.
bool QueryPlanner::insert_keys(const Level& source, std::vector<KeyCondition>& keys) const {
  const catalog::Relation& relation = *survey_.write_target->relation;
  const auto outputs = scope_.outputs(source);
  if (!outputs) return false;
  const Closure closure(facts_.facts_of(source));
  for (size_t i = 0; i < relation.key_attnums.size(); ++i) {
    const auto id = key_column_of(*survey_.write_target, i);
    if (!id) return false;
    const catalog::Column& column = relation.columns[id->index];
    size_t position = id->index;
    if (!query_.columns.empty()) {
      const auto found = std::ranges::find(query_.columns, column.name, &sql::Target::name);
      position = static_cast<size_t>(found - query_.columns.begin());
    }
    if (position >= outputs->size()) return false;
    const auto& output = (*outputs)[position];
    if (output.column) {
      const auto* base = scope_.base_column(*output.column);
      const KeyCondition* condition = closure.condition(*output.column);
      if (base == nullptr || condition == nullptr || type_family(base->type) != type_family(column.type))
        return false;
      keys.push_back(*condition);
    } else {
      auto value = output.expr == nullptr ? std::nullopt : values_.assigned(*output.expr, column);
      if (!value) return false;
      keys.push_back(KeyCondition{{*value}, {}, {}, 0});
    }
  }
  return true;
}

// Every row goes to the bucket that it was read from.
bool QueryPlanner::inserts_own_key(const Level& source, const Spread& spread) const {
  const catalog::Relation& relation = *survey_.write_target->relation;
  const auto outputs = scope_.outputs(source);
  if (!outputs) return false;
  const Closure closure(facts_.facts_of(source));
  return std::ranges::any_of(spread.keys, [&](const KeyTuple& key) {
    if (key.group != relation.group || key.nullable) return false;
    for (size_t i = 0; i < relation.key_attnums.size(); ++i) {
      const auto id = key_column_of(*survey_.write_target, i);
      if (!id) return false;
      const catalog::Column& column = relation.columns[id->index];
      size_t position = id->index;
      if (!query_.columns.empty()) {
        const auto found = std::ranges::find(query_.columns, column.name, &sql::Target::name);
        position = static_cast<size_t>(found - query_.columns.begin());
      }
      if (position >= outputs->size()) return false;
      const auto& output = (*outputs)[position].column;
      const auto* base = output ? scope_.base_column(*output) : nullptr;
      const bool same = output && closure.equal(*output, key.columns[i]);
      if (!same || base == nullptr || modifier_changes(column) ||
          type_family(base->type) != type_family(column.type))
        return false;
    }
    return true;
  });
}

void QueryPlanner::insert_select(Plan& out) {
  const Level* source = nullptr;
  for (const Level* child : scope_.top().children) {
    if (child->role == LevelRole::kLeg && child->query == query_.source) source = child;
  }
  if (source == nullptr) return refuse(out, "this form of INSERT is not supported for sharded tables", "");
  // All rows to one bucket.
  std::vector<Routing::Pin> pins;
  Routing::Pin own{survey_.write_target->relation->group, {}};
  bool pinned = insert_keys(*source, own.keys);
  if (pinned) pins.push_back(own);
  for (const Source* table : survey_.sharded) {
    if (table == survey_.write_target) continue;
    auto pin = pinned ? pin_of(*table) : std::nullopt;
    pinned = pinned && pin;
    if (pinned && std::ranges::find(pins, *pin) == pins.end()) pins.push_back(std::move(*pin));
  }
  if (pinned) return route_pins(out, std::move(pins));
  if (all_on_one_unit(out)) return;
  scatter_write(out);
}

void QueryPlanner::plan_broadcast_write(Plan& out) {
  const std::string why = broadcast_obstacle();
  if (!why.empty())
    return refuse(out, why,
                  "Give the value as a constant or a parameter, so that every unit stores the same.");
  out.action = Action::kScatterWrite;
  out.broadcast_write = true;
  out.routing.to = RouteTo::kAllUnits;
  out.explain_reason = "a broadcast table is written on every unit";
  write_text_with_now(out);
}

// The statement with one time for all units.
void QueryPlanner::write_text_with_now(Plan& out) {
  const NowCalls& now = now_calls();
  out.needs_now = !now.calls.empty();
  out.clock_literals = now.literals;
  out.clock_parameters = now.parameters;
  if (now.calls.empty()) return;
  TextBuilder builder(source_, {source_.base(), input_.statement.end}, &now.calls);
  out.fragment_text = builder.finish();
}

// Why the units could come to store different rows; empty when they can not.
std::string QueryPlanner::broadcast_obstacle() {
  const catalog::Relation& relation = *survey_.write_target->relation;
  const std::string quoted = "broadcast table \"" + relation.name + "\"";
  if (!survey_.sharded.empty()) return "a write to the " + quoted + " can not read a sharded table";
  if (!survey_.units.empty())
    return "a write to the " + quoted + " can not read \"" + survey_.single_name +
           "\", which is on one unit only";
  if (!survey_.volatile_name.empty())
    return survey_.volatile_name + " in a write to the " + quoted + " may give another value on every unit";
  if (!now_calls().obstacle.empty())
    return now_calls().obstacle + " in a write to the " + quoted + " may give another value on every unit";
  if (!survey_.system_column.empty())
    return "a system column in a write to the " + quoted + " differs between units";
  if (survey_.current_of || survey_.samples)
    return "CURRENT OF and TABLESAMPLE in a write to the " + quoted + " are not supported";
  if (query_.kind == QueryKind::kMerge) return "MERGE into the " + quoted + " is not supported";
  if (relation.has_row_triggers)
    return "the triggers of the " + quoted + " may store another value on every unit";
  if (query_.kind == QueryKind::kUpdate && !query_.from.empty())
    return "UPDATE … FROM of the " + quoted + " may pick another row on every unit";
  SpreadFinder finder(scope_, facts_);
  for (const Level& level : scope_.levels()) {
    if (&level == &scope_.top()) continue;
    const Source none;
    if (!finder.output_of(level, none)) return finder.obstacle().message;
  }
  if (query_.kind != QueryKind::kInsert) return {};
  for (const catalog::Column& column : relation.columns) {
    const bool listed =
        std::ranges::find(query_.columns, column.name, &sql::Target::name) != query_.columns.end();
    const bool given = query_.source != nullptr && (query_.columns.empty() || listed);
    bool defaulted = !given;
    if (given && query_.source->kind == QueryKind::kValues) {
      const size_t position =
          query_.columns.empty()
              ? static_cast<size_t>(&column - relation.columns.data())
              : static_cast<size_t>(std::ranges::find(query_.columns, column.name, &sql::Target::name) -
                                    query_.columns.begin());
      for (const auto& row : query_.source->rows)
        defaulted = defaulted || position >= row.size() || row[position]->kind == ExprKind::kDefault;
    }
    if (defaulted && (column.default_is_volatile || column.is_identity))
      return "the default of column \"" + column.name + "\" of the " + quoted +
             " may give another value on every unit";
  }
  if (query_.source != nullptr && query_.source->kind != QueryKind::kValues && query_.columns.empty()) {
    for (const catalog::Column& column : relation.columns) {
      if (column.default_is_volatile || column.is_identity)
        return "INSERT … SELECT without a column list into the " + quoted +
               " may use the default of column \"" + column.name + "\"";
    }
  }
  return {};
}

void QueryPlanner::scatter_write(Plan& out) {
  const std::string over = " in a write over several storage units is not supported";
  if (!survey_.inner_writes.empty())
    return refuse(out, "a data-modifying WITH" + over, "Run the statements one by one in a transaction.");
  if (!survey_.system_column.empty())
    return refuse(out, "the system column \"" + survey_.system_column + "\"" + over,
                  "Use the table's own columns.");
  if (!survey_.home_function.empty())
    return refuse(out, survey_.home_function + "()" + over, "Call it in a statement of its own.");
  if (survey_.calls_volatile_user_function || survey_.reads_session_value || survey_.sets_config)
    return refuse(out, "the function " + survey_.unknown_function + "()" + over,
                  "Call it in a statement of its own.");
  if (survey_.samples || !survey_.regclass_cast.empty())
    return refuse(out, "TABLESAMPLE or a cast to an object id" + over, "");
  if (!now_calls().obstacle.empty())
    return refuse(out, now_calls().obstacle + over,
                  "Use now() or CURRENT_DATE, or pass the time as a parameter.");
  SpreadFinder finder(scope_, facts_);
  if (query_.kind == QueryKind::kInsert) {
    const Level* source = nullptr;
    for (const Level* child : scope_.top().children) {
      if (child->role == LevelRole::kLeg && child->query == query_.source) source = child;
    }
    const Source none;
    const auto output = source == nullptr ? std::nullopt : finder.output_of(*source, none);
    const auto rows = !output || !output->sharded || source->query->kind != QueryKind::kSelect
                          ? std::nullopt
                          : finder.rows_of(*source);
    if (!rows || !inserts_own_key(*source, *rows))
      return refuse(
          out,
          "INSERT … SELECT into the sharded table \"" + survey_.write_target->relation->name +
              "\" would move rows between storage units",
          "Select the target's sharding key from the same shard group's key, or load the rows with COPY.",
          finder.obstacle().message);
    for (const Level* child : scope_.top().children) {
      if (child->role == LevelRole::kSublink)
        return refuse(out, "a sub-query in ON CONFLICT or RETURNING" + over, "");
    }
  } else if (!finder.rows_of(scope_.top())) {
    return refuse(out, finder.obstacle().message, finder.obstacle().hint);
  }
  literal_dependent_ = literal_dependent_ || finder.literal_dependent();
  if (out.whole_text.empty() && !make_whole_text(out))
    return refuse(out, "this form of write over several storage units is not supported",
                  "Write the statement without outer parentheses and TABLE.");
  const NowCalls& now = now_calls();
  if (!now.calls.empty()) {
    const sql::QueryLayout& found = *layout();
    TextBuilder builder(source_, {source_.base(), input_.statement.end}, &now.calls);
    add_guards(builder, found);
    out.fragment_text = builder.finish();
  }
  out.needs_now = !now.calls.empty();
  out.clock_literals = now.literals;
  out.clock_parameters = now.parameters;
  out.action = Action::kScatterWrite;
  out.explain_reason = "every unit writes its own rows";
  scatter_everywhere(out);
}

}  // namespace decan::plan
