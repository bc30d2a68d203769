#include "txn/resolver.h"

#include "base/log.h"

namespace decan::txn {

using async::Task;

namespace {

constexpr auto kPatience = std::chrono::seconds(10);  // with one unit; its turn comes again in the next pass

}  // namespace

Task<size_t> Resolver::pass(std::chrono::milliseconds age) {
  size_t finished = 0, seen = 0;
  for (uint32_t i = 0; i < pool_.units()->size(); ++i) {  // which may change meanwhile
    if (!(*pool_.units())[i]) continue;
    backend::Identity service = service_;
    service.database = maintenance_database_;
    auto connection = co_await pool_.acquire(UnitId{i}, service);
    if (!connection) continue;  // down: its turn comes when it is back
    auto prepared = co_await (*connection)
                        ->query_until(
                            "SELECT gid, database FROM pg_catalog.pg_prepared_xacts WHERE gid LIKE "
                            "'decan\\_%' AND prepared <= now() - interval '" +
                                std::to_string(age.count()) + " milliseconds'",
                            async::Clock::now() + kPatience);
    pool_.release(std::move(*connection));
    if (!prepared) continue;
    for (const auto& row : prepared->front().rows) {
      if (row.size() != 2 || !row[0] || !row[1] || own_.is_live(*row[0])) continue;
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
  const auto committed = co_await settle(pool_, *anchor, service, gid, async::Clock::now() + kPatience);
  if (!committed) co_return false;
  const bool ok =
      co_await finish_prepared(pool_, unit, service, gid, *committed, async::Clock::now() + kPatience);
  if (ok) {
    log::info("finished a distributed transaction whose coordinator is gone",
              {{"gid", gid},
               {"unit", static_cast<int>(unit.value)},
               {"outcome", *committed ? "committed" : "rolled back"}});
  }
  co_return ok;
}

}  // namespace decan::txn
