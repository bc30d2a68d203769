#include "async/loop.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include "async/gather.h"
#include "async/test_loop.h"

namespace decan::async {
namespace {

using namespace std::chrono_literals;

Task<int> number(int value) {
  co_return value;
}

Task<int> sum_of_many(int count) {
  int sum = 0;
  for (int i = 0; i < count; ++i) sum += co_await number(1);
  co_return sum;
}

TEST(Task, AMillionTasksThatDoNotWaitKeepTheStackFlat) {
  EXPECT_EQ(run_now(sum_of_many(1'000'000)), 1'000'000);
}

Task<int> throws() {
  throw std::runtime_error("no");
  co_return 0;
}

Task<std::string> catches() {
  try {
    co_return std::to_string(co_await throws());
  } catch (const std::runtime_error& error) {
    co_return error.what();
  }
}

TEST(Task, AnExceptionReachesTheCaller) {
  EXPECT_EQ(run_now(catches()), "no");
}

Task<int> waits_then(Loop* loop, int value, std::chrono::milliseconds time) {
  co_await sleep_for(*loop, time);
  co_return value;
}

Task<int> deep(Loop* loop, int levels) {
  if (levels == 0) co_return co_await waits_then(loop, 7, 1ms);
  co_return co_await deep(loop, levels - 1);
}

TEST(Task, AResultComesThroughManyLevelsThatWaited) {
  TestLoop loop;
  EXPECT_EQ(loop.run(deep(&loop.loop(), 100)), 7);
}

struct CountsItself {
  explicit CountsItself(int* alive) : alive_(alive) { ++*alive_; }
  ~CountsItself() { --*alive_; }
  int* alive_;
};

Task<void> waits_for_ever(Loop* loop, int* alive) {
  const CountsItself here(alive);
  Event never(*loop);
  (void)co_await never.wait(kNoDeadline);
}

TEST(Task, ALoopThatEndsDestroysWhatStillWaits) {
  int alive = 0;
  {
    TestLoop loop;
    loop.loop().spawn(waits_for_ever(&loop.loop(), &alive));
    loop.run(waits_then(&loop.loop(), 0, 1ms));
    loop.call([&] { EXPECT_EQ(alive, 1); });
  }
  EXPECT_EQ(alive, 0);
}

TEST(Task, DoneRunsAfterTheFrameIsGone) {
  TestLoop loop;
  int alive = 0, seen = -1;
  loop.loop().spawn(
      [](Loop* on, int* count) -> Task<void> {
        const CountsItself here(count);
        co_await sleep_for(*on, 1ms);
      }(&loop.loop(), &alive),
      [&] { seen = alive; });
  loop.run(waits_then(&loop.loop(), 0, 50ms));
  loop.call([&] { EXPECT_EQ(seen, 0); });
}

Task<bool> wait_on(Event* event, std::chrono::milliseconds time) {
  co_return co_await event->wait(Clock::now() + time);
}

TEST(Event, ADeadlinePassesWithoutNotice) {
  TestLoop loop;
  Event event(loop.loop());
  const auto begun = Clock::now();
  EXPECT_FALSE(loop.run(wait_on(&event, 30ms)));
  EXPECT_GE(Clock::now() - begun, 30ms);
}

TEST(Event, ANoticeBeforeTheWaitIsNotLost) {
  TestLoop loop;
  Event event(loop.loop());
  loop.call([&] { event.notify(); });
  EXPECT_TRUE(loop.run(wait_on(&event, 10s)));
  EXPECT_FALSE(loop.run(wait_on(&event, 1ms)));  // and is used up
}

TEST(Event, ANoticeWakesTheWaiter) {
  TestLoop loop;
  Event event(loop.loop());
  std::atomic<bool> woken{false};
  loop.loop().spawn([](Event* on, std::atomic<bool>* out) -> Task<void> {
    *out = co_await on->wait(kNoDeadline);
  }(&event, &woken));
  loop.call([&] { event.notify(); });
  loop.run(waits_then(&loop.loop(), 0, 1ms));
  EXPECT_TRUE(woken);
}

Task<std::vector<int>> three(Loop* loop) {
  std::vector<Task<int>> tasks;
  tasks.push_back(waits_then(loop, 1, 20ms));
  tasks.push_back(number(2));
  tasks.push_back(waits_then(loop, 3, 1ms));
  co_return co_await gather(*loop, std::move(tasks));
}

TEST(Gather, ResultsKeepTheOrderOfTheTasks) {
  TestLoop loop;
  EXPECT_EQ(loop.run(three(&loop.loop())), (std::vector{1, 2, 3}));
}

Task<std::string> gathers_a_failure(Loop* loop) {
  std::vector<Task<int>> tasks;
  tasks.push_back(throws());
  tasks.push_back(waits_then(loop, 3, 5ms));
  try {
    (void)co_await gather(*loop, std::move(tasks));
  } catch (const std::runtime_error& error) {
    co_return error.what();
  }
  co_return "none";
}

TEST(Gather, AFailureIsToldWhenAllHaveEnded) {
  TestLoop loop;
  EXPECT_EQ(loop.run(gathers_a_failure(&loop.loop())), "no");
}

TEST(Loop, WorkFromOtherThreadsIsRunInOrder) {
  TestLoop loop;
  std::vector<int> seen;
  for (int i = 0; i < 1000; ++i) loop.loop().post([&seen, i] { seen.push_back(i); });
  loop.call([&] {
    ASSERT_EQ(seen.size(), 1000u);
    for (int i = 0; i < 1000; ++i) EXPECT_EQ(seen[static_cast<size_t>(i)], i);
  });
}

TEST(Loop, ATickIsCalledUntilItsHandleDies) {
  TestLoop loop;
  std::atomic<int> ticks{0};
  Loop::TickHandle handle;
  loop.call([&] { handle = loop.loop().on_tick([&] { ++ticks; }); });
  loop.run(waits_then(&loop.loop(), 0, 350ms));
  loop.call([&] { handle.reset(); });
  const int counted = ticks;
  EXPECT_GE(counted, 2);
  loop.run(waits_then(&loop.loop(), 0, 250ms));
  EXPECT_EQ(ticks, counted);
}

struct CountsEvents final : Source {
  void on_ready(uint32_t) override { ++count; }
  int count = 0;
};

// A duplicate stands for the descriptor that a forked child or a debugger has: closing ours is not the end.
TEST(Loop, AWatchEndsAlsoWhenAnotherProcessHasTheDescriptor) {
  TestLoop loop;
  CountsEvents source;
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
  const int elsewhere = ::dup(ends[0]);
  loop.call([&] {
    ASSERT_TRUE(loop.loop().watch(ends[0], &source, EPOLLIN));
    loop.loop().forget(ends[0], &source);
    ::close(ends[0]);
  });
  ASSERT_EQ(::write(ends[1], "x", 1), 1);
  loop.run(waits_then(&loop.loop(), 0, 20ms));
  loop.call([&] { EXPECT_EQ(source.count, 0); });
  ::close(elsewhere);
  ::close(ends[1]);
}

}  // namespace
}  // namespace decan::async
