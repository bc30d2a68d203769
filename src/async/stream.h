// A TCP or Unix-domain byte stream on one loop, with optional TLS. Writes are tried at once with a plain
// system call and wait only when the kernel's buffer is full: a relayed query costs one read and one write
// per side.
#pragma once

#include <asio/generic/stream_protocol.hpp>

#include <list>
#include <memory>
#include <string>
#include <string_view>

#include "async/loop.h"
#include "async/task.h"
#include "base/error.h"

struct ssl_st;
struct ssl_ctx_st;

namespace decan::async {

class Stream {
 public:
  using Socket = asio::generic::stream_protocol::socket;

  Stream(Loop& loop, Socket socket);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Connects to a host and port, or to the Unix socket <host>/.s.PGSQL.<port> when host starts with '/'.
  static Task<Result<std::unique_ptr<Stream>>> connect(Loop& loop, std::string host, uint16_t port,
                                                       TimePoint deadline);

  // At least one byte; 0 = the peer closed. Errors: 08006; 57014 never. After the deadline: kTimedOut.
  Task<Result<size_t>> read_some(char* data, size_t bytes);
  // Waits until a byte can be read (or the peer closed) without consuming it.
  Task<Status> wait_readable();
  // Waits until a byte can be read or some can be written, whichever comes first: for a peer that may stop
  // taking bytes until its own are taken.
  Task<Status> wait_either();
  // Everything, waiting as needed.
  Task<Status> write(std::string_view data);
  // What the kernel takes at once; the count of bytes taken. Error when the stream is dead.
  Result<size_t> try_write(std::string_view data);

  // From now on every waiting read and write fails with kTimedOut at `deadline`, checked once per loop tick.
  void set_deadline(TimePoint deadline) {
    deadline_ = deadline;
    timed_out_ = false;
  }
  bool timed_out() const { return timed_out_; }
  // A stream that was connected (not accepted) takes a peer for dead that acknowledges nothing, or does not
  // read, for 10 s, unless it may stall: then the peer may wait for its own bytes to be taken.
  void set_may_stall(bool may_stall);
  void close();
  bool is_open() const { return socket_.is_open(); }
  // A byte can be read now, or the peer has closed.
  bool can_read();
  // True when the peer has closed or sent something unasked: an idle connection must not be used then.
  bool idle_is_broken() { return can_read(); }

  Task<Status> handshake_server(ssl_ctx_st* context);
  Task<Status> handshake_client(ssl_ctx_st* context, std::string server_name);
  bool is_tls() const { return tls_ != nullptr; }
  ssl_st* tls() const { return tls_.get(); }

  std::string peer_address() const;  // "127.0.0.1", "::1"; empty for Unix sockets
  uint16_t peer_port() const;
  int native_handle() { return socket_.native_handle(); }
  Loop& loop() { return loop_; }

 private:
  friend class Loop;
  struct TlsDeleter {
    void operator()(ssl_st* tls) const;
  };
  void check_deadline(TimePoint now);
  Task<Status> wait(Socket::wait_type what);
  Task<Status> handshake();
  Task<Result<size_t>> tls_read(char* data, size_t bytes);
  Task<Status> tls_wait(int result);
  Error closed_error(std::string_view what) const;

  Loop& loop_;
  Socket socket_;
  std::unique_ptr<ssl_st, TlsDeleter> tls_;
  TimePoint deadline_ = kNoDeadline;
  bool timed_out_ = false;
  std::list<Stream*>::iterator position_;
};

// Errors whose message tells a deadline passed are raised with this SQLSTATE inside; callers translate.
inline constexpr std::string_view kTimedOut = "DT000";

}  // namespace decan::async
