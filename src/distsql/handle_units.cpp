// REGISTER, ALTER, UNREGISTER and SHOW of storage units.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "distsql/handler_parts.h"

namespace decan::distsql {
namespace {

using async::Task;
using meta::UnitRecord;

// Unit names become data source names in results and keys in the metadata store.
Status check_name(const std::string& name) {
  constexpr size_t kMaxNameBytes = 63;
  const bool plain = std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
  if (plain && name.size() <= kMaxNameBytes) return {};
  return fail("42602", "invalid storage unit name \"" + name + "\"", {},
              "Use up to 63 letters, digits, '_' and '-'.");
}

Status check_privileges(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    std::string upper;
    for (const char c : name) upper += c >= 'a' && c <= 'z' ? static_cast<char>(c - ('a' - 'A')) : c;
    if (upper != "SELECT" && upper != "XA" && upper != "PIPELINE" && upper != "NONE")
      return fail(sqlstate::kInvalidParameterValue, "unknown privilege \"" + name + "\" in CHECK_PRIVILEGES");
  }
  return {};
}

// A definition laid over what the unit was.
Result<UnitRecord> to_record(UnitDefinition definition, UnitRecord record) {
  if (auto valid = check_name(definition.name); !valid) return fail(valid.error());
  record.name = std::move(definition.name);
  record.host = std::move(definition.host);
  record.port = definition.port;
  record.database = std::move(definition.database);
  record.service_user = std::move(definition.user);
  record.service_password = std::move(definition.password);
  record.properties.clear();
  for (auto& [key, value] : definition.properties) {
    if (key != "tls") {
      record.properties.emplace_back(std::move(key), std::move(value));
    } else if (value == "true" || value == "false") {
      record.tls = value == "true";
    } else {
      return fail(sqlstate::kInvalidParameterValue,
                  "property 'tls' of storage unit \"" + record.name + "\" is not true or false");
    }
  }
  return record;
}

Status check_distinct(const std::vector<UnitDefinition>& units) {
  for (size_t i = 0; i < units.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (units[i].name == units[j].name)
        return fail(sqlstate::kDuplicateObject, "storage unit \"" + units[i].name + "\" is named twice");
    }
  }
  return {};
}

const UnitRecord* find(const std::vector<UnitRecord>& units, std::string_view name) {
  const auto found = std::ranges::find(units, name, &UnitRecord::name);
  return found == units.end() ? nullptr : &*found;
}

std::unexpected<Error> no_unit(const std::string& name) {
  return fail(sqlstate::kUndefinedObject, "storage unit \"" + name + "\" does not exist", {},
              "SHOW STORAGE UNITS lists them.");
}

// Every logical database has its own name on every unit.
Status check_database_name(const AdminContext& context, const UnitRecord& unit) {
  if (unit.database.empty() || unit.database == context.database()) return {};
  return fail(sqlstate::kInvalidParameterValue,
              "storage unit \"" + unit.name + "\" names database \"" + unit.database + "\", but \"" +
                  context.database() + "\" is called so on every unit",
              {},
              "Connect to the logical database \"" + unit.database +
                  "\", or rename that server's database: ALTER DATABASE … RENAME TO ….");
}

Status check_no_block(const AdminContext& context, std::string_view statement) {
  if (!context.in_block()) return {};
  return fail(sqlstate::kActiveTransaction,
              std::string(statement) + " cannot run inside a transaction block");
}

std::string can_not_leave(const std::string& name) {
  return "storage unit \"" + name + "\" can not be unregistered";
}

// What still lives on a unit, in words; empty when nothing does.
std::string contents(const catalog::Snapshot& snapshot, UnitId unit, const UnregisterUnits& node) {
  for (const auto& relation : snapshot.relations()) {
    if (relation->kind != catalog::RelationKind::kTable) continue;
    const std::string name = relation->schema + "." + relation->name + " of database " + snapshot.database;
    switch (relation->placement) {
      case catalog::Placement::kSharded:
        if (std::ranges::any_of(relation->group->buckets,
                                [&](const auto& bucket) { return bucket.unit == unit; }))
          return "It holds shards of table " + name + ".";
        break;
      case catalog::Placement::kSingle:
        if (relation->unit == unit && unit != snapshot.home && !node.ignore_single)
          return "It holds the single table " + name + ".";
        break;
      case catalog::Placement::kBroadcast:
        break;  // other units have every row
    }
  }
  return {};
}

}  // namespace

