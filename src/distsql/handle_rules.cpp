// Sharding and broadcast rules: on a table that exists they place it in the client's transaction; for one
// that does not they wait in the metadata store.
#include <algorithm>

#include "distsql/handler_parts.h"

namespace decan::distsql {
namespace {

using async::Task;
using catalog::Placement;

enum class Standing { kMissing, kPlain, kSharded, kBroadcast };

// A table that a rule names: its full name, what it is now, and whether a rule waits for it.
struct Target {
  TableName name;
  Standing standing = Standing::kMissing;
  bool has_rule = false;
};

std::string creation_schema(const AdminContext& context) {
  for (const std::string& schema : context.search_path()) {
    if (schema != "pg_catalog" && !schema.starts_with("pg_temp")) return schema;
  }
  return "public";
}

Task<Result<Target>> find_target(AdminContext& context, TableName name,
                                 const std::vector<PendingRule>& rules) {
  Target target;
  auto found = co_await find_table(context, name);
  if (!found) co_return fail(found.error());
  target.name = std::move(name);
  if (*found) {
    target.name = (*found)->name;
    target.standing = Standing::kPlain;
    if ((*found)->kind != 'r' && (*found)->kind != 'p')
      co_return fail(sqlstate::kWrongObjectType, "\"" + target.name.name + "\" is not a table");
    const catalog::Relation* relation = context.catalog()->find_exact(target.name.schema, target.name.name);
    if (relation != nullptr && relation->placement == Placement::kSharded)
      target.standing = Standing::kSharded;
    if (relation != nullptr && relation->placement == Placement::kBroadcast)
      target.standing = Standing::kBroadcast;
  } else if (target.name.schema.empty()) {
    target.name.schema = creation_schema(context);
  }
  target.has_rule =
      std::ranges::any_of(rules, [&](const PendingRule& rule) { return rule.sharding.table == target.name; });
  co_return target;
}

std::string quoted(const Target& target) {
  return "\"" + target.name.name + "\"";
}

// What CREATE finds: true to place the table, false to skip it.
Result<bool> may_create(const Target& target, bool broadcast, bool if_not_exists, AdminResult& result) {
  const std::string kind = broadcast ? "broadcast" : "sharding";
  const Standing same = broadcast ? Standing::kBroadcast : Standing::kSharded;
  const Standing other = broadcast ? Standing::kSharded : Standing::kBroadcast;
  if (target.standing == other) {
    return fail(sqlstate::kObjectNotInPrerequisiteState,
                "table " + quoted(target) + " is " + (broadcast ? "sharded" : "a broadcast table"), {},
                std::string("Drop its ") + (broadcast ? "sharding" : "broadcast") + " table rule first.");
  }
  if (target.standing != same && !(target.standing == Standing::kMissing && target.has_rule)) return true;
  const std::string message = kind + " table rule of table " + quoted(target) + " already exists";
  if (!if_not_exists) return fail(sqlstate::kDuplicateObject, message);
  result.notices.push_back(message + ", skipping");
  return false;
}

// Rules to be written at the end, when all tables of the statement are placed.
Task<Status> save_rules(AdminContext& context, std::vector<PendingRule> rules, bool replace) {
  if (rules.empty()) co_return Status{};
  if (auto allowed = check_administrator(context, "make rules for tables that do not exist"); !allowed)
    co_return allowed;
  const auto save = [&rules, replace, database = context.database()](meta::Store& store) -> Status {
    std::vector<meta::Operation> operations;
    for (const PendingRule& rule : rules) {
      const TableName& table = rule.sharding.table;
      meta::Operation put{.key = rule_key(database, table.schema, table.name), .value = to_json(rule)};
      if (!replace) put.expected_revision = 0;
      operations.push_back(std::move(put));
    }
    const auto revision = store.commit(operations);
    if (!revision) return fail(revision.error());
    if (!*revision)
      return fail(sqlstate::kSerializationFailure, "a rule of the same table was made at the same time");
    return {};
  };
  co_return co_await context.with_store(save);
}

Task<Status> remove_rules(AdminContext& context, std::vector<TableName> tables) {
  if (tables.empty()) co_return Status{};
  const auto remove = [&tables, database = context.database()](meta::Store& store) -> Status {
    std::vector<meta::Operation> operations;
    for (const TableName& table : tables)
      operations.push_back(
          {.kind = meta::Operation::Kind::kDelete, .key = rule_key(database, table.schema, table.name)});
    const auto revision = store.commit(operations);
    return revision ? Status{} : Status(fail(revision.error()));
  };
  co_return co_await context.with_store(remove);
}

// ALTER: only a rule that no table follows yet can change.
Task<Result<AdminResult>> alter_rules(AdminContext& context, DefineShardingTableRules node) {
  auto rules = co_await rules_of(context);
  if (!rules) co_return fail(rules.error());
  auto units = co_await units_of(context);
  if (!units) co_return fail(units.error());
  std::vector<PendingRule> replaced;
  for (ShardingTableRule& rule : node.rules) {
    auto target = co_await find_target(context, rule.table, *rules);
    if (!target) co_return fail(target.error());
    if (target->standing == Standing::kSharded) {
      co_return fail(sqlstate::kFeatureNotSupported,
                     "the sharding rule of table " + quoted(*target) + " can not be changed yet",
                     "Changing the sharding of a table with data is resharding, which is still to come.",
                     "Drop the rule, which brings all rows to one unit, and create it again.");
    }
    if (!target->has_rule)
      co_return fail(sqlstate::kUndefinedObject,
                     "sharding table rule of table " + quoted(*target) + " does not exist");
    rule.table = target->name;
    if (auto valid = shard_options(rule, *units); !valid) co_return fail(valid.error());
    replaced.push_back({false, std::move(rule)});
  }
  if (auto saved = co_await save_rules(context, std::move(replaced), true); !saved)
    co_return fail(saved.error());
  co_return AdminResult{};
}

}  // namespace

Task<Result<AdminResult>> handle(AdminContext& context, DefineShardingTableRules node) {
  if (node.alter) co_return co_await alter_rules(context, std::move(node));
  auto rules = co_await rules_of(context);
  if (!rules) co_return fail(rules.error());
  auto units = co_await units_of(context);
  if (!units) co_return fail(units.error());
  AdminResult result;
  std::vector<PendingRule> waiting;
  for (ShardingTableRule& rule : node.rules) {
    auto target = co_await find_target(context, rule.table, *rules);
    if (!target) co_return fail(target.error());
    rule.table = target->name;
    auto options = shard_options(rule, *units);
    if (!options) co_return fail(options.error());
    const auto wanted = may_create(*target, false, node.if_not_exists, result);
    if (!wanted) co_return fail(wanted.error());
    if (!*wanted) continue;
    if (target->standing == Standing::kMissing) {
      waiting.push_back({false, std::move(rule)});
      continue;
    }
    auto placed = co_await placement::create_distributed_table(context.runner(), std::move(*options));
    if (!placed) co_return fail(placed.error());
    result.catalog_changed = true;
  }
  if (auto saved = co_await save_rules(context, std::move(waiting), false); !saved)
    co_return fail(saved.error());
  co_return result;
}

Task<Result<AdminResult>> handle(AdminContext& context, CreateBroadcastRule node) {
  auto rules = co_await rules_of(context);
  if (!rules) co_return fail(rules.error());
  AdminResult result;
  std::vector<PendingRule> waiting;
  for (const TableName& table : node.tables) {
    auto target = co_await find_target(context, table, *rules);
    if (!target) co_return fail(target.error());
    const auto wanted = may_create(*target, true, node.if_not_exists, result);
    if (!wanted) co_return fail(wanted.error());
    if (!*wanted) continue;
    if (target->standing == Standing::kMissing) {
      PendingRule rule{true, {}};
      rule.sharding.table = target->name;
      waiting.push_back(std::move(rule));
      continue;
    }
    std::string name = placement::table_name(target->name.schema, target->name.name);
    if (auto placed = co_await placement::create_reference_table(context.runner(), std::move(name)); !placed)
      co_return fail(placed.error());
    result.catalog_changed = true;
  }
  if (auto saved = co_await save_rules(context, std::move(waiting), false); !saved)
    co_return fail(saved.error());
  co_return result;
}

Task<Result<AdminResult>> drop_table_rules(AdminContext& context, Drop node) {
  const bool broadcast = node.object == Drop::Object::kBroadcastRule;
  const std::string kind = broadcast ? "broadcast" : "sharding";
  auto rules = co_await rules_of(context);
  if (!rules) co_return fail(rules.error());
  AdminResult result;
  std::vector<TableName> gone;
  for (const TableName& table : node.names) {
    auto target = co_await find_target(context, table, *rules);
    if (!target) co_return fail(target.error());
    const bool placed = target->standing == (broadcast ? Standing::kBroadcast : Standing::kSharded);
    const bool waits = std::ranges::any_of(*rules, [&](const PendingRule& rule) {
      return rule.sharding.table == target->name && rule.broadcast == broadcast;
    });
    if (!placed && !waits) {
      const std::string message = kind + " table rule of table " + quoted(*target) + " does not exist";
      if (!node.if_exists) co_return fail(sqlstate::kUndefinedObject, message);
      result.notices.push_back(message + ", skipping");
      continue;
    }
    if (waits) {
      if (auto allowed = check_administrator(context, "drop rules of tables"); !allowed)
        co_return fail(allowed.error());
      gone.push_back(target->name);
    }
    if (!placed) continue;
    std::string name = placement::table_name(target->name.schema, target->name.name);
    if (auto undone = co_await placement::undistribute_table(context.runner(), std::move(name)); !undone)
      co_return fail(undone.error());
    result.catalog_changed = true;
  }
  if (auto removed = co_await remove_rules(context, std::move(gone)); !removed)
    co_return fail(removed.error());
  co_return result;
}

Task<Result<bool>> apply_pending_rule(AdminContext& context, std::string schema, std::string table) {
  std::optional<PendingRule> rule;
  const auto read = [&](meta::Store& store) -> Status {
    auto found = pending_rule(store, context.database(), schema, table);
    if (!found) return fail(found.error());
    rule = std::move(*found);
    return {};
  };
  if (auto done = co_await context.with_store(read); !done) co_return fail(done.error());
  if (!rule) co_return false;
  if (rule->broadcast) {
    auto placed =
        co_await placement::create_reference_table(context.runner(), placement::table_name(schema, table));
    if (!placed) co_return fail(placed.error());
    co_return true;
  }
  auto units = co_await units_of(context);
  if (!units) co_return fail(units.error());
  auto options = shard_options(rule->sharding, *units);
  if (!options) co_return fail(options.error());
  auto placed = co_await placement::create_distributed_table(context.runner(), std::move(*options));
  if (!placed) co_return fail(placed.error());
  co_return true;
}

}  // namespace decan::distsql
