// Runs several coroutines side by side on one loop and waits for all of them. None is cancelled when another
// fails: each has its own deadline, and its result says how it went.
#pragma once

#include <exception>
#include <optional>
#include <vector>

#include "async/loop.h"

namespace decan::async {

namespace detail {

template <class T>
struct Gathering {
  explicit Gathering(Loop& loop, size_t count) : results(count), running(count), all_done(loop) {}
  std::vector<std::optional<T>> results;
  size_t running;
  Event all_done;
  std::exception_ptr failure;
};

template <class T>
Task<void> gather_one(Task<T> task, Gathering<T>* into, size_t index) {
  try {
    into->results[index] = co_await std::move(task);
  } catch (...) {
    into->failure = std::current_exception();
  }
  if (--into->running == 0) into->all_done.notify();
}

}  // namespace detail

template <class T>
Task<std::vector<T>> gather(Loop& loop, std::vector<Task<T>> tasks) {
  detail::Gathering<T> state(loop, tasks.size());
  std::vector<Task<void>> running;
  running.reserve(tasks.size());
  for (size_t i = 0; i < tasks.size(); ++i) {
    running.push_back(detail::gather_one<T>(std::move(tasks[i]), &state, i));
    running.back().start();
  }
  while (state.running > 0) (void)co_await state.all_done.wait(kNoDeadline);
  if (state.failure) std::rethrow_exception(state.failure);
  std::vector<T> values;
  values.reserve(state.results.size());
  for (auto& result : state.results) values.push_back(std::move(*result));
  co_return values;
}

}  // namespace decan::async