Task<Result<AdminResult>> handle(AdminContext& context, RegisterUnits node) {
  if (auto allowed = check_administrator(context, "register a storage unit"); !allowed)
    co_return fail(allowed.error());
  if (auto outside = check_no_block(context, "REGISTER STORAGE UNIT"); !outside)
    co_return fail(outside.error());
  if (auto valid = check_distinct(node.units); !valid) co_return fail(valid.error());
  if (auto valid = check_privileges(node.check_privileges); !valid) co_return fail(valid.error());
  auto known = co_await units_of(context);
  if (!known) co_return fail(known.error());
  AdminResult result;
  std::vector<UnitRecord> units;
  for (UnitDefinition& definition : node.units) {
    if (find(*known, definition.name) != nullptr) {
      if (!node.if_not_exists)
        co_return fail(sqlstate::kDuplicateObject, "storage unit \"" + definition.name + "\" already exists");
      result.notices.push_back("storage unit \"" + definition.name + "\" already exists, skipping");
      continue;
    }
    auto record = to_record(std::move(definition), {});
    if (!record) co_return fail(record.error());
    if (auto valid = check_database_name(context, *record); !valid) co_return fail(valid.error());
    units.push_back(std::move(*record));
  }
  for (UnitRecord& unit : units) {
    auto checked = co_await context.check_unit(unit, std::nullopt);
    if (!checked) co_return fail(checked.error());
    unit = std::move(*checked);
  }
  std::string before;
  for (UnitRecord& unit : units) {
    auto added = co_await context.add_unit(unit);
    if (!added) {
      Error error = added.error();
      if (!before.empty())
        error.detail += (error.detail.empty() ? "" : "\n") + ("Registered:" + before + ".");
      co_return fail(std::move(error));
    }
    before += " " + unit.name;
    std::ranges::move(*added, std::back_inserter(result.notices));
  }
  co_return result;
}

Task<Result<AdminResult>> handle(AdminContext& context, AlterUnits node) {
  if (auto allowed = check_administrator(context, "alter a storage unit"); !allowed)
    co_return fail(allowed.error());
  if (auto valid = check_distinct(node.units); !valid) co_return fail(valid.error());
  if (auto valid = check_privileges(node.check_privileges); !valid) co_return fail(valid.error());
  auto known = co_await units_of(context);
  if (!known) co_return fail(known.error());
  std::vector<UnitRecord> units;
  for (UnitDefinition& definition : node.units) {
    const UnitRecord* before = find(*known, definition.name);
    if (before == nullptr) co_return no_unit(definition.name);
    if (before->embedded) {
      co_return fail(sqlstate::kObjectNotInPrerequisiteState,
                     "storage unit \"" + before->name + "\" is run by decan itself", {},
                     "Change it in the configuration file.");
    }
    auto record = to_record(std::move(definition), *before);
    if (!record) co_return fail(record.error());
    if (auto valid = check_database_name(context, *record); !valid) co_return fail(valid.error());
    auto checked = co_await context.check_unit(std::move(*record), *before);
    if (!checked) co_return fail(checked.error());
    units.push_back(std::move(*checked));
  }
  const auto save = [&units](meta::Store& store) -> Status {
    for (const UnitRecord& unit : units) {
      if (auto saved = meta::save_unit(store, unit, false); !saved) return saved;
    }
    return {};
  };
  if (auto saved = co_await context.with_store(save); !saved) co_return fail(saved.error());
  if (auto changed = co_await context.units_changed(); !changed) co_return fail(changed.error());
  co_return AdminResult{};
}

Task<Result<AdminResult>> handle(AdminContext& context, UnregisterUnits node) {
  if (auto allowed = check_administrator(context, "unregister a storage unit"); !allowed)
    co_return fail(allowed.error());
  if (auto outside = check_no_block(context, "UNREGISTER STORAGE UNIT"); !outside)
    co_return fail(outside.error());
  auto known = co_await units_of(context);
  if (!known) co_return fail(known.error());
  AdminResult result;
  std::vector<UnitRecord> leaving;
  for (const std::string& name : node.names) {
    const UnitRecord* unit = find(*known, name);
    if (unit == nullptr) {
      if (!node.if_exists) co_return no_unit(name);
      result.notices.push_back("storage unit \"" + name + "\" does not exist, skipping");
      continue;
    }
    if (unit->ordinal == context.runner().home().value)
      co_return fail(sqlstate::kObjectNotInPrerequisiteState, can_not_leave(name),
                     "It is the home unit, which answers the catalogs.");
    if (unit->embedded)
      co_return fail(sqlstate::kObjectNotInPrerequisiteState, can_not_leave(name),
                     "It is run by decan itself.", "Use decan down or decan destroy.");
    leaving.push_back(*unit);
  }
  for (const UnitRecord& unit : leaving) {
    const auto may_leave = [&](const std::vector<catalog::SnapshotPtr>& catalogs) -> Status {
      for (const catalog::SnapshotPtr& snapshot : catalogs) {
        if (std::string held = contents(*snapshot, UnitId{unit.ordinal}, node); !held.empty())
          return fail(sqlstate::kObjectNotInPrerequisiteState, can_not_leave(unit.name), std::move(held),
                      "Move or drop what it holds first.");
      }
      return {};
    };
    auto removed = co_await context.remove_unit(unit, may_leave);
    if (!removed) co_return fail(removed.error());
    std::ranges::move(*removed, std::back_inserter(result.notices));
  }
  co_return result;
}

