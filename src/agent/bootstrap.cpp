#include "agent/bootstrap.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "agent/credentials.h"
#include "agent/files.h"
#include "agent/ports.h"
#include "agent/sql.h"
#include "meta/topology.h"

namespace decan::agent {
namespace {

constexpr std::string_view kPlanPrefix = "agent/units/";
constexpr std::string_view kDoneKey = "agent/bootstrapped";
constexpr std::string_view kSchemaKey = "agent/schema";
constexpr std::string_view kClusterIdKey = "cluster/id";
// One installer at a time per database; compute nodes may look at the schema meanwhile.
constexpr std::string_view kSchemaLock = "SELECT pg_catalog.pg_advisory_xact_lock(7310001)";

Status put(meta::Store& store, std::string_view key, std::string value) {
  const auto revision = store.commit({meta::Operation{.key = std::string(key), .value = std::move(value)}});
  if (!revision) return fail(revision.error());
  return {};
}

meta::UnitRecord record_of(const UnitPlan& plan) {
  meta::UnitRecord record;
  record.name = plan.name;
  record.host = "127.0.0.1";
  record.port = plan.port;
  record.service_user = "postgres";
  record.service_password = plan.password;
  record.ordinal = plan.ordinal;
  record.embedded = true;
  return record;
}

Result<std::vector<UnitPlan>> stored_plans(meta::Store& store) {
  const auto entries = store.list(kPlanPrefix);
  if (!entries) return fail(entries.error());
  std::vector<UnitPlan> plans;
  for (const meta::Entry& entry : *entries) {
    const auto record = meta::unit_from_json(entry.value);
    if (!record) return fail(record.error());
    plans.push_back({record->name, record->port, record->service_password, record->ordinal});
  }
  std::ranges::sort(plans, {}, &UnitPlan::ordinal);
  return plans;
}

Error at_unit(const UnitServer& unit, Error error) {
  error.message = fmt::format("storage unit {}: {}", unit.name(), error.message);
  return error;
}

Status install_schema(const UnitServer& unit, const std::string& database, const std::string& schema_sql) {
  auto connection = SqlConnection::open(unit.dsn(database));
  if (!connection) return fail(at_unit(unit, connection.error()));
  const auto done = connection->run(fmt::format("BEGIN; {}; {}; COMMIT", kSchemaLock, schema_sql));
  if (!done) return fail(at_unit(unit, done.error()));
  return {};
}

Result<std::vector<std::string>> databases_of(const UnitServer& unit) {
  auto connection = SqlConnection::open(unit.dsn("postgres"));
  if (!connection) return fail(at_unit(unit, connection.error()));
  const auto rows =
      connection->run("SELECT datname FROM pg_catalog.pg_database WHERE datallowconn ORDER BY 1");
  if (!rows) return fail(at_unit(unit, rows.error()));
  std::vector<std::string> names;
  for (const auto& row : *rows) names.push_back(row[0].value_or(""));
  return names;
}

// The verifier that a unit has for the owner role; empty: no such role.
Result<std::string> verifier_at(SqlConnection& connection) {
  const auto rows =
      connection.run("SELECT coalesce(rolpassword, '') FROM pg_catalog.pg_authid WHERE rolname = $1",
                     {std::string(kOwnerRole)});
  if (!rows) return fail(rows.error());
  return rows->empty() ? std::string() : (*rows)[0][0].value_or("");
}

// Compute nodes log in to units with keys from the client's own login, so all units must hold one and the
// same verifier.
Result<std::string> common_verifier(const std::vector<UnitServer>& units, const std::string& password) {
  for (const UnitServer& unit : units) {
    auto connection = SqlConnection::open(unit.dsn("postgres"));
    if (!connection) return fail(at_unit(unit, connection.error()));
    auto verifier = verifier_at(*connection);
    if (!verifier) return fail(at_unit(unit, verifier.error()));
    if (!verifier->empty()) return verifier;
  }
  auto connection = SqlConnection::open(units.front().dsn("postgres"));
  if (!connection) return fail(at_unit(units.front(), connection.error()));
  return connection->make_verifier(std::string(kOwnerRole), password);
}

// A supervisor that was killed leaves its last statement running in the unit.
bool made_meanwhile(const Error& error) {
  return error.sqlstate == "23505" || error.sqlstate == "42710" || error.sqlstate == "42P04";
}

Status make_owner(const UnitServer& unit, const std::string& verifier) {
  auto connection = SqlConnection::open(unit.dsn("postgres"));
  if (!connection) return fail(at_unit(unit, connection.error()));
  const auto existing = verifier_at(*connection);
  if (!existing) return fail(at_unit(unit, existing.error()));
  const std::string role = connection->quote_identifier(kOwnerRole);
  if (existing->empty()) {
    const std::string secret = connection->quote_literal(verifier);
    auto made =
        connection->run(fmt::format("CREATE ROLE {} LOGIN CREATEROLE CREATEDB PASSWORD {}", role, secret));
    if (!made && made_meanwhile(made.error()))
      made = connection->run(fmt::format("ALTER ROLE {} PASSWORD {}", role, secret));
    if (!made) return fail(at_unit(unit, made.error()));
  }
  const auto there = connection->run("SELECT 1 FROM pg_catalog.pg_database WHERE datname = $1",
                                     {std::string(kOwnerDatabase)});
  if (!there) return fail(at_unit(unit, there.error()));
  if (there->empty()) {
    const auto made = connection->run(fmt::format("CREATE DATABASE {} OWNER {} TEMPLATE template1",
                                                  connection->quote_identifier(kOwnerDatabase), role));
    if (!made && !made_meanwhile(made.error())) return fail(at_unit(unit, made.error()));
  }
  return {};
}

bool stopped(const BootstrapOptions& options) {
  return options.stop && options.stop();
}

std::unexpected<Error> interrupted() {
  return fail(sqlstate::kAdminShutdown, "interrupted", {}, "Run 'decan up' again; it goes on where it was.");
}

// FNV-1a of the schema's text: tells when a newer Decan has to install a newer schema.
std::string text_mark(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return fmt::format("{:016x}", hash);
}

Status install_schema_everywhere(meta::Store& store, const std::vector<UnitServer>& units,
                                 const BootstrapOptions& options) {
  if (!options.schema_sql) return {};
  const auto secret = meta::cluster_secret(store, random_password(40));
  if (!secret) return fail(secret.error());
  const std::string schema_sql = options.schema_sql(*secret);
  const std::string mark = text_mark(schema_sql);
  const auto installed = store.get(kSchemaKey);
  if (!installed) return fail(installed.error());
  if (*installed && (*installed)->value == mark) return {};
  for (const UnitServer& unit : units) {
    const auto databases = databases_of(unit);
    if (!databases) return fail(databases.error());
    for (const std::string& database : *databases) {
      if (database == "postgres") continue;  // the maintenance database holds no user tables
      if (stopped(options)) return interrupted();
      if (Status done = install_schema(unit, database, schema_sql); !done) return done;
    }
  }
  return put(store, kSchemaKey, mark);
}

Status register_units(meta::Store& store, const std::vector<UnitServer>& units,
                      const std::vector<UnitPlan>& plans) {
  const auto known = meta::load_units(store);
  if (!known) return fail(known.error());
  for (size_t i = 0; i < plans.size(); ++i) {
    meta::UnitRecord record = record_of(plans[i]);
    record.host = units[i].socket_directory();
    record.data_directory = units[i].data();
    const auto before = std::ranges::find(*known, record.name, &meta::UnitRecord::name);
    if (before != known->end()) {
      record.ordinal = before->ordinal;
      record.properties = before->properties;  // may have been changed by ALTER STORAGE UNIT
      record.database = before->database;
      if (meta::to_json(record) == meta::to_json(*before)) continue;
    }
    if (Status done = meta::save_unit(store, record, before == known->end()); !done) return done;
  }
  return {};
}

}  // namespace

Result<bool> is_bootstrapped(meta::Store& store) {
  const auto done = store.get(kDoneKey);
  if (!done) return fail(done.error());
  return done->has_value();
}

Result<std::vector<UnitPlan>> plan_units(meta::Store& store, const UnitRequest& request) {
  auto plans = stored_plans(store);
  if (!plans) return fail(plans.error());
  const auto complete = is_bootstrapped(store);
  if (!complete) return fail(complete.error());
  if (request.wanted > kMaxEmbeddedUnits) {
    return fail(sqlstate::kInvalidParameterValue,
                fmt::format("--units must be from 1 to {}", kMaxEmbeddedUnits));
  }
  if (*complete) {
    if (request.wanted == 0 || request.wanted == plans->size()) return plans;
    return fail(sqlstate::kFeatureNotSupported,
                fmt::format("this cluster has {} storage units; 'decan up' can not make it {}", plans->size(),
                            request.wanted),
                {}, "Leave --units out, or make another cluster with --dir.");
  }
  const size_t wanted = request.wanted != 0 ? request.wanted : plans->empty() ? kDefaultUnits : plans->size();
  std::set<uint16_t> taken;
  for (const UnitPlan& plan : *plans) taken.insert(plan.port);
  std::vector<meta::Operation> operations;
  while (plans->size() > wanted) {
    operations.push_back({.kind = meta::Operation::Kind::kDelete,
                          .key = fmt::format("{}{}", kPlanPrefix, plans->back().name)});
    plans->pop_back();
  }
  while (plans->size() < wanted) {
    const auto port = choose_port(request.first_port, taken);
    if (!port) return fail(port.error());
    taken.insert(*port);
    const auto ordinal = static_cast<uint32_t>(plans->size());
    plans->push_back({fmt::format("ds_{}", ordinal), *port, random_password(), ordinal});
    operations.push_back({.key = fmt::format("{}{}", kPlanPrefix, plans->back().name),
                          .value = meta::to_json(record_of(plans->back()))});
  }
  if (!operations.empty()) {
    const auto revision = store.commit(operations);
    if (!revision) return fail(revision.error());
  }
  return plans;
}

Status store_port(meta::Store& store, const UnitPlan& plan) {
  return put(store, fmt::format("{}{}", kPlanPrefix, plan.name), meta::to_json(record_of(plan)));
}

Status update_address(meta::Store& store, const UnitServer& unit, const UnitPlan& plan) {
  const auto complete = is_bootstrapped(store);
  if (!complete) return fail(complete.error());
  return *complete ? register_units(store, {unit}, {plan}) : Status();
}

Status bootstrap(meta::Store& store, const std::vector<UnitServer>& units, const std::vector<UnitPlan>& plans,
                 const BootstrapOptions& options) {
  // template1 first: databases made later inherit the schema.
  if (Status done = install_schema_everywhere(store, units, options); !done) return done;
  const auto complete = is_bootstrapped(store);
  if (!complete) return fail(complete.error());
  if (!*complete) {
    const auto verifier = common_verifier(units, options.owner_password);
    if (!verifier) return fail(verifier.error());
    for (const UnitServer& unit : units) {
      if (stopped(options)) return interrupted();
      if (Status done = make_owner(unit, *verifier); !done) return done;
    }
  }
  if (Status done = register_units(store, units, plans); !done) return done;
  if (*complete) return {};
  if (const auto id = store.get(kClusterIdKey); !id) {
    return fail(id.error());
  } else if (!*id) {
    if (Status done = put(store, kClusterIdKey, random_password(12)); !done) return done;
  }
  if (Status done = meta::set_home_unit(store, plans.front().name); !done) return done;
  return put(store, kDoneKey, "1");
}

}  // namespace decan::agent
