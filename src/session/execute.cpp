// Runs one planned statement: on one unit (tier 1), on several (tier 2), or by the session itself.
#include "exec/scatter.h"

#include <algorithm>
#include <charconv>

#include "base/log.h"
#include "session/outcome.h"
#include "session/session.h"

namespace decan::session {
namespace {

constexpr auto kRetryFor = std::chrono::seconds(10);
constexpr auto kRetryPause = std::chrono::milliseconds(20);

StatementTier tier_of(const plan::Plan& plan, size_t targets) {
  switch (plan.action) {
    case plan::Action::kRoute:
      return StatementTier::kRoute;
    case plan::Action::kScatter:
    case plan::Action::kScatterWrite:
    case plan::Action::kInsertRows:
      return targets > 1 ? StatementTier::kMerge : StatementTier::kRoute;
    case plan::Action::kCopyIn:
    case plan::Action::kCopyOut:
      return plan.routing.group != nullptr ? StatementTier::kMerge : StatementTier::kRoute;
    case plan::Action::kDdl:
    case plan::Action::kDdlConcurrent:
    case plan::Action::kAdmin:
      return StatementTier::kDdl;
    case plan::Action::kRefuse:
      return StatementTier::kRefused;
    default:
      return StatementTier::kSession;
  }
}

}  // namespace

Result<std::optional<std::string>> value_text(const plan::ValueRef& ref, const plan::Values& values) {
  std::string text;
  switch (ref.kind) {
    case plan::ValueRef::Kind::kConstant:
      if (ref.is_null) return std::nullopt;
      text = ref.constant;
      break;
    case plan::ValueRef::Kind::kLiteral: {
      auto literal = values.tpl == nullptr
                         ? std::nullopt
                         : sql::literal_value(values.sql, values.tpl->literals.at(ref.index));
      if (!literal) return fail(sqlstate::kFeatureNotSupported, "this form of literal is not supported here");
      text = std::move(*literal);
      break;
    }
    case plan::ValueRef::Kind::kParameter: {
      const plan::ParameterValue& parameter = values.parameters[ref.index - 1];
      if (parameter.is_null) return std::nullopt;
      if (!parameter.is_binary) {
        text = parameter.bytes;
        break;
      }
      if (parameter.bytes.size() != 2 && parameter.bytes.size() != 4 && parameter.bytes.size() != 8) {
        return fail(sqlstate::kFeatureNotSupported, "a binary parameter of this type is not supported here");
      }
      int64_t number = static_cast<signed char>(parameter.bytes[0]);
      for (size_t i = 1; i < parameter.bytes.size(); ++i)
        number = number * 256 + static_cast<unsigned char>(parameter.bytes[i]);
      text = std::to_string(number);
      break;
    }
  }
  return ref.negated ? "-" + text : text;
}

namespace {

Result<std::optional<int64_t>> count_of(const std::optional<plan::ValueRef>& ref, const plan::Values& values,
                                        std::string_view what) {
  if (!ref) return std::nullopt;
  auto text = value_text(*ref, values);
  if (!text) return fail(text.error());
  if (!*text) return std::nullopt;
  int64_t number = 0;
  const std::string& digits = **text;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size()) {
    return fail(sqlstate::kInvalidTextRepresentation,
                "invalid input syntax for type bigint: \"" + digits + "\"");
  }
  if (number < 0)
    return fail(what == "LIMIT" ? "2201W" : "2201X", std::string(what) + " must not be negative");
  return number;
}

}  // namespace

// The unit does not have the leaf (any more) that the plan meant.
bool Session::is_stale(const wire::ErrorFields& error) const {
  const std::string_view state = error.get('C');
  if (state == sqlstate::kUndefinedTable)
    return error.get('M').find("decan_shard.") != std::string_view::npos;
  if (state != "23514" || !error.get('M').starts_with("no partition of relation")) return false;
  const catalog::SnapshotPtr& snapshot = block_snapshot_ ? block_snapshot_ : snapshot_;
  const auto* relation = snapshot ? snapshot->find_exact(error.get('s'), error.get('t')) : nullptr;
  return relation != nullptr && relation->placement == catalog::Placement::kSharded;
}

