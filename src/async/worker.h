// A thread for work that blocks, one piece after another.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace decan::async {

class Worker {
 public:
  Worker() : thread_([this] { run(); }) {}
  // Finishes what was posted.
  ~Worker() {
    post({});
    thread_.join();
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void post(std::function<void()> work) {  // any thread
    {
      const std::lock_guard lock(mutex_);
      work_.push_back(std::move(work));
    }
    more_.notify_one();
  }

 private:
  void run() {
    while (true) {
      std::function<void()> next;
      {
        std::unique_lock lock(mutex_);
        more_.wait(lock, [this] { return !work_.empty(); });
        next = std::move(work_.front());
        work_.pop_front();
      }
      if (!next) return;
      next();
    }
  }

  std::mutex mutex_;
  std::condition_variable more_;
  std::deque<std::function<void()>> work_;
  std::thread thread_;
};

}  // namespace decan::async
