#include <fmt/format.h>
#include <signal.h>

#include <chrono>
#include <memory>

#include "agent/files.h"
#include "agent/process.h"
#include "agent/supervisor.h"
#include "cli/command.h"
#include "cli/stop.h"

namespace decan::cli {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// Clients may finish their transaction, then every server may take a minute.
constexpr auto kPatience = 150s;

struct DownOptions {
  std::string directory;
};

int run_down(const DownOptions& options) {
  const agent::Layout layout = layout_of(options.directory);
  const auto config = enter(layout);
  if (!config) return report(config.error());
  const auto stopped = stop_cluster(layout, *config);
  if (!stopped) return report(stopped.error());
  fmt::print("{}\n", *stopped ? "Decan is stopped; the data stays. 'decan up' starts it again."
                              : "Decan was not running.");
  return kSuccess;
}

}  // namespace

Result<bool> stop_cluster(const agent::Layout& layout, const Config& config) {
  const auto pid = agent::FileLock::holder(layout.supervisor_lock());
  auto supervisor = pid ? agent::Process::adopt(*pid) : std::nullopt;
  // Without a supervisor something may still run: one that was killed leaves the storage units behind.
  if (!supervisor) return agent::stop_orphans(layout, config);
  supervisor->signal(SIGTERM);
  const auto started = Clock::now();
  while (!supervisor->wait(2s)) {
    const auto waited = Clock::now() - started;
    if (waited > kPatience + config.compute.shutdown_grace) {
      return fail("55006", fmt::format("the supervisor (pid {}) does not end", *pid), {},
                  "See 'decan logs supervisor'; sessions with long transactions may hold it up.");
    }
    fmt::print(stderr, "stopping, {} s\n", std::chrono::duration_cast<std::chrono::seconds>(waited).count());
  }
  return true;
}

void add_down(CLI::App& app, Action& action) {
  auto options = std::make_shared<DownOptions>();
  CLI::App* command = app.add_subcommand("down", "Stop the cluster; its data stays");
  command->footer(
      "Clients may finish their transaction (compute.shutdown_grace), then the servers stop cleanly.");
  add_directory_option(*command, options->directory);
  command->callback([options, &action] { action = [options] { return run_down(*options); }; });
}

}  // namespace decan::cli
