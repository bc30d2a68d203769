// Runs work on another loop of the node and waits for it; no locks are held meanwhile.
#pragma once

#include <functional>
#include <memory>

#include "session/node.h"

namespace decan::session {

template <class T>
async::Task<T> on_loop(LoopContext* here, LoopContext* there, std::function<T()> work) {
  if (here == there) co_return work();
  auto result = std::make_shared<T>();
  auto done = std::make_shared<async::Event>(here->loop);
  there->loop.post([work = std::move(work), result, done, here] {
    *result = work();
    here->loop.post([done] { done->notify(); });
  });
  co_await done->wait(async::kNoDeadline);
  co_return std::move(*result);
}

}  // namespace decan::session
