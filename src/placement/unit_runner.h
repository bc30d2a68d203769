// How placement and DistSQL handlers run SQL on units inside the client's distributed transaction.
// Implemented by exec (and by tests over libpq).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "async/task.h"
#include "base/error.h"
#include "base/ids.h"

namespace decan::placement {

struct TextRows {
  std::vector<std::string> columns;
  std::vector<std::vector<std::optional<std::string>>> rows;  // text format
  std::string tag;                                            // of the last statement
};

class UnitRunner {
 public:
  virtual ~UnitRunner() = default;
  // Simple-protocol SQL on one unit, in the client's transaction, as the client's role. The first error
  // aborts the transaction.
  virtual async::Task<Result<TextRows>> run(UnitId unit, std::string sql) = 0;
  // The same text on several units in parallel; results in the order of `units`.
  virtual async::Task<Result<std::vector<TextRows>>> run_all(std::vector<UnitId> units, std::string sql) = 0;
  // Streams `copy_out` (COPY … TO STDOUT) of one unit into `copy_in` (COPY … FROM STDIN) of another; returns
  // rows. `from` and `to` may be the same unit only if the runner uses two connections: callers avoid it.
  virtual async::Task<Result<uint64_t>> copy_between(UnitId from, std::string copy_out, UnitId to,
                                                     std::string copy_in) = 0;
  // The table's lock is held on the home unit: no statement that was planned before may come to it any more,
  // until the transaction ends. `table`: OID on the home unit. Error: 55P03.
  virtual async::Task<Status> shut_out(Oid table) = 0;
  // That a compute node vouches for a call (auth/proof.h).
  virtual std::string proof(std::string_view message) const = 0;
  virtual std::vector<UnitId> units() const = 0;  // all units of the database
  virtual UnitId home() const = 0;
};

}  // namespace decan::placement
