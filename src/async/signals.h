// Signals of the process as events of one loop.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>

#include "async/loop.h"

namespace decan::async {

// One object per process. From its construction on the signals are handled by `on_signal`, on the loop.
class Signals final : public Source {
 public:
  Signals(Loop& loop, std::initializer_list<int> signals, std::function<void(int signal)> on_signal);
  ~Signals() override;
  void on_ready(uint32_t events) override;

 private:
  Loop& loop_;
  int read_fd_ = -1;
  std::function<void(int)> on_signal_;
};

}  // namespace decan::async
