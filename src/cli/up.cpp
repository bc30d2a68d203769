#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <optional>
#include <thread>

#include "agent/credentials.h"
#include "agent/files.h"
#include "agent/ports.h"
#include "agent/sql.h"
#include "agent/state.h"
#include "agent/supervisor.h"
#include "agent/unit_server.h"
#include "base/log.h"
#include "cli/command.h"
#include "placement/schema.h"

namespace decan::cli {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr uint64_t kBytesPerNewUnit = 100ull << 20;  // what initdb and the first WAL files take
constexpr uint64_t kNextToNothing = 1u << 20;
constexpr auto kStallAfter = 10min;  // crash recovery may take long, but it reports progress
constexpr auto kAnswerWithin = 60s;

struct UpOptions {
  std::string directory;
  uint32_t units = 0;
  uint16_t port = 0;
  bool no_demo = false, foreground = false;
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string first_config(uint16_t port) {
  return fmt::format(
      "# Configuration of this Decan cluster; 'decan config show --defaults' shows every key.\n"
      "compute:\n  listen: 127.0.0.1:{}\n  metrics_listen: 127.0.0.1:{}\n",
      port, port + 1);
}

// The configuration of the directory; made at the first time. --port changes a file that nobody has edited
// yet.
Result<Config> prepare_config(const agent::Layout& layout, uint16_t port) {
  const std::string path = layout.config();
  const auto text = agent::read_file(path);
  if (!text) return fail(text.error());
  if (!*text) {
    const std::string made = first_config(port != 0 ? port : kDefaultPort);
    if (Status done = agent::write_file(path, made, 0600); !done) return fail(done.error());
    return load_config(path);
  }
  auto config = load_config(path);
  if (!config || port == 0 || config->compute.listen.front().port == port) return config;
  const uint16_t before = config->compute.listen.front().port;
  if (agent::FileLock::holder(layout.supervisor_lock())) {
    return fail("55006", fmt::format("the cluster runs already, on port {}", before), {},
                "Leave --port out, or run 'decan down' first.");
  }
  std::string changed = first_config(port);
  if (**text != first_config(before)) {
    // Somebody wrote this file: it may say more, but then not about the compute node.
    if (("\n" + **text).find("\ncompute:") != std::string::npos) {
      return fail(sqlstate::kInvalidParameterValue,
                  fmt::format("--port {} differs from the configuration, which says {}", port, before), {},
                  fmt::format("Change compute.listen in {}, or leave --port out.", path));
    }
    changed = **text + (text->value().ends_with('\n') ? "" : "\n") + first_config(port);
  }
  if (const auto valid = parse_config(changed, path); !valid) return fail(valid.error());
  if (Status done = agent::write_file(path, changed, 0600); !done) return fail(done.error());
  return load_config(path);
}

uint64_t free_space(const agent::Layout& layout) {
  struct statvfs info{};
  return ::statvfs(layout.root.c_str(), &info) == 0 ? uint64_t{info.f_bavail} * info.f_frsize : UINT64_MAX;
}

Status check_space(const agent::Layout& layout, uint32_t units) {
  const uint64_t free_bytes = free_space(layout);
  const uint64_t needed = kBytesPerNewUnit * (units != 0 ? units : 2);
  if (agent::exists(layout.unit("ds_0") + "/data") || free_bytes >= needed) return {};
  return fail(sqlstate::kDiskFull,
              fmt::format("only {} MB are free below {}; a new cluster needs {} MB", free_bytes >> 20,
                          layout.root, needed >> 20),
              {}, "Free some space, or choose another directory with --dir.");
}

agent::Command compute_command(int self, const agent::Layout& layout) {
  agent::Command command;
  command.program = "decan";
  command.program_fd = self;
  command.arguments = {"compute", "--config", layout.config(), "--meta", layout.meta()};
  return command;
}

int run_foreground(const UpOptions& options, const agent::Layout& layout, Config config, int self) {
  log::configure(config.log.level, config.log.format);
  agent::SupervisorOptions supervisor{
      .layout = layout,
      .config = std::move(config),
      .units = options.units,
      .demo = !options.no_demo,
      .schema_sql = [](const std::string& secret) { return placement::schema_sql(auth::ProofKey(secret)); },
      .compute = compute_command(self, layout)};
  if (Status done = agent::run_supervisor(std::move(supervisor)); !done) return report(done.error());
  return kSuccess;
}

// One line per phase; a phase that takes long gets a line with its detail every two seconds.
class Progress {
 public:
  void show(const agent::ClusterState& state) {
    const auto now = Clock::now();
    const bool is_new = !phase_ || *phase_ != state.phase;
    if (!is_new && now - last_ < 2s) return;
    if (!is_new && state.note == note_) return;
    if (is_new || !state.note.empty()) {
      fmt::print(stderr, "[{:5.1f} s] {}{}{}\n", seconds_since(started_), agent::name_of(state.phase),
                 state.note.empty() ? "" : ": ", state.note);
    }
    phase_ = state.phase;
    note_ = state.note;
    last_ = now;
  }
  void line(std::string_view text) { fmt::print(stderr, "[{:5.1f} s] {}\n", seconds_since(started_), text); }
  double seconds() const { return seconds_since(started_); }

