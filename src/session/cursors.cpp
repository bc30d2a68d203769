// SQL-level cursors: on one unit as they are, over several units as one cursor on each whose rows are merged.
#include <algorithm>
#include <set>

#include "base/quote.h"
#include "session/outcome.h"
#include "session/session.h"

namespace decan::session {

namespace {

constexpr Oid kFirstUserOid = 16384;

std::unexpected<Error> no_such_cursor(const std::string& name) {
  return fail(sqlstate::kInvalidCursorName, "cursor \"" + name + "\" does not exist");
}

// How far FETCH and MOVE go: rows that are left out, then rows that are given. Only forwards.
struct Stride {
  uint64_t skipped = 0, given = 0;
};

Result<Stride> stride_of(const plan::CursorSpec& spec, const exec::MergedCursor& cursor) {
  using Direction = plan::CursorSpec::Direction;
  if (spec.direction == Direction::kForward && spec.count > 0)
    return Stride{0, static_cast<uint64_t>(spec.count)};
  // The row it stands on, again: none when it stands on none.
  const bool here = spec.count == 0 && spec.direction != Direction::kAbsolute;
  if (here && cursor.place() != exec::MergedCursor::Place::kOn) return Stride{};
  if (spec.direction == Direction::kRelative && spec.count > 0)
    return Stride{static_cast<uint64_t>(spec.count) - 1, 1};
  if (cursor.no_scroll() && ((spec.direction == Direction::kForward && spec.count < 0) ||
                             (spec.direction == Direction::kBackward && spec.count > 0) || here)) {
    return fail(sqlstate::kObjectNotInPrerequisiteState, "cursor can only scan forward", {},
                "Declare it with SCROLL option to enable backward scan.");
  }
  return fail(sqlstate::kFeatureNotSupported, "a cursor over several storage units goes forwards only", {},
              "Use FETCH NEXT, FETCH n or FETCH ALL.");
}

}  // namespace

exec::MergedCursor* Session::merged_cursor(std::string_view name) {
  const auto found = merged_cursors_.find(name);
  return found == merged_cursors_.end() ? nullptr : found->second.get();
}

Task<Status> Session::cursor_statement(Call& call) {
  const plan::Plan& plan = *call.plan;
  const auto& spec = std::get<plan::CursorSpec>(plan.detail);
  UnitId unit = node_.home();
  if (plan.action == plan::Action::kDeclareCursor) {
    auto targets = targets_of(call);
    if (!targets) co_return fail(targets.error());
    const auto known = cursors_.find(spec.name);
    const bool elsewhere =
        targets->size() == 1 && known != cursors_.end() && known->second != targets->front().unit;
    if (elsewhere || merged_cursor(spec.name) != nullptr || (targets->size() > 1 && known != cursors_.end()))
      co_return fail(sqlstate::kDuplicateCursor, "cursor \"" + spec.name + "\" already exists");
    if (targets->size() != 1) co_return co_await declare_merged(call, std::move(*targets));
    unit = targets->front().unit;
  } else if (merged_cursor(spec.name) != nullptr) {
    co_return co_await merged_cursor_statement(call);
  } else if (const auto portal = portals_.find(spec.name); portal != portals_.end() && !spec.name.empty()) {
    if (!portal->second.open_on) co_return portal_statement(plan, spec.name);
    unit = *portal->second.open_on;
    if (plan.action == plan::Action::kCloseCursor) portals_.erase(portal);
  } else if (const auto known = cursors_.find(spec.name); known != cursors_.end()) {
    unit = known->second;
  } else if (spec.name.empty()) {
    for (const auto& participant : txn_->participants()) {
      participant->check_state = participant->check_state || participant->pinned;
      if (auto done = co_await run_on(*participant, "CLOSE ALL", false); !done) co_return done;
    }
    cursors_.clear();
    merged_cursors_.clear();
    complete("CLOSE CURSOR ALL");
    co_return Status{};
  }
  auto participant = co_await join(unit, txn_->in_block());
  if (!participant) co_return fail(participant.error());
  if (!knows_objects(plan, unit, false, false)) {
    if (auto learned = co_await learn_objects(call.plan, **participant); !learned) co_return learned;
  }
  auto done = co_await run_on(**participant, std::string(call.values.sql), true);
  if (!done) co_return done;
  note_cursor(plan, **participant);
  co_return Status{};
}

void Session::note_cursor(const plan::Plan& plan, txn::Participant& participant) {
  const auto& spec = std::get<plan::CursorSpec>(plan.detail);
  if (plan.action == plan::Action::kDeclareCursor) {
    cursors_[spec.name] = participant.connection->unit();
    if (spec.with_hold) participant.pinned = true;
    if (plan.effects.writes) participant.may_have_written = true;
  } else if (plan.action == plan::Action::kCloseCursor) {
    if (spec.name.empty())
      cursors_.clear();
    else
      cursors_.erase(spec.name);
    participant.check_state = participant.check_state || participant.pinned;  // maybe by this cursor only
  }
}

// --- over several units ---

// Runs what is queued up to a Sync. Rows go to `row`; a description is kept.
Task<Result<std::optional<wire::ErrorFields>>> Session::exchange(backend::UnitConnection& connection,
                                                                 std::optional<wire::RowDescription>* columns,
                                                                 exec::MergedCursor* cursor, size_t source) {
  if (auto sent = co_await connection.flush(); !sent) co_return fail(sent.error());
  std::optional<wire::ErrorFields> error;
  size_t rows = 0;
  for (bool ready = false; !ready;) {
    auto frame = co_await connection.next_frame();
    if (!frame) co_return fail(frame.error());
    switch (frame->type) {
      case 'D':
        if (cursor != nullptr) cursor->add(source, connection.input().readable().substr(0, frame->bytes()));
        ++rows;
        break;
      case 'T': {
        std::string own(frame->body);
        exec::IdColumns ids;
        if (auto mapped = exec::map_row_description(own, objects(connection.unit()), ids); !mapped)
          co_return fail(mapped.error());
        auto described = wire::decode_row_description(own);
        if (!described) co_return fail(described.error());
        if (columns != nullptr) *columns = std::move(*described);
        break;
      }
      case 'E': {
        auto fields = wire::decode_error(frame->body);
        if (!fields) co_return fail(fields.error());
        if (!error) error = std::move(*fields);
        break;
      }
      case 'N':
        if (auto fields = wire::decode_error(frame->body)) {
          logical_names(*fields);
          port_.writer().notice(*fields);
        }
        break;
      case 'S':
        if (auto noted = connection.note_parameter(frame->body); !noted) co_return fail(noted.error());
        break;
      case 'Z':
        connection.set_tx_status(wire::decode_ready_for_query(frame->body).value_or('E'));
        ready = true;
        break;
      default:
        break;
    }
    connection.consume_frame(*frame);
  }
  if (cursor != nullptr && !error) cursor->end_portion(source, rows);
  co_return error;
}

Task<Status> Session::declare_merged(Call& call, std::vector<plan::UnitTarget> targets) {
  const plan::Plan& plan = *call.plan;
  const auto& spec = std::get<plan::CursorSpec>(plan.detail);
  const bool alone = call.simple && !txn_->in_block();
  if (!plan.merge)
    co_return fail(sqlstate::kFeatureNotSupported, "the cursor's keys lead to different storage units", {},
                   "Declare one cursor per key.");
  if (auto allowed = check_isolation(); !allowed) co_return allowed;
  exec::MergedCursor::Options options;
  options.name = spec.name;
  options.plan = call.plan;
  options.no_scroll = spec.no_scroll;
  options.with_hold = spec.with_hold;
  auto values = merge_values(call);
  if (!values) co_return fail(values.error());
  options.limit = values->limit, options.offset = values->offset;
  options.having_values = std::move(values->having);
  options.limits.max_bytes = node_.config()->limits.merge_memory.value;
  options.limits.setting = "limits.merge_memory";
  std::vector<Oid> types;
  if (call.statement) types = call.statement->declared_types;
  std::vector<std::optional<std::string_view>> parameters;
  std::vector<int16_t> formats;
  for (const plan::ParameterValue& parameter : call.values.parameters) {
    parameters.push_back(parameter.is_null ? std::nullopt : std::optional(parameter.bytes));
    formats.push_back(parameter.is_binary ? 1 : 0);
  }
  std::optional<wire::RowDescription> columns;
  if (auto opened = co_await begin_implicit(); !opened) co_return opened;
  for (const plan::UnitTarget& target : targets) {
    auto participant = co_await join(target.unit, true);
    if (!participant) co_return fail(participant.error());
    if (auto ready = co_await run_on(**participant, {}, false); !ready) co_return ready;
    if (!knows_objects(plan, target.unit, false, !types.empty())) {
      if (auto learned = co_await learn_objects(call.plan, **participant); !learned) co_return learned;
    }
    backend::UnitConnection& connection = *(*participant)->connection;
    connection.writer().parse("", plan::render(plan, call.values, target, targets.size()), types);
    connection.writer().bind("", "", formats, parameters, {});
    connection.writer().execute("", 0);
    connection.writer().describe('P', spec.name);
    connection.writer().sync();
    auto error = co_await exchange(connection, &columns, nullptr, 0);
    if (!error) co_return fail(error.error());
    if (*error) {
      logical_names(**error);
      send_error(**error);
      co_return fail(kTold, {});
    }
    options.units.push_back(target.unit);
    if (!spec.with_hold) continue;
    (*participant)->pinned = true;
    // The rows may be read by COMMIT: too late for the guards. From here on the table's lock keeps the
    // placement.
    auto epoch = co_await connection.query("SELECT epoch FROM decan.map");
    if (!epoch) co_return fail(epoch.error());
    if (epoch->front().rows.at(0).at(0) != std::to_string(used_epoch_)) co_return fail(placement_changed());
  }
  if (!columns) co_return fail(sqlstate::kInternalError, "a cursor without columns");
  options.fragment = std::move(*columns);
  auto cursor = std::make_unique<exec::MergedCursor>(std::move(options));
  // What can not be merged is refused now, not at the first FETCH.
  if (auto described = cursor->description({}); !described) co_return fail(described.error());
  merged_cursors_[spec.name] = std::move(cursor);
  if (alone) {
    if (auto ended = co_await end_implicit(Status{}); !ended) co_return ended;
  }
  complete("DECLARE CURSOR");
  co_return Status{};
}

Task<Status> Session::merged_cursor_statement(Call& call) {
  const plan::Plan& plan = *call.plan;
  const auto& spec = std::get<plan::CursorSpec>(plan.detail);
  exec::MergedCursor& cursor = *merged_cursor(spec.name);
  if (plan.action == plan::Action::kCloseCursor) {
    for (const UnitId unit : cursor.units()) {
      txn::Participant* participant = txn_->find(unit);
      if (participant == nullptr) continue;
      if (cursor.held()) {
        if (auto joined = co_await join(unit, txn_->in_block()); !joined) co_return fail(joined.error());
        participant->check_state = true;
      }
      auto closed = co_await run_on(*participant, "CLOSE " + quote_identifier(spec.name), false);
      if (!closed) co_return closed;
    }
    merged_cursors_.erase(spec.name);
    complete("CLOSE CURSOR");
    co_return Status{};
  }
  co_return co_await fetch_merged(call, cursor);
}

Task<Status> Session::fetch_merged(Call& call, exec::MergedCursor& cursor) {
  const auto& spec = std::get<plan::CursorSpec>(call.plan->detail);
  if (cursor.failed())
    co_return fail(sqlstate::kObjectNotInPrerequisiteState, "portal \"" + cursor.name() + "\" cannot be run");
  auto stride = stride_of(spec, cursor);
  if (!stride) co_return fail(stride.error());
  // MOVE has no format of its own: the first FETCH decides, or text.
  if (auto opened = cursor.open(spec.is_move && cursor.started() ? cursor.formats() : call.result_formats);
      !opened)
    co_return opened;
  auto description = cursor.description(call.result_formats);
  if (!description) co_return fail(description.error());
  const bool user_types = std::ranges::any_of(description->fields, [](const wire::FieldDescription& field) {
    return field.type >= kFirstUserOid && field.format == 1;
  });
  if (user_types && !spec.is_move)
    co_return fail(sqlstate::kFeatureNotSupported,
                   "values of user-made types are fetched from several storage units as text only", {},
                   "Fetch them in text format, or cast them to text.");
  if (call.simple && !spec.is_move) port_.writer().row_description(*description);
  std::string* held = call.portal != nullptr && call.max_rows > 0 ? &call.portal->buffered : nullptr;
  uint64_t skipped = 0, given = 0;
  bool at_end = false;
  std::string rows;
  while (given < stride->given) {
    if (cursor.has_rows()) {
      rows.clear();
      if (skipped < stride->skipped) {
        skipped += cursor.take(stride->skipped - skipped, rows);
        continue;
      }
      given += cursor.take(stride->given - given, rows);
      if (spec.is_move) continue;
      if (held != nullptr) {
        *held += rows;
      } else if (auto sent = co_await port_.forward(rows); !sent) {
        co_return sent;
      }
      continue;
    }
    auto needed = cursor.advance();
    if (!needed) {
      cursor.fail_for_good();
      co_return fail(needed.error());
    }
    if (!*needed && !cursor.has_rows()) {
      at_end = true;
      break;
    }
    if (!*needed) continue;
    if (auto fetched = co_await fetch_portion(cursor, **needed); !fetched) co_return fetched;
  }
  cursor.note_fetch(skipped + given, at_end);
  const std::string tag = call.plan->tag + " " + std::to_string(given);
  if (held != nullptr)
    call.portal->buffered_tag = tag;
  else
    complete(tag);
  co_return Status{};
}

Task<Status> Session::fetch_portion(exec::MergedCursor& cursor, size_t source) {
  txn::Participant* participant = txn_->find(cursor.units()[source]);
  if (participant == nullptr || !(participant->in_block || cursor.held()))
    co_return no_such_cursor(cursor.name());
  if (cursor.held()) {
    if (auto joined = co_await join(cursor.units()[source], txn_->in_block()); !joined)
      co_return fail(joined.error());
  }
  if (auto ready = co_await run_on(*participant, {}, false); !ready) co_return ready;
  backend::UnitConnection& connection = *participant->connection;
  connection.writer().parse("",
                            "FETCH FORWARD " + std::to_string(cursor.portion_rows(source)) + " FROM " +
                                quote_identifier(cursor.name()),
                            {});
  connection.writer().bind("", "", {}, {}, cursor.portion_formats());
  connection.writer().execute("", 0);
  connection.writer().sync();
  const bool first = !cursor.started_fetching(source);
  auto error = co_await exchange(connection, nullptr, &cursor, source);
  if (!error) co_return fail(error.error());
  if (!*error) co_return Status{};
  cursor.fail_for_good();
  const bool guard = first && (*error)->get('C') == "22012";
  if ((guard || is_stale(**error)) && co_await plan_is_stale(connection.unit())) {
    co_return fail(sqlstate::kSerializationFailure,
                   "the placement of a table changed while the transaction used it", {},
                   "Run the transaction again.");
  }
  logical_names(**error);
  send_error(**error);
  co_return fail(kTold, {});
}

// What CLOSE ALL concerns; the home unit when there is none.
std::vector<plan::UnitTarget> Session::units_of_cursors() const {
  std::set<UnitId> found;
  for (const auto& [name, unit] : cursors_) found.insert(unit);
  for (const auto& [name, cursor] : merged_cursors_)
    found.insert(cursor->units().begin(), cursor->units().end());
  if (found.empty()) found.insert(node_.home());
  std::vector<plan::UnitTarget> out;
  for (const UnitId unit : found) out.push_back({unit, {}, {}});
  return out;
}

// Those WITH HOLD outlive a COMMIT, and later transactions whatever their end.
Task<void> Session::end_cursors(bool committed) {
  for (const auto& [name, cursor] : merged_cursors_) {
    if (committed || cursor->held() || !cursor->with_hold()) continue;
    // Units that had committed before one could not have kept theirs.
    for (const UnitId unit : cursor->units()) {
      txn::Participant* participant = txn_->find(unit);
      if (participant == nullptr || participant->connection->broken()) continue;
      participant->check_state = true;
      (void)co_await participant->connection->query("CLOSE " + quote_identifier(name));
    }
  }
  std::erase_if(cursors_, [&](const auto& cursor) {
    const txn::Participant* participant = txn_->find(cursor.second);
    return participant == nullptr || !participant->pinned;
  });
  std::erase_if(merged_cursors_, [&](const auto& known) {
    exec::MergedCursor& cursor = *known.second;
    if (committed && cursor.with_hold()) cursor.hold();
    return !cursor.held();
  });
}

// A unit keeps the rows of a cursor WITH HOLD when it commits, and may fail at that when others have
// committed.
Status Session::check_held_cursors() const {
  const bool holds = std::ranges::any_of(
      merged_cursors_, [](const auto& known) { return known.second->with_hold() && !known.second->held(); });
  const bool writes = std::ranges::any_of(txn_->participants(),
                                          [](const auto& p) { return p->in_block && p->may_have_written; });
  if (!holds || !writes) return {};
  return fail(sqlstate::kFeatureNotSupported,
              "a transaction that declares a cursor WITH HOLD over several storage units can not write", {},
              "Declare the cursor in a transaction of its own, or outside of a block.");
}

// ROLLBACK TO takes cursors away that were declared since.
Task<Status> Session::forget_lost_cursors() {
  for (const auto& participant : txn_->participants()) {
    if (participant->connection->broken() || (cursors_.empty() && merged_cursors_.empty())) continue;
    const UnitId unit = participant->connection->unit();
    auto open = co_await participant->connection->query("SELECT name FROM pg_catalog.pg_cursors");
    if (!open) co_return fail(open.error());
    const auto lost = [&](const std::string& name) {
      return std::ranges::none_of(open->front().rows, [&](const auto& row) { return row[0] == name; });
    };
    std::erase_if(cursors_, [&](const auto& known) { return known.second == unit && lost(known.first); });
    std::erase_if(merged_cursors_, [&](const auto& known) {
      const auto& units = known.second->units();
      return std::ranges::find(units, unit) != units.end() && lost(known.first);
    });
  }
  co_return Status{};
}

}  // namespace decan::session
