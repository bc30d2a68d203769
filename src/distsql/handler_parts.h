// What handlers share. Internal to distsql.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "distsql/handlers.h"
#include "distsql/rule_store.h"

namespace decan::distsql {

using Row = std::vector<std::optional<std::string>>;

// --- handlers, one file per kind ---
async::Task<Result<AdminResult>> handle(AdminContext& context, RegisterUnits node);
async::Task<Result<AdminResult>> handle(AdminContext& context, AlterUnits node);
async::Task<Result<AdminResult>> handle(AdminContext& context, UnregisterUnits node);
async::Task<Result<AdminResult>> handle(AdminContext& context, LoadSingleTables node);
async::Task<Result<AdminResult>> handle(AdminContext& context, DefineShardingTableRules node);
async::Task<Result<AdminResult>> handle(AdminContext& context, CreateBroadcastRule node);
async::Task<Result<AdminResult>> drop_table_rules(AdminContext& context, Drop node);
async::Task<Result<AdminResult>> handle(AdminContext& context, Show node);
async::Task<Result<AdminResult>> handle(AdminContext& context, CountRules node);
// Those that SHOW comes to, by its kind.
async::Task<Result<AdminResult>> show_storage_units(AdminContext& context, Show node);
async::Task<Result<AdminResult>> show_rules_used(AdminContext& context, Show node);
async::Task<Result<AdminResult>> show_sharding_rules(AdminContext& context, Show node);
async::Task<Result<AdminResult>> show_nodes(AdminContext& context, Show node);
async::Task<Result<AdminResult>> show_broadcast_rules(AdminContext& context, Show node);
async::Task<Result<AdminResult>> show_single_tables(AdminContext& context, Show node);
async::Task<Result<AdminResult>> show_logical_tables(AdminContext& context, Show node);
async::Task<Result<AdminResult>> show_compute_nodes(AdminContext& context, Show node);
async::Task<Result<AdminResult>> show_sessions(AdminContext& context, Show node);
async::Task<Result<AdminResult>> show_variables(AdminContext& context, Show node);
async::Task<Result<AdminResult>> handle(AdminContext& context, Kill node);
async::Task<Result<AdminResult>> handle(AdminContext& context, SetVariable node);
async::Task<Result<AdminResult>> handle(AdminContext& context, Preview node);

// --- pieces ---
async::Task<Result<std::vector<meta::UnitRecord>>> units_of(AdminContext& context);
async::Task<Result<std::vector<PendingRule>>> rules_of(AdminContext& context);
std::string unit_name(const std::vector<meta::UnitRecord>& units, UnitId id);

// A table of the database, from the home unit.
struct KnownTable {
  TableName name;
  char kind = 'r';       // pg_class.relkind
  bool visible = false;  // along the search_path
};
// All tables and views that users made, sorted by schema and name.
async::Task<Result<std::vector<KnownTable>>> known_tables(AdminContext& context);
// A table by name, searched as SQL would; nullopt when there is none.
async::Task<Result<std::optional<KnownTable>>> find_table(AdminContext& context, TableName name);

// name, or schema.name when the search_path does not find it.
std::string shown_name(AdminContext& context, const TableName& table);

// SQL LIKE with '%', '_' and '\' as escape, on UTF-8 characters.
bool like_matches(std::string_view text, std::string_view pattern);
inline bool like_matches(std::string_view text, const std::optional<std::string>& pattern) {
  return !pattern || like_matches(text, std::string_view(*pattern));
}

Status check_administrator(const AdminContext& context, std::string_view what);  // 42501
Status check_database(const AdminContext& context, const std::string& from_database);

}  // namespace decan::distsql
