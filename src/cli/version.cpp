#include <fmt/format.h>

#include "agent/layout.h"
#include "agent/unit_server.h"
#include "cli/command.h"

namespace decan::cli {

void add_version(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("version", "Print the version");
  command->callback([&action] {
    action = [] {
      fmt::print("Decan {} (PostgreSQL {}, directory format {})\n", DECAN_VERSION, agent::kPostgresVersion,
                 agent::kDirectoryFormat);
      return kSuccess;
    };
  });
}

}  // namespace decan::cli
