#include "session/session_admin.h"

#include <algorithm>
#include <charconv>

#include "base/log.h"
#include "distsql/distsql.h"
#include "distsql/handlers.h"
#include "placement/schema.h"
#include "session/outcome.h"

namespace decan::session {
namespace {

int64_t seconds_since(async::TimePoint point) {
  return std::chrono::duration_cast<std::chrono::seconds>(async::Clock::now() - point).count();
}

constexpr std::string_view kSqlShow = "sql_show";

}  // namespace

// --- DistSQL in a session ---

Task<Result<Session::AdminFacts>> Session::admin_facts() {
  auto participant = co_await join(node_.home(), txn_->in_block());
  if (!participant) co_return fail(participant.error());
  if (auto ready = co_await run_on(**participant, {}, false); !ready) co_return fail(ready.error());
  auto owner = co_await (*participant)
                   ->connection->query(
                       "SELECT pg_catalog.pg_has_role(datdba, 'USAGE') FROM pg_catalog.pg_database WHERE "
                       "datname = pg_catalog.current_database();"
                       "SELECT pg_catalog.unnest(pg_catalog.current_schemas(false))");
  if (!owner) co_return fail(owner.error());
  AdminFacts facts;
  facts.may_administer = !(*owner)[0].rows.empty() && (*owner)[0].rows[0][0] == "t";
  for (const auto& row : (*owner)[1].rows) facts.schemas.push_back(*row[0]);
  co_return facts;
}

Task<Result<distsql::AdminResult>> Session::run_distsql(std::string_view sql) {
  if (txn_->status() == 'E') {
    co_return fail(sqlstate::kInFailedTransaction,
                   "current transaction is aborted, commands ignored until end of transaction block");
  }
  uint32_t position = 0;
  auto statement = distsql::parse(sql, &position);
  if (!statement) {
    wire::ErrorFields fields = wire::to_fields(statement.error(), "ERROR");
    if (position > 0) fields.set('P', std::to_string(position));
    send_error(fields);
    co_return fail(kTold, {});
  }
  if (auto current = co_await snapshot(); !current) co_return fail(current.error());
  auto facts = co_await admin_facts();
  if (!facts) co_return fail(facts.error());
  if (distsql::needs_transaction(*statement)) {
    if (auto opened = co_await begin_implicit(); !opened) co_return fail(opened.error());
    if (auto allowed = check_isolation(); !allowed) co_return fail(allowed.error());
  }
  SessionAdmin context(*this, std::move(*facts));
  auto result = co_await distsql::execute(context, std::move(*statement));
  if (!result) co_return fail(result.error());
  for (const std::string& text : result->notices) send_notice("NOTICE", Error{"00000", text});
  if (result->catalog_changed) {
    if (txn_->in_block()) {
      if (auto changed = co_await catalog_changed(); !changed) co_return fail(changed.error());
    } else {
      auto refreshed = co_await node_.catalogs.refresh(loop_, identity_.database);
      if (!refreshed) co_return fail(refreshed.error());
    }
  }
  co_return std::move(*result);
}

Task<Status> Session::distsql(std::string_view sql, bool with_description) {
  auto result = co_await run_distsql(sql);
  if (!result) co_return fail(result.error());
  if (result->columns.empty())
    complete(result->tag);
  else
    send_rows(result->columns, result->rows, result->tag, with_description);
  co_return Status{};
}

// Tables that CREATE TABLE made and for which a rule waits are placed in the same transaction.
Task<Status> Session::apply_waiting_rules(catalog::SnapshotPtr before) {
  std::vector<std::pair<std::string, std::string>> created;
  for (const auto& relation : block_snapshot_->relations()) {
    if (relation->kind == catalog::RelationKind::kTable &&
        relation->placement == catalog::Placement::kSingle &&
        before->find_exact(relation->schema, relation->name) == nullptr) {
      created.emplace_back(relation->schema, relation->name);
    }
  }
  SessionAdmin context(*this, {true, search_path_});
  for (const auto& [schema, name] : created) {
    auto applied = co_await distsql::apply_pending_rule(context, schema, name);
    if (!applied) co_return fail(applied.error());
    if (*applied) {
      if (auto changed = co_await catalog_changed(); !changed) co_return changed;
    }
  }
  co_return Status{};
}

// --- SessionAdmin ---

Task<Result<std::vector<catalog::SnapshotPtr>>> SessionAdmin::all_catalogs() {
  Node& node = session_.node_;
  auto connection = co_await session_.loop_.pool.acquire(node.home(), node.service_identity("postgres"));
  if (!connection) co_return fail(connection.error());
  auto names = co_await (*connection)
                   ->query(
                       "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate "
                       "AND datname <> 'postgres'");
  session_.loop_.pool.release(std::move(*connection));
  if (!names) co_return fail(names.error());
  std::vector<catalog::SnapshotPtr> all;
  for (const auto& row : names->front().rows) {
    auto snapshot = co_await node.catalogs.current(session_.loop_, *row[0]);
    if (!snapshot &&
        (snapshot.error().sqlstate == sqlstate::kUndefinedTable || snapshot.error().sqlstate == "3F000"))
      continue;
    if (!snapshot) co_return fail(snapshot.error());
    all.push_back(*snapshot);
  }
  co_return all;
}

Task<Status> SessionAdmin::with_store(std::function<Status(meta::Store&)> work) {
  auto result = std::make_shared<Status>();
  auto done = std::make_shared<async::Event>(session_.loop_.loop);
  async::Loop& loop = session_.loop_.loop;
  session_.node_.run_blocking(
      [work = std::move(work), result, done, &loop, store = session_.node_.store.get()] {
        *result = work(*store);
        loop.post([done] { done->notify(); });
      });
  co_await done->wait(async::kNoDeadline);
  co_return *result;
}

// A role that a client logs in as must exist on the unit with the verifier it has on the home unit.
Task<Status> SessionAdmin::copy_roles(backend::UnitConnection* unit) {
  Node& node = session_.node_;
  auto home = co_await session_.loop_.pool.acquire(node.home(), node.service_identity("postgres"));
  if (!home) co_return fail(home.error());
  auto roles = co_await (*home)->query(
      "SELECT rolname, pg_catalog.format('CREATE ROLE %I %s %s %s %s %s CONNECTION LIMIT %s%s', rolname, "
      "CASE WHEN rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' ELSE "
      "'NOCREATEROLE' END, "
      "CASE WHEN rolcreatedb THEN 'CREATEDB' ELSE 'NOCREATEDB' END, CASE WHEN rolinherit THEN 'INHERIT' ELSE "
      "'NOINHERIT' END, "
      "CASE WHEN rolbypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END, rolconnlimit, "
      "CASE WHEN rolpassword IS NULL THEN '' ELSE ' PASSWORD ' || pg_catalog.quote_literal(rolpassword) END) "
      "FROM pg_catalog.pg_authid WHERE rolname !~ '^pg_' AND NOT rolsuper");
  session_.loop_.pool.release(std::move(*home));
  if (!roles) co_return fail(roles.error());
  auto present = co_await unit->query("SELECT rolname FROM pg_catalog.pg_roles");
  if (!present) co_return fail(present.error());
  for (const auto& row : roles->front().rows) {
    const bool known =
        std::ranges::any_of(present->front().rows, [&](const auto& other) { return other[0] == row[0]; });
    if (known) continue;
    if (auto made = co_await unit->query(*row[1]); !made) co_return fail(made.error());
  }
  co_return Status{};
}

Task<Status> SessionAdmin::prepare_unit(meta::UnitRecord unit, std::optional<meta::UnitRecord> before) {
  (void)before;  // the same checks hold for a changed unit
  const std::string database = unit.database.empty() ? session_.identity_.database : unit.database;
  backend::Identity service;
  service.role = unit.service_user;
  service.database = database;
  const auto deadline = async::Clock::now() + std::chrono::seconds(10);
  auto opened = co_await backend::UnitConnection::open(session_.loop_.loop, unit, UnitId{unit.ordinal},
                                                       service, deadline);
  if (!opened && opened.error().sqlstate == sqlstate::kInvalidCatalogName) {
    backend::Identity maintenance = service;
    maintenance.database = "postgres";
    auto first = co_await backend::UnitConnection::open(session_.loop_.loop, unit, UnitId{unit.ordinal},
                                                        maintenance, deadline);
    if (!first) co_return fail(first.error());
    if (auto copied = co_await copy_roles(first->get()); !copied) co_return copied;
    if (auto made = co_await (*first)->query("CREATE DATABASE " + backend::quote_identifier(database)); !made)
      co_return fail(made.error());
    opened = co_await backend::UnitConnection::open(session_.loop_.loop, unit, UnitId{unit.ordinal}, service,
                                                    deadline);
  }
  if (!opened) co_return fail(opened.error());
  backend::UnitConnection* connection = opened->get();
  auto facts = co_await connection->query(
      "SELECT pg_catalog.current_setting('server_version_num')::int >= 150000, "
      "pg_catalog.current_setting('is_superuser'), "
      "pg_catalog.current_setting('max_prepared_transactions')::int > 0, "
      "pg_catalog.current_setting('wal_level') = 'logical'");
  if (!facts) co_return fail(facts.error());
  const auto& row = facts->front().rows.at(0);
  if (row[0] != "t")
    co_return fail(sqlstate::kFeatureNotSupported,
                   "storage unit \"" + unit.name + "\" is older than PostgreSQL 15");
  if (row[1] != "on")
    co_return fail(sqlstate::kInsufficientPrivilege, "user \"" + unit.service_user + "\" of storage unit \"" +
                                                         unit.name + "\" is not a superuser");
  if (row[2] != "t") {
    co_return fail(sqlstate::kObjectNotInPrerequisiteState,
                   "storage unit \"" + unit.name + "\" can not take part in distributed transactions", {},
                   "Set max_prepared_transactions in its postgresql.conf and restart it.");
  }
  if (row[3] != "t") {
    co_return fail(sqlstate::kObjectNotInPrerequisiteState,
                   "storage unit \"" + unit.name + "\" has not wal_level = logical", {},
                   "Set it in its postgresql.conf and restart the unit.");
  }
  if (auto copied = co_await copy_roles(connection); !copied) co_return copied;
  auto installed = co_await connection->query(placement::schema_sql(*session_.node_.proofs));
  if (!installed) co_return fail(installed.error());
  co_return Status{};
}

Task<Status> SessionAdmin::units_changed() {
  if (auto reloaded = session_.node_.reload_units(); !reloaded) co_return reloaded;
  auto refreshed = co_await session_.node_.catalogs.refresh(session_.loop_, session_.identity_.database);
  if (!refreshed) co_return fail(refreshed.error());
  co_return Status{};
}

std::vector<std::pair<std::string, std::string>> SessionAdmin::unit_defaults() const {
  const auto config = session_.node_.config();
  return {{"connectionTimeoutMilliseconds", std::to_string(config->pool.connect_timeout.count())},
          {"idleTimeoutMilliseconds", std::to_string(config->pool.idle_timeout.count())},
          {"maxLifetimeMilliseconds", std::to_string(config->pool.max_lifetime.count())},
          {"maxPoolSize", std::to_string(config->limits.max_unit_connections)},
          {"minPoolSize", "0"},
          {"readOnly", "false"}};
}

Task<Result<std::vector<distsql::ComputeNodeInfo>>> SessionAdmin::compute_nodes() {
  const auto config = session_.node_.config();
  distsql::ComputeNodeInfo self;
  self.instance_id = session_.node_.name;
  self.host = config->compute.listen.front().address;
  self.port = config->compute.listen.front().port;
  self.status = "OK";
  self.version = DECAN_VERSION;
  for (const std::string& name : session_.node_.catalogs.databases())
    self.databases += (self.databases.empty() ? "" : ",") + name;
  co_return std::vector{std::move(self)};
}

Task<Result<std::vector<distsql::SessionInfo>>> SessionAdmin::sessions() {
  std::vector<distsql::SessionInfo> infos;
  for (const SessionEntryPtr& entry : session_.node_.registry.all()) {
    const std::lock_guard lock(entry->mutex);
    if (entry->state == "startup") continue;
    distsql::SessionInfo info;
    info.id = std::to_string(entry->pid);
    info.role = entry->role;
    info.database = entry->database;
    info.address = entry->address;
    info.application = entry->application;
    info.compute_node = session_.node_.name;
    info.state = entry->state;
    if (facts_.may_administer || entry->role == session_.identity_.role) info.statement = entry->statement;
    info.session_seconds = seconds_since(entry->since);
    info.state_seconds = seconds_since(entry->state_since);
    infos.push_back(std::move(info));
  }
  co_return infos;
}

Task<Status> SessionAdmin::kill(std::string session_id, bool only_statement) {
  uint32_t pid = 0;
  std::from_chars(session_id.data(), session_id.data() + session_id.size(), pid);
  const SessionEntryPtr entry = session_.node_.registry.find(pid);
  if (!entry)
    co_return fail(sqlstate::kUndefinedObject, "session " + session_id + " does not exist", {},
                   "See SHOW SESSIONS.");
  if (!facts_.may_administer && entry->role != session_.identity_.role) {
    co_return fail(sqlstate::kInsufficientPrivilege, "permission denied to end a session of another role");
  }
  entry->loop->loop.post([entry, only_statement] {
    if (entry->session == nullptr) return;
    if (only_statement)
      entry->session->cancel();
    else
      entry->session->terminate("terminating connection due to administrator command");
  });
  co_return Status{};
}

Task<Result<std::vector<distsql::PreviewLine>>> SessionAdmin::preview(std::string sql) {
  co_return co_await session_.preview(std::move(sql));
}

Task<Result<std::vector<std::pair<std::string, std::string>>>> SessionAdmin::variables() {
  const std::lock_guard lock(session_.node_.variables_mutex);
  co_return std::vector<std::pair<std::string, std::string>>(session_.node_.variables.begin(),
                                                             session_.node_.variables.end());
}

Task<Status> SessionAdmin::set_variable(std::string name, std::string value) {
  {
    const std::lock_guard lock(session_.node_.variables_mutex);
    if (!session_.node_.variables.contains(name))
      co_return fail(sqlstate::kUndefinedObject, "unrecognized variable \"" + name + "\"", {},
                     "See SHOW DIST VARIABLES.");
  }
  if (name != kSqlShow)
    co_return fail(sqlstate::kObjectNotInPrerequisiteState,
                   "variable \"" + name + "\" is set in the configuration file");
  if (value != "true" && value != "false")
    co_return fail(sqlstate::kInvalidParameterValue, "variable \"" + name + "\" is true or false");
  if (auto stored = co_await with_store([name, value](meta::Store& store) -> Status {
        auto written = store.commit({{meta::Operation::Kind::kPut, "variables/" + name, value, {}, {}}});
        return written ? Status{} : fail(written.error());
      });
      !stored) {
    co_return stored;
  }
  session_.node_.show_sql.store(value == "true", std::memory_order_relaxed);
  const std::lock_guard lock(session_.node_.variables_mutex);
  session_.node_.variables[name] = value;
  co_return Status{};
}

}  // namespace decan::session
