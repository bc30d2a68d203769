#include "session/placement_gate.h"

#include <algorithm>

#include "session/on_loop.h"
#include "session/outcome.h"
#include "session/session.h"

namespace decan::session {
namespace {

constexpr auto kLookEvery = std::chrono::milliseconds(10);
// How long a change waits for statements that may still come to the table, holding its lock.
constexpr auto kChangeWaits = std::chrono::seconds(30);
// How long a transaction waits that holds locks itself, for which the change may be waiting.
constexpr auto kBlockWaits = std::chrono::seconds(3);

}  // namespace

namespace {

// Makes something, or writes rows, on every unit there is.
bool runs_on_all_units(const plan::Plan& plan) {
  switch (plan.action) {
    case plan::Action::kScatterWrite:
      return plan.broadcast_write;
    case plan::Action::kCopyIn:
      return plan.routing.to == plan::RouteTo::kAllUnits && plan.routing.group == nullptr;
    case plan::Action::kAdmin:
    case plan::Action::kDistSql:
      return true;
    case plan::Action::kDdl:
    case plan::Action::kDdlConcurrent: {
      const auto* spec = std::get_if<plan::DdlSpec>(&plan.detail);
      return spec != nullptr && !spec->creates_temp &&
             (spec->changes_catalog || spec->writes_rows || !spec->tag_object.empty());
    }
    default:
      return false;
  }
}

}  // namespace

bool may_touch(const plan::Plan& plan, const PlacementGate::Change& change) {
  if (change.units) return runs_on_all_units(plan);
  switch (plan.action) {
    case plan::Action::kRoute:
    case plan::Action::kScatter:
    case plan::Action::kScatterWrite:
    case plan::Action::kInsertRows:
      return !plan.tables || std::ranges::binary_search(*plan.tables, change.table);
    case plan::Action::kCopyIn:
    case plan::Action::kCopyOut:
    case plan::Action::kDdl:
    case plan::Action::kDeclareCursor:
    case plan::Action::kExplain:
      return true;
    default:
      return false;  // what they run is planned on its own, or is PostgreSQL's to refuse
  }
}

void PlacementGate::open(const void* owner) {
  std::erase_if(changes_, [&](const Change& change) { return change.owner == owner; });
  for (async::Event* event : waiting_) event->notify();
}

bool PlacementGate::stops(const std::string& database, const plan::Plan& plan, const void* session) const {
  return std::ranges::any_of(changes_, [&](const Change& change) {
    return change.owner != session && change.is_for(database) && may_touch(plan, change);
  });
}

async::Task<bool> PlacementGate::wait(async::Loop& loop, async::TimePoint deadline) {
  async::Event event(loop);
  const auto at = waiting_.insert(waiting_.end(), &event);
  const bool notified = co_await event.wait(deadline);
  waiting_.erase(at);
  co_return notified;
}

// --- the session's side ---

Error Session::placement_changed() const {
  Error error{std::string(sqlstate::kSerializationFailure),
              "the placement of a table changed while the statement used it",
              {},
              "Run the transaction again."};
  error.retry = Retry::kAfterCatalogRefresh;
  return error;
}

// In front of the gate. What was planned before has to be planned again.
Task<Status> Session::wait_at_gate(const plan::Plan& plan) {
  const bool holds_locks = std::ranges::any_of(txn_->participants(), [](const auto& participant) {
    return participant->in_block || participant->unsynced;
  });
  const auto give_up = holds_locks ? async::Clock::now() + kBlockWaits : async::kNoDeadline;
  while (loop_.gate.stops(identity_.database, plan, this)) {
    if (!terminate_reason_.empty()) co_return fail(sqlstate::kAdminShutdown, terminate_reason_);
    if (cancelled_) co_return fail(sqlstate::kQueryCanceled, "canceling statement due to user request");
    const auto now = async::Clock::now();
    if (now >= give_up) {
      Error error = placement_changed();
      error.message = "the placement of a table that the statement uses is being changed";
      error.retry = Retry::kNever;
      co_return fail(std::move(error));
    }
    (void)co_await loop_.gate.wait(loop_.loop, std::min(give_up, now + std::chrono::milliseconds(500)));
  }
  co_return Status{};
}

// Behind the gate: see placement_gate.h.
Task<Status> Session::execute_gated(Call& call) {
  const plan::Plan* outer = std::exchange(running_, call.plan.get());
  if (call.plan->snapshot) used_epoch_ = call.plan->snapshot->epoch;
  auto done = co_await execute_once(call);
  running_ = outer;
  co_return done;
}

Task<Status> Session::plan_again(Call& call) {
  auto refreshed = co_await node_.catalogs.refresh(loop_, identity_.database);
  if (!refreshed) co_return fail(refreshed.error());
  auto planned = co_await plan_text(call.values.sql);
  if (!planned) co_return fail(planned.error());
  if ((*planned)->statements.size() != 1) co_return fail(placement_changed());
  call.plan = (*planned)->statements[0].plan;
  call.values.tpl = template_.exact ? nullptr : &template_;
  co_return Status{};
}

// As seen by a change that has the table's lock. Idle sessions with a batch that is not sent yet are told
// when they send it.
bool Session::is_on_its_way_to(const PlacementGate::Change& change, bool& known) {
  if (change.owner == this || !txn_ || !change.is_for(identity_.database)) return false;
  if (running_ != nullptr && may_touch(*running_, change)) {
    known = running_->tables.has_value() && !change.units;
    return true;
  }
  for (const auto& [name, portal] : portals_) {
    if (!portal.open_on || !may_touch(*portal.statement->plan, change)) continue;
    const txn::Participant* participant = txn_->find(*portal.open_on);
    const bool open =
        participant != nullptr && (participant->unsynced || !participant->connection->expected().empty());
    if (!open) continue;
    if (idle_) {
      if (!participant->connection->out().empty()) batch_stale_ = true;
      continue;
    }
    known = portal.statement->plan->tables.has_value() && !change.units;
    return true;
  }
  return false;
}

// `blocked`: server processes of the home unit that wait for the table's lock. True while the session is on
// its way.
bool Session::yield_to(const PlacementGate::Change& change, const std::unordered_set<uint32_t>& blocked,
                       bool insist) {
  bool known = false;
  if (!is_on_its_way_to(change, known)) return false;
  const bool waits = std::ranges::any_of(txn_->participants(), [&](const auto& participant) {
    return participant->connection->unit() == node_.home() &&
           blocked.contains(participant->connection->pid());
  });
  // Whatever is known to come to the table gains nothing by going on; the rest may end without coming to it.
  if ((waits || (insist && known)) && cancels_in_flight_ == 0 && !txn_->committing()) {
    yielding_ = true;
    send_cancels();
  }
  return true;
}

Task<void> Session::close_gate(PlacementGate::Change change) {
  gate_closed_ = true;
  for (const auto& loop : node_.loops) {
    co_await on_loop<bool>(&loop_, loop.get(), [gate = &loop->gate, change] {
      gate->close(change);
      return true;
    });
  }
}

// How many sessions may still come to what is changed.
Task<size_t> Session::on_their_way(PlacementGate::Change change, std::unordered_set<uint32_t> blocked,
                                   bool insist) {
  size_t left = 0;
  for (const auto& loop : node_.loops) {
    const auto count = [node = &node_, there = loop.get(), change, blocked, insist] {
      size_t found = 0;
      for (const SessionEntryPtr& entry : node->registry.all()) {
        if (entry->loop == there && entry->session != nullptr &&
            entry->session->yield_to(change, blocked, insist))
          ++found;
      }
      return found;
    };
    left += co_await on_loop<size_t>(&loop_, loop.get(), count);
  }
  co_return left;
}

Task<Status> Session::shut_out(Oid table) {
  const PlacementGate::Change change{identity_.database, table, this};
  co_await close_gate(change);
  const auto give_up = async::Clock::now() + kChangeWaits;
  for (int round = 0;; ++round) {
    auto waiting = co_await run(
        node_.home(),
        "SELECT pid FROM pg_catalog.pg_locks WHERE NOT granted AND relation = " + std::to_string(table) +
            " AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = "
            "pg_catalog.current_database())");
    if (!waiting) co_return fail(waiting.error());
    std::unordered_set<uint32_t> blocked;
    for (const auto& row : waiting->rows)
      blocked.insert(static_cast<uint32_t>(std::stoul(row[0].value_or("0"))));
    const size_t left = co_await on_their_way(change, std::move(blocked), round % 20 == 19);
    if (left == 0) co_return Status{};
    if (async::Clock::now() >= give_up) {
      co_return fail(sqlstate::kLockNotAvailable,
                     "statements of other sessions may still use the table whose placement is to be changed",
                     std::to_string(left) + " statements, of which the tables are not known.",
                     "Try again when functions, DO blocks and DDL of other sessions are done.");
    }
    co_await async::sleep_for(loop_.loop, kLookEvery);
  }
}

Task<Status> Session::shut_out_all_units() {
  const PlacementGate::Change change{{}, 0, this, true};
  co_await close_gate(change);
  const auto give_up = async::Clock::now() + kChangeWaits;
  while (const size_t left = co_await on_their_way(change, {}, false)) {
    if (async::Clock::now() >= give_up) {
      co_return fail(sqlstate::kLockNotAvailable,
                     "statements of other sessions still run on all storage units",
                     std::to_string(left) + " statements that change tables or write to broadcast tables.",
                     "Try again when they are done.");
    }
    co_await async::sleep_for(loop_.loop, kLookEvery);
  }
  co_return Status{};
}

// A snapshot from before a change would find none of the rows that the change has made again.
Status Session::check_block_epoch(const plan::Plan& plan) {
  const bool own_snapshot = txn_->in_block() && !implicit_block_ && !txn_->read_committed(default_isolation_);
  if (!own_snapshot || gate_closed_ || !plan.snapshot || (plan.tables && plan.tables->empty())) return {};
  if (block_epoch_ == 0) block_epoch_ = plan.snapshot->epoch;
  if (block_epoch_ == plan.snapshot->epoch) return {};
  Error error = placement_changed();
  error.message = "the placement of a table changed since the transaction took its snapshot";
  error.retry = Retry::kNever;
  return fail(std::move(error));
}

void Session::open_gate() {
  block_epoch_ = 0;
  if (!std::exchange(gate_closed_, false)) return;
  for (const auto& loop : node_.loops) {
    loop->loop.post([gate = &loop->gate, owner = static_cast<const void*>(this)] { gate->open(owner); });
  }
}

// Whether an error of a unit came of a plan that is older than the placement. The catalog is fresh
// afterwards.
Task<bool> Session::plan_is_stale(UnitId unit) {
  const auto epoch = used_epoch_;
  auto refreshed = co_await node_.catalogs.refresh(loop_, identity_.database);
  if (refreshed && (*refreshed)->epoch != epoch) co_return true;
  // A change reaches the units one after another.
  auto connection = co_await loop_.pool.acquire(unit, node_.service_identity(identity_.database));
  if (!connection) co_return false;
  auto there =
      co_await (*connection)->query_until("SELECT epoch FROM decan.map", async::Clock::now() + kBlockWaits);
  loop_.pool.release(std::move(*connection));
  co_return there && there->front().rows.size() == 1 && there->front().rows[0][0] != std::to_string(epoch);
}

}  // namespace decan::session
