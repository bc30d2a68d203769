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

bool ClientPort::try_flush() {
  if (out_.empty()) return true;
  const auto taken = stream_->try_write(out_);
  if (!taken) return false;
  bytes_out_ += *taken;
  if (*taken == out_.size()) {
    out_.clear();
    return true;
  }
  out_.erase(0, *taken);
  return false;
}

Task<Status> ClientPort::flush() {
  if (try_flush()) co_return Status{};
  bytes_out_ += out_.size();
  if (auto rest = co_await stream_->write(out_); !rest) co_return rest;
  out_.clear();
  co_return Status{};
}

Status ClientPort::filled(Result<size_t> read) {
  if (!read) return fail(std::move(read.error()));
  if (*read == 0) return fail(sqlstate::kConnectionFailure, "client closed the connection");
  if (*read == input_.space_bytes())
    read_ahead_ = std::min(kMaxReadAhead, 2 * std::max<size_t>(*read, kIdleInputBytes));
  input_.produced(*read);
  bytes_in_ += *read;
  return {};
}

void ClientPort::shrink() {
  read_ahead_ = 1;
  input_.shrink(kIdleInputBytes);
  if (out_.empty() && out_.capacity() > 1024) out_ = std::string();
}

}  // namespace decan::exec
