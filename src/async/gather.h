// Runs several coroutines side by side on one loop and waits for all of them. None is cancelled when another
// fails: each has its own deadline, and its result says how it went.
#pragma once

#include <asio/co_spawn.hpp>
#include <asio/this_coro.hpp>

#include <exception>
#include <optional>
#include <vector>

#include "async/loop.h"

namespace decan::async {

template <class T>
Task<std::vector<T>> gather(Loop& loop, std::vector<Task<T>> tasks) {
  std::vector<std::optional<T>> results(tasks.size());
  size_t running = tasks.size();
  Event done(loop);
  std::exception_ptr failure;
  for (size_t i = 0; i < tasks.size(); ++i) {
    asio::co_spawn(loop.io(), std::move(tasks[i]), [&, i](std::exception_ptr exception, T value) {
      if (exception) failure = exception;
      results[i] = std::move(value);
      if (--running == 0) done.notify();
    });
  }
  while (running > 0) co_await done.wait(kNoDeadline);
  if (failure) std::rethrow_exception(failure);
  std::vector<T> values;
  values.reserve(results.size());
  for (auto& result : results) values.push_back(std::move(*result));
  co_return values;
}

}  // namespace decan::async
