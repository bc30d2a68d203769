// Runs work on another loop of the node and waits for it; no locks are held meanwhile.
#pragma once

#include <functional>

#include "async/elsewhere.h"
#include "session/node.h"

namespace decan::session {

template <class T>
async::Task<T> on_loop(LoopContext* here, LoopContext* there, std::function<T()> work) {
  if (here == there) co_return work();
  co_return co_await async::elsewhere<T>(
      here->loop, [there](std::function<void()> job) { there->loop.post(std::move(job)); }, std::move(work));
}

}  // namespace decan::session