Task<Status> Session::execute(Call& call) {
  const auto give_up = async::Clock::now() + kRetryFor;
  const bool can_plan_again = !call.statement && call.portal == nullptr;
  call.values.read = &call.read;
  for (int attempt = 0;; ++attempt) {
    while (!loop_.gate.is_open() && loop_.gate.stops(identity_.database, *call.plan, this)) {
      if (auto passed = co_await wait_at_gate(*call.plan); !passed) co_return passed;
      if (!can_plan_again) co_return fail(placement_changed());
      if (auto planned = co_await plan_again(call); !planned) co_return planned;
    }
    const bool block_before = txn_->in_block();
    if (auto allowed = check_block_epoch(*call.plan); !allowed) co_return allowed;
    auto done = co_await execute_gated(call);
    if (done) co_return done;
    if (!call.read.wanted.empty()) {
      if (auto read = co_await read_values(std::move(done), call); !read) co_return read;
      continue;
    }
    if (done.error().retry == Retry::kNever) {
      auto types = call.statement ? call.statement->declared_types : std::vector<Oid>();
      co_return co_await judged(std::move(done), *call.plan, std::string(call.values.sql), std::move(types));
    }
    // Nothing has been told or done yet, unless the transaction began before this statement.
    if (block_before || !can_plan_again || async::Clock::now() > give_up) co_return done;
    // A cancel that is still on its way must not reach whoever uses the connection next.
    const bool cancelled = cancelled_;
    co_await settle_cancels();
    if (cancelled) co_return fail(sqlstate::kQueryCanceled, "canceling statement due to user request");
    if (implicit_block_) (void)co_await end_implicit(fail(kTold, {}));
    loop_.metrics.catalog_retries.add();
    txn_->release_participants();
    // A change reaches the units one after another.
    if (attempt > 0) co_await async::sleep_for(loop_.loop, std::min(kRetryPause * attempt, 10 * kRetryPause));
    if (auto planned = co_await plan_again(call); !planned) co_return planned;
  }
}

Status Session::check_in_block(const plan::Plan& plan) const {
  if (txn_->status() != 'E') return {};
  switch (plan.action) {
    case plan::Action::kCommit:
    case plan::Action::kRollback:
    case plan::Action::kRollbackTo:
    case plan::Action::kPrepareTransaction:
      return {};
    default:
      return fail(sqlstate::kInFailedTransaction,
                  "current transaction is aborted, commands ignored until end of transaction block");
  }
}

Task<Status> Session::execute_once(Call& call) {
  const plan::Plan& plan = *call.plan;
  if (auto allowed = check_in_block(plan); !allowed) co_return allowed;
  if (auto allowed = check_place(plan); !allowed) co_return allowed;
  const bool by_targets = plan.action == plan::Action::kRoute || plan.action == plan::Action::kScatter ||
                          plan.action == plan::Action::kScatterWrite ||
                          plan.action == plan::Action::kInsertRows;
  if (!by_targets) count_statement(tier_of(plan, 1));
  switch (plan.action) {
    case plan::Action::kEmpty:
      port_.writer().empty('I');
      co_return Status{};
    case plan::Action::kRoute:
    case plan::Action::kScatter:
    case plan::Action::kScatterWrite:
    case plan::Action::kInsertRows: {
      if (const auto one = one_target(call)) {
        count_statement(StatementTier::kRoute);
        co_return co_await route(call, *one, 1);
      }
      auto targets = targets_of(call);
      if (!targets) co_return fail(targets.error());
      count_statement(tier_of(plan, targets->size()));
      if (targets->size() == 1) co_return co_await route(call, targets->front(), 1);
      co_return co_await scatter(call, std::move(*targets));
    }
    case plan::Action::kShow:
      co_return co_await route(call, targets_of(call)->front(), 1);
    case plan::Action::kCopyIn:
      co_return co_await copy_in(call);
    case plan::Action::kCopyOut:
      co_return co_await copy_out(call);
    case plan::Action::kBegin:
    case plan::Action::kCommit:
    case plan::Action::kRollback:
    case plan::Action::kSavepoint:
    case plan::Action::kRelease:
    case plan::Action::kRollbackTo:
    case plan::Action::kSetTransaction:
      co_return co_await transaction_statement(call);
    case plan::Action::kSet:
    case plan::Action::kReset:
      co_return co_await set_statement(call);
    case plan::Action::kDiscard:
      co_return co_await discard_statement(call);
    case plan::Action::kPrepare:
      co_return co_await prepare_statement(call);
    case plan::Action::kExecute:
      co_return co_await execute_statement(call);
    case plan::Action::kDeallocate:
      co_return co_await deallocate_statement(call);
    case plan::Action::kDeclareCursor:
    case plan::Action::kFetch:
    case plan::Action::kCloseCursor:
      co_return co_await cursor_statement(call);
    case plan::Action::kListen:
    case plan::Action::kUnlisten:
      co_return co_await listen_statement(call);
    case plan::Action::kDdl:
      co_return co_await ddl(call);
    case plan::Action::kDdlConcurrent:
      co_return co_await ddl_concurrent(call);
    case plan::Action::kExplain:
      co_return co_await explain(call);
    case plan::Action::kAdmin:
      co_return co_await admin(call);
    case plan::Action::kDistSql:
      co_return co_await distsql(call.values.sql, call.simple);
    case plan::Action::kPrepareTransaction:
    case plan::Action::kCommitPrepared:
    case plan::Action::kRollbackPrepared:
      co_return fail(sqlstate::kFeatureNotSupported, "prepared transactions of clients are not supported", {},
                     "Commit the transaction directly: Decan makes it atomic over all units.");
    case plan::Action::kRefuse:
      co_return fail(plan.refusal);
  }
  co_return fail(sqlstate::kInternalError, "unknown kind of plan");
}

