#include "async/stream.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace decan::async {
namespace {

constexpr uint32_t kReadEvents = EPOLLIN | EPOLLRDHUP | EPOLLET;

constexpr int kDeadAfterMs = 10'000;

// An idle peer that vanishes without a word is noticed within about 10 s.
void set_tcp_options(int fd) {
  const int on = 1, idle = 5, interval = 2, count = 3;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

std::string tls_error() {
  char text[256] = "unknown TLS error";
  if (const unsigned long code = ERR_get_error(); code != 0) ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return text;
}

bool would_block(int error) {
  return error == EAGAIN || error == EWOULDBLOCK;
}

}  // namespace

void Stream::TlsDeleter::operator()(ssl_st* tls) const {
  SSL_free(tls);
}

Stream::Stream(Loop& loop, int fd) : loop_(loop), fd_(fd) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length) == 0 && address.ss_family != AF_UNIX)
    set_tcp_options(fd_);
  // What has arrived already is told as the first event.
  if (!loop_.watch(fd_, this, kReadEvents)) close();
}

Stream::~Stream() {
  set_deadline(kNoDeadline);
  close();
}

Error Stream::closed_error(std::string_view what) const {
  if (timed_out_) return Error{std::string(kTimedOut), "the deadline of a network operation passed"};
  return Error{std::string(sqlstate::kConnectionFailure), "connection lost", std::string(what)};
}

// --- waiting ---

std::unexpected<Error> Stream::Wait::failure() const {
  return fail(stream_.closed_error(error_ != 0 ? std::strerror(error_) : "closed"));
}

bool Stream::attempt(Wait& wait) {
  if (timed_out_ || fd_ < 0) [[unlikely]] {
    wait.outcome_ = timed_out_ ? Outcome::kTimedOut : Outcome::kFailed;
    return true;
  }
  if (wait.data_ != nullptr) return tls_ ? attempt_tls_read(wait) : attempt_read(wait);
  if ((wait.events_ & EPOLLIN) != 0 && readable_) wait.outcome_ = Outcome::kReady;
  return wait.outcome_ != Outcome::kNone;
}

bool Stream::attempt_read(Wait& wait) {
  if (!readable_) return false;
  ssize_t n = 0;
  do {
    n = ::recv(fd_, wait.data_, wait.bytes_, 0);
  } while (n < 0 && errno == EINTR);
  if (n > 0) [[likely]] {
    // Less than asked for: the kernel has no more, and tells when it has again.
    readable_ = static_cast<size_t>(n) == wait.bytes_ || hung_up_;
    wait.bytes_ = static_cast<size_t>(n);
    wait.outcome_ = Outcome::kReady;
    return true;
  }
  if (n < 0 && would_block(errno)) {
    readable_ = false;
    return false;
  }
  wait.outcome_ = n == 0 ? Outcome::kClosed : Outcome::kFailed;
  wait.error_ = n == 0 ? 0 : errno;
  return true;
}

bool Stream::attempt_tls_read(Wait& wait) {
  if (!readable_ && SSL_has_pending(tls_.get()) == 0) return false;
  ERR_clear_error();
  errno = 0;
  const int n = SSL_read(tls_.get(), wait.data_, static_cast<int>(std::min<size_t>(wait.bytes_, 1u << 20)));
  if (n > 0) {
    wait.bytes_ = static_cast<size_t>(n);
    wait.outcome_ = Outcome::kReady;
    return true;
  }
  const int system_error = errno;
  switch (SSL_get_error(tls_.get(), n)) {
    case SSL_ERROR_WANT_READ:
      readable_ = false;
      wait.events_ = EPOLLIN;
      return false;
    case SSL_ERROR_WANT_WRITE:
      wait.events_ = EPOLLOUT;
      return false;
    case SSL_ERROR_ZERO_RETURN:
      wait.outcome_ = Outcome::kClosed;
      return true;
    case SSL_ERROR_SYSCALL:
      wait.outcome_ = system_error == 0 ? Outcome::kClosed : Outcome::kFailed;
      wait.error_ = system_error;
      return true;
    default:
      ERR_clear_error();
      wait.outcome_ = Outcome::kFailed;
      wait.error_ = EPROTO;
      return true;
  }
}

void Stream::enlist(Wait* wait) {
  if ((wait->events_ & EPOLLIN) != 0) reader_ = wait;
  if ((wait->events_ & EPOLLOUT) != 0) {
    writer_ = wait;
    loop_.change(fd_, this, kReadEvents | EPOLLOUT);
  }
}

void Stream::drop(const Wait* wait) {
  if (reader_ == wait) reader_ = nullptr;
  if (writer_ == wait) writer_ = nullptr;
}

void Stream::on_ready(uint32_t events) {
  at_once_ = 0;
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) readable_ = true;
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) hung_up_ = true;
  if (Wait* const writer = writer_; writer != nullptr && (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) {
    drop(writer);
    loop_.change(fd_, this, kReadEvents);
    // Not resumed here, since the reader below might end the stream. A TLS read that had to write tries
    // again; everybody else writes by himself.
    if (writer->data_ == nullptr)
      finish(writer, Outcome::kReady);
    else if (attempt(*writer))
      finish(writer, writer->outcome_);
    else
      enlist(writer);
  }
  Wait* const reader = reader_;
  if (reader == nullptr) return;
  const bool ended = attempt(*reader);
  drop(reader);
  if (!ended) return enlist(reader);
  reader->registered_ = false;
  reader->waiter_.resume();
}

