#include "distsql/handler_parts.h"

#include <algorithm>

#include "base/quote.h"
#include "placement/distribute.h"

namespace decan::distsql {
namespace {

// What users made: no system schemas, nothing of Decan's own.
constexpr std::string_view kUserTables =
    "SELECT n.nspname, c.relname, c.relkind::pg_catalog.text, "
    "pg_catalog.pg_table_is_visible(c.oid)::pg_catalog.text "
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't' "
    "AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'decan', 'decan_shard') AND n.nspname !~ "
    "'^pg_toast'";

KnownTable to_table(const Row& row) {
  KnownTable table;
  table.name = {row.at(0).value_or(""), row.at(1).value_or("")};
  table.kind = row.at(2).value_or("r").front();
  table.visible = row.at(3).value_or("") == "true";
  return table;
}

// First byte behind the character at `at`.
size_t next_character(std::string_view text, size_t at) {
  ++at;
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) ++at;
  return at;
}

}  // namespace

async::Task<Result<std::vector<meta::UnitRecord>>> units_of(AdminContext& context) {
  std::vector<meta::UnitRecord> units;
  const auto read = [&units](meta::Store& store) -> Status {
    auto loaded = meta::load_units(store);
    if (!loaded) return fail(loaded.error());
    units = std::move(*loaded);
    return {};
  };
  auto done = co_await context.with_store(read);
  if (!done) co_return fail(done.error());
  co_return units;
}

async::Task<Result<std::vector<PendingRule>>> rules_of(AdminContext& context) {
  std::vector<PendingRule> rules;
  const auto read = [&rules, database = context.database()](meta::Store& store) -> Status {
    auto loaded = pending_rules(store, database);
    if (!loaded) return fail(loaded.error());
    rules = std::move(*loaded);
    return {};
  };
  auto done = co_await context.with_store(read);
  if (!done) co_return fail(done.error());
  co_return rules;
}

std::string unit_name(const std::vector<meta::UnitRecord>& units, UnitId id) {
  const auto unit = std::ranges::find(units, id.value, &meta::UnitRecord::ordinal);
  return unit == units.end() ? "unit " + std::to_string(id.value) : unit->name;
}

async::Task<Result<std::vector<KnownTable>>> known_tables(AdminContext& context) {
  auto rows =
      co_await context.runner().run(context.runner().home(), std::string(kUserTables) + " ORDER BY 1, 2");
  if (!rows) co_return fail(rows.error());
  std::vector<KnownTable> tables;
  for (const Row& row : rows->rows) tables.push_back(to_table(row));
  co_return tables;
}

async::Task<Result<std::optional<KnownTable>>> find_table(AdminContext& context, TableName name) {
  const std::string regclass = quote_literal(placement::table_name(name.schema, name.name));
  auto rows = co_await context.runner().run(
      context.runner().home(),
      std::string(kUserTables) + " AND c.oid = pg_catalog.to_regclass(" + regclass + ")");
  if (!rows) co_return fail(rows.error());
  if (rows->rows.empty()) co_return std::optional<KnownTable>{};
  co_return std::optional(to_table(rows->rows.front()));
}

std::string shown_name(AdminContext& context, const TableName& table) {
  const std::vector<std::string> path = context.search_path();
  const catalog::Relation* found = context.catalog()->find({}, table.name, path);
  const bool visible =
      found != nullptr ? found->schema == table.schema : std::ranges::find(path, table.schema) != path.end();
  return visible ? table.name : table.schema + "." + table.name;
}

bool like_matches(std::string_view text, std::string_view pattern) {
  // Greedy with one point of return: the last '%'.
  size_t t = 0, p = 0;
  std::optional<std::pair<size_t, size_t>> retry;
  while (true) {
    if (p < pattern.size() && pattern[p] == '%') {
      retry = {++p, t};
      continue;
    }
    if (t < text.size() && p < pattern.size()) {
      if (pattern[p] == '_') {
        t = next_character(text, t);
        ++p;
        continue;
      }
      const bool escaped = pattern[p] == '\\' && p + 1 < pattern.size();
      if (pattern[p + (escaped ? 1 : 0)] == text[t]) {
        p += escaped ? 2 : 1;
        ++t;
        continue;
      }
    }
    if (t == text.size() && p == pattern.size()) return true;
    if (!retry || retry->second >= text.size()) return false;
    retry->second = next_character(text, retry->second);
    p = retry->first;
    t = retry->second;
  }
}

Status check_administrator(const AdminContext& context, std::string_view what) {
  if (context.may_administer()) return {};
  return fail(sqlstate::kInsufficientPrivilege, "permission denied to " + std::string(what), {},
              "A superuser can do it.");
}

Status check_database(const AdminContext& context, const std::string& from_database) {
  if (from_database.empty() || from_database == context.database()) return {};
  return fail(sqlstate::kFeatureNotSupported,
              "FROM another database than the one connected to is not supported", {},
              "Connect to database \"" + from_database + "\".");
}

}  // namespace decan::distsql
