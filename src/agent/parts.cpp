#include "agent/parts.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "agent/files.h"
#include "agent/ports.h"
#include "agent/supervisor.h"
#include "base/log.h"
#include "meta/sqlite_store.h"
#include "meta/topology.h"

namespace decan::agent {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr auto kUnitPatience = 60s;
constexpr size_t kLastLines = 8;
constexpr int kKeptLogs = 3;

}  // namespace

Status UnitPart::move_to_free_port() {
  if (port_is_free({"127.0.0.1", plan_.port})) return {};
  // No client depends on a unit's own port, so another one will do.
  const auto port = choose_port(plan_.port, {plan_.port});
  if (!port) return fail(port.error());
  log::warning("port of storage unit is taken; another one is used",
               {{"unit", name()}, {"taken", plan_.port}, {"by", port_owner(plan_.port)}, {"port", *port}});
  plan_.port = *port;
  server_.set_port(*port);
  if (Status done = store_port(store_, plan_); !done) return done;
  return update_address(store_, server_, plan_);
}

Result<Process> UnitPart::launch() {
  if (auto running = server_.running()) return std::move(*running);
  if (Status done = server_.clean_up(); !done) return fail(done.error());
  if (Status done = move_to_free_port(); !done) return fail(done.error());
  return server_.start();
}

bool UnitPart::is_ready() {
  return server_.readiness() == UnitServer::Readiness::kReady;
}
std::string UnitPart::address() const {
  return fmt::format("127.0.0.1:{}", plan_.port);
}
std::string UnitPart::last_words() const {
  return server_.last_log_lines(kLastLines);
}
std::chrono::milliseconds UnitPart::patience() const {
  return kUnitPatience;
}
void UnitPart::ask_to_stop(bool force) {
  process()->signal(force ? SIGQUIT : SIGINT);
}

ComputePart::ComputePart(const Layout& layout, const Config& config, Command command)
    : Component("compute", "compute"), layout_(layout), config_(config), command_(std::move(command)) {
  command_.output = layout_.log("compute");
  command_.directory = layout_.root;
  command_.death_signal = SIGTERM;
}

Result<Process> ComputePart::launch() {
  for (const ListenAddress& address : config_.compute.listen) {
    if (Status free = require_free(address, "compute.listen"); !free) return fail(free.error());
  }
  for (const ListenAddress& address : config_.compute.metrics_listen) {
    if (Status free = require_free(address, "compute.metrics_listen"); !free) return fail(free.error());
  }
  auto lock = FileLock::try_lock(layout_.compute_lock());
  if (!lock) return fail(lock.error());
  if (!*lock) return fail("55006", "another compute node of this directory still runs");
  command_.kept_fd = (*lock)->fd();
  auto process = Process::start(command_);
  if (!process) return fail(process.error());
  // From here on the lock lives as long as the compute node does.
  if (Status done = (*lock)->write_pid(process->pid()); !done) {
    process->signal(SIGKILL);
    process->wait(5s);
    return fail(done.error());
  }
  return process;
}

bool ComputePart::is_ready() {
  return accepts(config_.compute.listen.front());
}
std::string ComputePart::address() const {
  return to_string(config_.compute.listen.front());
}
std::string ComputePart::last_words() const {
  return tail_of(layout_.log("compute"), kLastLines);
}
std::chrono::milliseconds ComputePart::patience() const {
  return config_.compute.shutdown_grace + 5s;
}
void ComputePart::ask_to_stop(bool force) {
  process()->signal(force ? SIGKILL : SIGTERM);
}

bool accepts(const ListenAddress& address) {
  const bool v6 = address.address.find(':') != std::string::npos;
  const Descriptor fd(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return false;
  sockaddr_storage storage{};
  socklen_t bytes = 0;
  if (v6) {
    auto* to = reinterpret_cast<sockaddr_in6*>(&storage);
    to->sin6_family = AF_INET6;
    to->sin6_port = htons(address.port);
    ::inet_pton(AF_INET6, address.address == "::" ? "::1" : address.address.c_str(), &to->sin6_addr);
    bytes = sizeof *to;
  } else {
    auto* to = reinterpret_cast<sockaddr_in*>(&storage);
    to->sin_family = AF_INET;
    to->sin_port = htons(address.port);
    ::inet_pton(AF_INET, address.address == "0.0.0.0" ? "127.0.0.1" : address.address.c_str(), &to->sin_addr);
    bytes = sizeof *to;
  }
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&storage), bytes) == 0) return true;
  if (errno != EINPROGRESS) return false;
  pollfd ready{fd.get(), POLLOUT, 0};
  int error = 0;
  socklen_t size = sizeof error;
  return ::poll(&ready, 1, 200) == 1 && ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) == 0 &&
         error == 0;
}

Status stop_orphaned_compute(const Layout& layout) {
  const auto pid = FileLock::holder(layout.compute_lock());
  if (!pid) return {};
  auto process = Process::adopt(*pid);
  if (!process) return {};
  log::info("a compute node without supervisor is stopped", {{"pid", *pid}});
  process->signal(SIGTERM);
  if (process->wait(10s)) return {};
  process->signal(SIGKILL);
  if (process->wait(5s)) return {};
  return fail("55006", fmt::format("a compute node of this directory does not end, pid {}", *pid), {},
              "End it, then run 'decan up' again.");
}

Result<bool> stop_orphans(const Layout& layout, const Config& config) {
  bool found = FileLock::holder(layout.compute_lock()).has_value();
  if (Status done = stop_orphaned_compute(layout); !done) return fail(done.error());
  std::vector<Process> running;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(layout.root + "/units", code)) {
    UnitServer::Options options;
    options.name = entry.path().filename();
    options.directory = entry.path();
    options.settings = config.units;
    if (auto process = UnitServer(options).running()) running.push_back(std::move(*process));
  }
  for (const Process& process : running) process.signal(SIGINT);
  for (Process& process : running) {
    found = true;
    if (!stop_postgres(process, kUnitPatience)) {
      return fail("55006", fmt::format("the server with pid {} does not stop", process.pid()));
    }
  }
  return found;
}

void rotate_log(const std::string& path) {
  std::error_code code;
  if (fs::file_size(path, code) <= kMaxLogBytes || code) return;
  for (int number = kKeptLogs; number > 1; --number) {
    fs::rename(fmt::format("{}.{}", path, number - 1), fmt::format("{}.{}", path, number), code);
  }
  // The writer keeps its descriptor open for appending, so the file itself has to stay.
  if (fs::copy_file(path, path + ".1", fs::copy_options::overwrite_existing, code))
    fs::resize_file(path, 0, code);
}

}  // namespace decan::agent