Task<Result<AdminResult>> handle(AdminContext& context, LoadSingleTables node) {
  if (auto allowed = check_administrator(context, "load single tables"); !allowed)
    co_return fail(allowed.error());
  if (auto outside = check_no_block(context, "LOAD SINGLE TABLE"); !outside) co_return fail(outside.error());
  auto known = co_await units_of(context);
  if (!known) co_return fail(known.error());
  std::vector<UnitRecord> units;
  for (const LoadSingleTables::Pattern& pattern : node.patterns) {
    const bool all = pattern.table == "*" && (pattern.schema.empty() || pattern.schema == "*");
    if (!all)
      co_return fail(sqlstate::kFeatureNotSupported, "tables of a storage unit are loaded all together", {},
                     "LOAD SINGLE TABLE " + (pattern.unit == "*" ? "*.*" : pattern.unit + ".*") + ".");
    if (pattern.unit != "*" && find(*known, pattern.unit) == nullptr) co_return no_unit(pattern.unit);
    for (const UnitRecord& unit : *known) {
      const bool meant = pattern.unit == "*" || pattern.unit == unit.name;
      if (meant && unit.ordinal != context.runner().home().value && find(units, unit.name) == nullptr)
        units.push_back(unit);
    }
  }
  AdminResult result;
  for (const UnitRecord& unit : units) {
    auto loaded = co_await context.load_tables(unit);
    if (!loaded) co_return fail(loaded.error());
    result.notices.push_back(std::to_string(*loaded) + " tables of storage unit \"" + unit.name +
                             "\" loaded");
  }
  co_return result;
}

Task<Result<AdminResult>> show_storage_units(AdminContext& context, Show node) {
  auto units = co_await units_of(context);
  if (!units) co_return fail(units.error());
  const auto defaults = context.unit_defaults();
  // Columns and the property names, current and older, that fill them.
  constexpr std::array<std::array<std::string_view, 2>, 6> kProperties = {
      {{"connectionTimeoutMilliseconds", "connectionTimeout"},
       {"idleTimeoutMilliseconds", "idleTimeout"},
       {"maxLifetimeMilliseconds", "maxLifetime"},
       {"maxPoolSize", "maximumPoolSize"},
       {"minPoolSize", "minimumIdle"},
       {"readOnly", "readOnly"}}};
  AdminResult result;
  result.columns = {"name",
                    "type",
                    "host",
                    "port",
                    "db",
                    "connection_timeout_milliseconds",
                    "idle_timeout_milliseconds",
                    "max_lifetime_milliseconds",
                    "max_pool_size",
                    "min_pool_size",
                    "read_only",
                    "other_attributes"};
  for (const UnitRecord& unit : *units) {
    if (!like_matches(unit.name, node.like)) continue;
    Row row{unit.name, "PostgreSQL", unit.host, std::to_string(unit.port),
            unit.database.empty() ? context.database() : unit.database};
    nlohmann::json others = nlohmann::json::object();
    for (const auto& [key, value] : unit.properties) others[key] = value;
    if (unit.tls) others["tls"] = "true";
    for (const auto& names : kProperties) {
      std::string value;
      for (const auto& [key, text] : defaults) {
        if (key == names[0]) value = text;
      }
      for (const auto& [key, text] : unit.properties) {
        if (key != names[0] && key != names[1]) continue;
        value = text;
        others.erase(key);
      }
      row.emplace_back(std::move(value));
    }
    row.emplace_back(others.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    result.rows.push_back(std::move(row));
  }
  co_return result;
}

Task<Result<AdminResult>> show_rules_used(AdminContext& context, Show node) {
  auto units = co_await units_of(context);
  if (!units) co_return fail(units.error());
  const UnitRecord* unit = find(*units, node.names.at(0).name);
  if (unit == nullptr) co_return no_unit(node.names.at(0).name);
  const UnitId id{unit->ordinal};
  AdminResult result;
  result.columns = {"type", "name"};
  const catalog::SnapshotPtr snapshot = context.catalog();
  for (const auto& relation : snapshot->relations()) {
    if (relation->kind != catalog::RelationKind::kTable) continue;
    const std::string name = shown_name(context, {relation->schema, relation->name});
    switch (relation->placement) {
      case catalog::Placement::kSharded:
        if (std::ranges::any_of(relation->group->buckets,
                                [&](const auto& bucket) { return bucket.unit == id; }))
          result.rows.push_back({"sharding", name});
        break;
      case catalog::Placement::kBroadcast:
        result.rows.push_back({"broadcast", name});
        break;
      case catalog::Placement::kSingle:
        break;
    }
  }
  std::ranges::sort(result.rows);
  co_return result;
}

}  // namespace decan::distsql
