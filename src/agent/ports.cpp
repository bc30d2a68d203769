#include "agent/ports.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "agent/files.h"
#include "agent/process.h"

namespace decan::agent {
namespace {

namespace fs = std::filesystem;

constexpr int kListenState = 0x0A;  // TCP_LISTEN in /proc/net/tcp

int try_bind(const ListenAddress& address) {
  const bool v6 = address.address.find(':') != std::string::npos;
  const Descriptor fd(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return errno;
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_storage storage{};
  socklen_t bytes = 0;
  if (v6) {
    auto* to = reinterpret_cast<sockaddr_in6*>(&storage);
    to->sin6_family = AF_INET6;
    to->sin6_port = htons(address.port);
    ::inet_pton(AF_INET6, address.address.c_str(), &to->sin6_addr);
    bytes = sizeof *to;
  } else {
    auto* to = reinterpret_cast<sockaddr_in*>(&storage);
    to->sin_family = AF_INET;
    to->sin_port = htons(address.port);
    ::inet_pton(AF_INET, address.address.c_str(), &to->sin_addr);
    bytes = sizeof *to;
  }
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&storage), bytes) != 0) return errno;
  // bind alone succeeds beside a socket that listens with SO_REUSEADDR.
  return ::listen(fd.get(), 1) == 0 ? 0 : errno;
}

// Inodes of the sockets that listen on the port.
std::set<std::string> listening_inodes(uint16_t port) {
  std::set<std::string> inodes;
  for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream in(table);
    std::string line;
    std::getline(in, line);
    while (std::getline(in, line)) {
      std::istringstream fields(line);
      std::string slot, local, remote, state, queues, timer, retransmits, uid, timeout, inode;
      fields >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> uid >> timeout >> inode;
      const size_t colon = local.rfind(':');
      if (colon == std::string::npos || std::strtol(state.c_str(), nullptr, 16) != kListenState) continue;
      if (std::strtol(local.c_str() + colon + 1, nullptr, 16) == port) inodes.insert(inode);
    }
  }
  return inodes;
}

std::optional<pid_t> owner_of(const std::set<std::string>& inodes) {
  std::error_code code;
  for (const auto& process : fs::directory_iterator("/proc", code)) {
    const std::string name = process.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::error_code denied;
    for (const auto& fd : fs::directory_iterator(process.path() / "fd", denied)) {
      const std::string target = fs::read_symlink(fd.path(), denied).string();
      if (!target.starts_with("socket:[")) continue;
      if (inodes.contains(target.substr(8, target.size() - 9))) return std::atoi(name.c_str());
    }
  }
  return std::nullopt;
}

}  // namespace

bool port_is_free(const ListenAddress& address) {
  return try_bind(address) == 0;
}

std::string port_owner(uint16_t port) {
  const auto inodes = listening_inodes(port);
  if (inodes.empty()) return {};
  const auto pid = owner_of(inodes);
  if (!pid) return "another user's process";
  return fmt::format("{} (pid {})", process_name(*pid), *pid);
}

Status require_free(const ListenAddress& address, const std::string& key) {
  const int code = try_bind(address);
  if (code == 0) return {};
  if (code != EADDRINUSE) {
    return fail("55006", fmt::format("can not listen on {}: {}", to_string(address), std::strerror(code)), {},
                fmt::format("Change {} in the configuration.", key));
  }
  const std::string owner = port_owner(address.port);
  return fail(
      "55006", fmt::format("port {} is taken by {}", address.port, owner.empty() ? "another process" : owner),
      {},
      fmt::format("Stop that process, or choose another port: {} in the configuration, or --port at the "
                  "first 'decan up'.",
                  key));
}

Result<uint16_t> choose_port(uint16_t first, const std::set<uint16_t>& taken) {
  for (uint32_t port = first; port <= 65535; ++port) {
    const auto candidate = static_cast<uint16_t>(port);
    if (!taken.contains(candidate) && port_is_free({"127.0.0.1", candidate})) return candidate;
  }
  return fail("55006", fmt::format("no port from {} on is free", first), {}, "Change units.first_port.");
}

}  // namespace decan::agent
