// Keeps statements and changes of the placement apart. PostgreSQL guards buckets (docs/architecture.md,
// placement), but a statement that was planned for a table on one unit means something else once the table is
// spread: it would wait for the table's lock and then find part of the rows. So whoever changes a table's
// placement, having its lock, closes the gate: statements that may touch the table wait in front of it and
// are planned again; those on their way are cancelled where they wait for the lock, and tried again or told
// 40001.
#pragma once

#include <list>
#include <string>
#include <unordered_set>
#include <vector>

#include "async/loop.h"
#include "base/ids.h"
#include "plan/plan.h"

namespace decan::session {

// The changes under way, as the sessions of one loop see them. On that loop only.
class PlacementGate {
 public:
  struct Change {
    std::string database;
    Oid table = 0;
    const void* owner = nullptr;  // the session that makes it, which passes
    // The set of units changes: concerns what runs on all of them as such, of every database.
    bool units = false;
    bool is_for(const std::string& other) const { return units || database == other; }
  };
  bool is_open() const { return changes_.empty(); }
  void close(Change change) { changes_.push_back(std::move(change)); }
  void open(const void* owner);
  bool stops(const std::string& database, const plan::Plan& plan, const void* session) const;
  // Until some change is over; false at the deadline.
  async::Task<bool> wait(async::Loop& loop, async::TimePoint deadline);

 private:
  std::vector<Change> changes_;
  std::list<async::Event*> waiting_;
};

// True unless it is known that a run of the plan has nothing to do with the change. A table's OID is that on
// the home unit.
bool may_touch(const plan::Plan& plan, const PlacementGate::Change& change);

}  // namespace decan::session
