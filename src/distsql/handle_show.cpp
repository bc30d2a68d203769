// SHOW and COUNT of rules and tables.
#include <algorithm>
#include <map>

#include "distsql/handler_parts.h"

namespace decan::distsql {
namespace {

using async::Task;
using catalog::Placement;
using catalog::Relation;

std::string joined(const std::vector<std::string>& parts) {
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : ",") + part;
  return out;
}

std::string lower(std::string_view text) {
  std::string out;
  for (const char c : text) out += c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  return out;
}

std::vector<std::string> key_columns(const Relation& relation) {
  std::vector<std::string> names;
  for (const int16_t attnum : relation.key_attnums) {
    for (const catalog::Column& column : relation.columns) {
      if (column.attnum == attnum) names.push_back(column.name);
    }
  }
  return names;
}

// Algorithm type and properties as the language names them.
std::pair<std::string, std::string> algorithm_of(const catalog::ShardGroup& group) {
  const std::string count = "sharding-count=" + std::to_string(group.buckets.size());
  switch (group.algorithm) {
    case catalog::Algorithm::kHash:
      return {"hash_mod", count};
    case catalog::Algorithm::kRange:
      return {"range", count};
    case catalog::Algorithm::kList:
      return {"list", count};
  }
  return {"hash_mod", count};
}

struct RuleLine {
  TableName table;
  std::string units, columns, algorithm, properties;
};

Row to_row(AdminContext& context, const RuleLine& line) {
  return {shown_name(context, line.table),
          "",
          line.units,
          "",
          "",
          "",
          "",
          line.algorithm,
          line.columns,
          line.algorithm,
          line.properties,
          "",
          "",
          "",
          "",
          "false"};
}

RuleLine line_of(const Relation& relation, const std::vector<meta::UnitRecord>& units) {
  RuleLine line;
  line.table = {relation.schema, relation.name};
  std::vector<std::string> names;
  for (const catalog::Bucket& bucket : relation.group->buckets) {
    std::string name = unit_name(units, bucket.unit);
    if (std::ranges::find(names, name) == names.end()) names.push_back(std::move(name));
  }
  std::ranges::sort(names);
  line.units = joined(names);
  line.columns = joined(key_columns(relation));
  std::tie(line.algorithm, line.properties) = algorithm_of(*relation.group);
  return line;
}

RuleLine line_of(const PendingRule& rule, const std::vector<meta::UnitRecord>& units) {
  RuleLine line;
  line.table = rule.sharding.table;
  std::vector<std::string> names = rule.sharding.units;
  if (names.empty()) {
    for (const meta::UnitRecord& unit : units) names.push_back(unit.name);
  }
  line.units = joined(names);
  line.columns = joined(rule.sharding.columns);
  if (!rule.sharding.algorithm) return line;
  line.algorithm = lower(rule.sharding.algorithm->type);
  for (const auto& [key, value] : rule.sharding.algorithm->properties)
    line.properties += (line.properties.empty() ? "" : ",") + key + "=" + value;
  return line;
}

// Rules in force, and those that wait for their tables.
Task<Result<std::vector<RuleLine>>> sharding_rules(AdminContext& context) {
  auto units = co_await units_of(context);
  if (!units) co_return fail(units.error());
  auto rules = co_await rules_of(context);
  if (!rules) co_return fail(rules.error());
  std::map<std::pair<std::string, std::string>, RuleLine> lines;
  for (const PendingRule& rule : *rules) {
    if (rule.broadcast) continue;
    RuleLine line = line_of(rule, *units);
    lines[{line.table.schema, line.table.name}] = std::move(line);
  }
  const catalog::SnapshotPtr snapshot = context.catalog();
  for (const auto& relation : snapshot->relations()) {
    if (relation->kind != catalog::RelationKind::kTable) continue;
    if (relation->placement == Placement::kSharded)
      lines[{relation->schema, relation->name}] = line_of(*relation, *units);
  }
  std::vector<RuleLine> list;
  for (auto& [name, line] : lines) list.push_back(std::move(line));
  co_return list;
}

bool is_asked_for(const TableName& asked, const TableName& table, AdminContext& context) {
  if (asked.name != table.name) return false;
  return asked.schema.empty() ? shown_name(context, table) == table.name : asked.schema == table.schema;
}

}  // namespace

Task<Result<AdminResult>> show_sharding_rules(AdminContext& context, Show node) {
  auto lines = co_await sharding_rules(context);
  if (!lines) co_return fail(lines.error());
  AdminResult result;
  result.columns = {"table",
                    "actual_data_nodes",
                    "actual_data_sources",
                    "database_strategy_type",
                    "database_sharding_column",
                    "database_sharding_algorithm_type",
                    "database_sharding_algorithm_props",
                    "table_strategy_type",
                    "table_sharding_column",
                    "table_sharding_algorithm_type",
                    "table_sharding_algorithm_props",
                    "key_generate_column",
                    "key_generator_type",
                    "key_generator_props",
                    "auditor_types",
                    "allow_hint_disable"};
  for (const RuleLine& line : *lines) {
    if (node.names.empty() || is_asked_for(node.names[0], line.table, context))
      result.rows.push_back(to_row(context, line));
  }
  if (!node.names.empty() && result.rows.empty()) {
    co_return fail(sqlstate::kUndefinedObject,
                   "sharding table rule of table \"" + node.names[0].name + "\" does not exist");
  }
  co_return result;
}

