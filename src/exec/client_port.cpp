#include "exec/client_port.h"

namespace decan::exec {

using async::Task;

Task<Status> ClientPort::forward(std::string_view bytes) {
  if (out_.size() + bytes.size() < kWriteAt) {
    out_ += bytes;
    co_return Status{};
  }
  if (auto flushed = co_await flush(); !flushed) co_return flushed;
  bytes_out_ += bytes.size();
  co_return co_await stream_->write(bytes);
}

Task<Status> ClientPort::flush() {
  if (out_.empty()) co_return Status{};
  bytes_out_ += out_.size();
  const auto taken = stream_->try_write(out_);
  if (!taken) co_return fail(taken.error());
  if (*taken < out_.size()) {
    if (auto rest = co_await stream_->write(std::string_view(out_).substr(*taken)); !rest) co_return rest;
  }
  out_.clear();
  co_return Status{};
}

Task<Status> ClientPort::fill(size_t least) {
  char* space = input_.space(least);
  const auto n = co_await stream_->read_some(space, input_.space_bytes());
  if (!n) co_return fail(n.error());
  if (*n == 0) co_return fail(sqlstate::kConnectionFailure, "client closed the connection");
  input_.produced(*n);
  bytes_in_ += *n;
  co_return Status{};
}

void ClientPort::shrink() {
  input_.shrink(kIdleInputBytes);
  if (out_.empty() && out_.capacity() > 1024) out_ = std::string();
}

}  // namespace decan::exec
