// One event loop = one thread. Whatever is created on a loop lives, runs and dies on it; other threads reach
// it only through post(). A coarse ticker (every kTick) serves deadlines and housekeeping, so that no timer
// is armed per query.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <coroutine>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "async/task.h"
#include "base/error.h"

namespace decan::async {

class Event;
class Stream;

// A file descriptor that a loop watches. Events are EPOLLIN, EPOLLOUT, …; the owner may be destroyed while it
// handles one.
class Source {
 public:
  virtual ~Source() = default;
  virtual void on_ready(uint32_t events) = 0;
};

class Loop {
 public:
  static constexpr auto kTick = std::chrono::milliseconds(100);

  explicit Loop(unsigned index);
  // Coroutines that have not ended are destroyed where they wait.
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs until stop(); call on the thread that shall own the loop.
  void run();
  void stop();                            // any thread
  void post(std::function<void()> work);  // any thread

  // Starts a coroutine owned by the loop, from any thread; it runs when the loop comes to it. It must end by
  // itself when its streams and events are closed; exceptions that leave it are bugs and are logged. `done`
  // runs on the loop afterwards.
  void spawn(Task<void> task, std::function<void()> done = {});

  // Called on every tick until the handle dies.
  using TickHandle = std::shared_ptr<std::function<void()>>;
  TickHandle on_tick(std::function<void()> callback);

  unsigned index() const { return index_; }
  // When the events that are being handled were fetched: a clock that costs nothing, for what happens per
  // statement.
  TimePoint now() const { return now_; }

  // --- for what waits on this loop ---
  // Watches a descriptor. Edge-triggered events tell a change once: whoever gets one goes on until EAGAIN.
  Status watch(int fd, Source* source, uint32_t events);
  void change(int fd, Source* source, uint32_t events);
  // The source is going away: ends the watch of its descriptor, which must still be open (closing alone does
  // not while another process, such as a child just forked, has the same description), and drops the events
  // that are already fetched.
  void forget(int fd, const Source* source);
  void resume_soon(std::coroutine_handle<> handle) { ready_.push_back(handle); }
  using Timers = std::multimap<TimePoint, Event*>;

 private:
  friend class Event;
  friend class Stream;
  struct Root;
  struct Wakeup;

  static Root run_root(Loop* loop, Task<void> task, std::function<void()> done);
  void run_posted();
  void run_ready();
  int wait_ms(TimePoint now) const;
  void fire_timers(TimePoint now);
  void tick(TimePoint now);

  unsigned index_;
  int epoll_ = -1;
  std::unique_ptr<Wakeup> wakeup_;
  std::mutex posted_mutex_;
  std::vector<std::function<void()>> posted_;
  bool woken_ = false;  // under posted_mutex_: the loop will look at posted_
  std::vector<std::coroutine_handle<>> ready_, resuming_;
  std::array<epoll_event, 128> events_;
  int events_at_ = 0, events_count_ = 0;
  Timers timers_;
  TimePoint now_ = Clock::now();
  TimePoint next_tick_{};
  std::list<Stream*> limited_;  // streams with a deadline
  std::list<std::weak_ptr<std::function<void()>>> tick_callbacks_;
  std::list<std::coroutine_handle<>> roots_;
  bool stopping_ = false;
};

// A thing to wait for on one loop: co_await wait() gives true when notified, false at the deadline. One
// waiter at a time.
class Event {
 public:
  explicit Event(Loop& loop) : loop_(loop) {}
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  class Wait {
   public:
    Wait(Event& event, TimePoint deadline) : event_(event), deadline_(deadline) {}
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;
    ~Wait() {
      if (waiting_) event_.stop_waiting();
    }
    bool await_ready() const noexcept { return event_.notified_; }
    void await_suspend(std::coroutine_handle<> waiter);
    bool await_resume() noexcept {
      waiting_ = false;
      return std::exchange(event_.notified_, false);
    }

   private:
    Event& event_;
    TimePoint deadline_;
    bool waiting_ = false;
  };
  Wait wait(TimePoint deadline) { return {*this, deadline}; }
  void notify();

 private:
  friend class Loop;
  void stop_waiting();
  void wake();

  Loop& loop_;
  std::coroutine_handle<> waiter_;
  std::optional<Loop::Timers::iterator> timer_;
  bool notified_ = false;
};

Task<void> sleep_for(Loop& loop, std::chrono::milliseconds duration);

}  // namespace decan::async