Task<Result<AdminResult>> show_nodes(AdminContext& context, Show node) {
  auto units = co_await units_of(context);
  if (!units) co_return fail(units.error());
  AdminResult result;
  result.columns = {"name", "nodes"};
  const catalog::SnapshotPtr snapshot = context.catalog();
  for (const auto& relation : snapshot->relations()) {
    if (relation->kind != catalog::RelationKind::kTable) continue;
    const TableName table{relation->schema, relation->name};
    if (relation->placement != Placement::kSharded) continue;
    if (!node.names.empty() && !is_asked_for(node.names[0], table, context)) continue;
    std::string nodes;
    for (uint32_t i = 0; i < relation->group->buckets.size(); ++i) {
      nodes += (i == 0 ? "" : ", ") + unit_name(*units, relation->group->buckets[i].unit) + "." +
               relation->leaf(BucketId{i});
    }
    result.rows.push_back({shown_name(context, table), std::move(nodes)});
  }
  std::ranges::sort(result.rows);
  if (!node.names.empty() && result.rows.empty()) {
    co_return fail(sqlstate::kUndefinedObject, "table \"" + node.names[0].name + "\" is not sharded");
  }
  co_return result;
}

namespace {

Task<Result<std::vector<std::string>>> broadcast_tables(AdminContext& context) {
  auto rules = co_await rules_of(context);
  if (!rules) co_return fail(rules.error());
  std::vector<std::string> names;
  for (const PendingRule& rule : *rules) {
    if (rule.broadcast) names.push_back(shown_name(context, rule.sharding.table));
  }
  const catalog::SnapshotPtr snapshot = context.catalog();
  for (const auto& relation : snapshot->relations()) {
    if (relation->kind != catalog::RelationKind::kTable) continue;
    if (relation->placement == Placement::kBroadcast)
      names.push_back(shown_name(context, {relation->schema, relation->name}));
  }
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  co_return names;
}

}  // namespace

Task<Result<AdminResult>> show_broadcast_rules(AdminContext& context, Show) {
  auto names = co_await broadcast_tables(context);
  if (!names) co_return fail(names.error());
  AdminResult result;
  result.columns = {"broadcast_table"};
  for (std::string& name : *names) result.rows.push_back({std::move(name)});
  co_return result;
}

namespace {

struct SingleTable {
  std::string name;
  UnitId unit;
};

Task<Result<std::vector<SingleTable>>> single_tables(AdminContext& context) {
  auto tables = co_await known_tables(context);
  if (!tables) co_return fail(tables.error());
  const catalog::SnapshotPtr snapshot = context.catalog();
  std::vector<SingleTable> list;
  for (const KnownTable& table : *tables) {
    if (table.kind != 'r' && table.kind != 'p') continue;
    const Relation* relation = snapshot->find_exact(table.name.schema, table.name.name);
    if (relation != nullptr && relation->placement != Placement::kSingle) continue;
    list.push_back({table.visible ? table.name.name : table.name.schema + "." + table.name.name,
                    relation != nullptr ? relation->unit : snapshot->home});
  }
  co_return list;
}

}  // namespace

Task<Result<AdminResult>> show_single_tables(AdminContext& context, Show node) {
  auto units = co_await units_of(context);
  if (!units) co_return fail(units.error());
  auto tables = co_await single_tables(context);
  if (!tables) co_return fail(tables.error());
  AdminResult result;
  result.columns = {"table_name", "storage_unit_name"};
  for (SingleTable& table : *tables) {
    if (like_matches(table.name, node.like))
      result.rows.push_back({std::move(table.name), unit_name(*units, table.unit)});
  }
  co_return result;
}

Task<Result<AdminResult>> show_logical_tables(AdminContext& context, Show node) {
  auto tables = co_await known_tables(context);
  if (!tables) co_return fail(tables.error());
  const bool full = node.kind == ShowKind::kFullLogicalTables;
  AdminResult result;
  result.columns = {"table_name"};
  if (full) result.columns.push_back("table_type");
  result.columns.push_back("schema_name");
  for (const KnownTable& table : *tables) {
    if (!like_matches(table.name.name, node.like)) continue;
    Row row{table.name.name};
    if (full) row.push_back(table.kind == 'v' || table.kind == 'm' ? "VIEW" : "BASE TABLE");
    row.push_back(table.name.schema);
    result.rows.push_back(std::move(row));
  }
  co_return result;
}

Task<Result<AdminResult>> handle(AdminContext& context, CountRules node) {
  if (auto here = check_database(context, node.from_database); !here) co_return fail(here.error());
  AdminResult result;
  result.columns = {"rule_name", "database", "count"};
  const auto line = [&](std::string name, size_t count) {
    result.rows.push_back({std::move(name), context.database(), std::to_string(count)});
  };
  switch (node.kind) {
    case RuleKind::kSharding: {
      auto lines = co_await sharding_rules(context);
      if (!lines) co_return fail(lines.error());
      line("sharding_table", lines->size());
      line("sharding_table_reference", 0);
      break;
    }
    case RuleKind::kBroadcast: {
      auto names = co_await broadcast_tables(context);
      if (!names) co_return fail(names.error());
      line("broadcast_table", names->size());
      break;
    }
    case RuleKind::kSingle: {
      auto tables = co_await single_tables(context);
      if (!tables) co_return fail(tables.error());
      result.columns = {"database", "count"};
      result.rows.push_back({context.database(), std::to_string(tables->size())});
      break;
    }
    case RuleKind::kReadwriteSplitting:
      line("readwrite_splitting", 0);
      break;
    case RuleKind::kEncrypt:
      line("encrypt", 0);
      break;
    case RuleKind::kMask:
      line("mask", 0);
      break;
    case RuleKind::kShadow:
      line("shadow", 0);
      break;
  }
  co_return result;
}

}  // namespace decan::distsql
