#include "backend/pool.h"

#include <algorithm>

namespace decan::backend {

using async::Clock;
using async::Task;
using async::TimePoint;

Pool::Pool(async::Loop& loop, UnitsPtr units, PoolLimits limits)
    : loop_(loop),
      units_(std::move(units)),
      limits_(limits),
      tick_(loop.on_tick([this] { housekeeping(); })) {}

Pool::~Pool() = default;

Pool::PerUnit& Pool::per_unit(UnitId unit) {
  while (per_unit_.size() <= unit.value) per_unit_.push_back(std::make_unique<PerUnit>());
  return *per_unit_[unit.value];
}

const meta::UnitRecord* Pool::record_of(UnitId id) const {
  return id.value < units_->size() && (*units_)[id.value] ? &*(*units_)[id.value] : nullptr;
}

UnitConnectionPtr Pool::take_idle(PerUnit& unit, const Identity& identity, const Wish& wish) {
  const auto found = unit.idle.find(identity);
  if (found == unit.idle.end()) return {};
  auto& list = found->second;
  const auto suits = [&](const UnitConnectionPtr& idle) {
    return wish.settings == nullptr || idle->suits(*wish.settings);
  };
  while (!list.empty()) {
    // The one used last is the one most likely to be warm, and leaves the others to grow old.
    auto chosen = std::find_if(list.rbegin(), list.rend(), suits);
    if (wish.sequences.session != 0) {
      const auto own = std::ranges::find(list.rbegin(), list.rend(), wish.sequences,
                                         [](const UnitConnectionPtr& idle) { return idle->sequence_user(); });
      if (own != list.rend() && suits(*own)) chosen = own;
    }
    if (chosen == list.rend()) return {};
    UnitConnectionPtr candidate = std::move(*chosen);
    list.erase(std::next(chosen).base());
    // A connection that rested may have been closed by the unit meanwhile; one just returned has not.
    const bool rested = loop_.now() - candidate->idle_since > std::chrono::milliseconds(20);
    if (!rested && !candidate->stream().may_have_input()) return candidate;
    if (!candidate->stream().idle_is_broken()) return candidate;
    candidate->mark_broken();
    --unit.open;
  }
  return {};
}

UnitConnectionPtr Pool::try_acquire(UnitId id, const Identity& identity, const Wish& wish) {
  if (record_of(id) == nullptr) return {};
  PerUnit& unit = per_unit(id);
  return unit.waiting.empty() ? take_idle(unit, identity, wish)
                              : nullptr;  // those who came first are served first
}

// Closes the connection that has rested longest, whoever it belongs to.
bool Pool::evict_one(PerUnit& unit) {
  std::vector<UnitConnectionPtr>* oldest = nullptr;
  for (auto& [key, list] : unit.idle) {
    if (list.empty()) continue;
    if (oldest == nullptr || list.front()->idle_since < oldest->front()->idle_since) oldest = &list;
  }
  if (oldest == nullptr) return false;
  oldest->erase(oldest->begin());
  --unit.open;
  return true;
}

Task<Result<UnitConnectionPtr>> Pool::acquire(UnitId id, const Identity& identity, Wish wish) {
  if (auto idle = try_acquire(id, identity, wish)) co_return std::move(idle);
  PerUnit& unit = per_unit(id);
  const TimePoint deadline = Clock::now() + limits_.queue_timeout;
  Waiter waiter(loop_);
  bool queued = false;
  const auto leave_queue = [&] {
    if (queued) std::erase(unit.waiting, &waiter);
  };
  while (record_of(id) != nullptr) {
    if (queued || unit.waiting.empty()) {
      if (auto idle = take_idle(unit, identity, wish)) {
        leave_queue();
        co_return std::move(idle);
      }
      if (unit.open < limits_.max_per_unit || evict_one(unit)) break;
    }
    if (!queued) unit.waiting.push_back(&waiter);
    queued = true;
    waiter.woken = false;
    if (co_await waiter.event.wait(deadline)) continue;
    leave_queue();
    ++unit.timeouts_total;
    const meta::UnitRecord* record = record_of(id);
    co_return fail(sqlstate::kTooManyConnections,
                   "no connection to storage unit \"" + (record != nullptr ? record->name : "") +
                       "\" became free in time",
                   "All " + std::to_string(limits_.max_per_unit) + " connections of this thread are in use.",
                   "Raise limits.max_unit_connections or shorten transactions.");
  }
  leave_queue();
  const meta::UnitRecord* record = record_of(id);
  if (record == nullptr)
    co_return fail(sqlstate::kConnectionFailure, "storage unit is not registered any more");
  ++unit.open;
  ++unit.opened_total;
  auto opened =
      co_await UnitConnection::open(loop_, *record, id, identity, Clock::now() + limits_.connect_timeout);
  if (!opened) {
    ++unit.failed_total;
    closed(id);
  }
  co_return std::move(opened);
}

void Pool::wake(PerUnit& unit) {
  if (unit.waiting.empty()) return;
  size_t available = limits_.max_per_unit - std::min(unit.open, limits_.max_per_unit);
  for (const auto& [key, list] : unit.idle) available += list.size();
  for (Waiter* waiter : unit.waiting) {
    if (available == 0) return;
    --available;
    if (!std::exchange(waiter->woken, true)) waiter->event.notify();
  }
}

void Pool::closed(UnitId id) {
  PerUnit& unit = per_unit(id);
  --unit.open;
  wake(unit);
}

bool Pool::may_stay(UnitConnection& connection, const PerUnit& unit) const {
  if (!connection.is_clean() || unit.open > limits_.max_per_unit ||
      loop_.now() - connection.opened_at() >= limits_.max_lifetime) {
    return false;
  }
  if (connection.vetted_at == changes_) return true;
  const auto forgotten = [&](const auto& times, const std::string& name) {
    const auto found = times.find(name);
    return found != times.end() && connection.opened_at() <= found->second;
  };
  const meta::UnitRecord* record = record_of(connection.unit());
  if (record == nullptr || record->host != connection.record().host ||
      record->port != connection.record().port ||
      forgotten(forgotten_databases_, connection.identity().database)) {
    return false;
  }
  connection.vetted_at = changes_;
  return true;
}

std::vector<UnitConnectionPtr>& Pool::idle_list(PerUnit& unit, const Identity& identity) {
  const auto found = unit.idle.find(identity);
  if (found != unit.idle.end()) return found->second;
  return unit.idle[Key{identity.database, identity.role, identity.role_id}];
}

void Pool::release(UnitConnectionPtr connection) {
  if (!connection) return;
  const UnitId id = connection->unit();
  PerUnit& unit = per_unit(id);
  if (!may_stay(*connection, unit)) {
    connection.reset();
    closed(id);
    return;
  }
  connection->idle_since = loop_.now();
  auto& list = idle_list(unit, connection->identity());
  list.push_back(std::move(connection));
  wake(unit);
}

template <class Condition>
void Pool::close_idle_if(PerUnit& unit, Condition condition) {
  for (auto it = unit.idle.begin(); it != unit.idle.end();) {
    unit.open -= std::erase_if(it->second, condition);
    it = it->second.empty() ? unit.idle.erase(it) : std::next(it);
  }
  wake(unit);
}

void Pool::update_units(UnitsPtr units) {
  ++changes_;
  units_ = std::move(units);
  for (auto& unit : per_unit_) {
    close_idle_if(*unit, [&](const UnitConnectionPtr& idle) { return !may_stay(*idle, *unit); });
    for (Waiter* waiter : unit->waiting) {  // of a unit that is gone: nothing will be released there
      if (!std::exchange(waiter->woken, true)) waiter->event.notify();
    }
  }
}

void Pool::update_limits(PoolLimits limits) {
  limits_ = limits;
  for (auto& unit : per_unit_) wake(*unit);
}

void Pool::close_idle() {
  for (auto& unit : per_unit_) close_idle_if(*unit, [](const UnitConnectionPtr&) { return true; });
}

void Pool::forget_database(const std::string& database) {
  ++changes_;
  forgotten_databases_[database] = Clock::now();
  for (auto& unit : per_unit_) {
    close_idle_if(*unit,
                  [&](const UnitConnectionPtr& idle) { return idle->identity().database == database; });
  }
}

std::vector<Pool::UnitStats> Pool::published_stats() const {
  const std::lock_guard lock(published_mutex_);
  return published_;
}

void Pool::housekeeping() {
  {
    auto current = stats();
    const std::lock_guard lock(published_mutex_);
    published_ = std::move(current);
  }
  const TimePoint now = Clock::now();
  for (auto& unit : per_unit_) {
    close_idle_if(*unit, [&](const UnitConnectionPtr& idle) {
      return now - idle->idle_since > limits_.idle_timeout || now - idle->opened_at() > limits_.max_lifetime;
    });
  }
  const auto outlived = [&](const auto& entry) { return now - entry.second > limits_.max_lifetime; };
  std::erase_if(forgotten_databases_, outlived);
}

std::vector<Pool::UnitStats> Pool::stats() const {
  std::vector<UnitStats> all;
  for (const auto& unit : per_unit_) {
    UnitStats stats{unit->open,          0, unit->waiting.size(), unit->opened_total, unit->failed_total,
                    unit->timeouts_total};
    for (const auto& [key, list] : unit->idle) stats.idle += list.size();
    all.push_back(stats);
  }
  return all;
}

}  // namespace decan::backend