// The usual case of targets_of(): one key, one bucket.
std::optional<plan::UnitTarget> Session::one_target(const Call& call) const {
  const plan::Plan& plan = *call.plan;
  if (plan.effects.uses_temp || plan.action == plan::Action::kFetch ||
      plan.action == plan::Action::kCloseCursor) {
    return std::nullopt;
  }
  return plan::resolve_one(plan, call.values);
}

Result<std::vector<plan::UnitTarget>> Session::targets_of(const Call& call) {
  const plan::Plan& plan = *call.plan;
  const plan::RouteTo to = plan.routing.to;
  if (plan.action == plan::Action::kFetch || plan.action == plan::Action::kCloseCursor) {
    const std::string& cursor = std::get<plan::CursorSpec>(plan.detail).name;
    if (cursor.empty()) return units_of_cursors();
    if (const auto merged = merged_cursors_.find(cursor); merged != merged_cursors_.end()) {
      std::vector<plan::UnitTarget> several;
      for (const UnitId unit : merged->second->units()) several.push_back({unit, {}, {}});
      return several;
    }
    const auto known = cursors_.find(cursor);
    return std::vector{plan::UnitTarget{known == cursors_.end() ? node_.home() : known->second, {}, {}}};
  }
  if (plan.action == plan::Action::kShow)
    return std::vector{plan::UnitTarget{only_unit_for(plan).value_or(node_.home()), {}, {}}};
  if (plan.effects.uses_temp || to == plan::RouteTo::kHome)
    return std::vector{plan::UnitTarget{node_.home(), {}, {}}};
  if (to == plan::RouteTo::kUnit) return std::vector{plan::UnitTarget{plan.routing.unit, {}, {}}};
  if (to == plan::RouteTo::kAnyUnit && plan.action == plan::Action::kRoute) {
    // A unit that works for the transaction already, else spread by session.
    if (!txn_->participants().empty())
      return std::vector{plan::UnitTarget{txn_->participants().front()->connection->unit(), {}, {}}};
    const auto all = units();
    return std::vector{
        plan::UnitTarget{plan.effects.writes ? node_.home() : all[entry_->pid % all.size()], {}, {}}};
  }
  auto targets = plan::resolve(plan, call.values);
  if (targets && targets->empty()) {
    return std::vector{plan::UnitTarget{
        txn_->participants().empty() ? node_.home() : txn_->participants().front()->connection->unit(),
        {},
        {}}};
  }
  return targets;
}

Status Session::check_isolation() const {
  if (txn_->read_committed(default_isolation_)) return {};
  return fail(sqlstate::kFeatureNotSupported,
              "a transaction above READ COMMITTED can not use a second storage unit", {},
              "Use READ COMMITTED, or keep the transaction's keys on one unit.");
}

