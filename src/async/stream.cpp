#include "async/stream.h"

#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <asio/experimental/deferred.hpp>
#include <asio/experimental/parallel_group.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>

#include <cerrno>
#include <cstring>

namespace decan::async {
namespace {

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

// The same for one that owes an acknowledgement. To the kernel a peer that does not read for so long is dead
// too.
void set_user_timeout(int fd, int milliseconds) {
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof milliseconds);
}

std::string tls_error() {
  char text[256] = "unknown TLS error";
  if (const unsigned long code = ERR_get_error(); code != 0) ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return text;
}

}  // namespace

void Stream::TlsDeleter::operator()(ssl_st* tls) const {
  SSL_free(tls);
}

Stream::Stream(Loop& loop, Socket socket) : loop_(loop), socket_(std::move(socket)) {
  std::error_code ignored;
  socket_.native_non_blocking(true, ignored);
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (getsockname(socket_.native_handle(), reinterpret_cast<sockaddr*>(&address), &length) == 0 &&
      address.ss_family != AF_UNIX) {
    set_tcp_options(socket_.native_handle());
  }
  position_ = loop_.streams_.insert(loop_.streams_.end(), this);
}

Stream::~Stream() {
  close();
  loop_.streams_.erase(position_);
}

Task<Result<std::unique_ptr<Stream>>> Stream::connect(Loop& loop, std::string host, uint16_t port,
                                                      TimePoint deadline) {
  using Endpoint = asio::generic::stream_protocol::endpoint;
  std::vector<Endpoint> endpoints;
  std::error_code error;
  if (host.starts_with('/')) {
    const std::string path = host + "/.s.PGSQL." + std::to_string(port);
    if (path.size() >= sizeof(sockaddr_un::sun_path)) {
      co_return fail(sqlstate::kConnectionFailure, "Unix socket path \"" + path + "\" is too long");
    }
    endpoints.emplace_back(asio::local::stream_protocol::endpoint(path));
  } else {
    if (const auto address = asio::ip::make_address(host, error);
        !error) {  // else a name: asked in a thread of its own
      endpoints.emplace_back(asio::ip::tcp::endpoint(address, port));
    } else {
      asio::ip::tcp::resolver resolver(loop.io());
      const auto found = co_await resolver.async_resolve(host, std::to_string(port),
                                                         asio::redirect_error(asio::use_awaitable, error));
      for (const auto& entry : found) endpoints.emplace_back(entry.endpoint());
    }
  }
  for (const Endpoint& endpoint : endpoints) {
    Socket socket(loop.io());
    socket.open(endpoint.protocol(), error);
    if (error) continue;
    auto stream = std::make_unique<Stream>(loop, std::move(socket));
    stream->set_deadline(deadline);
    co_await stream->socket_.async_connect(endpoint, asio::redirect_error(asio::use_awaitable, error));
    if (!error) {
      stream->set_deadline(kNoDeadline);
      stream->set_may_stall(false);
      co_return stream;
    }
    if (stream->timed_out_) break;
  }
  co_return fail(sqlstate::kConnectionFailure,
                 "could not connect to storage unit at " + host + ":" + std::to_string(port),
                 error ? error.message() : "no address found");
}

Error Stream::closed_error(std::string_view what) const {
  if (timed_out_) return Error{std::string(kTimedOut), "the deadline of a network operation passed"};
  return Error{std::string(sqlstate::kConnectionFailure), "connection lost", std::string(what)};
}

Task<Result<size_t>> Stream::read_some(char* data, size_t bytes) {
  if (tls_) co_return co_await tls_read(data, bytes);
  if (timed_out_) co_return fail(closed_error("deadline"));
  std::error_code error;
  const size_t n = co_await socket_.async_receive(asio::buffer(data, bytes), 0,
                                                  asio::redirect_error(asio::use_awaitable, error));
  if (error == asio::error::eof) co_return size_t{0};
  if (error) co_return fail(closed_error(error.message()));
  co_return n;
}

Task<Status> Stream::wait_readable() {
  if (tls_ && SSL_pending(tls_.get()) > 0) co_return Status{};
  co_return co_await wait(Socket::wait_read);
}

