// Describe: what a statement's parameters and a portal's columns are.
#include <algorithm>

#include "distsql/distsql.h"
#include "session/session.h"

namespace decan::session {

using Kind = backend::Expected::Kind;

// Columns of a validated statement; those that the session answers itself never reach a unit.
Task<Result<std::optional<wire::RowDescription>>> Session::columns_of(SharedStatement& statement) {
  constexpr Oid kText = 25, kVoid = 2278;
  const plan::Plan& plan = *statement.plan;
  if (plan.action == plan::Action::kExplain) {
    const Oid type = explain_type(std::get<plan::ExplainSpec>(plan.detail));
    co_return wire::RowDescription{{{"QUERY PLAN", 0, 0, type, -1, -1, 0}}};
  }
  if (const auto* call = std::get_if<plan::AdminCall>(&plan.detail)) {
    co_return wire::RowDescription{{{call->function, 0, 0, kVoid, 4, -1, 0}}};
  }
  if (plan.action == plan::Action::kDistSql) {
    // What only shows something is run for its columns; the rest returns no rows.
    if (!distsql::only_shows(statement.sql)) co_return std::nullopt;
    if (auto drained = co_await drain(); !drained) co_return fail(drained.error());
    auto shown = co_await run_distsql(statement.sql);
    if (!shown) co_return fail(shown.error());
    if (shown->columns.empty()) co_return std::nullopt;
    wire::RowDescription columns;
    for (const std::string& name : shown->columns) columns.fields.push_back({name, 0, 0, kText, -1, -1, 0});
    co_return columns;
  }
  if (plan.action == plan::Action::kExecute) {
    const auto found = prepared_.find(std::get<plan::PreparedSpec>(plan.detail).name);
    if (found == prepared_.end()) co_return std::nullopt;
    const SharedStatementPtr inner = found->second;
    if (auto valid = co_await validate(*inner); !valid) co_return fail(valid.error());
    co_return inner->columns;
  }
  co_return statement.columns;
}

// A cursor of DECLARE is a portal, too: drivers ask for its columns before the first FETCH.
Task<Status> Session::describe_cursor(std::string name) {
  if (const auto* merged = merged_cursor(name)) {
    auto columns = merged->description({});
    if (!columns) co_return fail(columns.error());
    std::string reply;
    wire::Writer(reply).row_description(*columns);
    local_reply(std::move(reply));
    co_return Status{};
  }
  const UnitId unit = cursors_.find(name)->second;
  if (batch_unit_ && *batch_unit_ != unit) {
    if (auto drained = co_await drain(); !drained) co_return drained;
  }
  auto participant = co_await join(unit, txn_->in_block());
  if (!participant) co_return fail(participant.error());
  batch_unit_ = unit;
  (*participant)->unsynced = true;
  (*participant)->connection->writer().describe('P', name);
  (*participant)->connection->expect(Kind::kDescribePortal, true);
  co_return Status{};
}

Task<Status> Session::on_describe(std::string_view body) {
  auto describe = wire::decode_describe(body);
  if (!describe) co_return fail(describe.error());
  const std::string name(describe->name);
  SharedStatementPtr statement;
  std::vector<int16_t> formats;
  if (describe->kind == 'P') {
    const auto found = portals_.find(name);
    if (found == portals_.end() && (merged_cursor(name) != nullptr || cursors_.contains(name)))
      co_return co_await describe_cursor(name);
    if (found == portals_.end())
      co_return fail(sqlstate::kInvalidCursorName, "portal \"" + name + "\" does not exist");
    Portal& portal = found->second;
    if (portal.open_on) {
      backend::UnitConnection& connection = *txn_->find(*portal.open_on)->connection;
      connection.writer().describe('P', name);
      connection.expect(Kind::kDescribePortal, true);
      co_return Status{};
    }
    statement = portal.statement;
    formats = portal.result_formats;
  } else {
    const auto found = prepared_.find(name);
    if (found == prepared_.end())
      co_return fail(sqlstate::kInvalidStatementName, "prepared statement \"" + name + "\" does not exist");
    Portal probe;
    probe.statement = found->second;
    if (auto planned = co_await replan(probe); !planned) co_return planned;
    statement = found->second = probe.statement;
  }
  if (auto valid = co_await validate(*statement); !valid) co_return valid;
  auto described = co_await columns_of(*statement);
  if (!described) co_return fail(described.error());
  std::string reply;
  wire::Writer writer(reply);
  if (describe->kind == 'S') writer.parameter_description(statement->parameter_types);
  if (*described) {
    wire::RowDescription columns = **described;
    for (size_t i = 0; i < columns.fields.size(); ++i) {
      columns.fields[i].format = formats.empty()       ? int16_t{0}
                                 : formats.size() == 1 ? formats[0]
                                 : i < formats.size()  ? formats[i]
                                                       : int16_t{0};
    }
    writer.row_description(columns);
  } else {
    writer.empty('n');
  }
  local_reply(std::move(reply));
  co_return Status{};
}

}  // namespace decan::session
