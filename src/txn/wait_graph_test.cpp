#include "txn/wait_graph.h"

#include <gtest/gtest.h>

namespace decan::txn {
namespace {

constexpr UnitId kA{0}, kB{1};

async::TimePoint at(int second) {
  return async::TimePoint(std::chrono::seconds(second));
}

// Sessions 1, 2, …; session s has process s on unit A and 100 + s on unit B, and began at second s.
std::vector<LockHolder> sessions(uint32_t count) {
  std::vector<LockHolder> made;
  for (uint32_t s = 1; s <= count; ++s)
    made.push_back({s, at(static_cast<int>(s)), true, {{kA, s}, {kB, 100 + s}}});
  return made;
}
Wait on_a(uint32_t waiter, uint32_t holder) {
  return {{kA, waiter}, {kA, holder}};
}
Wait on_b(uint32_t waiter, uint32_t holder) {
  return {{kB, 100 + waiter}, {kB, 100 + holder}};
}

TEST(WaitGraph, TwoTransactionsCrosswise) {
  const auto all = sessions(2);
  const auto found = find_deadlocks(all, {on_a(1, 2), on_b(2, 1)});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].waits.size(), 2U);
  EXPECT_EQ(victim_of(found[0], all), 1U);  // session 2, the youngest
  EXPECT_EQ(describe(found[0], all, {"ds_0", "ds_1"}),
            "Process 1 waits for process 2 on storage unit ds_0.\n"
            "Process 2 waits for process 1 on storage unit ds_1.");
}

TEST(WaitGraph, ChainsAreNoDeadlocks) {
  EXPECT_TRUE(find_deadlocks(sessions(4), {on_a(1, 2), on_b(2, 3), on_a(3, 4), on_b(1, 4)}).empty());
  EXPECT_TRUE(find_deadlocks(sessions(2), {}).empty());
  EXPECT_TRUE(find_deadlocks({}, {on_a(1, 2), on_b(2, 1)}).empty()) << "without sessions processes are apart";
}

TEST(WaitGraph, LeavesDeadlocksOfOneServerToIt) {
  EXPECT_TRUE(find_deadlocks(sessions(2), {on_a(1, 2), on_a(2, 1)}).empty());
}

TEST(WaitGraph, GoesThroughProcessesOfNobodysSession) {
  const auto all = sessions(2);
  const auto found = find_deadlocks(all, {on_a(1, 77), on_a(77, 2), on_b(2, 1)});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].waits.size(), 3U);
  EXPECT_EQ(describe(found[0], all, {}),
            "Process 1 waits for server process 77 on storage unit 0.\n"
            "Server process 77 waits for process 2 on storage unit 0.\n"
            "Process 2 waits for process 1 on storage unit 1.");
}

TEST(WaitGraph, FindsApartDeadlocksAtOnceAndSharedOnesOnce) {
  const auto all = sessions(5);
  EXPECT_EQ(find_deadlocks(all, {on_a(1, 2), on_b(2, 1), on_a(3, 4), on_b(4, 3)}).size(), 2U);
  // 2 is part of both: when one is broken, it may be, too.
  EXPECT_EQ(find_deadlocks(all, {on_a(1, 2), on_b(2, 1), on_b(2, 5), on_a(5, 2)}).size(), 1U);
}

TEST(WaitGraph, FindsALongCycleBehindManyChains) {
  constexpr uint32_t kCount = 20'000;
  const auto all = sessions(kCount);
  std::vector<Wait> waits;
  for (uint32_t s = 1; s < kCount; ++s) waits.push_back(s % 2 == 0 ? on_a(s, s + 1) : on_b(s, s + 1));
  EXPECT_TRUE(find_deadlocks(all, waits).empty());
  waits.push_back(on_a(kCount, kCount / 2));
  const auto found = find_deadlocks(all, waits);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].waits.size(), kCount / 2 + 1);
}

TEST(WaitGraph, StandsOnlyWhileEveryWaitAndTransactionIsTheSame) {
  const auto before = sessions(2);
  const std::vector<Wait> waits = {on_a(1, 2), on_b(2, 1)};
  const auto found = find_deadlocks(before, waits);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_TRUE(still_stands(found[0], before, before, {on_b(2, 1), on_a(1, 2), on_a(3, 1)}));
  EXPECT_FALSE(still_stands(found[0], before, before, {on_b(2, 1)}));
  auto later = before;
  later[1].began = at(9);  // another transaction of the same session
  EXPECT_FALSE(still_stands(found[0], before, later, waits));
  later.pop_back();
  EXPECT_FALSE(still_stands(found[0], before, later, waits));
}

TEST(WaitGraph, ACommitThatIsBeingDecidedIsNoVictim) {
  auto all = sessions(2);
  all[1].may_be_ended = false;
  const auto found = find_deadlocks(all, {on_a(1, 2), on_b(2, 1)});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(victim_of(found[0], all), 0U);
  all[0].may_be_ended = false;
  EXPECT_EQ(victim_of(found[0], all), Deadlock::kOther);
}

}  // namespace
}  // namespace decan::txn
