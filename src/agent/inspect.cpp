#include "agent/inspect.h"

#include <libpq-fe.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "agent/files.h"
#include "agent/unit_server.h"

namespace decan::agent {
namespace {

constexpr int kPingSeconds = 2;

uint16_t port_of(const std::string& address) {
  const size_t colon = address.rfind(':');
  unsigned port = 0;
  if (colon != std::string::npos)
    std::from_chars(address.data() + colon + 1, address.data() + address.size(), port);
  return port <= 65535 ? static_cast<uint16_t>(port) : uint16_t{0};
}

std::string host_of(const std::string& address) {
  std::string host = address.substr(0, address.rfind(':'));
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  if (host == "0.0.0.0") return "127.0.0.1";
  return host == "::" ? "::1" : host;
}

}  // namespace

bool pings(const std::string& host, uint16_t port, int timeout_s) {
  const std::string port_text = std::to_string(port), timeout_text = std::to_string(timeout_s);
  const char* keys[] = {"host", "port", "connect_timeout", "user", "dbname", nullptr};
  const char* values[] = {host.c_str(), port_text.c_str(), timeout_text.c_str(),
                          "decan",      "postgres",        nullptr};
  return PQpingParams(keys, values, 0) == PQPING_OK;
}

bool ClusterReport::healthy() const {
  return supervised && state.phase == Phase::kReady &&
         std::ranges::all_of(components, [](const ComponentReport& c) { return c.answers; });
}

Result<ClusterReport> inspect(const Layout& layout) {
  ClusterReport report;
  report.supervised = FileLock::holder(layout.supervisor_lock()).has_value();
  auto state = read_state(layout.state());
  if (!state) return fail(state.error());
  if (*state) report.state = std::move(**state);
  for (const ComponentState& component : report.state.components) {
    ComponentReport seen{component};
    const uint16_t port = port_of(component.address);
    seen.answers = component.kind == "unit" ? pings(layout.socket_directory, port, kPingSeconds)
                                            : pings(host_of(component.address), port, kPingSeconds);
    if (!report.supervised && !seen.answers) seen.state.phase = ComponentPhase::kStopped;
    report.components.push_back(std::move(seen));
  }
  return report;
}

}  // namespace decan::agent
