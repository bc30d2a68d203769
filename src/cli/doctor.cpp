#include "agent/doctor.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"

namespace decan::cli {
namespace {

using nlohmann::json;

struct DoctorOptions {
  std::string directory, output = "text";
};

std::string_view word_for(agent::Verdict verdict) {
  switch (verdict) {
    case agent::Verdict::kGood:
      return "ok";
    case agent::Verdict::kWarning:
      return "warning";
    case agent::Verdict::kBad:
      return "problem";
  }
  return "problem";
}

int run_doctor(const DoctorOptions& options) {
  const agent::Layout layout = layout_of(options.directory);
  // Without a cluster there is still the machine to look at.
  if (layout.is_cluster()) {
    if (Status done = agent::enter_directory(layout); !done) return report(done.error());
  }
  const std::vector<agent::Finding> findings = agent::examine(layout);
  const auto bad = std::ranges::count(findings, agent::Verdict::kBad, &agent::Finding::verdict);
  if (options.output == "json") {
    json out = json::array();
    for (const agent::Finding& finding : findings) {
      out.push_back({{"check", finding.check},
                     {"verdict", word_for(finding.verdict)},
                     {"text", finding.text},
                     {"advice", finding.advice}});
    }
    fmt::print("{}\n", out.dump(2, ' ', false, json::error_handler_t::replace));
  } else {
    for (const agent::Finding& finding : findings) {
      fmt::print("{:<8} {:<18} {}\n", word_for(finding.verdict), finding.check, finding.text);
      if (!finding.advice.empty()) fmt::print("{:27} -> {}\n", "", finding.advice);
    }
    fmt::print("{}\n", bad == 0 ? "No problem was found." : fmt::format("Problems found: {}.", bad));
  }
  return bad == 0 ? kSuccess : kFailure;
}

}  // namespace

void add_doctor(CLI::App& app, Action& action) {
  auto options = std::make_shared<DoctorOptions>();
  CLI::App* command = app.add_subcommand(
      "doctor", "Look for what is wrong: packages, ports, permissions, disk, versions, servers");
  command->footer("Changes nothing. Exit code 0: no problem was found; 1: there are problems.");
  add_directory_option(*command, options->directory);
  add_output_option(*command, options->output);
  command->callback([options, &action] { action = [options] { return run_doctor(*options); }; });
}

}  // namespace decan::cli
