// Compute nodes, sessions, variables, PREVIEW.
#include <algorithm>

#include "distsql/handler_parts.h"

namespace decan::distsql {

using async::Task;

Task<Result<AdminResult>> show_compute_nodes(AdminContext& context, Show) {
  auto nodes = co_await context.compute_nodes();
  if (!nodes) co_return fail(nodes.error());
  AdminResult result;
  result.columns = {"instance_id", "instance_type", "host",   "port",    "status",
                    "mode_type",   "worker_id",     "labels", "version", "database_name"};
  for (const ComputeNodeInfo& node : *nodes) {
    result.rows.push_back({node.instance_id, "PROXY", node.host, std::to_string(node.port), node.status,
                           "Cluster", std::to_string(node.worker_id), node.labels, node.version,
                           node.databases});
  }
  co_return result;
}

// LIKE is on the statement, as in "who runs that?".
Task<Result<AdminResult>> show_sessions(AdminContext& context, Show node) {
  auto sessions = co_await context.sessions();
  if (!sessions) co_return fail(sessions.error());
  AdminResult result;
  result.columns = {"id",           "user_name", "database_name", "client_address",  "application_name",
                    "compute_node", "state",     "state_seconds", "session_seconds", "statement"};
  for (const SessionInfo& session : *sessions) {
    if (!like_matches(session.statement, node.like)) continue;
    result.rows.push_back({session.id, session.role, session.database, session.address, session.application,
                           session.compute_node, session.state, std::to_string(session.state_seconds),
                           std::to_string(session.session_seconds), session.statement});
  }
  co_return result;
}

Task<Result<AdminResult>> handle(AdminContext& context, Kill node) {
  if (auto killed = co_await context.kill(std::move(node.id), node.query_only); !killed)
    co_return fail(killed.error());
  co_return AdminResult{};
}

Task<Result<AdminResult>> show_variables(AdminContext& context, Show node) {
  auto variables = co_await context.variables();
  if (!variables) co_return fail(variables.error());
  AdminResult result;
  result.columns = {"variable_name", "variable_value"};
  const bool one = node.kind == ShowKind::kDistVariable;
  for (auto& [name, value] : *variables) {
    if (one ? name != node.names.at(0).name : !like_matches(name, node.like)) continue;
    result.rows.push_back({std::move(name), std::move(value)});
  }
  if (one && result.rows.empty()) {
    co_return fail(sqlstate::kUndefinedObject, "unrecognized variable \"" + node.names.at(0).name + "\"", {},
                   "SHOW DIST VARIABLES lists them.");
  }
  co_return result;
}

Task<Result<AdminResult>> handle(AdminContext& context, SetVariable node) {
  if (auto set = co_await context.set_variable(std::move(node.name), std::move(node.value)); !set)
    co_return fail(set.error());
  co_return AdminResult{};
}

Task<Result<AdminResult>> handle(AdminContext& context, Preview node) {
  auto lines = co_await context.preview(std::move(node.sql));
  if (!lines) co_return fail(lines.error());
  AdminResult result;
  result.columns = {"data_source_name", "actual_sql"};
  for (PreviewLine& line : *lines) result.rows.push_back({std::move(line.unit), std::move(line.sql)});
  co_return result;
}

}  // namespace decan::distsql
