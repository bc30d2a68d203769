// Has work done on another thread and waits for it; no locks are held meanwhile.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "async/loop.h"

namespace decan::async {

// `post` hands a function to the other thread. The waiting coroutine goes on on `here`, whose loop must
// outlive the work.
template <class T, class Post>
Task<T> elsewhere(Loop& here, Post post, std::function<T()> work) {
  auto result = std::make_shared<std::optional<T>>();
  auto done = std::make_shared<Event>(here);
  post([work = std::move(work), result, done, &here] {
    result->emplace(work());
    here.post([done] { done->notify(); });
  });
  (void)co_await done->wait(kNoDeadline);
  co_return std::move(**result);
}

}  // namespace decan::async
