#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "agent/credentials.h"
#include "agent/inspect.h"
#include "cli/command.h"

namespace decan::cli {
namespace {

using nlohmann::json;

struct StatusOptions {
  std::string directory, output = "text";
};

std::string ago(int64_t since) {
  const int64_t seconds = std::max<int64_t>(0, agent::unix_time() - since);
  if (since == 0) return "";
  if (seconds < 120) return fmt::format("{} s", seconds);
  if (seconds < 7200) return fmt::format("{} min", seconds / 60);
  if (seconds < 172'800) return fmt::format("{} h", seconds / 3600);
  return fmt::format("{} d", seconds / 86'400);
}

std::string_view word_for(const agent::ComponentReport& component) {
  if (component.answers) return "answers";
  return component.state.phase == agent::ComponentPhase::kRunning ? "does not answer"
                                                                  : agent::name_of(component.state.phase);
}

void print_json(const agent::Layout& layout, const Config& config, const agent::ClusterReport& report) {
  json components = json::array();
  for (const agent::ComponentReport& component : report.components) {
    components.push_back({{"name", component.state.name},
                          {"kind", component.state.kind},
                          {"state", agent::name_of(component.state.phase)},
                          {"answers", component.answers},
                          {"pid", component.state.pid},
                          {"address", component.state.address},
                          {"restarts", component.state.restarts},
                          {"since", component.state.since},
                          {"adopted", component.state.adopted},
                          {"message", component.state.message}});
  }
  const json out{{"directory", layout.root},
                 {"version", DECAN_VERSION},
                 {"running", report.supervised},
                 {"healthy", report.healthy()},
                 {"state", report.supervised ? agent::name_of(report.state.phase) : "stopped"},
                 {"note", report.state.note},
                 {"supervisor_pid", report.supervised ? report.state.supervisor_pid : 0},
                 {"url", agent::client_url(config, {})},
                 {"components", std::move(components)}};
  fmt::print("{}\n", out.dump(2, ' ', false, json::error_handler_t::replace));
}

void print_text(const agent::Layout& layout, const Config& config, const agent::ClusterReport& report) {
  if (!report.supervised) {
    fmt::print("not running  {}\n", layout.root);
    if (report.state.error) fmt::print("last start failed: {}\n", report.state.error->message);
    for (const agent::ComponentReport& component : report.components) {
      if (component.answers) {
        fmt::print(
            "{} (pid {}) still runs without a supervisor; 'decan up' takes it over, 'decan down' stops it\n",
            component.state.name, component.state.pid);
      }
    }
    return;
  }
  fmt::print("{}  {}  {}\n", agent::name_of(report.state.phase), layout.root, agent::client_url(config, {}));
  if (!report.state.note.empty()) fmt::print("{}\n", report.state.note);
  fmt::print("\n{:<12} {:<16} {:>8} {:<22} {:>9} {:>9}\n", "COMPONENT", "STATE", "PID", "ADDRESS", "SINCE",
             "RESTARTS");
  for (const agent::ComponentReport& component : report.components) {
    fmt::print("{:<12} {:<16} {:>8} {:<22} {:>9} {:>9}\n", component.state.name, word_for(component),
               component.state.pid, component.state.address, ago(component.state.since),
               component.state.restarts);
    if (!component.state.message.empty()) fmt::print("  {}\n", component.state.message);
  }
}

int run_status(const StatusOptions& options) {
  const agent::Layout layout = layout_of(options.directory);
  const auto config = enter(layout);
  if (!config) {
    const bool absent = config.error().sqlstate == sqlstate::kObjectNotInPrerequisiteState;
    return report(config.error(), absent ? kNotRunning : kFailure);
  }
  const auto seen = agent::inspect(layout);
  if (!seen) return report(seen.error());
  if (options.output == "json") {
    print_json(layout, *config, *seen);
  } else {
    print_text(layout, *config, *seen);
  }
  if (!seen->supervised) return kNotRunning;
  return seen->healthy() ? kSuccess : kFailure;
}

}  // namespace

void add_status(CLI::App& app, Action& action) {
  auto options = std::make_shared<StatusOptions>();
  CLI::App* command = app.add_subcommand("status", "Show what runs, and whether it answers");
  command->footer("Exit code 0: everything answers; 1: something does not; 3: the cluster is not running.");
  add_directory_option(*command, options->directory);
  add_output_option(*command, options->output);
  command->callback([options, &action] { action = [options] { return run_status(*options); }; });
}

}  // namespace decan::cli
