#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <iostream>
#include <memory>

#include "agent/files.h"
#include "agent/process.h"
#include "cli/command.h"
#include "cli/stop.h"

namespace decan::cli {
namespace {

struct DestroyOptions {
  std::string directory;
  bool yes = false;
};

bool confirmed(const agent::Layout& layout) {
  if (::isatty(STDIN_FILENO) == 0) {
    fmt::print(stderr, "decan: nobody is there to confirm\n  -> Use --yes.\n");
    return false;
  }
  fmt::print("This deletes the cluster in {} with all its data, for good. Type yes to go on: ", layout.root);
  std::fflush(stdout);
  std::string answer;
  std::getline(std::cin, answer);
  if (answer == "yes") return true;
  fmt::print("Nothing was deleted.\n");
  return false;
}

int run_destroy(const DestroyOptions& options) {
  const agent::Layout layout = layout_of(options.directory);
  if (Status done = agent::enter_directory(layout); !done) return report(done.error());
  if (!options.yes && !confirmed(layout)) return kFailure;
  // A broken configuration must not keep anybody from deleting.
  const Config config = load_config(layout.config()).value_or(default_config(layout.root));
  const auto stopped = stop_cluster(layout, config);
  if (!stopped) return report(stopped.error());
  // The mark goes last: until then another 'destroy' finds what is left.
  for (const char* name : {"/units", "/run", "/log", "/tls", "/credentials", "/meta.db", "/meta.db-wal",
                           "/meta.db-shm", "/decan.yaml"}) {
    if (Status done = agent::remove_tree(layout.root + name); !done) return report(done.error());
  }
  if (layout.socket_directory != layout.run()) {
    if (Status done = agent::remove_tree(layout.socket_directory); !done) return report(done.error());
  }
  if (Status done = agent::remove_tree(layout.format()); !done) return report(done.error());
  // Fails where the parent is not ours, as in /var/lib, or where other files are kept: then the directory
  // stays.
  const bool gone = ::rmdir(layout.root.c_str()) == 0;
  fmt::print("The cluster is deleted{}.\n",
             gone ? "" : fmt::format("; the directory {} is left", layout.root));
  return kSuccess;
}

}  // namespace

void add_destroy(CLI::App& app, Action& action) {
  auto options = std::make_shared<DestroyOptions>();
  CLI::App* command = app.add_subcommand("destroy", "Stop the cluster and delete it with all its data");
  add_directory_option(*command, options->directory);
  command->add_flag("--yes", options->yes, "Do not ask");
  command->callback([options, &action] { action = [options] { return run_destroy(*options); }; });
}

}  // namespace decan::cli
