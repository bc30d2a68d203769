// Names to addresses, and addresses to connected streams.
#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "async/stream.h"

namespace decan::async {
namespace {

struct Endpoint {
  sockaddr_storage address{};
  socklen_t bytes = 0;
};

std::vector<Endpoint> look_up(const std::string& host, uint16_t port, int flags) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | flags;
  addrinfo* found = nullptr;
  std::vector<Endpoint> endpoints;
  if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return endpoints;
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    Endpoint endpoint;
    endpoint.bytes = entry->ai_addrlen;
    std::memcpy(&endpoint.address, entry->ai_addr, entry->ai_addrlen);
    endpoints.push_back(endpoint);
  }
  ::freeaddrinfo(found);
  return endpoints;
}

// Between the thread that asks for a name and the coroutine that waits, which may be gone before the answer.
struct Asked {
  explicit Asked(Loop& on) : loop(&on), answered(on) {}
  std::mutex mutex;
  Loop* loop;  // null: nobody waits any more
  std::vector<Endpoint> endpoints;
  Event answered;
};

// getaddrinfo blocks, without a limit of ours: each look-up has a thread of its own.
Task<std::vector<Endpoint>> resolve(Loop& loop, std::string host, uint16_t port, TimePoint deadline) {
  auto asked = std::make_shared<Asked>(loop);
  struct Leave {
    std::shared_ptr<Asked> asked;
    ~Leave() {
      const std::lock_guard lock(asked->mutex);
      asked->loop = nullptr;
    }
  };
  const Leave leave{asked};
  std::thread([asked, host = std::move(host), port] {
    auto found = look_up(host, port, 0);
    const std::lock_guard lock(asked->mutex);
    if (asked->loop == nullptr) return;
    asked->endpoints = std::move(found);
    asked->loop->post([asked] { asked->answered.notify(); });
  }).detach();
  std::vector<Endpoint> endpoints;
  if (co_await asked->answered.wait(deadline)) endpoints = asked->endpoints;
  co_return endpoints;
}

std::optional<Endpoint> unix_endpoint(const std::string& path) {
  Endpoint endpoint;
  auto& address = reinterpret_cast<sockaddr_un&>(endpoint.address);
  if (path.size() >= sizeof address.sun_path) return std::nullopt;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  endpoint.bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return endpoint;
}

int pending_error(int fd) {
  int error = 0;
  socklen_t bytes = sizeof error;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) == 0 ? error : errno;
}

}  // namespace

Task<Result<std::unique_ptr<Stream>>> Stream::connect(Loop& loop, std::string host, uint16_t port,
                                                      TimePoint deadline) {
  std::vector<Endpoint> endpoints;
  if (host.starts_with('/')) {
    const std::string path = host + "/.s.PGSQL." + std::to_string(port);
    const auto endpoint = unix_endpoint(path);
    if (!endpoint)
      co_return fail(sqlstate::kConnectionFailure, "Unix socket path \"" + path + "\" is too long");
    endpoints.push_back(*endpoint);
  } else {
    endpoints = look_up(host, port, AI_NUMERICHOST);
    if (endpoints.empty()) endpoints = co_await resolve(loop, host, port, deadline);
  }
  std::string why = "no address found";
  for (const Endpoint& endpoint : endpoints) {
    const int fd = ::socket(endpoint.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
      why = std::strerror(errno);
      continue;
    }
    const auto* address = reinterpret_cast<const sockaddr*>(&endpoint.address);
    int error = ::connect(fd, address, endpoint.bytes) == 0 ? 0 : errno;
    // A Unix socket whose queue of connections is full tells nobody when there is room.
    while (error == EAGAIN && Clock::now() < deadline) {
      co_await sleep_for(loop, std::chrono::milliseconds(5));
      error = ::connect(fd, address, endpoint.bytes) == 0 ? 0 : errno;
    }
    if (error != 0 && error != EINPROGRESS) {
      ::close(fd);
      why = std::strerror(error);
      continue;
    }
    auto stream = std::make_unique<Stream>(loop, fd);
    stream->set_may_stall(false);
    if (error == 0) co_return stream;
    stream->set_deadline(deadline);
    const auto writable = co_await stream->wait(EPOLLOUT);
    stream->set_deadline(kNoDeadline);
    error = writable ? pending_error(fd) : ETIMEDOUT;
    if (error == 0) co_return stream;
    why = std::strerror(error);
    if (!writable) break;
  }
  co_return fail(sqlstate::kConnectionFailure,
                 "could not connect to storage unit at " + host + ":" + std::to_string(port), why);
}

}  // namespace decan::async
