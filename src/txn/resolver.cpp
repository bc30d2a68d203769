#include "txn/resolver.h"

#include "base/log.h"

namespace decan::txn {

using async::Task;

Task<size_t> Resolver::pass(std::chrono::milliseconds age) {
  size_t finished = 0, seen = 0;
  const size_t count = pool_.units()->size();
  for (uint32_t i = 0; i < count; ++i) {
    if (!(*pool_.units())[i]) continue;
    backend::Identity service = service_;
    service.database = maintenance_database_;
    auto connection = co_await pool_.acquire(UnitId{i}, service);
    if (!connection) continue;   // down: its turn comes when it is back
    auto prepared = co_await (*connection)->query(
        "SELECT gid, database FROM pg_catalog.pg_prepared_xacts WHERE gid LIKE 'decan\\_%' AND prepared <= now() - interval '" +
        std::to_string(age.count()) + " milliseconds'");
    pool_.release(std::move(*connection));
    if (!prepared) continue;
    for (const auto& row : prepared->front().rows) {
      if (own_.is_live(*row[0])) continue;
      ++seen;
      if (co_await finish(UnitId{i}, *row[0], *row[1])) ++finished;
    }
  }
  in_doubt_ = seen - finished;
  resolved_total_ += finished;
  co_return finished;
}

Task<bool> Resolver::finish(UnitId unit, std::string gid, std::string database) {
  const auto anchor = anchor_of(gid);
  if (!anchor) co_return false;
  backend::Identity service = service_;
  service.database = database;
  auto asked = co_await pool_.acquire(*anchor, service);
  if (!asked) co_return false;
  auto decision = co_await (*asked)->query("SELECT decan.settle(" + backend::quote_literal(gid) + ")");
  pool_.release(std::move(*asked));
  if (!decision) co_return false;
  const bool committed = decision->front().rows[0][0] == "t";
  auto connection = co_await pool_.acquire(unit, service);
  if (!connection) co_return false;
  auto done = co_await (*connection)->query((committed ? "COMMIT PREPARED " : "ROLLBACK PREPARED ") + backend::quote_literal(gid));
  pool_.release(std::move(*connection));
  const bool ok = done || done.error().sqlstate == sqlstate::kUndefinedObject;   // somebody else was faster
  if (ok) {
    log::info("finished a distributed transaction whose coordinator is gone",
              {{"gid", gid}, {"unit", static_cast<int>(unit.value)}, {"outcome", committed ? "committed" : "rolled back"}});
  }
  co_return ok;
}

}  // namespace decan::txn
