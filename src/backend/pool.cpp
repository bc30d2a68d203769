#include "backend/pool.h"

#include <algorithm>

namespace decan::backend {

using async::Clock;
using async::Task;
using async::TimePoint;

Pool::Pool(async::Loop& loop, UnitsPtr units, PoolLimits limits)
    : loop_(loop), units_(std::move(units)), limits_(limits), tick_(loop.on_tick([this] { housekeeping(); })) {}

Pool::~Pool() = default;

Pool::PerUnit& Pool::per_unit(UnitId unit) {
  while (per_unit_.size() <= unit.value) per_unit_.push_back(std::make_unique<PerUnit>());
  return *per_unit_[unit.value];
}

UnitConnectionPtr Pool::take_idle(PerUnit& unit, const Identity& identity) {
  const auto found = unit.idle.find(Key(identity.database, identity.role));
  if (found == unit.idle.end()) return {};
  auto& list = found->second;
  while (!list.empty()) {
    UnitConnectionPtr candidate = std::move(list.back());
    list.pop_back();
    // A connection that rested may have been closed by the unit meanwhile; one just returned has not.
    const bool rested = Clock::now() - candidate->idle_since > std::chrono::milliseconds(20);
    if (!rested || !candidate->stream().idle_is_broken()) return candidate;
    candidate->mark_broken();
    --unit.open;
  }
  return {};
}

UnitConnectionPtr Pool::try_acquire(UnitId id, const Identity& identity) {
  if (id.value >= units_->size() || !(*units_)[id.value]) return {};
  PerUnit& unit = per_unit(id);
  return unit.waiting.empty() ? take_idle(unit, identity) : nullptr;   // those who came first are served first
}

bool Pool::evict_one(PerUnit& unit) {
  for (auto& [key, list] : unit.idle) {
    if (list.empty()) continue;
    list.erase(list.begin());
    --unit.open;
    return true;
  }
  return false;
}

Task<Result<UnitConnectionPtr>> Pool::acquire(UnitId id, const Identity& identity) {
  if (id.value >= units_->size() || !(*units_)[id.value]) {
    co_return fail(sqlstate::kConnectionFailure, "storage unit is not registered any more");
  }
  if (auto idle = try_acquire(id, identity)) co_return std::move(idle);
  PerUnit& unit = per_unit(id);
  const TimePoint deadline = Clock::now() + limits_.queue_timeout;
  bool queued_before = false;
  while (unit.open >= limits_.max_per_unit || (!unit.waiting.empty() && !queued_before)) {
    if (unit.open >= limits_.max_per_unit && unit.waiting.empty() && evict_one(unit)) break;
    async::Event free(loop_);
    unit.waiting.push_back(&free);
    const bool woken = co_await free.wait(deadline);
    std::erase(unit.waiting, &free);
    if (!woken) {
      ++unit.timeouts_total;
      co_return fail(sqlstate::kTooManyConnections,
                     "no connection to storage unit \"" + (*units_)[id.value]->name + "\" became free in time",
                     "All " + std::to_string(limits_.max_per_unit) + " connections of this thread are in use.",
                     "Raise limits.max_unit_connections or shorten transactions.");
    }
    queued_before = true;
    if (auto idle = take_idle(unit, identity)) co_return std::move(idle);
    if (unit.open >= limits_.max_per_unit && evict_one(unit)) break;
  }
  ++unit.open;
  ++unit.opened_total;
  const auto record = (*units_)[id.value];
  if (!record) {
    closed(id);
    co_return fail(sqlstate::kConnectionFailure, "storage unit is not registered any more");
  }
  auto opened = co_await UnitConnection::open(loop_, *record, id, identity, Clock::now() + limits_.connect_timeout);
  if (!opened) {
    ++per_unit(id).failed_total;
    closed(id);
  }
  co_return std::move(opened);
}

void Pool::closed(UnitId id) {
  PerUnit& unit = per_unit(id);
  --unit.open;
  if (!unit.waiting.empty()) unit.waiting.front()->notify();
}

void Pool::release(UnitConnectionPtr connection) {
  if (!connection) return;
  const UnitId id = connection->unit();
  PerUnit& unit = per_unit(id);
  const TimePoint now = Clock::now();
  const bool keep = connection->is_clean() && now - connection->opened_at() < limits_.max_lifetime &&
                    unit.open <= limits_.max_per_unit;
  if (!keep) {
    connection.reset();
    closed(id);
    return;
  }
  connection->idle_since = now;
  auto& list = unit.idle[Key(connection->identity().database, connection->identity().role)];
  list.push_back(std::move(connection));
  if (!unit.waiting.empty()) unit.waiting.front()->notify();
}

void Pool::update_units(UnitsPtr units) {
  for (uint32_t i = 0; i < units_->size(); ++i) {
    const bool same = i < units->size() && (*units)[i].has_value() == (*units_)[i].has_value() &&
                      (!(*units)[i] || ((*units)[i]->host == (*units_)[i]->host && (*units)[i]->port == (*units_)[i]->port));
    if (same || i >= per_unit_.size()) continue;
    while (evict_one(*per_unit_[i])) {
    }
  }
  units_ = std::move(units);
}

void Pool::close_idle() {
  for (auto& unit : per_unit_) {
    while (evict_one(*unit)) {
    }
  }
}

void Pool::forget_role(const std::string& role) {
  for (auto& unit : per_unit_) {
    for (auto& [key, list] : unit->idle) {
      if (std::get<1>(key) != role) continue;
      unit->open -= list.size();
      list.clear();
    }
  }
}

std::vector<Pool::UnitStats> Pool::published_stats() const {
  const std::lock_guard lock(published_mutex_);
  return published_;
}

void Pool::forget_database(const std::string& database) {
  for (auto& unit : per_unit_) {
    for (auto& [key, list] : unit->idle) {
      if (std::get<0>(key) != database) continue;
      unit->open -= list.size();
      list.clear();
    }
  }
}

void Pool::housekeeping() {
  {
    auto current = stats();
    const std::lock_guard lock(published_mutex_);
    published_ = std::move(current);
  }
  const TimePoint now = Clock::now();
  for (auto& unit : per_unit_) {
    for (auto it = unit->idle.begin(); it != unit->idle.end();) {
      auto& list = it->second;
      // The oldest rest at the front: the back is used first.
      while (!list.empty() && (now - list.front()->idle_since > limits_.idle_timeout ||
                               now - list.front()->opened_at() > limits_.max_lifetime)) {
        list.erase(list.begin());
        --unit->open;
      }
      it = list.empty() ? unit->idle.erase(it) : std::next(it);
    }
  }
}

std::vector<Pool::UnitStats> Pool::stats() const {
  std::vector<UnitStats> all;
  for (const auto& unit : per_unit_) {
    UnitStats stats{unit->open, 0, unit->waiting.size(), unit->opened_total, unit->failed_total, unit->timeouts_total};
    for (const auto& [key, list] : unit->idle) stats.idle += list.size();
    all.push_back(stats);
  }
  return all;
}

}  // namespace decan::backend