Task<Result<txn::Participant*>> Session::join(UnitId unit, bool block) {
  if (txn_->find(unit) == nullptr && block) {
    const bool second = std::ranges::any_of(txn_->participants(), [](const auto& p) { return p->in_block; });
    if (second) {
      if (auto allowed = check_isolation(); !allowed) co_return fail(allowed.error());
    }
  }
  auto joined = co_await txn_->join(unit, block, settings_);
  const bool refused = !joined && (joined.error().sqlstate == sqlstate::kInvalidPassword ||
                                   joined.error().sqlstate == sqlstate::kInvalidAuthorization);
  if (!refused || !co_await learn_new_keys()) co_return joined;
  co_return co_await txn_->join(unit, block, settings_);
}

// --- tier 1 ---

Task<Status> Session::route(Call& call, const plan::UnitTarget& target, size_t target_count) {
  const bool block = txn_->in_block();
  txn::Participant* participant = txn_->try_join(target.unit, block, settings_);
  if (participant == nullptr) {
    auto joined = co_await join(target.unit, block);
    if (!joined) co_return fail(joined.error());
    participant = *joined;
  }
  const bool leaf = target.bucket && !call.plan->leaf_text.empty();
  const bool parameters = call.statement != nullptr && call.statement->has_unit_types();
  if (!knows_objects(*call.plan, target.unit, leaf, parameters)) {
    if (auto learned = co_await learn_objects(call.plan, *participant); !learned) co_return learned;
  }
  if (auto claimed = claim_sequences(call.plan->effects, *participant, false); !claimed) co_return claimed;
  note_effects(call, *participant);
  send_route(call, *participant, target, target_count);
  routed_ = call.statement == nullptr ? &call : nullptr;
  routed_target_ = &target;
  auto relayed = co_await relay(*participant);
  routed_ = nullptr;
  co_return relayed;
}

void Session::send_route(Call& call, txn::Participant& participant, const plan::UnitTarget& target,
                         size_t target_count) {
  using Kind = backend::Expected::Kind;
  backend::UnitConnection& connection = *participant.connection;
  if (call.statement == nullptr) {
    connection.writer().query(plan::render(*call.plan, call.values, target, target_count));
    connection.expect(Kind::kQuery, true);
    if (call.plan->effects.writes) participant.may_have_written = true;
    return;
  }
  // EXECUTE of a prepared statement by the simple protocol, or a portal that was not bound on the unit
  // beforehand.
  const auto statement = unit_statement(call, target, target_count);
  connection.evict_prepared(static_cast<size_t>(node_.config()->pool.prepared_statements_per_connection));
  queue_parse(connection, statement, false);
  std::vector<std::optional<std::string_view>> values;
  std::vector<int16_t> formats;
  for (const plan::ParameterValue& parameter : call.values.parameters) {
    values.push_back(parameter.is_null ? std::nullopt : std::optional(parameter.bytes));
    formats.push_back(parameter.is_binary ? 1 : 0);
  }
  const catalog::UnitObjects& known = objects(target.unit);
  const exec::UnitParameters parameters(values, formats, call.statement->types(), &known);
  connection.writer().bind("", statement->name(), formats, parameters.values(), call.result_formats);
  connection.expect(Kind::kBind, false);
  const bool told = call.simple && call.plan->returns_rows;
  const bool binary = std::ranges::find(call.result_formats, 1) != call.result_formats.end();
  if (told || (call.plan->returns_rows && !known.is_home() && binary)) {
    connection.writer().describe('P', "");
    connection.expect(Kind::kDescribePortal, told);
  }
  connection.writer().execute("", call.max_rows);
  connection.expect(Kind::kExecute, true);
  connection.writer().sync();
  connection.expect(Kind::kSync, false);
  if (call.plan->effects.writes) participant.may_have_written = true;
}

