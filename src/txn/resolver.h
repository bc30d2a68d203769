// Finishes distributed transactions whose coordinator died between PREPARE and COMMIT PREPARED: asks the
// anchor for the decision; where no row is found a tombstone with the same key makes "rolled back" final.
// Safe against a coordinator that is only slow: the unique key of decan.dist_commit lets exactly one of both
// win.
#pragma once

#include "async/loop.h"
#include "backend/pool.h"
#include "txn/transaction.h"

namespace decan::txn {

class Resolver {
 public:
  Resolver(backend::Pool& pool, backend::Identity service, const GidSource& own,
           std::string maintenance_database)
      : pool_(pool),
        service_(std::move(service)),
        own_(own),
        maintenance_database_(std::move(maintenance_database)) {}
  // One pass over all units; finishes what is older than `age` and not a live transaction of this node.
  // Returns how many were finished.
  async::Task<size_t> pass(std::chrono::milliseconds age);
  uint64_t resolved_total() const { return resolved_total_; }
  uint64_t in_doubt() const { return in_doubt_; }

 private:
  async::Task<bool> finish(UnitId unit, std::string gid, std::string database);

  backend::Pool& pool_;
  backend::Identity service_;
  const GidSource& own_;
  std::string maintenance_database_;
  uint64_t resolved_total_ = 0;
  uint64_t in_doubt_ = 0;
};

}  // namespace decan::txn
