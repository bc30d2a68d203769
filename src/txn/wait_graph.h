// Who waits for whom over all units: a deadlock whose waits are on several servers is not seen by any of
// them. Pure functions; sources of the facts are the units' pg_blocking_pids() and the compute node's
// sessions.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "async/loop.h"
#include "base/ids.h"

namespace decan::txn {

struct ServerProcess {
  UnitId unit;
  uint32_t pid = 0;
  auto operator<=>(const ServerProcess&) const = default;
};

// `waiter` waits for a lock that `holder` has, or wants earlier.
struct Wait {
  ServerProcess waiter, holder;
  auto operator<=>(const Wait&) const = default;
};

// A session's transaction and the server processes that work for it.
struct LockHolder {
  uint32_t session = 0;         // its process id as clients see it
  async::TimePoint began = {};  // with `session`: which transaction
  bool may_be_ended = true;     // false: its commit is being decided
  std::vector<ServerProcess> processes;
};

// A deadlock: the holder of each wait belongs to the transaction of the next wait's waiter, and so around.
struct Deadlock {
  std::vector<Wait> waits;
  std::vector<size_t> waiters;                // per wait: index into the transactions, or kOther
  static constexpr size_t kOther = SIZE_MAX;  // a process of nobody's session
};

// Deadlocks with waits on more than one unit, no two with a transaction in common. Those of one unit are left
// to its server.
std::vector<Deadlock> find_deadlocks(const std::vector<LockHolder>& transactions, std::vector<Wait> waits);

// Whether a deadlock found earlier, among `before`, still stands among later facts. No transaction of a cycle
// can give up a lock while it waits, so what stands twice has stood all the time, although units were asked
// one after another.
bool still_stands(const Deadlock& deadlock, const std::vector<LockHolder>& before,
                  const std::vector<LockHolder>& now, const std::vector<Wait>& waits_now);

// The youngest transaction that may be ended; kOther: none.
size_t victim_of(const Deadlock& deadlock, const std::vector<LockHolder>& transactions);

// One line per wait, as DETAIL of the victim's error. `unit_names`: by unit.
std::string describe(const Deadlock& deadlock, const std::vector<LockHolder>& transactions,
                     const std::vector<std::string>& unit_names);

}  // namespace decan::txn
