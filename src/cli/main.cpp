#include <fmt/format.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <clocale>
#include <exception>

#include "cli/command.h"

namespace {

// CLI11 has a code of its own for each mistake; for scripts there is one.
int usage_error(const CLI::App& app, const CLI::ParseError& error) {
  const int code = app.exit(error);
  return code == 0 ? decan::cli::kSuccess : decan::cli::kUsage;
}

int run(int argc, char** argv) {
  using namespace decan::cli;
  CLI::App app("Decan: many PostgreSQL servers as one SQL database.", "decan");
  app.require_subcommand(1);
  app.set_help_flag("-h,--help", "This text; also behind every command");
  app.set_version_flag("--version", "Decan " DECAN_VERSION);
  app.footer("Exit codes: 0 success, 1 failure, 2 wrong usage, 3 not running.\nStart with: decan up");
  app.failure_message([](const CLI::App* failed, const CLI::Error& error) {
    return fmt::format("decan: {}\n  -> See '{} --help'.\n", error.what(), failed->get_display_name());
  });
  Action action;
  add_up(app, action);
  add_status(app, action);
  add_logs(app, action);
  add_down(app, action);
  add_dsn(app, action);
  add_destroy(app, action);
  add_doctor(app, action);
  add_config(app, action);
  add_compute(app, action);
  add_version(app, action);
  if (argc > 1 && argv[1][0] != '-' &&
      app.get_subcommands([&](const CLI::App* known) { return known->check_name(argv[1]); }).empty()) {
    return report({"42601", fmt::format("there is no command {}", argv[1]), "", "See 'decan --help'."},
                  kUsage);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return usage_error(app, error);
  }
  return action();
}

}  // namespace

int main(int argc, char** argv) {
  // Started through a file descriptor, the process would be listed under a number.
  ::prctl(PR_SET_NAME, "decan");
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "decan: unexpected failure: {}\n", error.what());
    return decan::cli::kFailure;
  }
}
