#include "async/loop.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "async/stream.h"
#include "base/log.h"

namespace decan::async {

// --- what a loop runs ---

// The outermost frame of a coroutine that nobody awaits; ends by itself, or with the loop.
struct Loop::Root {
  struct promise_type {
    promise_type(Loop* owner, Task<void>&, std::function<void()>&) : loop(owner) {
      position =
          loop->roots_.insert(loop->roots_.end(), std::coroutine_handle<promise_type>::from_promise(*this));
    }
    ~promise_type() { loop->roots_.erase(position); }
    Root get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
    Loop* loop;
    std::list<std::coroutine_handle<>>::iterator position;
  };
};

Loop::Root Loop::run_root(Loop*, Task<void> task, std::function<void()> done) {
  try {
    Task<void> ends_first = std::move(task);
    co_await std::move(ends_first);
  } catch (const std::exception& e) {
    log::error("a coroutine ended by an exception", {{"what", e.what()}});
  }
  if (done) done();
}

// Other threads' way to wake the loop.
struct Loop::Wakeup final : Source {
  explicit Wakeup(Loop& owner) : loop(owner), fd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
  ~Wakeup() override { ::close(fd); }
  void on_ready(uint32_t) override {
    uint64_t count = 0;
    (void)!::read(fd, &count, sizeof count);
    loop.run_posted();
  }
  void wake() const {
    const uint64_t one = 1;
    (void)!::write(fd, &one, sizeof one);
  }
  Loop& loop;
  int fd;
};

Loop::Loop(unsigned index)
    : index_(index), epoll_(::epoll_create1(EPOLL_CLOEXEC)), wakeup_(std::make_unique<Wakeup>(*this)) {
  if (epoll_ < 0 || wakeup_->fd < 0) throw std::system_error(errno, std::system_category(), "event loop");
  (void)watch(wakeup_->fd, wakeup_.get(), EPOLLIN);
}

Loop::~Loop() {
  ready_.clear();
  while (!roots_.empty()) roots_.front().destroy();
  ::close(epoll_);
}

void Loop::stop() {
  post([this] { stopping_ = true; });
}

void Loop::post(std::function<void()> work) {
  bool wake = false;
  {
    const std::lock_guard lock(posted_mutex_);
    posted_.push_back(std::move(work));
    wake = !std::exchange(woken_, true);
  }
  if (wake) wakeup_->wake();
}

void Loop::spawn(Task<void> task, std::function<void()> done) {
  // std::function wants to be copyable; a task is not.
  auto held = std::make_shared<Task<void>>(std::move(task));
  post([this, held, done = std::move(done)] { run_root(this, std::move(*held), done); });
}

Loop::TickHandle Loop::on_tick(std::function<void()> callback) {
  auto handle = std::make_shared<std::function<void()>>(std::move(callback));
  tick_callbacks_.push_back(handle);
  return handle;
}

// --- the loop ---

void Loop::run() {
  next_tick_ = Clock::now() + kTick;
  while (true) {
    run_ready();
    if (stopping_) break;
    events_count_ = ::epoll_wait(epoll_, events_.data(), static_cast<int>(events_.size()),
                                 ready_.empty() ? wait_ms(now_) : 0);
    now_ = Clock::now();
    for (events_at_ = 0; events_at_ < events_count_;) {
      const epoll_event event = events_[static_cast<size_t>(events_at_++)];
      if (event.data.ptr != nullptr) static_cast<Source*>(event.data.ptr)->on_ready(event.events);
    }
    events_count_ = 0;
    if (!timers_.empty() && timers_.begin()->first <= now_) fire_timers(now_);
    if (now_ >= next_tick_) tick(now_);
  }
  release_free_frames();
}

void Loop::run_posted() {
  std::vector<std::function<void()>> work;
  {
    const std::lock_guard lock(posted_mutex_);
    woken_ = false;
    work.swap(posted_);
  }
  for (const auto& item : work) {
    if (stopping_) return;
    item();
  }
}

void Loop::run_ready() {
  // What becomes ready meanwhile has its turn after the next look at the descriptors.
  resuming_.swap(ready_);
  for (const std::coroutine_handle<> handle : resuming_) handle.resume();
  resuming_.clear();
}

int Loop::wait_ms(TimePoint now) const {
  TimePoint until = next_tick_;
  if (!timers_.empty()) until = std::min(until, timers_.begin()->first);
  if (until <= now) return 0;
  return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(until - now).count());
}

void Loop::fire_timers(TimePoint now) {
  while (!timers_.empty() && timers_.begin()->first <= now) {
    Event* event = timers_.begin()->second;
    event->wake();
  }
}

void Loop::tick(TimePoint now) {
  next_tick_ = now + kTick;
  for (Stream* stream : limited_) stream->check_deadline(now);
  for (auto it = tick_callbacks_.begin(); it != tick_callbacks_.end();) {
    if (const auto callback = it->lock()) {
      (*callback)();
      ++it;
    } else {
      it = tick_callbacks_.erase(it);
    }
  }
}

// --- descriptors ---

Status Loop::watch(int fd, Source* source, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = source;
  if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0) return {};
  return fail(sqlstate::kInsufficientResources,
              std::string("can not watch a descriptor: ") + std::strerror(errno));
}

void Loop::change(int fd, Source* source, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = source;
  (void)::epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event);
}

void Loop::forget(int fd, const Source* source) {
  (void)::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
  for (int i = events_at_; i < events_count_; ++i) {
    epoll_event& event = events_[static_cast<size_t>(i)];
    if (event.data.ptr == source) event.data.ptr = nullptr;
  }
}

// --- events ---

void Event::Wait::await_suspend(std::coroutine_handle<> waiter) {
  event_.waiter_ = waiter;
  waiting_ = true;
  if (deadline_ != kNoDeadline) event_.timer_ = event_.loop_.timers_.emplace(deadline_, &event_);
}

void Event::stop_waiting() {
  waiter_ = {};
  if (timer_) loop_.timers_.erase(*timer_);
  timer_.reset();
}

void Event::wake() {
  const std::coroutine_handle<> waiter = waiter_;
  stop_waiting();
  if (waiter) loop_.resume_soon(waiter);
}

void Event::notify() {
  notified_ = true;
  wake();
}

Task<void> sleep_for(Loop& loop, std::chrono::milliseconds duration) {
  Event never(loop);
  (void)co_await never.wait(Clock::now() + duration);
}

}  // namespace decan::async
