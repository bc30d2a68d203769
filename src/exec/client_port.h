// The client's side of a session: its stream, what was read and not yet understood, and what waits to be
// written. Small answers are gathered and go out in one system call; large ones are written through, and a
// client that does not read stops whoever produces for it (flush waits).
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>

#include "async/stream.h"
#include "base/byte_buffer.h"
#include "base/error.h"
#include "wire/message.h"

namespace decan::exec {

class ClientPort {
 public:
  static constexpr size_t kIdleInputBytes = 1024;  // kept by an idle session
  static constexpr size_t kWriteAt = 32 * 1024;    // buffered output is written from here on
  static constexpr size_t kMaxReadAhead = 32 * 1024;

  explicit ClientPort(std::unique_ptr<async::Stream> stream) : stream_(std::move(stream)) {}

  async::Stream& stream() { return *stream_; }
  ByteBuffer& input() { return input_; }
  std::string& out() { return out_; }
  wire::Writer writer() { return wire::Writer(out_); }

  // Forwards bytes: small ones join the buffer, large ones go to the socket at once.
  async::Task<Status> forward(std::string_view bytes);
  // Writes when much is buffered.
  async::Task<Status> relieve() {
    if (out_.size() >= kWriteAt) co_return co_await flush();
    co_return Status{};
  }
  async::Task<Status> flush();
  // What the kernel takes at once; true when nothing is left. False also on errors: flush() tells them.
  bool try_flush();
  // Reads more into input(). An orderly end is an Error 08006 too.
  class Fill : public async::Stream::Read {
   public:
    Fill(ClientPort& port, size_t least)
        : Read(*port.stream_, port.input_.space(std::max(least, port.read_ahead_)), port.input_.space_bytes(),
               EPOLLIN),
          port_(port) {}
    Status await_resume() { return port_.filled(Read::await_resume()); }

   private:
    ClientPort& port_;
  };
  Fill fill(size_t least = 1) { return {*this, least}; }
  void shrink();

  uint64_t bytes_in() const { return bytes_in_; }
  uint64_t bytes_out() const { return bytes_out_; }

 private:
  Status filled(Result<size_t> read);

  std::unique_ptr<async::Stream> stream_;
  ByteBuffer input_{kIdleInputBytes};
  size_t read_ahead_ = 1;  // grows while the client sends more than was asked for
  std::string out_;
  uint64_t bytes_in_ = 0, bytes_out_ = 0;
};

}  // namespace decan::exec