Task<Status> Session::relay(txn::Participant& participant) {
  backend::UnitConnection& connection = *participant.connection;
  if (std::exchange(batch_stale_, false)) {
    connection.mark_broken();
    connection.expected().clear();
    Error error = placement_changed();
    error.retry = Retry::kNever;
    co_return fail(std::move(error));
  }
  // What the unit does not take at once goes out while its replies are read.
  if (!connection.out().empty() && !connection.try_flush() && connection.unsendable())
    co_return co_await connection.flush();
  hooks_.objects = &objects(connection.unit());
  exec::Relay relay(connection, port_, hooks_);
  while (true) {
    auto outcome = co_await relay.run();
    if (!outcome) {
      connection.expected().clear();
      co_return fail(outcome.error());
    }
    if (!outcome->copy_in) {
      // What is left has no replies (Flush, or messages that the unit skips after an error).
      if (!connection.out().empty() && !outcome->error) {
        if (auto sent = co_await connection.flush(); !sent) co_return sent;
      }
      if (!outcome->error) co_return Status{};
      co_return co_await finish_relay(participant, std::move(*outcome));
    }
    if (auto pumped = co_await pump_copy_in(participant); !pumped) co_return pumped;
  }
}

Task<Status> Session::finish_relay(txn::Participant& participant, exec::RelayOutcome outcome) {
  if (!outcome.error) co_return Status{};
  if (participant.in_block && participant.connection->tx_status() == 'I' && !participant.unsynced)
    participant.in_block = false;
  const bool yielded = yielding_ && !cancelled_ && outcome.error->get('C') == sqlstate::kQueryCanceled;
  const bool guard = used_epoch_ != 0 && outcome.error->get('C') == "22012";
  if (yielded ||
      ((guard || is_stale(*outcome.error)) && co_await plan_is_stale(participant.connection->unit()))) {
    Error error = placement_changed();
    if (outcome.sent_rows) error.retry = Retry::kNever;
    co_return fail(std::move(error));
  }
  if (outcome.hidden_failed) participant.connection->mark_broken();
  // The parameters of EXECUTE are bound by a message that the client knows nothing of.
  if (outcome.hidden_failed && outcome.error->get('W').starts_with("unnamed portal"))
    outcome.error->set('W', {});
  if (routed_ != nullptr && !outcome.hidden_failed)
    exec::tell_position(*outcome.error, plan::text_map(*routed_->plan, routed_->values, *routed_target_, 1));
  send_error(*outcome.error);
  co_return fail(kTold, {});
}

// --- tier 2 ---

Result<Session::MergeValues> Session::merge_values(const Call& call) const {
  const plan::MergeSpec& merge = *call.plan->merge;
  MergeValues out;
  auto limit = count_of(merge.limit, call.values, "LIMIT");
  if (!limit) return fail(limit.error());
  auto offset = count_of(merge.offset, call.values, "OFFSET");
  if (!offset) return fail(offset.error());
  out.limit = *limit, out.offset = *offset;
  for (const plan::HavingTerm& term : merge.having) {
    auto value = value_text(term.value, call.values);
    if (!value) return fail(value.error());
    out.having.push_back(std::move(*value));
  }
  return out;
}

