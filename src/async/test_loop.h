// A loop on a thread of its own for tests: the test's thread hands it work and waits for the result.
#pragma once

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <future>
#include <memory>
#include <thread>
#include <utility>

#include "async/loop.h"

namespace decan::async {

class TestLoop {
 public:
  TestLoop() : thread_([this] { loop_.run(); }) {}
  ~TestLoop() {
    loop_.stop();
    thread_.join();
  }
  Loop& loop() { return loop_; }

  // Waits for the coroutine; a test that hangs is ended with a core, since nothing could be cleaned up.
  template <class T>
  T run(Task<T> task, std::chrono::seconds limit = std::chrono::seconds(120)) {
    auto promise = std::make_shared<std::promise<T>>();
    auto future = promise->get_future();
    loop_.spawn(deliver(std::move(task), std::move(promise)));
    wait(future, limit);
    return future.get();
  }

  // Runs a plain function on the loop's thread.
  void call(std::function<void()> work) {
    std::promise<void> done;
    auto future = done.get_future();
    loop_.post([&] {
      work();
      done.set_value();
    });
    wait(future, std::chrono::seconds(60));
  }

 private:
  template <class T>
  static Task<void> deliver(Task<T> task, std::shared_ptr<std::promise<T>> promise) {
    if constexpr (std::is_void_v<T>) {
      co_await std::move(task);
      promise->set_value();
    } else {
      promise->set_value(co_await std::move(task));
    }
  }
  template <class Future>
  static void wait(Future& future, std::chrono::seconds limit) {
    if (future.wait_for(limit) == std::future_status::ready) return;
    std::fputs("a coroutine of this test does not end\n", stderr);
    std::abort();
  }

  Loop loop_{0};
  std::thread thread_;
};

}  // namespace decan::async
