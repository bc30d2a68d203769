// The extended query protocol. Messages for one unit are queued on its connection and sent at Sync or Flush
// in one go; what the session answers itself takes its place in the same queue of replies. A batch that
// touches a second unit becomes a transaction block over both, so that it stays atomic.
#include <algorithm>

#include "distsql/distsql.h"
#include "session/outcome.h"
#include "session/session.h"

namespace decan::session {

using Kind = backend::Expected::Kind;

namespace {

// What one session's cursors or prepared statements make of the text: not shared between sessions.
bool belongs_to_session(const plan::Plan& plan) {
  switch (plan.action) {
    case plan::Action::kDeclareCursor:
    case plan::Action::kFetch:
    case plan::Action::kCloseCursor:
    case plan::Action::kExecute:
      return true;
    default:
      return false;
  }
}

bool holds_ids(const SharedStatement& statement, const catalog::UnitObjects& objects) {
  if (!statement.columns) return false;
  return std::ranges::any_of(statement.columns->fields, [&](const wire::FieldDescription& field) {
    return objects.shape(field.type).holds_ids;
  });
}

std::string encoded(void (wire::Writer::*message)(char), char type) {
  std::string bytes;
  (wire::Writer(bytes).*message)(type);
  return bytes;
}

// While it lives, changes of the placement wait for the plan (see placement_gate.h).
class OnItsWay {
 public:
  OnItsWay(const plan::Plan*& running, const plan::Plan& plan) : running_(running) { running_ = &plan; }
  ~OnItsWay() { running_ = nullptr; }
  OnItsWay(const OnItsWay&) = delete;
  OnItsWay& operator=(const OnItsWay&) = delete;