 private:
  Clock::time_point started_ = Clock::now(), last_{};
  std::optional<agent::Phase> phase_;
  std::string note_;
};

Result<agent::Process> start_supervisor(const UpOptions& options, const agent::Layout& layout, int self) {
  // What an earlier supervisor said must not be taken for what the new one says.
  ::unlink(layout.state().c_str());
  agent::Command command;
  command.program = "decan";
  command.program_fd = self;
  command.arguments = {"up", "--foreground", "--dir", layout.root};
  if (options.units != 0) {
    command.arguments.insert(command.arguments.end(), {"--units", std::to_string(options.units)});
  }
  if (options.no_demo) command.arguments.push_back("--no-demo");
  command.output = layout.log("supervisor");
  command.directory = layout.root;
  return agent::Process::start(command);
}

std::unexpected<Error> supervisor_ended(const agent::Layout& layout) {
  const auto state = agent::read_state(layout.state());
  if (state && *state && (*state)->error) return fail(*(*state)->error);
  // Then the supervisor could not even write why.
  if (free_space(layout) < kNextToNothing) {
    return fail(sqlstate::kDiskFull, fmt::format("the disk below {} is full", layout.root), {},
                "Free some space and run 'decan up' again.");
  }
  return fail(sqlstate::kObjectNotInPrerequisiteState, "the supervisor ended before the cluster was up",
              agent::tail_of(layout.log("supervisor"), 5), "See 'decan logs supervisor'.");
}

Result<agent::ClusterState> await_ready(const agent::Layout& layout, agent::Process& supervisor,
                                        Progress& progress) {
  auto last_change = Clock::now();
  std::string last_text;
  for (;;) {
    const bool ended = supervisor.poll().has_value();
    auto state = agent::read_state(layout.state());
    if (!state) return fail(state.error());
    if (ended) return supervisor_ended(layout);
    if (*state && (*state)->supervisor_pid == supervisor.pid()) {
      progress.show(**state);
      if ((*state)->phase == agent::Phase::kReady) return std::move(**state);
      const std::string text = agent::to_json(**state);
      if (text != last_text) last_change = Clock::now(), last_text = text;
    }
    if (Clock::now() - last_change > kStallAfter) {
      return fail(sqlstate::kQueryCanceled, "the start makes no progress", {},
                  "It goes on in the background: see 'decan status' and 'decan logs supervisor'.");
    }
    std::this_thread::sleep_for(50ms);
  }
}

// The compute node answers a statement of the owner role. A password that was changed since is no failure.
Status await_answer(const agent::Layout& layout, const Config& config) {
  const auto password = agent::stored_password(layout, agent::kOwnerRole);
  if (!password) return fail(password.error());
  agent::UrlOptions url;
  url.password = password->value_or("");
  url.connect_timeout_s = 5;
  const auto deadline = Clock::now() + kAnswerWithin;
  for (;;) {
    auto connection = agent::SqlConnection::open(agent::client_url(config, url));
    if (connection) {
      const auto rows = connection->run("SELECT 1");
      if (rows) return {};
      if (Clock::now() > deadline) return fail(rows.error());
    } else if (connection.error().sqlstate == sqlstate::kInvalidPassword) {
      return {};
    } else if (Clock::now() > deadline) {
      return fail(connection.error());
    }
    std::this_thread::sleep_for(100ms);
  }
}

void print_result(const agent::Layout& layout, const Config& config, const agent::ClusterState& state,
                  double seconds, bool first) {
  size_t units = 0;
  for (const auto& component : state.components) units += component.kind == "unit" ? 1 : 0;
  agent::UrlOptions url;
  const auto password = agent::stored_password(layout, agent::kOwnerRole);
  if (first && password && *password) url.password = **password;
  fmt::print("Decan is up after {:.1f} s: {} storage units, data in {}\n\n", seconds, units, layout.root);
  fmt::print("  database  {}\n", agent::client_url(config, url));
  for (const ListenAddress& address : config.compute.metrics_listen) {
    fmt::print("  metrics   http://{}/metrics\n", to_string(address));
  }
  const bool default_place = layout.root == agent::default_directory();
  const std::string where = default_place ? "" : " --dir " + layout.root;
  fmt::print("\n{}\n",
             first ? fmt::format("The password is shown this once; it is kept in {} (readable by the owner "
                                 "only).",
                                 layout.credentials())
                   : fmt::format("'decan dsn{}' prints the URL with its password.", where));
  fmt::print("Connect with: psql \"$(decan dsn{})\"\n", where);
}

int run_background(const UpOptions& options, const agent::Layout& layout, const Config& config, int self) {
  Progress progress;
  auto lock = agent::FileLock::try_lock(layout.up_lock());
  if (lock && !*lock) progress.line("another 'decan up' is at work here; waiting for it");
  while (lock && !*lock) {
    std::this_thread::sleep_for(200ms);
    lock = agent::FileLock::try_lock(layout.up_lock());
  }
  if (!lock) return report(lock.error());
  std::optional<agent::Process> supervisor;
  if (const auto pid = agent::FileLock::holder(layout.supervisor_lock()))
    supervisor = agent::Process::adopt(*pid);
  const bool was_up = supervisor.has_value();
  if (!was_up) {
    if (Status done = agent::UnitServer::check_programs(config.units.binaries); !done)
      return report(done.error());
    if (Status done = check_space(layout, options.units); !done) return report(done.error());
    // An orphaned compute node may still have the port; the supervisor ends it and looks then.
    if (!agent::FileLock::holder(layout.compute_lock())) {
      for (const ListenAddress& address : config.compute.listen) {
        if (Status done = agent::require_free(address, "compute.listen"); !done) return report(done.error());
      }
      for (const ListenAddress& address : config.compute.metrics_listen) {
        if (Status done = agent::require_free(address, "compute.metrics_listen"); !done)
          return report(done.error());
      }
    }
    auto started = start_supervisor(options, layout, self);
    if (!started) return report(started.error());
    supervisor = std::move(*started);
  }
  const auto state = await_ready(layout, *supervisor, progress);
  if (!state) return report(state.error());
  size_t units = 0;
  for (const auto& component : state->components) units += component.kind == "unit" ? 1 : 0;
  if (options.units != 0 && options.units != units) {
    return report(Error{
        std::string(sqlstate::kFeatureNotSupported),
        fmt::format("this cluster has {} storage units; 'decan up' can not make it {}", units, options.units),
        {},
        "Leave --units out, or make another cluster with --dir."});
  }
  if (Status done = await_answer(layout, config); !done) {
    Error error = done.error();
    error.message = "the compute node does not answer: " + error.message;
    if (error.hint.empty()) error.hint = "See 'decan logs compute'.";
    return report(error);
  }
  print_result(layout, config, *state, progress.seconds(), state->first_start && !was_up);
  return kSuccess;
}

int run_up(const UpOptions& options) {
  // While we are still root: the binary may be below a directory that user postgres can not enter.
  const int self = ::open("/proc/self/exe", O_PATH | O_CLOEXEC);
  if (self < 0) return report(agent::system_error("can not open the decan binary", errno));
  const agent::Layout layout = layout_of(options.directory);
  if (Status done = agent::enter_new_directory(layout); !done) return report(done.error());
  if (Status done = agent::complete_directory(layout); !done) return report(done.error());
  auto config = prepare_config(layout, options.port);
  if (!config) return report(config.error());
  if (config->data_directory != layout.root) {
    return report(
        Error{std::string(sqlstate::kInvalidParameterValue),
              fmt::format("data_directory in {} is {}, but 'decan up' keeps data where its configuration is",
                          layout.config(), config->data_directory),
              {},
              "Remove data_directory, or run 'decan up --dir' with that directory."});
  }
  return options.foreground ? run_foreground(options, layout, std::move(*config), self)
                            : run_background(options, layout, *config, self);
}

}  // namespace

void add_up(CLI::App& app, Action& action) {
  auto options = std::make_shared<UpOptions>();
  CLI::App* command = app.add_subcommand(
      "up", "Make and start a cluster on this machine: PostgreSQL storage units and one compute node");
  command->footer(
      "The first start makes everything below --dir; later ones start what is there. It may be run again at "
      "any\n"
      "time, also after it was interrupted. Ends when the database answers, and prints how to connect.");
  add_directory_option(*command, options->directory);
  command->add_option("--units", options->units, "Storage units; decided at the first start (default 2)")
      ->check(CLI::Range(1, 64))
      ->type_name("N");
  command
      ->add_option("--port", options->port, "Port for clients (default 7432); metrics answer on the next one")
      ->check(CLI::Range(1, 65534))
      ->type_name("P");
  command->add_flag("--no-demo", options->no_demo, "Do not load the demo shop at the first start");
  command->add_flag("--foreground", options->foreground,
                    "Stay in the foreground and log to standard error (systemd)");
  command->callback([options, &action] { action = [options] { return run_up(*options); }; });
}

}  // namespace decan::cli