Task<Status> Stream::wait(Socket::wait_type what) {
  if (timed_out_) co_return fail(closed_error("deadline"));
  std::error_code error;
  co_await socket_.async_wait(what, asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return fail(closed_error(error.message()));
  co_return Status{};
}

void Stream::set_may_stall(bool may_stall) {
  set_user_timeout(socket_.native_handle(), may_stall ? 0 : kDeadAfterMs);
}

Task<Status> Stream::wait_either() {
  if (tls_ && SSL_pending(tls_.get()) > 0) co_return Status{};
  if (timed_out_) co_return fail(closed_error("deadline"));
  // The one that comes second is cancelled; its error says nothing.
  const auto [order, readable, writable] =
      co_await asio::experimental::make_parallel_group(
          socket_.async_wait(Socket::wait_read, asio::experimental::deferred),
          socket_.async_wait(Socket::wait_write, asio::experimental::deferred))
          .async_wait(asio::experimental::wait_for_one(), asio::use_awaitable);
  const std::error_code error = order[0] == 0 ? readable : writable;
  if (error) co_return fail(closed_error(error.message()));
  co_return Status{};
}

Result<size_t> Stream::try_write(std::string_view data) {
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
    const ssize_t n =
        ::send(socket_.native_handle(), data.data() + done, data.size() - done, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return done;
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
    if (const auto ready = co_await wait(Socket::wait_write); !ready) co_return ready;
  }
}

void Stream::close() {
  std::error_code ignored;
  if (socket_.is_open()) {
    if (tls_) SSL_shutdown(tls_.get());
    socket_.close(ignored);
  }
}

bool Stream::can_read() {
  if (!socket_.is_open() || (tls_ && SSL_has_pending(tls_.get()) == 1)) return true;
  char byte = 0;
  const ssize_t n = ::recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

void Stream::check_deadline(TimePoint now) {
  if (now >= deadline_ && !timed_out_) {
    timed_out_ = true;
    std::error_code ignored;
    socket_.cancel(ignored);
  }
}

Task<Status> Stream::tls_wait(int result) {
  switch (SSL_get_error(tls_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      co_return co_await wait(Socket::wait_read);
    case SSL_ERROR_WANT_WRITE:
      co_return co_await wait(Socket::wait_write);
    default:
      co_return fail(closed_error(tls_error()));
  }
}

Task<Result<size_t>> Stream::tls_read(char* data, size_t bytes) {
  while (true) {
    ERR_clear_error();
    const int n = SSL_read(tls_.get(), data, static_cast<int>(std::min<size_t>(bytes, 1u << 20)));
    if (n > 0) co_return static_cast<size_t>(n);
    const int why = SSL_get_error(tls_.get(), n);
    if (why == SSL_ERROR_ZERO_RETURN || (why == SSL_ERROR_SYSCALL && errno == 0)) co_return size_t{0};
    if (const auto waited = co_await tls_wait(n); !waited) co_return fail(waited.error());
  }
}

Task<Status> Stream::handshake() {
  SSL_set_mode(tls_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                               SSL_MODE_RELEASE_BUFFERS);
  SSL_set_fd(tls_.get(), socket_.native_handle());
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
  co_return co_await handshake();
}

Task<Status> Stream::handshake_client(ssl_ctx_st* context, std::string server_name) {
  tls_.reset(SSL_new(context));
  SSL_set_tlsext_host_name(tls_.get(), server_name.c_str());
  SSL_set_connect_state(tls_.get());
  co_return co_await handshake();
}

std::string Stream::peer_address() const {
  std::error_code error;
  const auto endpoint = socket_.remote_endpoint(error);
  if (error || endpoint.protocol().family() == AF_UNIX) return {};
  asio::ip::tcp::endpoint tcp;
  tcp.resize(endpoint.size());
  std::memcpy(tcp.data(), endpoint.data(), endpoint.size());
  return tcp.address().to_string();
}

uint16_t Stream::peer_port() const {
  std::error_code error;
  const auto endpoint = socket_.remote_endpoint(error);
  if (error || endpoint.protocol().family() == AF_UNIX) return 0;
  asio::ip::tcp::endpoint tcp;
  tcp.resize(endpoint.size());
  std::memcpy(tcp.data(), endpoint.data(), endpoint.size());
  return tcp.port();
}

}  // namespace decan::async