 private:
  const plan::Plan*& running_;
};

// Values are looked at here, in a form that only their types tell.
bool needs_types(const SharedStatement& statement, const wire::Bind& bind) {
  if (statement.described || bind.parameters.empty()) return false;
  const auto& formats = bind.parameter_formats;
  const bool binary = formats.size() > 1 || (formats.size() == 1 && formats[0] == 1);
  const bool several = statement.plan->action == plan::Action::kInsertRows ||
                       statement.plan->action == plan::Action::kScatter ||
                       statement.plan->action == plan::Action::kScatterWrite;
  const auto& declared = statement.declared_types;
  const bool undeclared =
      declared.size() < bind.parameters.size() || std::ranges::find(declared, Oid{0}) != declared.end();
  return several || (binary && undeclared);
}

}  // namespace

Task<Status> Session::extended(const wire::Header& header, std::string_view body) {
  if (skip_to_sync_ && header.type != 'S') co_return Status{};
  if (!encodings_known_) co_return check_encodings();
  if (!executing_) begin_timing();
  executing_ = true;
  Status done;
  switch (header.type) {
    case 'P':
      done = co_await on_parse(body);
      break;
    case 'B':
      done = co_await on_bind(body);
      break;
    case 'D':
      done = co_await on_describe(body);
      break;
    case 'E':
      done = co_await on_execute(body);
      break;
    case 'C':
      done = co_await on_close(body);
      break;
    case 'H':
      done =
          body.empty() ? co_await on_flush() : fail(sqlstate::kProtocolViolation, "invalid message format");
      break;
    default:
      if (!body.empty() && !skip_to_sync_)
        co_await extended_error(fail(sqlstate::kProtocolViolation, "invalid message format"));
      done = co_await on_sync();
      executing_ = false;
      co_return done;
  }
  if (done && batch_is_long()) done = co_await bound_batch();
  if (done) co_return done;
  if (done.error().sqlstate == sqlstate::kProtocolViolation && done.error().detail.empty() && !txn_)
    co_return done;
  co_await extended_error(std::move(done));
  co_return Status{};
}

// --- statements ---

Task<Result<SharedStatementPtr>> Session::shared_statement(std::string sql, std::vector<Oid> types) {
  auto current = co_await snapshot();
  if (!current) co_return fail(current.error());
  const uint64_t context = context_hash();
  std::string key;
  key.reserve(types.size() * sizeof(Oid) + sql.size());
  key.append(reinterpret_cast<const char*>(types.data()), types.size() * sizeof(Oid));
  key += sql;
  const uint64_t hash = std::hash<std::string>{}(key);
  auto& cache = loop_.statements.prepared();
  if (const SharedStatementPtr* known = cache.find(key, hash, context)) {
    loop_.metrics.plan_cache_hits.add();
    co_return *known;
  }
  loop_.metrics.plan_cache_misses.add();
  if (distsql::looks_like_distsql(sql)) {
    auto plan = std::make_shared<plan::Plan>();
    plan->action = plan::Action::kDistSql;
    plan->snapshot = *current;
    auto statement = std::make_shared<SharedStatement>();
    statement->sql = std::move(sql);
    statement->context = context;
    statement->plan = std::move(plan);
    co_return statement;
  }
  auto planning = co_await plan_context();
  if (!planning) co_return fail(planning.error());
  uint32_t position = 0;
  auto planned = plan::plan_statements(sql, nullptr, types, *planning, &position);
  if (!planned) {
    if (auto drained = co_await drain(); !drained) co_return fail(drained.error());
    wire::ErrorFields fields = wire::to_fields(planned.error(), "ERROR");
    if (position > 0) fields.set('P', std::to_string(position));
    send_error(fields);
    co_return fail(kTold, {});
  }
  if (planned->size() > 1) {
    co_return fail(sqlstate::kSyntaxError, "cannot insert multiple commands into a prepared statement");
  }
  auto statement = std::make_shared<SharedStatement>();
  statement->sql = std::move(sql);
  statement->declared_types = std::move(types);
  statement->context = context;
  if (planned->empty()) {
    auto empty = std::make_shared<plan::Plan>();
    empty->snapshot = *current;
    statement->plan = empty;
  } else {
    statement->plan = planned->front().plan;
  }
  if (statement->plan->snapshot && statement->plan->routing.group != nullptr) {
    statement->by_bucket.resize(statement->plan->routing.group->buckets.size());
  }
  const size_t bytes = statement->bytes() + 4096;
  if (!block_snapshot_ && !belongs_to_session(*statement->plan))
    cache.insert(std::move(key), hash, context, statement, bytes);
  co_return statement;
}

Task<Status> Session::on_parse(std::string_view body) {
  auto parse = wire::decode_parse(body);
  if (!parse) co_return fail(parse.error());
  for (const std::string_view text : {parse->name, parse->query}) {
    if (auto valid = check_text(text); !valid) co_return valid;
  }
  std::string name(parse->name);
  if (!name.empty() && prepared_.contains(name)) {
    co_return fail(sqlstate::kDuplicatePreparedStatement,
                   "prepared statement \"" + name + "\" already exists");
  }
  auto statement = co_await shared_statement(std::string(parse->query), std::move(parse->parameter_types));
  if (!statement) co_return fail(statement.error());
  if (auto allowed = check_in_block(*(*statement)->plan); !allowed) co_return allowed;
  if ((*statement)->plan->action == plan::Action::kRefuse) {
    timed_statement_ = *statement;
    count_statement(StatementTier::kRefused);
    co_return co_await refused(**statement);
  }
  // When a Bind follows at once the unit checks the text then; otherwise the client waits for the verdict
  // now.
  const size_t whole = wire::kHeaderBytes + body.size();
  const std::string_view rest = port_.input().readable().substr(std::min(whole, port_.input().size()));
  const bool bind_follows = !rest.empty() && rest[0] == 'B';
  if (!(*statement)->validated && !bind_follows) {
    if (auto valid = co_await validate(**statement); !valid) co_return valid;
  }
  prepared_[name] = *statement;
  if (!(*statement)->validated && (unverified_.empty() || unverified_.back() != name))
    unverified_.push_back(name);
  if (local_reply(encoded(&wire::Writer::empty, '1'))) queued_parses_.push_back(name);
  co_return Status{};
}

// --- portals ---

// Without a look at the catalog's loader: nothing has changed since the last one.
bool Session::plan_is_current(const SharedStatement& statement) {
  const bool known = block_snapshot_ || (snapshot_ && node_.catalogs.changes() == snapshot_changes_);
  return known && statement.context == context_hash();
}

Task<Status> Session::replan(Portal& portal) {
  auto current = co_await snapshot();
  if (!current) co_return fail(current.error());
  if (portal.statement->context == context_hash()) co_return Status{};
  auto again = co_await shared_statement(portal.statement->sql, portal.statement->declared_types);
  if (!again) co_return fail(again.error());
  portal.statement = *again;
  co_return Status{};
}

Task<Status> Session::on_bind(std::string_view body) {
  Portal portal;
  // On the heap whatever its length: the values point into it, also after the portal has moved.
  portal.bind_body.reserve(std::max<size_t>(body.size(), 64));
  portal.bind_body.assign(body);
  auto bind = wire::decode_bind(portal.bind_body);
  if (!bind) co_return fail(bind.error());
  const std::string name(bind->portal), statement_name(bind->statement);
  if (auto valid = check_text(name); !valid) co_return valid;
  const auto found = prepared_.find(statement_name);
  if (found == prepared_.end()) {
    co_return fail(sqlstate::kInvalidStatementName,
                   statement_name.empty() ? "unnamed prepared statement does not exist"
                                          : "prepared statement \"" + statement_name + "\" does not exist");
  }
  if (!name.empty() && portals_.contains(name))
    co_return fail(sqlstate::kDuplicateCursor, "cursor \"" + name + "\" already exists");
  portal.statement = found->second;
  // Whatever makes this wait may let the catalog change: then all is looked at again.
  while (true) {
    if (!plan_is_current(*portal.statement)) {
      if (auto planned = co_await replan(portal); !planned) co_return planned;
    }
    if (!loop_.gate.is_open() && loop_.gate.stops(identity_.database, *portal.statement->plan, this)) {
      if (auto passed = co_await wait_at_gate(*portal.statement->plan); !passed) co_return passed;
      continue;
    }
    found->second = portal.statement;
    const plan::Plan& plan = *portal.statement->plan;
    if (auto allowed = check_block_epoch(plan); !allowed) co_return allowed;
    if (auto allowed = check_in_block(plan); !allowed) co_return allowed;
    if (plan.action == plan::Action::kRefuse) co_return co_await refused(*portal.statement);
    if (!needs_types(*portal.statement, *bind)) break;
    if (auto valid = co_await validate(*portal.statement); !valid) co_return valid;
    if (needs_types(*portal.statement, *bind)) break;
  }
  SharedStatement& statement = *portal.statement;
  const auto& types = statement.described ? statement.parameter_types : statement.declared_types;
  if (statement.described && bind->parameters.size() != types.size()) {
    co_return fail(sqlstate::kProtocolViolation,
                   "bind message supplies " + std::to_string(bind->parameters.size()) +
                       " parameters, but prepared statement \"" + statement_name + "\" requires " +
                       std::to_string(types.size()),
                   "Bind.");
  }
  portal.parameters.reserve(bind->parameters.size());
  for (size_t i = 0; i < bind->parameters.size(); ++i) {
    plan::ParameterValue value;
    value.is_null = !bind->parameters[i].has_value();
    value.is_binary = bind->parameter_is_binary(i);
    value.type = i < types.size() ? types[i] : 0;
    if (bind->parameters[i]) value.bytes = *bind->parameters[i];
    if (!value.is_binary) {
      if (auto valid = check_text(value.bytes); !valid) co_return valid;
    }
    portal.parameters.push_back(value);
  }
  portal.parameter_formats = std::move(bind->parameter_formats);
  portal.result_formats = std::move(bind->result_formats);
  auto [at, inserted] = portals_.insert_or_assign(name, std::move(portal));
  Portal& bound = at->second;
  // Past the gate, and on its way until it is queued for its unit.
  const OnItsWay on_its_way(running_, *bound.statement->plan);
  if (!goes_to_unit_whole(*bound.statement->plan)) {
    local_reply(encoded(&wire::Writer::empty, '2'));
    co_return Status{};
  }
  Call call;
  call.plan = bound.statement->plan;
  call.values = {bound.statement->sql, nullptr, bound.parameters};
  if (auto one = one_target(call)) {
    bound.targets.push_back(std::move(*one));
  } else {
    call.statement = bound.statement;
    call.values.read = &call.read;
    auto targets = targets_of(call);
    if (!call.read.wanted.empty()) {
      auto read = co_await read_values(fail(targets.error()), call);
      targets = read ? targets_of(call) : fail(read.error());
    }
    if (!targets) {
      const SharedStatementPtr refused = bound.statement;
      portals_.erase(at);
      co_return co_await judged(fail(targets.error()), *refused->plan, refused->sql, refused->declared_types);
    }
    bound.targets = std::move(*targets);
  }
  if (bound.targets.size() != 1) {
    local_reply(encoded(&wire::Writer::empty, '2'));
    co_return Status{};
  }
  const UnitId unit = bound.targets.front().unit;
  const bool second = std::ranges::any_of(txn_->participants(), [&](const auto& participant) {
    return participant->unsynced && participant->connection->unit() != unit;
  });
  if (second || (batch_unit_ && *batch_unit_ != unit)) {
    // A second unit in one batch: from here on the batch is a block over both.
    if (auto drained = co_await drain(); !drained) co_return drained;
    if (auto opened = co_await begin_implicit(); !opened) co_return opened;
  }
  txn::Participant* participant = txn_->try_join(unit, txn_->in_block(), settings_);
  if (participant == nullptr) {
    auto joined = co_await join(unit, txn_->in_block());
    if (!joined) co_return fail(joined.error());
    participant = *joined;
  }
  const plan::Plan& plan = *bound.statement->plan;
  const bool leaf = bound.targets.front().bucket && !plan.leaf_text.empty();
  if (!knows_objects(plan, unit, leaf, bound.statement->has_unit_types())) {
    if (auto learned = co_await learn_objects(bound.statement->plan, *participant); !learned)
      co_return learned;
  }
  const bool binary_rows = std::ranges::find(bound.result_formats, 1) != bound.result_formats.end();
  if (plan.returns_rows && binary_rows && !objects(unit).is_home()) {
    if (auto valid = co_await validate(*bound.statement); !valid) co_return valid;
    bound.translated = holds_ids(*bound.statement, objects(unit));
  }
  batch_unit_ = unit;
  co_return bind_on(bound, name, *participant);
}

Status Session::bind_on(Portal& portal, const std::string& name, txn::Participant& participant) {
  backend::UnitConnection& connection = *participant.connection;
  Call call;
  call.plan = portal.statement->plan;
  call.values = {portal.statement->sql, nullptr, portal.parameters};
  call.statement = portal.statement;
  if (auto claimed = claim_sequences(call.plan->effects, participant, true); !claimed) return claimed;
  note_effects(call, participant);
  const auto statement = unit_statement(call, portal.targets.front(), 1);
  connection.evict_prepared(node_.prepared_statements.load(std::memory_order_relaxed));
  queue_parse(connection, statement, false);
  auto& values = spare_values_;
  values.clear();
  for (const plan::ParameterValue& parameter : portal.parameters)
    values.push_back(parameter.is_null ? std::nullopt : std::optional(parameter.bytes));
  const exec::UnitParameters parameters(values, portal.parameter_formats, portal.statement->types(),
                                        &objects(connection.unit()));
  connection.writer().bind(name, statement->name(), portal.parameter_formats, parameters.values(),
                           portal.result_formats);
  connection.expect({Kind::kBind, true, statement, {}});
  participant.unsynced = true;
  portal.open_on = participant.connection->unit();
  if (call.plan->snapshot) used_epoch_ = call.plan->snapshot->epoch;
  return {};
}

backend::UnitStatementPtr Session::unit_statement(Call& call, const plan::UnitTarget& target,
                                                  size_t target_count) {
  SharedStatement& statement = *call.statement;
  if (belongs_to_session(*call.plan))
    return loop_.statements.make_unit_statement(statement.sql, statement.declared_types);
  const bool by_bucket =
      target.bucket && target.insert_rows.empty() && target.bucket->value < statement.by_bucket.size();
  backend::UnitStatementPtr* slot = by_bucket ? &statement.by_bucket[target.bucket->value] : nullptr;
  if (slot == nullptr && target.insert_rows.empty() && target_count == 1) {
    slot = call.plan->whole_text.empty() ? &statement.whole : &statement.guarded;
  }
  if (slot != nullptr && *slot) return *slot;
  auto made = loop_.statements.make_unit_statement(
      plan::render(*call.plan, call.values, target, target_count),
      statement.described && !target.insert_rows.empty() ? statement.parameter_types
                                                         : statement.declared_types,
      plan::text_map(*call.plan, call.values, target, target_count));
  if (slot != nullptr) *slot = made;
  return made;
}

void Session::queue_parse(backend::UnitConnection& connection, const backend::UnitStatementPtr& statement,
                          bool visible) {
  if (connection.has_prepared(*statement)) return;
  const auto& types = statement->parameter_types;
  if (std::ranges::any_of(types, exec::may_hold_ids)) {
    connection.writer().parse(statement->name(), statement->sql,
                              exec::unit_types(types, objects(connection.unit())));
  } else {
    connection.writer().parse(statement->name(), statement->sql, types);
  }
  connection.expect({Kind::kParse, visible, statement, {}});
  connection.note_prepared(statement);  // taken back by the relay when the unit refuses or skips it
}

bool Session::on_open_portal(char type, std::string_view body) {
  if (!executing_ || skip_to_sync_ || !encodings_known_ || !batch_unit_ || batch_is_long()) return false;
  std::string_view name;
  int32_t max_rows = 0;
  if (type == 'D') {
    const auto describe = wire::decode_describe(body);
    if (!describe || describe->kind != 'P') return false;
    name = describe->name;
  } else {
    const auto execute = wire::decode_execute(body);
    if (!execute) return false;
    name = execute->portal;
    max_rows = execute->max_rows;
  }
  const auto found = portals_.find(name);
  if (found == portals_.end() || found->second.open_on != batch_unit_) return false;
  txn::Participant* participant = txn_->find(*batch_unit_);
  if (participant == nullptr) return false;
  if (type == 'D') {
    participant->connection->writer().describe('P', name);
    participant->connection->expect(Kind::kDescribePortal, true);
  } else {
    execute_open(found->second, found->first, *participant, max_rows);
  }
  return true;
}

void Session::execute_open(Portal& portal, const std::string& name, txn::Participant& participant,
                           int32_t max_rows) {
  backend::UnitConnection& connection = *participant.connection;
  if (portal.translated) {
    connection.writer().describe('P', name);
    connection.expect(Kind::kDescribePortal, false);
  }
  connection.writer().execute(name, max_rows);
  connection.expect(Kind::kExecute, true);
  participant.unsynced = true;
  const plan::Plan& plan = *portal.statement->plan;
  if (plan.effects.writes) participant.may_have_written = true;
  count_statement(StatementTier::kRoute);
  timed_statement_ = portal.statement;
  if (plan.action == plan::Action::kDeclareCursor || plan.action == plan::Action::kCloseCursor)
    note_cursor(plan, participant);
}

Task<Status> Session::on_execute(std::string_view body) {
  auto execute_message = wire::decode_execute(body);
  if (!execute_message) co_return fail(execute_message.error());
  const std::string name(execute_message->portal);
  const auto found = portals_.find(name);
  if (found == portals_.end())
    co_return fail(sqlstate::kInvalidCursorName, "portal \"" + name + "\" does not exist");
  Portal& portal = found->second;
  if (portal.open_on) {
    txn::Participant* participant = txn_->find(*portal.open_on);
    if (participant == nullptr)
      co_return fail(sqlstate::kInvalidCursorName, "portal \"" + name + "\" does not exist");
    if (batch_unit_ && *batch_unit_ != *portal.open_on) {
      if (auto drained = co_await drain(); !drained) co_return drained;
    }
    batch_unit_ = portal.open_on;
    execute_open(portal, name, *participant, execute_message->max_rows);
    co_return Status{};
  }
  if (auto drained = co_await drain(); !drained) co_return drained;
  if (!portal.executed) {
    if (auto planned = co_await replan(portal); !planned) co_return planned;
  }
  if (portal.statement->plan->action == plan::Action::kEmpty) {
    port_.writer().empty('I');
    co_return Status{};
  }
  if (!portal.executed) {
    Call call;
    call.plan = portal.statement->plan;
    call.values = {portal.statement->sql, nullptr, portal.parameters};
    call.simple = false;
    call.statement = goes_to_unit_whole(*call.plan) ? portal.statement : nullptr;
    call.portal = &portal;
    timed_statement_ = portal.statement;
    call.max_rows = execute_message->max_rows;
    // Other ways to a unit than bound portals would commit what the batch has done so far.
    const bool open = std::ranges::any_of(txn_->participants(),
                                          [](const auto& participant) { return participant->unsynced; });
    if (open) {
      if (auto opened = co_await begin_implicit(); !opened) co_return opened;
      for (const auto& participant : txn_->participants()) {
        if (auto ready = co_await run_on(*participant, {}, false); !ready) co_return ready;
      }
    }
    call.result_formats = portal.result_formats;
    portal.executed = true;
    const std::string copy_of_name = name;
    if (auto done = co_await execute(call); !done) co_return done;
    const auto still = portals_.find(copy_of_name);
    if (still == portals_.end() || still->second.buffered_tag.empty()) co_return Status{};
  }
  // Rows of a limited fetch that were merged before: hand out the next piece.
  Portal& buffered = portals_.find(name)->second;
  const size_t from = buffered.buffered_at;
  skip_rows(buffered,
            execute_message->max_rows > 0 ? execute_message->max_rows : std::numeric_limits<int64_t>::max());
  port_.out().append(buffered.buffered, from, buffered.buffered_at - from);
  if (buffered.buffered_at < buffered.buffered.size())
    port_.writer().empty('s');
  else
    complete(buffered.buffered_tag);
  co_return co_await port_.relieve();
}

}  // namespace decan::session
