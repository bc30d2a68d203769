#include <memory>

#include "agent/process.h"
#include "base/log.h"
#include "cli/command.h"
#include "session/compute_main.h"

namespace decan::cli {

namespace {

struct ComputeVerbOptions {
  std::string config, meta;
};

int run(const ComputeVerbOptions& options) {
  auto config = load_config(options.config);
  if (!config) return report(config.error());
  log::configure(config->log.level, config->log.format);
  agent::raise_file_limit();
  const std::string meta = options.meta.empty() ? config->data_directory + "/meta.db" : options.meta;
  return session::run_compute({std::move(*config), options.config, meta});
}

}  // namespace

void add_compute(CLI::App& app, Action& action) {
  auto options = std::make_shared<ComputeVerbOptions>();
  CLI::App* command =
      app.add_subcommand("compute", "Run one compute node in the foreground ('up' does it for you)");
  command->add_option("--config", options->config, "Configuration file")->required()->type_name("FILE");
  command->add_option("--meta", options->meta, "Metadata store (default: meta.db in data_directory)")
      ->type_name("FILE");
  command->footer("SIGHUP reloads the configuration, SIGTERM stops.");
  command->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace decan::cli
