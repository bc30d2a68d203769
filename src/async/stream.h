// A TCP or Unix-domain byte stream on one loop, with optional TLS. Writes are tried at once with a plain
// system call and wait only when the kernel's buffer is full; reads are tried only when the kernel has told
// that there is something: a relayed query costs one read and one write per side.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "async/loop.h"
#include "async/task.h"
#include "base/error.h"

struct ssl_st;
struct ssl_ctx_st;

namespace decan::async {

class Stream final : public Source {
 public:
  // Takes the connected, non-blocking descriptor over.
  Stream(Loop& loop, int fd);
  ~Stream() override;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Connects to a host and port, or to the Unix socket <host>/.s.PGSQL.<port> when host starts with '/'.
  static Task<Result<std::unique_ptr<Stream>>> connect(Loop& loop, std::string host, uint16_t port,
                                                       TimePoint deadline);

  // Reads that need not wait, one after another, before everybody else on the loop has his turn.
  static constexpr unsigned kAtOnce = 32;

  // What a read or a wait is for, and who is to be resumed. Lives in the awaiting coroutine's frame.
  class Wait {
   public:
    Wait(Stream& stream, char* data, size_t bytes, uint32_t events)
        : stream_(stream), data_(data), bytes_(bytes), events_(events) {}
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;
    ~Wait() {
      if (registered_) stream_.drop(this);
    }
    bool await_ready() { return stream_.attempt(*this) && ++stream_.at_once_ < kAtOnce; }
    void await_suspend(std::coroutine_handle<> waiter) {
      if (outcome_ != Outcome::kNone) {
        stream_.at_once_ = 0;
        return stream_.loop_.resume_soon(waiter);
      }
      waiter_ = waiter;
      registered_ = true;
      stream_.enlist(this);
    }

   protected:
    friend class Stream;
    enum class Outcome : uint8_t { kNone, kReady, kClosed, kFailed, kTimedOut };
    std::unexpected<Error> failure() const;

    Stream& stream_;
    char* data_;  // null: only readiness is waited for
    size_t bytes_;
    uint32_t events_;  // EPOLLIN, EPOLLOUT, or either
    std::coroutine_handle<> waiter_;
    bool registered_ = false;
    Outcome outcome_ = Outcome::kNone;
    int error_ = 0;  // errno of kFailed, when there is one
  };
  class Read : public Wait {
   public:
    using Wait::Wait;
    Result<size_t> await_resume() {
      if (outcome_ == Outcome::kReady) [[likely]]
        return bytes_;
      if (outcome_ == Outcome::kClosed) return size_t{0};
      return failure();
    }
  };
  class Ready : public Wait {
   public:
    using Wait::Wait;
    Status await_resume() {
      if (outcome_ == Outcome::kReady || outcome_ == Outcome::kClosed) [[likely]]
        return {};
      return failure();
    }
  };

  // At least one byte; 0 = the peer closed. Errors: 08006; 57014 never. After the deadline: kTimedOut.
  Read read_some(char* data, size_t bytes) { return {*this, data, bytes, EPOLLIN}; }
  // Waits until a byte can be read or some can be written, whichever comes first: for a peer that may stop
  // taking bytes until its own are taken.
  Ready wait_either() { return wait(EPOLLIN | EPOLLOUT); }
  // Everything, waiting as needed.
  Task<Status> write(std::string_view data);
  // What the kernel takes at once; the count of bytes taken. Error when the stream is dead.
  Result<size_t> try_write(std::string_view data);

  // From now on every waiting read and write fails with kTimedOut at `deadline`, checked once per loop tick.
  void set_deadline(TimePoint deadline);
  bool timed_out() const { return timed_out_; }
  // A stream that was connected (not accepted) takes a peer for dead that acknowledges nothing, or does not
  // read, for 10 s, unless it may stall: then the peer may wait for its own bytes to be taken.
  void set_may_stall(bool may_stall);
  void close();
  bool is_open() const { return fd_ >= 0; }
  // A byte can be read now, or the peer has closed.
  bool can_read();
  // The same as far as it has been noticed, without asking the kernel: what came since the loop last fetched
  // events is not seen; sometimes true without a byte.
  bool may_have_input() const { return readable_ || fd_ < 0; }
  // True when the peer has closed or sent something unasked: an idle connection must not be used then.
  bool idle_is_broken() { return can_read(); }

  Task<Status> handshake_server(ssl_ctx_st* context);
  Task<Status> handshake_client(ssl_ctx_st* context, std::string server_name);
  bool is_tls() const { return tls_ != nullptr; }
  ssl_st* tls() const { return tls_.get(); }

  std::string peer_address() const;  // "127.0.0.1", "::1"; empty for Unix sockets
  uint16_t peer_port() const;
  Loop& loop() { return loop_; }

  void on_ready(uint32_t events) override;

 private:
  friend class Loop;
  struct TlsDeleter {
    void operator()(ssl_st* tls) const;
  };
  using Outcome = Wait::Outcome;
  Ready wait(uint32_t events) { return {*this, nullptr, 0, events}; }
  bool attempt(Wait& wait);  // true: it has its outcome
  bool attempt_read(Wait& wait);
  bool attempt_tls_read(Wait& wait);
  void enlist(Wait* wait);
  void drop(const Wait* wait);
  void finish(Wait* wait, Outcome outcome);
  void check_deadline(TimePoint now);
  Task<Status> handshake();
  Task<Status> tls_wait(int result);
  Error closed_error(std::string_view what) const;

  Loop& loop_;
  int fd_;
  bool readable_ = false;  // the kernel may have bytes for us
  bool hung_up_ = false;   // the peer has closed its side: a read does not wait any more
  bool timed_out_ = false;
  unsigned at_once_ = 0;  // reads since the loop was here
  Wait* reader_ = nullptr;
  Wait* writer_ = nullptr;
  std::unique_ptr<ssl_st, TlsDeleter> tls_;
  TimePoint deadline_ = kNoDeadline;
  std::list<Stream*>::iterator limited_;  // valid while deadline_ is one
};

// Errors whose message tells a deadline passed are raised with this SQLSTATE inside; callers translate.
inline constexpr std::string_view kTimedOut = "DT000";

}  // namespace decan::async
