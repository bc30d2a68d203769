// Statements that the session answers itself or keeps book of: transactions, settings, SQL-level prepared
// statements, cursors, LISTEN.
#include <algorithm>

#include "base/quote.h"
#include "base/utf8.h"
#include "session/notify_hub.h"
#include "session/outcome.h"
#include "session/session.h"

namespace decan::session {

using Kind = backend::Expected::Kind;

// Sends `sql` (empty: only what is queued already) to a unit and relays or hides the answer.
Task<Status> Session::run_on(txn::Participant& participant, std::string sql, bool visible) {
  backend::UnitConnection& connection = *participant.connection;
  if (!sql.empty()) {
    connection.writer().query(sql);
    connection.expect(Kind::kQuery, visible);
  }
  if (connection.expected().empty()) co_return Status{};
  co_return co_await relay(participant);
}

// --- transactions ---

Task<Status> Session::transaction_statement(Call& call) {
  const plan::Plan& plan = *call.plan;
  const bool client_block = txn_->in_block() && !implicit_block_;
  switch (plan.action) {
    case plan::Action::kBegin:
      if (client_block) {
        send_notice("WARNING", Error{std::string(sqlstate::kActiveTransaction),
                                     "there is already a transaction in progress"});
      } else if (implicit_block_) {
        implicit_block_ = false;  // what the string has done so far belongs to the client's block now
        txn_->set_options(plan.transaction_options);
      } else {
        txn_->begin(plan.transaction_options, settings_);
      }
      complete(plan.tag);
      co_return Status{};
    case plan::Action::kCommit:
      co_return co_await commit_block(plan);
    case plan::Action::kRollback:
      co_return co_await rollback_block(plan);
    case plan::Action::kSetTransaction: {
      if (!txn_->in_block()) {
        // Without effect: the unit says so.
        auto participant = co_await join(node_.home(), false);
        if (!participant) co_return fail(participant.error());
        co_return co_await run_on(**participant, std::string(call.values.sql), true);
      }
      txn_->note_isolation(plan.transaction_options);
      auto participant = co_await join(node_.home(), true);
      if (!txn_->participants().empty()) participant = txn_->participants().front().get();
      if (!participant) co_return fail(participant.error());
      auto done = co_await run_on(**participant, std::string(call.values.sql), true);
      if (done) txn_->remember_local(std::string(call.values.sql));
      co_return done;
    }
    default:
      break;
  }
  const std::string_view verb = plan.action == plan::Action::kSavepoint ? "SAVEPOINT"
                                : plan.action == plan::Action::kRelease ? "RELEASE SAVEPOINT"
                                                                        : "ROLLBACK TO SAVEPOINT";
  if (!client_block) {
    co_return fail(sqlstate::kNoActiveTransaction,
                   std::string(verb) + " can only be used in transaction blocks");
  }
  for (const auto& participant : txn_->participants()) {
    if (auto ready = co_await run_on(*participant, {}, false); !ready) co_return ready;
  }
  if (plan.action == plan::Action::kSavepoint) {
    auto done = co_await txn_->savepoint(plan.name);
    if (done) complete(plan.tag);
    co_return done;
  }
  if (!txn_->has_savepoint(plan.name)) {
    co_return fail(sqlstate::kInvalidSavepoint, "savepoint \"" + plan.name + "\" does not exist");
  }
  auto done = plan.action == plan::Action::kRelease ? co_await txn_->release(plan.name)
                                                    : co_await txn_->rollback_to(plan.name);
  if (!done) co_return done;
  if (plan.action == plan::Action::kRollbackTo) {
    settings_ = txn_->settings_now();
    context_hash_ = 0;
    if (auto known = co_await forget_lost_cursors(); !known) co_return known;
    if (catalog_dirty_) {
      if (auto changed = co_await catalog_changed(); !changed) co_return changed;
    }
  }
  complete(plan.tag);
  co_return Status{};
}

Task<Status> Session::commit_block(const plan::Plan& plan) {
  if (!txn_->in_block() || implicit_block_) {
    send_notice("WARNING",
                Error{std::string(sqlstate::kNoActiveTransaction), "there is no transaction in progress"});
    if (implicit_block_) {
      auto ended = co_await end_implicit(Status{});
      if (!ended) co_return ended;
    }
    complete("COMMIT");
    co_return Status{};
  }
  if (txn_->status() == 'E') {
    auto rolled_back = co_await rollback_block(plan);
    co_return rolled_back;
  }
  const std::string options = txn_->begin_options();
  for (const auto& participant : txn_->participants()) {
    if (auto ready = co_await run_on(*participant, {}, false); !ready) co_return ready;
  }
  Status committed = check_held_cursors();
  if (committed)
    committed = co_await txn_->commit();
  else
    co_await txn_->rollback();
  settings_ = txn_->settings_now();
  context_hash_ = 0;
  co_await end_cursors(committed.has_value());
  portals_.clear();
  if (catalog_dirty_) {
    catalog_dirty_ = false;
    block_snapshot_.reset();
    if (committed) {
      auto refreshed = co_await node_.catalogs.refresh(loop_, identity_.database);
      if (!refreshed) co_return fail(refreshed.error());
    }
  }
  if (auto temp = co_await end_of_temp(); !temp) co_return temp;
  if (auto learned = co_await relearn_session_values(); !learned) co_return learned;
  if (!committed) co_return committed;
  if (plan.chain) txn_->begin(options, settings_);
  complete("COMMIT");
  co_return Status{};
}

// SET LOCAL, and any SET of a block that was rolled back, are over: what planning depends on is asked again.
Task<Status> Session::relearn_session_values() {
  if (!std::exchange(values_dirty_, false)) co_return Status{};
  auto participant = co_await join(node_.home(), false);
  if (!participant) co_return fail(participant.error());
  co_return co_await learn_session_values((*participant)->connection.get());
}

// ON COMMIT DROP, and a rolled back CREATE TEMP TABLE.
Task<Status> Session::end_of_temp() {
  if (temp_relations_.empty() && !temp_touched_) co_return Status{};
  temp_touched_ = false;
  co_return co_await learn_temp_relations();
}

Task<Status> Session::rollback_block(const plan::Plan& plan) {
  if (!txn_->in_block() || implicit_block_) {
    send_notice("WARNING",
                Error{std::string(sqlstate::kNoActiveTransaction), "there is no transaction in progress"});
    if (implicit_block_) co_await end_implicit(fail(kTold, {}));
    complete("ROLLBACK");
    co_return Status{};
  }
  const std::string options = txn_->begin_options();
  for (const auto& participant : txn_->participants()) {
    if (participant->connection->broken()) continue;
    (void)co_await run_on(*participant, {}, false);  // a queued BEGIN is answered before the ROLLBACK
  }
  co_await txn_->rollback();
  settings_ = txn_->settings_now();
  context_hash_ = 0;
  co_await end_cursors(false);
  portals_.clear();
  if (catalog_dirty_) {
    catalog_dirty_ = false;
    block_snapshot_.reset();
  }
  if (auto temp = co_await end_of_temp(); !temp) co_return temp;
  if (auto learned = co_await relearn_session_values(); !learned) co_return learned;
  if (plan.chain) txn_->begin(options, settings_);
  complete("ROLLBACK");
  co_return Status{};
}

// --- DISCARD ---

Task<Status> Session::discard_statement(Call& call) {
  const std::string& what = call.plan->name;
  if (what == "ALL" && txn_->in_block())
    co_return fail(sqlstate::kActiveTransaction, "DISCARD ALL cannot run inside a transaction block");
  if (what == "ALL" || what == "TEMP") {
    for (const auto& participant : txn_->participants()) {
      if (!participant->pinned) continue;
      if (auto done = co_await run_on(*participant, what == "ALL" ? "DISCARD ALL" : "DISCARD TEMP", false);
          !done)
        co_return done;
      if (what == "ALL") {
        participant->pinned = false;
        participant->connection->forget_all_prepared();
        participant->connection->set_applied(std::make_shared<const backend::Settings>());
      }
    }
    temp_relations_.clear();
    context_hash_ = 0;
  }
  if (what == "ALL" || what == "SEQUENCES") forget_sequences();
  if (what == "ALL") {
    prepared_.clear();
    portals_.clear();
    cursors_.clear();
    merged_cursors_.clear();
    settings_ = std::make_shared<const backend::Settings>(reset_settings());
    if (listening_) node_.notifications->unlisten(entry_, identity_.database, {});
    auto joined = co_await join(node_.home(), false);
    if (!joined) co_return fail(joined.error());
    if (auto applied = co_await (*joined)->connection->apply(settings_); !applied) co_return applied;
    if (auto learned = co_await learn_session_values((*joined)->connection.get()); !learned)
      co_return learned;
  }
  complete("DISCARD " + what);
  co_return Status{};
}

// --- SQL-level prepared statements: one name space with the protocol's ---

Task<Status> Session::prepare_statement(Call& call) {
  const auto& spec = std::get<plan::PreparedSpec>(call.plan->detail);
  if (prepared_.contains(spec.name)) {
    co_return fail(sqlstate::kDuplicatePreparedStatement,
                   "prepared statement \"" + spec.name + "\" already exists");
  }
  std::vector<Oid> types;
  if (!spec.type_names.empty()) {
    auto participant = co_await join(node_.home(), txn_->in_block());
    if (!participant) co_return fail(participant.error());
    std::string sql = "SELECT ";
    for (size_t i = 0; i < spec.type_names.size(); ++i) {
      sql += (i == 0 ? "" : ", ");
      sql += spec.type_names[i] == "unknown"
                 ? "'0'"
                 : quote_literal(spec.type_names[i]) + "::pg_catalog.regtype::pg_catalog.oid";
    }
    if (auto ready = co_await run_on(**participant, {}, false); !ready) co_return ready;
    auto found = co_await (*participant)->connection->query(sql);
    if (!found) co_return fail(found.error());
    for (const auto& value : found->front().rows.at(0)) types.push_back(static_cast<Oid>(std::stoul(*value)));
  }
  auto statement = co_await shared_statement(spec.body, std::move(types));
  if (!statement) co_return fail(statement.error());
  if (auto valid = co_await validate(**statement); !valid) co_return valid;
  prepared_[spec.name] = *statement;
  complete("PREPARE");
  co_return Status{};
}

Task<Status> Session::execute_statement(Call& call) {
  const auto& spec = std::get<plan::PreparedSpec>(call.plan->detail);
  const auto found = prepared_.find(spec.name);
  if (found == prepared_.end()) {
    co_return fail(sqlstate::kInvalidStatementName,
                   "prepared statement \"" + spec.name + "\" does not exist");
  }
  auto current = co_await shared_statement(found->second->sql, found->second->declared_types);
  if (!current) co_return fail(current.error());
  if (auto valid = co_await validate(**current); !valid) co_return valid;
  prepared_[spec.name] = *current;
  const SharedStatementPtr statement = *current;
  if (spec.arguments.size() != statement->parameter_types.size()) {
    co_return fail(sqlstate::kSyntaxError,
                   "wrong number of parameters for prepared statement \"" + spec.name + "\"",
                   "Expected " + std::to_string(statement->parameter_types.size()) + " parameters but got " +
                       std::to_string(spec.arguments.size()) + ".");
  }
  if (!spec.constant_arguments) {
    co_return fail(sqlstate::kFeatureNotSupported,
                   "EXECUTE with arguments that are not constants is not supported", {},
                   "Pass constants, or use the extended protocol.");
  }
  std::vector<std::string> texts(spec.arguments.size());
  Call inner;
  std::vector<plan::ParameterValue> parameters(spec.arguments.size());
  for (size_t i = 0; i < spec.arguments.size(); ++i) {
    const plan::ValueRef& argument = spec.arguments[i];
    if (argument.kind == plan::ValueRef::Kind::kConstant) {
      parameters[i].is_null = argument.is_null;
      texts[i] = argument.constant;
    } else {
      auto literal = sql::literal_value(call.values.sql, call.values.tpl->literals.at(argument.index));
      if (!literal)
        co_return fail(sqlstate::kFeatureNotSupported,
                       "this form of literal is not supported as an argument of EXECUTE");
      texts[i] = std::move(*literal);
    }
    if (argument.negated) texts[i].insert(0, "-");
    parameters[i].bytes = texts[i];
    parameters[i].type = statement->parameter_types[i];
  }
  inner.simple = call.simple;
  inner.result_formats = call.result_formats;
  inner.plan = statement->plan;
  inner.statement = statement;
  inner.values.sql = statement->sql;
  inner.values.parameters = parameters;
  co_return co_await execute(inner);
}

Task<Status> Session::deallocate_statement(Call& call) {
  const auto& spec = std::get<plan::PreparedSpec>(call.plan->detail);
  if (spec.name.empty()) {
    std::erase_if(prepared_, [](const auto& entry) { return !entry.first.empty(); });
    complete("DEALLOCATE ALL");
    co_return Status{};
  }
  if (prepared_.erase(spec.name) == 0) {
    co_return fail(sqlstate::kInvalidStatementName,
                   "prepared statement \"" + spec.name + "\" does not exist");
  }
  complete("DEALLOCATE");
  co_return Status{};
}

// --- LISTEN ---

Task<Status> Session::listen_statement(Call& call) {
  const plan::Plan& plan = *call.plan;
  if (plan.action == plan::Action::kUnlisten) {
    node_.notifications->unlisten(entry_, identity_.database, plan.name);
    complete("UNLISTEN");
    co_return Status{};
  }
  auto done = co_await node_.notifications->listen(loop_, entry_, identity_.database, plan.name);
  if (!done) co_return done;
  listening_ = true;
  complete("LISTEN");
  co_return Status{};
}

}  // namespace decan::session
