// One event loop = one thread. Whatever is created on a loop lives, runs and dies on it; other threads reach
// it only through post(). A coarse ticker (every kTick) serves deadlines and housekeeping, so that no timer
// is armed per query.
#pragma once

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

#include <functional>
#include <list>
#include <string>

#include "async/task.h"
#include "base/error.h"

namespace decan::async {

class Stream;

class Loop {
 public:
  static constexpr auto kTick = std::chrono::milliseconds(100);

  explicit Loop(unsigned index);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs until stop(); call on the thread that shall own the loop.
  void run();
  void stop();                            // any thread
  void post(std::function<void()> work);  // any thread

  // Starts a coroutine owned by the loop. It must end by itself when its streams and events are closed;
  // exceptions that leave it are bugs and are logged. `done` runs on the loop afterwards.
  void spawn(Task<void> task, std::function<void()> done = {});

  // Called on every tick until the handle dies.
  using TickHandle = std::shared_ptr<std::function<void()>>;
  TickHandle on_tick(std::function<void()> callback);

  // Coarse "now" of the last event or tick; call refresh_now() where precision matters.
  TimePoint now() const { return Clock::now(); }
  unsigned index() const { return index_; }
  asio::io_context& io() { return io_; }

 private:
  friend class Stream;
  void tick();

  unsigned index_;
  asio::io_context io_{1};
  asio::steady_timer ticker_{io_};
  std::list<Stream*> streams_;
  std::list<std::weak_ptr<std::function<void()>>> tick_callbacks_;
  bool stopping_ = false;
};

// A thing to wait for on one loop: wait() returns true when notified, false at the deadline. One waiter at a
// time.
class Event {
 public:
  explicit Event(Loop& loop) : timer_(loop.io()) {}
  Task<bool> wait(TimePoint deadline);
  void notify();

 private:
  asio::steady_timer timer_;
  bool notified_ = false;
};

Task<void> sleep_for(Loop& loop, std::chrono::milliseconds duration);

}  // namespace decan::async
