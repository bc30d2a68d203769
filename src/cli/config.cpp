#include <fmt/format.h>

#include <memory>

#include "agent/files.h"
#include "cli/command.h"

namespace decan::cli {
namespace {

struct ConfigOptions {
  std::string directory, file;
  bool defaults = false;
};

Result<Config> read(const ConfigOptions& options) {
  if (!options.file.empty()) return load_config(options.file);
  return enter(layout_of(options.directory));
}

int run_show(const ConfigOptions& options) {
  const agent::Layout layout = layout_of(options.directory);
  if (options.defaults) {
    fmt::print("{}", documented_yaml(default_config(layout.root)));
    return kSuccess;
  }
  const auto config = read(options);
  if (!config) return report(config.error());
  fmt::print("{}", effective_yaml(*config));
  return kSuccess;
}

int run_check(const ConfigOptions& options) {
  const auto config = read(options);
  if (!config) return report(config.error());
  fmt::print("{} is valid.\n", options.file.empty() ? layout_of(options.directory).config() : options.file);
  return kSuccess;
}

}  // namespace

void add_config(CLI::App& app, Action& action) {
  auto options = std::make_shared<ConfigOptions>();
  CLI::App* command = app.add_subcommand("config", "Show or check the configuration");
  command->require_subcommand(1);
  CLI::App* show = command->add_subcommand("show", "Print every key and the value that holds");
  show->add_flag("--defaults", options->defaults, "Print the defaults with the documentation of every key");
  CLI::App* check = command->add_subcommand("check", "Say whether a configuration is valid, and where not");
  for (CLI::App* verb : {show, check}) {
    add_directory_option(*verb, options->directory);
    verb->add_option("file", options->file, "A file other than the cluster's decan.yaml");
  }
  show->callback([options, &action] { action = [options] { return run_show(*options); }; });
  check->callback([options, &action] { action = [options] { return run_check(*options); }; });
}

}  // namespace decan::cli