// For ends that come from inside the program: whoever waits hears of it when the loop comes round.
void Stream::finish(Wait* wait, Outcome outcome) {
  if (wait == nullptr) return;
  wait->outcome_ = outcome;
  wait->registered_ = false;
  drop(wait);
  loop_.resume_soon(wait->waiter_);
}

void Stream::set_deadline(TimePoint deadline) {
  if (deadline_ != kNoDeadline && deadline == kNoDeadline) loop_.limited_.erase(limited_);
  if (deadline_ == kNoDeadline && deadline != kNoDeadline)
    limited_ = loop_.limited_.insert(loop_.limited_.end(), this);
  deadline_ = deadline;
  timed_out_ = false;
}

void Stream::check_deadline(TimePoint now) {
  if (now < deadline_ || timed_out_) return;
  timed_out_ = true;
  finish(reader_, Outcome::kTimedOut);
  finish(writer_, Outcome::kTimedOut);
}

// --- writing ---

Result<size_t> Stream::try_write(std::string_view data) {
  if (fd_ < 0) return fail(closed_error("closed"));
  size_t done = 0;
  while (done < data.size()) {
    if (tls_) {
      ERR_clear_error();
      const int n = SSL_write(tls_.get(), data.data() + done,
                              static_cast<int>(std::min<size_t>(data.size() - done, 1u << 20)));
      if (n <= 0) {
        const int why = SSL_get_error(tls_.get(), n);
        if (why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ) return done;
        return fail(closed_error("TLS write failed"));
      }
      done += static_cast<size_t>(n);
      continue;
    }
    const ssize_t n = ::send(fd_, data.data() + done, data.size() - done, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (would_block(errno)) return done;
      return fail(closed_error(std::strerror(errno)));
    }
    done += static_cast<size_t>(n);
  }
  return done;
}

Task<Status> Stream::write(std::string_view data) {
  while (true) {
    const auto taken = try_write(data);
    if (!taken) co_return fail(taken.error());
    data.remove_prefix(*taken);
    if (data.empty()) co_return Status{};
    if (const auto ready = co_await wait(EPOLLOUT); !ready) co_return ready;
  }
}

void Stream::set_may_stall(bool may_stall) {
  // To the kernel a peer that does not read for so long is dead too.
  const int milliseconds = may_stall ? 0 : kDeadAfterMs;
  setsockopt(fd_, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof milliseconds);
}

void Stream::close() {
  if (fd_ < 0) return;
  if (tls_) SSL_shutdown(tls_.get());
  loop_.forget(fd_, this);
  ::close(std::exchange(fd_, -1));
  finish(reader_, Outcome::kFailed);
  finish(writer_, Outcome::kFailed);
}

bool Stream::can_read() {
  if (fd_ < 0 || (tls_ && SSL_has_pending(tls_.get()) == 1)) return true;
  char byte = 0;
  const ssize_t n = ::recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n >= 0 || !would_block(errno);
}

// --- TLS ---

Task<Status> Stream::tls_wait(int result) {
  switch (SSL_get_error(tls_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      readable_ = false;
      co_return co_await wait(EPOLLIN);
    case SSL_ERROR_WANT_WRITE:
      co_return co_await wait(EPOLLOUT);
    default:
      co_return fail(closed_error(tls_error()));
  }
}

Task<Status> Stream::handshake() {
  SSL_set_mode(tls_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                               SSL_MODE_RELEASE_BUFFERS);
  SSL_set_fd(tls_.get(), fd_);
  while (true) {
    ERR_clear_error();
    const int n = SSL_do_handshake(tls_.get());
    if (n == 1) co_return Status{};
    if (const auto waited = co_await tls_wait(n); !waited) {
      tls_.reset();
      co_return waited;
    }
  }
}

Task<Status> Stream::handshake_server(ssl_ctx_st* context) {
  tls_.reset(SSL_new(context));
  SSL_set_accept_state(tls_.get());
  readable_ = true;  // the peer's first flight may have been told already
  co_return co_await handshake();
}

Task<Status> Stream::handshake_client(ssl_ctx_st* context, std::string server_name) {
  tls_.reset(SSL_new(context));
  SSL_set_tlsext_host_name(tls_.get(), server_name.c_str());
  SSL_set_connect_state(tls_.get());
  co_return co_await handshake();
}

// --- the peer ---

namespace {

std::optional<sockaddr_storage> peer_of(int fd) {
  sockaddr_storage address{};
  socklen_t bytes = sizeof address;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &bytes) != 0) return std::nullopt;
  return address;
}

}  // namespace

std::string Stream::peer_address() const {
  const auto peer = peer_of(fd_);
  if (!peer) return {};
  char text[INET6_ADDRSTRLEN] = "";
  if (peer->ss_family == AF_INET) {
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(*peer).sin_addr, text, sizeof text);
  } else if (peer->ss_family == AF_INET6) {
    ::inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(*peer).sin6_addr, text, sizeof text);
  }
  return text;
}

uint16_t Stream::peer_port() const {
  const auto peer = peer_of(fd_);
  if (!peer) return 0;
  if (peer->ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(*peer).sin_port);
  if (peer->ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(*peer).sin6_port);
  return 0;
}

}  // namespace decan::async
