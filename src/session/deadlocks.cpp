#include "session/deadlocks.h"

#include <algorithm>

#include "async/gather.h"
#include "base/log.h"
#include "session/on_loop.h"
#include "session/session.h"
#include "txn/wait_graph.h"

namespace decan::session {
namespace {

using txn::LockHolder;
using txn::Wait;

constexpr auto kLookEvery = std::chrono::milliseconds(500);
constexpr auto kLookAgainAfter = std::chrono::milliseconds(100);
// Younger statements are most likely just at work.
constexpr auto kPatience = std::chrono::milliseconds(200);
constexpr auto kUnitAnswersWithin = std::chrono::seconds(2);

// Transactions of which a statement runs now. `waiting`: how many of them are on several units and have been
// at it for a while.
Task<std::vector<LockHolder>> transactions(Node* node, size_t& waiting) {
  LoopContext* here = node->loops.front().get();
  std::vector<LockHolder> all;
  waiting = 0;
  for (const auto& loop : node->loops) {
    using Found = std::pair<std::vector<LockHolder>, size_t>;
    auto found = co_await on_loop<Found>(here, loop.get(), [node, there = loop.get()] {
      Found of_loop;
      const auto since = there->loop.now() - kPatience;
      for (const SessionEntryPtr& entry : node->registry.all()) {
        if (entry->loop != there || entry->session == nullptr) continue;
        auto holder = entry->session->lock_holder();
        if (!holder) continue;
        if (holder->processes.size() > 1 && entry->session->runs_since() <= since) ++of_loop.second;
        of_loop.first.push_back(std::move(*holder));
      }
      return of_loop;
    });
    std::ranges::move(found.first, std::back_inserter(all));
    waiting += found.second;
  }
  co_return all;
}

Task<std::vector<Wait>> waits_on(Node* node, UnitId unit) {
  LoopContext& loop = *node->loops.front();
  std::vector<Wait> waits;
  auto connection = co_await loop.pool.acquire(unit, node->service_identity("postgres"));
  if (!connection) co_return waits;
  auto told =
      co_await (*connection)
          ->query_until(
              "SELECT DISTINCT l.pid, b FROM pg_catalog.pg_locks l, "
              "pg_catalog.unnest(pg_catalog.pg_blocking_pids(l.pid)) b WHERE NOT l.granted AND b <> 0",
              async::Clock::now() + kUnitAnswersWithin);
  loop.pool.release(std::move(*connection));
  if (!told) co_return waits;
  for (const auto& row : told->front().rows) {
    const auto pid = [&](size_t column) {
      return static_cast<uint32_t>(std::stoul(row[column].value_or("0")));
    };
    waits.push_back({{unit, pid(0)}, {unit, pid(1)}});
  }
  co_return waits;
}

Task<std::vector<Wait>> all_waits(Node* node) {
  std::vector<Task<std::vector<Wait>>> asked;
  const backend::UnitsPtr units = node->units();
  for (uint32_t i = 0; i < units->size(); ++i) {
    if ((*units)[i]) asked.push_back(waits_on(node, UnitId{i}));
  }
  std::vector<Wait> waits;
  for (auto& of_unit : co_await async::gather(node->loops.front()->loop, std::move(asked)))
    std::ranges::move(of_unit, std::back_inserter(waits));
  co_return waits;
}

Task<void> end(Node* node, LockHolder victim, std::string detail) {
  const SessionEntryPtr entry = node->registry.find(victim.session);
  if (entry == nullptr) co_return;
  const bool ended = co_await on_loop<bool>(node->loops.front().get(), entry->loop, [entry, victim, detail] {
    return entry->session != nullptr && entry->session->end_deadlock(victim.began, detail);
  });
  if (!ended) co_return;
  node->loops.front()->metrics.deadlocks.add();
  log::warning(
      "deadlock over several storage units",
      {{"victim", victim.session}, {"role", entry->role}, {"database", entry->database}, {"waits", detail}});
}

}  // namespace

Task<void> break_deadlocks(Node* node) {
  LoopContext& loop = *node->loops.front();
  while (!node->shutting_down) {
    co_await async::sleep_for(loop.loop, kLookEvery);
    size_t waiting = 0;
    const auto before = co_await transactions(node, waiting);
    if (waiting < 2) continue;
    const auto deadlocks = txn::find_deadlocks(before, co_await all_waits(node));
    if (deadlocks.empty()) continue;
    co_await async::sleep_for(loop.loop, kLookAgainAfter);
    const auto now = co_await transactions(node, waiting);
    const auto waits = co_await all_waits(node);
    std::vector<std::string> names;
    for (const auto& unit : *node->units()) names.push_back(unit ? unit->name : "");
    for (const txn::Deadlock& deadlock : deadlocks) {
      if (!txn::still_stands(deadlock, before, now, waits)) continue;
      const size_t victim = txn::victim_of(deadlock, before);
      if (victim == txn::Deadlock::kOther) continue;
      co_await end(node, before[victim], txn::describe(deadlock, before, names));
    }
  }
}

}  // namespace decan::session
