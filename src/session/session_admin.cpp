#include "session/session_admin.h"

#include <algorithm>
#include <charconv>

#include "async/elsewhere.h"
#include "base/log.h"
#include "distsql/distsql.h"
#include "distsql/handlers.h"
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
    static const plan::Plan kChange = [] {
      plan::Plan made;
      made.action = plan::Action::kDistSql;
      return made;
    }();
    while (loop_.gate.stops(identity_.database, kChange, this)) {
      if (auto passed = co_await wait_at_gate(kChange); !passed) co_return fail(passed.error());
    }
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

Task<Status> SessionAdmin::with_store(std::function<Status(meta::Store&)> work) {
  Node& node = session_.node_;
  co_return co_await async::elsewhere<Status>(
      session_.loop_.loop, [&node](std::function<void()> job) { node.run_blocking(std::move(job)); },
      [work = std::move(work), store = node.store.get()] { return work(*store); });
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
