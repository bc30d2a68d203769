// How long to wait before a process that died is started again: 0.2 s, doubled each time up to 10 s; from the
// start again once it has run for a minute. Pure.
#pragma once

#include <algorithm>
#include <chrono>

namespace decan::agent {

class Backoff {
 public:
  using Milliseconds = std::chrono::milliseconds;
  static constexpr Milliseconds kFirst{200}, kMost{10'000}, kHealthyAfter{60'000};

  // The process ended after it ran for `ran_for`.
  Milliseconds next(Milliseconds ran_for) {
    if (ran_for >= kHealthyAfter) delay_ = kFirst;
    const Milliseconds now = delay_;
    delay_ = std::min(delay_ * 2, kMost);
    return now;
  }

 private:
  Milliseconds delay_ = kFirst;
};

}  // namespace decan::agent
