// Connections of one loop to all units, kept per (unit, database, role). Capped per unit however many sessions, roles and
// databases there are; a request that finds no free connection queues, first come first served, until its deadline.
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
  size_t max_per_unit = 50;                          // this loop's share of the cap
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

  // A clean connection of that identity, with whatever settings its last session left (see UnitConnection::apply). Errors:
  // 53300 when none became free within the queue timeout; else those of UnitConnection::open.
  async::Task<Result<UnitConnectionPtr>> acquire(UnitId unit, const Identity& identity);
  // The same without waiting; null when none is at hand.
  UnitConnectionPtr try_acquire(UnitId unit, const Identity& identity);
  // Back into the pool when clean, else closed.
  void release(UnitConnectionPtr connection);

  void update_units(UnitsPtr units);                 // after a change of the topology
  void update_limits(PoolLimits limits) { limits_ = limits; }
  const UnitsPtr& units() const { return units_; }
  async::Loop& loop() { return loop_; }
  void close_idle();                                  // all of them, e.g. after a unit's restart
  void forget_role(const std::string& role);          // a role's password or rights changed

  struct UnitStats {
    size_t open = 0, idle = 0, waiting = 0;
    uint64_t opened_total = 0, failed_total = 0, timeouts_total = 0;
  };
  std::vector<UnitStats> stats() const;             // the loop's thread
  std::vector<UnitStats> published_stats() const;   // any thread: as of the last tick
  void forget_database(const std::string& database);  // closes idle connections, so that it can be dropped

 private:
  using Key = std::tuple<std::string, std::string>;   // database, role
  struct PerUnit {
    std::map<Key, std::vector<UnitConnectionPtr>> idle;
    size_t open = 0;                                  // idle, in use and being opened
    std::deque<async::Event*> waiting;
    uint64_t opened_total = 0, failed_total = 0, timeouts_total = 0;
  };
  UnitConnectionPtr take_idle(PerUnit& unit, const Identity& identity);
  bool evict_one(PerUnit& unit);
  void closed(UnitId unit);
  void housekeeping();
  PerUnit& per_unit(UnitId unit);

  async::Loop& loop_;
  UnitsPtr units_;
  PoolLimits limits_;
  std::vector<std::unique_ptr<PerUnit>> per_unit_;
  mutable std::mutex published_mutex_;
  std::vector<UnitStats> published_;
  async::Loop::TickHandle tick_;
};

}  // namespace decan::backend
