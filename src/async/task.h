// Coroutine type of the whole program and the clock it waits by.
#pragma once

#include <asio/awaitable.hpp>

#include <chrono>

namespace decan::async {

template <class T>
using Task = asio::awaitable<T>;

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
inline constexpr TimePoint kNoDeadline = TimePoint::max();

}  // namespace decan::async
