// Connections of one loop to all units, kept per (unit, database, role). Capped per unit however many
// sessions, roles and databases there are; a request that finds no free connection queues, first come first
// served, until its deadline.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "async/loop.h"
#include "backend/unit_connection.h"

namespace decan::backend {

struct PoolLimits {
  size_t max_per_unit = 50;  // this loop's share of the cap
  std::chrono::milliseconds queue_timeout{10'000};
  std::chrono::milliseconds idle_timeout{600'000};
  std::chrono::milliseconds max_lifetime{3'600'000};
  std::chrono::milliseconds connect_timeout{10'000};
};

// Addresses of the units by UnitId (ordinal); a gap where a unit was unregistered.
using Units = std::vector<std::optional<meta::UnitRecord>>;
using UnitsPtr = std::shared_ptr<const Units>;

class Pool {
 public:
  Pool(async::Loop& loop, UnitsPtr units, PoolLimits limits);
  ~Pool();

  // What a session needs of a connection that others have used.
  struct Wish {
    SettingsPtr
        settings;  // those it will apply: nothing that it does not define may be left (null: no matter)
    UnitConnection::SequenceUser sequences;  // preferred: the one where it used sequences last (0: no matter)
  };
  // A clean connection of that identity, with whatever settings its last session left (see
  // UnitConnection::apply). Errors: 53300 when none became free within the queue timeout; else those of
  // UnitConnection::open.
  async::Task<Result<UnitConnectionPtr>> acquire(UnitId unit, const Identity& identity, Wish wish = {});
  // The same without waiting; null when none is at hand.
  UnitConnectionPtr try_acquire(UnitId unit, const Identity& identity, const Wish& wish = {});
  // Back into the pool when clean, else closed.
  void release(UnitConnectionPtr connection);

  void update_units(UnitsPtr units);  // after a change of the topology
  void update_limits(PoolLimits limits);
  const UnitsPtr& units() const { return units_; }
  async::Loop& loop() { return loop_; }
  void close_idle();  // all of them, e.g. after a unit's restart

  struct UnitStats {
    size_t open = 0, idle = 0, waiting = 0;
    uint64_t opened_total = 0, failed_total = 0, timeouts_total = 0;
  };
  std::vector<UnitStats> stats() const;            // the loop's thread
  std::vector<UnitStats> published_stats() const;  // any thread: as of the last tick
  // What is open in it serves nobody any more, so that it can be dropped.
  void forget_database(const std::string& database);

 private:
  struct Key {
    std::string database, role;
    Oid role_id;
  };
  struct KeyLess {  // finds an identity without a copy of its names
    using is_transparent = void;
    bool operator()(const auto& a, const auto& b) const {
      return std::tie(a.database, a.role, a.role_id) < std::tie(b.database, b.role, b.role_id);
    }
  };
  struct Waiter {
    explicit Waiter(async::Loop& loop) : event(loop) {}
    async::Event event;
    bool woken = false;
  };
  struct PerUnit {
    std::map<Key, std::vector<UnitConnectionPtr>, KeyLess> idle;
    size_t open = 0;              // idle, in use and being opened
    std::deque<Waiter*> waiting;  // in order of arrival; leaves the queue when it runs again
    uint64_t opened_total = 0, failed_total = 0, timeouts_total = 0;
  };
  UnitConnectionPtr take_idle(PerUnit& unit, const Identity& identity, const Wish& wish);
  bool evict_one(PerUnit& unit);
  template <class Condition>
  void close_idle_if(PerUnit& unit, Condition condition);
  // Wakes as many of those who wait as there are connections to be had.
  void wake(PerUnit& unit);
  void closed(UnitId unit);
  std::vector<UnitConnectionPtr>& idle_list(PerUnit& unit, const Identity& identity);
  bool may_stay(UnitConnection& connection, const PerUnit& unit) const;
  const meta::UnitRecord* record_of(UnitId unit) const;
  void housekeeping();
  PerUnit& per_unit(UnitId unit);

  async::Loop& loop_;
  UnitsPtr units_;
  PoolLimits limits_;
  std::vector<std::unique_ptr<PerUnit>> per_unit_;
  // Grows whenever an open connection may have become one that nobody should get any more.
  uint64_t changes_ = 1;
  // Connections opened before these times are not kept. Entries die with the longest-lived connection they
  // could concern.
  std::map<std::string, async::TimePoint> forgotten_databases_;
  mutable std::mutex published_mutex_;
  std::vector<UnitStats> published_;
  async::Loop::TickHandle tick_;
};

}  // namespace decan::backend
