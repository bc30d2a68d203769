// A listening TCP socket on a loop.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "async/loop.h"
#include "base/error.h"

namespace decan::async {

class Listener final : public Source {
 public:
  // Gets each accepted, non-blocking descriptor and owns it.
  using OnAccept = std::function<void(int fd)>;
  // `address` is numeric; port 0: any free one. Error 58030: the reason of the system.
  static Result<std::unique_ptr<Listener>> open(Loop& loop, const std::string& address, uint16_t port,
                                                OnAccept on_accept);
  ~Listener() override;
  uint16_t port() const;  // which one the system chose for port 0
  void on_ready(uint32_t events) override;

 private:
  Listener(Loop& loop, int fd, OnAccept on_accept);

  Loop& loop_;
  int fd_;
  OnAccept on_accept_;
  bool paused_ = false;
  Loop::TickHandle tick_;
};

}  // namespace decan::async
