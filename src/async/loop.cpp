#include "async/loop.h"

#include <asio/co_spawn.hpp>
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>

#include "async/stream.h"
#include "base/log.h"

namespace decan::async {

Loop::Loop(unsigned index) : index_(index) {}
Loop::~Loop() = default;

void Loop::run() {
  const auto guard = asio::make_work_guard(io_);
  ticker_.expires_after(kTick);
  ticker_.async_wait([this](std::error_code error) {
    if (!error) tick();
  });
  io_.run();
}

void Loop::stop() {
  asio::post(io_, [this] {
    stopping_ = true;
    io_.stop();
  });
}

void Loop::post(std::function<void()> work) {
  asio::post(io_, std::move(work));
}

void Loop::spawn(Task<void> task, std::function<void()> done) {
  asio::co_spawn(io_, std::move(task), [done = std::move(done)](std::exception_ptr exception) {
    if (exception) {
      try {
        std::rethrow_exception(exception);
      } catch (const std::exception& e) {
        log::error("a coroutine ended by an exception", {{"what", e.what()}});
      }
    }
    if (done) done();
  });
}

Loop::TickHandle Loop::on_tick(std::function<void()> callback) {
  auto handle = std::make_shared<std::function<void()>>(std::move(callback));
  tick_callbacks_.push_back(handle);
  return handle;
}

void Loop::tick() {
  if (stopping_) return;
  const TimePoint at = Clock::now();
  for (Stream* stream : streams_) stream->check_deadline(at);
  for (auto it = tick_callbacks_.begin(); it != tick_callbacks_.end();) {
    if (const auto callback = it->lock()) {
      (*callback)();
      ++it;
    } else {
      it = tick_callbacks_.erase(it);
    }
  }
  ticker_.expires_after(kTick);
  ticker_.async_wait([this](std::error_code error) {
    if (!error) tick();
  });
}

Task<bool> Event::wait(TimePoint deadline) {
  if (!notified_) {
    timer_.expires_at(deadline);
    std::error_code error;
    co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, error));
  }
  co_return std::exchange(notified_, false);
}

void Event::notify() {
  notified_ = true;
  timer_.cancel();
}

Task<void> sleep_for(Loop& loop, std::chrono::milliseconds duration) {
  asio::steady_timer timer(loop.io());
  timer.expires_after(duration);
  std::error_code error;
  co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, error));
}

}  // namespace decan::async
