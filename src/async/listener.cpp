#include "async/listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace decan::async {
namespace {

constexpr int kBacklog = 1024;
constexpr int kAtOnce = 64;  // then others have their turn

std::unexpected<Error> system_failure(int error) {
  return fail("58030", std::strerror(error));
}

}  // namespace

Listener::Listener(Loop& loop, int fd, OnAccept on_accept)
    : loop_(loop), fd_(fd), on_accept_(std::move(on_accept)), tick_(loop.on_tick([this] {
        if (!std::exchange(paused_, false)) return;
        loop_.change(fd_, this, EPOLLIN);
      })) {}

Listener::~Listener() {
  loop_.forget(fd_, this);
  ::close(fd_);
}

Result<std::unique_ptr<Listener>> Listener::open(Loop& loop, const std::string& address, uint16_t port,
                                                 OnAccept on_accept) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found);
      error != 0) {
    return fail("58030", ::gai_strerror(error));
  }
  const int fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  const bool bound = fd >= 0 && ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                     ::bind(fd, found->ai_addr, found->ai_addrlen) == 0 && ::listen(fd, kBacklog) == 0;
  const int error = errno;
  ::freeaddrinfo(found);
  if (!bound) {
    if (fd >= 0) ::close(fd);
    return system_failure(error);
  }
  std::unique_ptr<Listener> listener(new Listener(loop, fd, std::move(on_accept)));
  if (auto watched = loop.watch(fd, listener.get(), EPOLLIN); !watched) return fail(watched.error());
  return listener;
}

uint16_t Listener::port() const {
  sockaddr_storage address{};
  socklen_t bytes = sizeof address;
  if (::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &bytes) != 0) return 0;
  // The port stands at the same place in both families' addresses.
  return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

void Listener::on_ready(uint32_t) {
  for (int i = 0; i < kAtOnce; ++i) {
    const int fd = ::accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      on_accept_(fd);
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
      // Out of descriptors or memory: those who wait stay in the kernel's queue until the next tick.
      paused_ = true;
      loop_.change(fd_, this, 0);
    }
    return;
  }
}

}  // namespace decan::async
