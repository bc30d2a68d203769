#include "attach/server.h"

#include <algorithm>

namespace decan::attach {
namespace {

using async::Task;
using backend::UnitConnectionPtr;

constexpr auto kConnectWithin = std::chrono::seconds(10);
constexpr std::string_view kMaintenance = "postgres";

// What the server says about itself, in this order.
constexpr const char* kFacts =
    "SELECT pg_catalog.current_setting('server_version_num')::int >= 150000, "
    "pg_catalog.current_setting('is_superuser') = 'on', "
    "pg_catalog.current_setting('max_prepared_transactions')::int > 0, "
    "pg_catalog.current_setting('wal_level') = 'logical', "
    "NOT pg_catalog.pg_is_in_recovery(), "
    "(SELECT system_identifier FROM pg_catalog.pg_control_system())";

std::unexpected<Error> not_ready(const meta::UnitRecord& unit, std::string what, std::string hint) {
  return fail(sqlstate::kObjectNotInPrerequisiteState, "storage unit \"" + unit.name + "\" " + what, {},
              std::move(hint));
}

// Errors of facts that can be told without any other server. Gives the system identifier.
Result<std::string> judge(const meta::UnitRecord& unit,
                          const std::vector<std::optional<std::string>>& facts) {
  const auto is = [&](size_t column) { return facts.at(column) == "t"; };
  if (!is(0))
    return fail(sqlstate::kFeatureNotSupported,
                "storage unit \"" + unit.name + "\" is older than PostgreSQL 15");
  if (!is(1))
    return fail(sqlstate::kInsufficientPrivilege, "user \"" + unit.service_user + "\" of storage unit \"" +
                                                      unit.name + "\" is not a superuser");
  if (!is(4))
    return not_ready(unit, "is a standby, which takes no writes", "Promote it, or name the primary.");
  if (!is(2))
    return not_ready(unit, "can not take part in distributed transactions",
                     "Set max_prepared_transactions in its postgresql.conf and restart it.");
  if (!is(3))
    return not_ready(unit, "has not wal_level = logical",
                     "Set it in its postgresql.conf and restart the unit.");
  return facts.at(5).value_or("");
}

Task<Result<std::string>> identifier_of(Ground& ground, meta::UnitRecord unit) {
  if (!unit.system_identifier.empty()) co_return unit.system_identifier;
  auto connection = co_await connect(ground, unit, std::string(kMaintenance));
  if (!connection) co_return fail(connection.error());
  auto facts = co_await rows_of(**connection, kFacts);
  if (!facts) co_return fail(facts.error());
  co_return facts->at(0).at(5).value_or("");
}

// Whose unit a database says it is.
struct Membership {
  bool any = false, ours = false;
  std::string unit, epoch;
};

Task<Result<Membership>> membership(Ground& ground, backend::UnitConnection& connection) {
  Membership out;
  auto installed = co_await rows_of(
      connection, "SELECT pg_catalog.to_regclass('decan.secret'), pg_catalog.to_regclass('decan.map')");
  if (!installed) co_return fail(installed.error());
  if (!installed->at(0).at(0) || !installed->at(0).at(1)) co_return out;
  auto rows = co_await rows_of(connection, "SELECT s.inner_block = '\\x" + ground.proofs.inner_block() +
                                               "'::bytea, m.unit, m.epoch FROM decan.secret s, decan.map m");
  if (!rows) co_return fail(rows.error());
  if (rows->empty()) co_return out;
  out.any = true;
  out.ours = rows->at(0).at(0) == "t";
  out.unit = rows->at(0).at(1).value_or("");
  out.epoch = rows->at(0).at(2).value_or("");
  co_return out;
}

Task<Status> check_new(Ground& ground, meta::UnitRecord record) {
  for (const auto& known : *ground.units) {
    if (!known) continue;
    auto identifier = co_await identifier_of(ground, *known);
    if (!identifier) co_return fail(identifier.error());
    if (*identifier == record.system_identifier)
      co_return fail(sqlstate::kDuplicateObject,
                     "the server of storage unit \"" + record.name + "\" is storage unit \"" + known->name +
                         "\" already",
                     "Its system identifier is " + *identifier + ".",
                     "One server can be one storage unit only; a copy of a unit can not be another one.");
  }
  co_return Status{};
}

Task<Status> check_moved(Ground& ground, meta::UnitRecord record, meta::UnitRecord before) {
  auto identifier = co_await identifier_of(ground, before);
  if (!identifier) co_return fail(identifier.error());
  if (*identifier == record.system_identifier) co_return Status{};
  co_return fail(sqlstate::kObjectNotInPrerequisiteState,
                 "the server at " + record.host + ":" + std::to_string(record.port) +
                     " is not the one of storage unit \"" + record.name + "\"",
                 "Its system identifier is " + record.system_identifier + ", not " + *identifier + ".",
                 "ALTER STORAGE UNIT is for the same server at another address, also for a standby of it "
                 "that was promoted. Register another server under another name.");
}

// That the databases of a server tell what they should of the unit's past.
Task<Status> check_memberships(Ground& ground, meta::UnitRecord record, bool is_new) {
  auto names = co_await logical_databases(ground);
  if (!names) co_return fail(names.error());
  names->emplace_back("template1");
  for (const std::string& name : *names) {
    auto connection = co_await connect(ground, record, name);
    if (!connection && connection.error().sqlstate == sqlstate::kInvalidCatalogName && is_new) continue;
    if (!connection) co_return fail(connection.error());
    auto found = co_await membership(ground, **connection);
    if (!found) co_return fail(found.error());
    if (is_new && found->any && !found->ours)
      co_return fail(sqlstate::kObjectNotInPrerequisiteState,
                     "the server of storage unit \"" + record.name + "\" belongs to another Decan cluster",
                     "Database \"" + name + "\" holds that cluster's schema \"decan\".",
                     "Unregister it there. If that cluster is gone, drop its event triggers and its schemas "
                     "decan and decan_shard.");
    if (is_new || name == "template1") continue;
    auto home = co_await connect(ground, ground.home_record(), name);
    if (!home) co_return fail(home.error());
    auto there = co_await membership(ground, **home);
    if (!there) co_return fail(there.error());
    if (!found->ours || found->unit != std::to_string(record.ordinal) || found->epoch != there->epoch)
      co_return fail(sqlstate::kObjectNotInPrerequisiteState,
                     "database \"" + name + "\" at " + record.host + ":" + std::to_string(record.port) +
                         " is not that of storage unit \"" + record.name + "\"",
                     found->ours
                         ? "It is unit " + found->unit + " as of placement " + found->epoch + ", not " +
                               std::to_string(record.ordinal) + " as of " + there->epoch + "."
                         : "It holds no data of this cluster.",
                     "The server must be the unit itself, or a promoted standby that has all its data.");
  }
  co_return Status{};
}

}  // namespace

Task<Result<UnitConnectionPtr>> connect(Ground& ground, meta::UnitRecord unit, std::string database) {
  backend::Identity service;
  service.role = unit.service_user;
  service.database = std::move(database);
  const UnitId id{unit.ordinal};
  co_return co_await backend::UnitConnection::open(ground.loop, std::move(unit), id, std::move(service),
                                                   async::Clock::now() + kConnectWithin);
}

Task<Result<Rows>> rows_of(backend::UnitConnection& connection, std::string sql) {
  auto results = co_await connection.query(std::move(sql));
  if (!results) co_return fail(results.error());
  co_return std::move(results->back().rows);
}

Task<Status> run(backend::UnitConnection& connection, std::string sql) {
  auto results = co_await connection.query(std::move(sql));
  if (!results) co_return fail(results.error());
  co_return Status{};
}

Task<Result<std::vector<std::string>>> logical_databases(Ground& ground) {
  auto connection = co_await connect(ground, ground.home_record(), std::string(kMaintenance));
  if (!connection) co_return fail(connection.error());
  auto names = co_await rows_of(**connection,
                                "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT "
                                "datistemplate AND datname <> 'postgres' ORDER BY 1");
  if (!names) co_return fail(names.error());
  std::vector<std::string> out;
  for (const auto& row : *names) {
    auto database = co_await connect(ground, ground.home_record(), *row[0]);
    if (!database) co_return fail(database.error());
    auto found = co_await rows_of(**database, "SELECT pg_catalog.to_regclass('decan.map') IS NOT NULL");
    if (!found) co_return fail(found.error());
    if (found->at(0).at(0) == "t") out.push_back(*row[0]);
  }
  co_return out;
}

Task<Result<meta::UnitRecord>> check_server(Ground& ground, meta::UnitRecord record,
                                            std::optional<meta::UnitRecord> before) {
  auto connection = co_await connect(ground, record, std::string(kMaintenance));
  if (!connection) co_return fail(connection.error());
  auto facts = co_await rows_of(**connection, kFacts);
  if (!facts) co_return fail(facts.error());
  auto identifier = judge(record, facts->at(0));
  if (!identifier) co_return fail(identifier.error());
  record.system_identifier = std::move(*identifier);
  auto same = before ? co_await check_moved(ground, record, *before) : co_await check_new(ground, record);
  if (!same) co_return fail(same.error());
  if (auto member = co_await check_memberships(ground, record, !before); !member)
    co_return fail(member.error());
  co_return record;
}

Task<Status> copy_roles(backend::UnitConnection& from, backend::UnitConnection& to, Superusers superusers) {
  // A superuser of the cluster only owns things there; nobody logs in as one but Decan.
  constexpr const char* kRoles =
      "SELECT rolname, rolsuper, pg_catalog.format('ROLE %I %s', rolname, CASE WHEN rolsuper THEN 'SUPERUSER "
      "NOLOGIN' ELSE pg_catalog.concat_ws(' ', CASE WHEN rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END, CASE "
      "WHEN rolcreaterole THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END, CASE WHEN rolcreatedb THEN 'CREATEDB' "
      "ELSE 'NOCREATEDB' END, CASE WHEN rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END, CASE WHEN "
      "rolbypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END, CASE WHEN rolreplication THEN 'REPLICATION' "
      "ELSE 'NOREPLICATION' END, 'CONNECTION LIMIT ' || rolconnlimit, CASE WHEN rolpassword IS NULL THEN "
      "'PASSWORD NULL' ELSE 'PASSWORD ' || pg_catalog.quote_literal(rolpassword) END, 'VALID UNTIL ' || "
      "pg_catalog.quote_literal(coalesce(rolvaliduntil::pg_catalog.text, 'infinity'))) END) FROM "
      "pg_catalog.pg_authid WHERE rolname !~ '^pg_'";
  auto roles = co_await rows_of(from, kRoles);
  if (!roles) co_return fail(roles.error());
  auto present = co_await rows_of(to, kRoles);
  if (!present) co_return fail(present.error());
  for (const auto& role : *roles) {
    if (role[1] == "t" && superusers == Superusers::kLeaveOut) continue;
    const auto other = std::ranges::find(*present, role[0], [](const auto& row) { return row[0]; });
    if (other == present->end()) {
      if (auto made = co_await run(to, "CREATE " + *role[2]); !made) co_return made;
    } else if (role[1] == "t" || (*other)[2] == role[2]) {
      continue;
    } else if ((*other)[1] == "t") {
      co_return fail(sqlstate::kObjectNotInPrerequisiteState,
                     "role \"" + *role[0] + "\" of the cluster is a superuser of storage unit \"" +
                         to.unit_name() + "\"",
                     {}, "Rename the role there, or take its rights: ALTER ROLE … NOSUPERUSER.");
    } else if (auto changed = co_await run(to, "ALTER " + *role[2]); !changed) {
      co_return changed;
    }
  }
  // Whatever is there already is given again without harm.
  auto rest = co_await rows_of(
      from,
      "SELECT pg_catalog.format('GRANT %I TO %I%s', g.rolname, m.rolname, CASE WHEN a.admin_option THEN ' "
      "WITH ADMIN OPTION' ELSE '' END) FROM pg_catalog.pg_auth_members a JOIN pg_catalog.pg_authid g ON "
      "g.oid = a.roleid JOIN pg_catalog.pg_authid m ON m.oid = a.member WHERE m.rolname !~ '^pg_' AND NOT "
      "m.rolsuper AND NOT g.rolsuper UNION ALL "
      "SELECT pg_catalog.format('ALTER ROLE %I SET %I TO %s', r.rolname, pg_catalog.split_part(c, '=', 1), "
      "CASE WHEN pg_catalog.split_part(c, '=', 1) IN ('search_path', 'temp_tablespaces', "
      "'local_preload_libraries', 'session_preload_libraries') THEN pg_catalog.substr(c, "
      "pg_catalog.strpos(c, '=') + 1) ELSE pg_catalog.quote_literal(pg_catalog.substr(c, "
      "pg_catalog.strpos(c, '=') + 1)) END) FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_authid r "
      "ON r.oid = s.setrole, pg_catalog.unnest(s.setconfig) c WHERE s.setdatabase = 0 AND NOT r.rolsuper "
      "UNION ALL SELECT "
      "pg_catalog.format('COMMENT ON ROLE %I IS %L', r.rolname, d.description) FROM "
      "pg_catalog.pg_shdescription d JOIN pg_catalog.pg_authid r ON r.oid = d.objoid WHERE d.classoid = "
      "'pg_catalog.pg_authid'::pg_catalog.regclass AND r.rolname !~ '^pg_' AND NOT r.rolsuper");
  if (!rest) co_return fail(rest.error());
  for (const auto& row : *rest) {
    if (auto done = co_await run(to, *row[0]); !done) co_return done;
  }
  co_return Status{};
}

}  // namespace decan::attach
