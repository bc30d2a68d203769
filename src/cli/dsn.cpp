#include <fmt/format.h>

#include <memory>

#include "agent/credentials.h"
#include "cli/command.h"

namespace decan::cli {
namespace {

struct DsnOptions {
  std::string directory;
  std::string role{agent::kOwnerRole}, database{agent::kOwnerDatabase};
};

int run_dsn(const DsnOptions& options) {
  const agent::Layout layout = layout_of(options.directory);
  const auto config = enter(layout);
  if (!config) return report(config.error());
  const auto password = agent::stored_password(layout, options.role);
  if (!password) return report(password.error());
  agent::UrlOptions url;
  url.role = options.role;
  url.database = options.database;
  url.password = password->value_or("");
  fmt::print("{}\n", agent::client_url(*config, url));
  return kSuccess;
}

}  // namespace

void add_dsn(CLI::App& app, Action& action) {
  auto options = std::make_shared<DsnOptions>();
  CLI::App* command = app.add_subcommand("dsn", "Print a connection URL for psql, drivers and scripts");
  command->footer(
      "The URL holds the password of roles that are in the cluster's file of credentials; for other roles "
      "use\n"
      "PGPASSWORD or a password file.");
  add_directory_option(*command, options->directory);
  command->add_option("--role", options->role, "Role to log in as (default app)");
  command->add_option("--database", options->database, "Database (default app)");
  command->callback([options, &action] { action = [options] { return run_dsn(*options); }; });
}

}  // namespace decan::cli