Task<Status> Session::scatter(Call& call, std::vector<plan::UnitTarget> targets) {
  const plan::Plan& plan = *call.plan;
  const bool writes = plan.effects.writes;
  if (writes || plan.effects.takes_row_locks) {
    if (auto opened = co_await begin_implicit(); !opened) co_return opened;
  }
  if (auto allowed = check_isolation(); !allowed) co_return allowed;
  if (writes) std::ranges::sort(targets, {}, &plan::UnitTarget::unit);  // the same order for all writers
  exec::ScatterRequest request;
  request.merge = plan.merge ? &*plan.merge : nullptr;
  if (plan.merge) {
    auto values = merge_values(call);
    if (!values) co_return fail(values.error());
    request.limit = values->limit, request.offset = values->offset;
    request.having_values = std::move(values->having);
  }
  if (call.statement) {
    request.parameter_types =
        call.statement->described ? call.statement->parameter_types : call.statement->declared_types;
  }
  for (const plan::ParameterValue& parameter : call.values.parameters) {
    request.parameters.push_back(parameter.is_null ? std::nullopt : std::optional(parameter.bytes));
    request.parameter_formats.push_back(parameter.is_binary ? 1 : 0);
  }
  request.result_formats = call.result_formats;
  request.limits.max_bytes = node_.config()->limits.merge_memory.value;
  request.limits.setting = "limits.merge_memory";
  request.send_description = call.simple;
  request.one_answer = plan.broadcast_write;
  request.in_turn = writes;
  request.copy_rows = call.copy_rows;
  if (call.portal != nullptr && call.max_rows > 0) request.buffer_rows = &call.portal->buffered;
  std::vector<UnitId> units_asked;
  for (const plan::UnitTarget& target : targets) {
    units_asked.push_back(target.unit);
    auto participant = co_await join(target.unit, txn_->in_block());
    if (!participant) co_return fail(participant.error());
    if (auto claimed = claim_sequences(plan.effects, **participant, false); !claimed) co_return claimed;
    note_effects(call, **participant);
    if (auto ready = co_await run_on(**participant, {}, false); !ready)
      co_return ready;  // what join() queued
    if (writes) (*participant)->may_have_written = true;
    if (!knows_objects(plan, target.unit, false, !request.parameter_types.empty())) {
      if (auto learned = co_await learn_objects(call.plan, **participant); !learned) co_return learned;
    }
    request.fragments.push_back({(*participant)->connection.get(), &objects(target.unit),
                                 plan::render(plan, call.values, target, targets.size()),
                                 target.insert_rows});
  }
  if (plan.effects.uses_sequences) ++sequences_.turn;  // several at once: none of them has been used last
  auto outcome = co_await exec::scatter(loop_.loop, std::move(request), port_, hooks_);
  if (!outcome) co_return fail(outcome.error());
  if (outcome->error) {
    // The guard of a moved bucket divides by zero; so may the statement itself.
    const bool may_be_stale = is_stale(*outcome->error) || outcome->error->get('C') == "22012";
    bool stale = yielding_ && !cancelled_ && outcome->error->get('C') == sqlstate::kQueryCanceled;
    for (size_t i = 0; !stale && may_be_stale && i < units_asked.size(); ++i)
      stale = co_await plan_is_stale(units_asked[i]);
    if (stale) {
      Error error = placement_changed();
      if (outcome->sent_rows) error.retry = Retry::kNever;
      co_return fail(std::move(error));
    }
    exec::tell_position(*outcome->error,
                        plan::text_map(plan, call.values, targets[outcome->failed], targets.size()));
    send_error(*outcome->error);
    co_return fail(kTold, {});
  }
  if (call.copy_rows != nullptr) {
    const std::string head = call.copy_rows->take();  // where there was no row
    if (auto sent = co_await port_.forward(head); !sent) co_return sent;
    if (call.result_formats.front() == 1) port_.writer().raw('d', std::string_view("\xff\xff", 2));
    port_.writer().empty('c');
    complete("COPY " + std::to_string(outcome->rows));
    co_return Status{};
  }
  const std::string tag = plan.tag + (plan.tag == "INSERT" ? " 0 " : " ") + std::to_string(outcome->rows);
  if (call.portal != nullptr && call.max_rows > 0) {
    call.portal->buffered_tag = tag;
  } else {
    complete(tag);
  }
  co_return Status{};
}

void Session::complete(std::string_view tag) {
  port_.writer().command_complete(tag);
}

// --- blocks of our own ---

Task<Status> Session::begin_implicit() {
  if (txn_->in_block()) co_return Status{};
  implicit_block_ = true;
  txn_->begin({}, settings_);
  // A batch of the extended protocol may have an implicit transaction open on a unit already: it becomes part
  // of the block.
  for (const auto& participant : txn_->participants()) {
    if (!participant->unsynced && !participant->pinned) continue;
    if (auto joined = co_await txn_->join(participant->connection->unit(), true, settings_); !joined)
      co_return fail(joined.error());
  }
  co_return Status{};
}

Task<Status> Session::end_implicit(Status result) {
  if (!implicit_block_) co_return result;
  implicit_block_ = false;
  if (result) result = check_held_cursors();
  if (result) {
    result = co_await txn_->commit();
  } else {
    co_await txn_->rollback();
  }
  co_await end_cursors(result.has_value());
  if (result) settings_ = txn_->settings_now();
  if (auto temp = co_await end_of_temp(); !temp && result) result = temp;
  if (catalog_dirty_) {
    catalog_dirty_ = false;
    block_snapshot_.reset();
    context_hash_ = 0;
    if (result) {
      auto refreshed = co_await node_.catalogs.refresh(loop_, identity_.database);
      if (!refreshed) co_return fail(refreshed.error());
    }
  }
  co_return result;
}

}  // namespace decan::session
