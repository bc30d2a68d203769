#include "agent/unit_server.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <sstream>
#include <thread>
#include <vector>

#include "agent/files.h"
#include "base/quantity.h"

namespace decan::agent {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr auto kOrphanPatience = 5s;

// The lines of postmaster.pid (PostgreSQL: src/include/utils/pidfile.h): pid, data directory, start time,
// port, socket directory, listen address, shared memory key, status.
struct PostmasterFile {
  pid_t pid = 0;
  std::string status;
};

std::optional<PostmasterFile> read_postmaster_file(const std::string& data) {
  const auto text = read_file(data + "/postmaster.pid");
  if (!text || !*text) return std::nullopt;
  std::istringstream in(**text);
  PostmasterFile file;
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    if (number == 1) file.pid = std::atoi(line.c_str());
    if (number == 8) file.status = line.substr(0, line.find_last_not_of(' ') + 1);
  }
  return file;
}

bool is_postmaster_of(pid_t pid, const std::string& data) {
  std::error_code code;
  return pid > 1 && process_name(pid) == "postgres" &&
         process_directory(pid) == fs::canonical(data, code).string();
}

// Ends server processes without a postmaster: backends whose postmaster was killed keep the shared memory,
// and PostgreSQL refuses to start beside them; what a killed initdb had started still writes.
Status end_servers_in(const std::string& directory) {
  const auto found = [&] {
    std::vector<pid_t> pids = processes_in(directory);
    std::erase_if(pids, [](pid_t pid) { return process_name(pid) != "postgres"; });
    return pids;
  };
  const auto deadline = std::chrono::steady_clock::now() + kOrphanPatience;
  for (std::vector<pid_t> pids = found(); !pids.empty(); pids = found()) {
    const auto now = std::chrono::steady_clock::now();
    for (const pid_t pid : pids) {
      // By pidfd, and looked at once more, so that a reused pid is not hit.
      const auto orphan = Process::adopt(pid);
      if (orphan && process_directory(pid) == fs::path(directory))
        orphan->signal(now > deadline ? SIGKILL : SIGQUIT);
    }
    std::this_thread::sleep_for(50ms);
    if (now > deadline + kOrphanPatience) {
      return fail(
          sqlstate::kObjectNotInPrerequisiteState,
          fmt::format("processes of an earlier server still run in {}, pid {}", directory, pids.front()), {},
          "End them, then run 'decan up' again.");
    }
  }
  return {};
}

// A string of postgresql.conf.
std::string setting_value(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += c;
    out += c;
  }
  return out + '\'';
}

}  // namespace

std::string dsn_value(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + '\'';
}

bool UnitServer::is_made() const {
  return exists(data() + "/PG_VERSION");
}

Status UnitServer::check_programs(const std::string& binaries) {
  for (const char* name : {"initdb", "postgres"}) {
    const std::string path = binaries + "/" + name;
    if (::access(path.c_str(), X_OK) != 0) {
      return fail(sqlstate::kUndefinedObject,
                  fmt::format("PostgreSQL 15 is not installed: there is no {}", path), {},
                  "Install Debian's package postgresql-15, or set units.binaries in the configuration.");
    }
  }
  Command command;
  command.program = binaries + "/postgres";
  command.arguments = {"--version"};
  const auto version = capture(command, 10s);
  if (!version) return fail(version.error());
  if (version->find(fmt::format(" {}.", kPostgresVersion)) == std::string::npos) {
    return fail(sqlstate::kFeatureNotSupported,
                fmt::format("{}/postgres is not PostgreSQL {}: {}", binaries, kPostgresVersion,
                            version->substr(0, version->find('\n'))),
                {}, "Install Debian's package postgresql-15, or set units.binaries in the configuration.");
  }
  return {};
}

Status UnitServer::check_version() const {
  const auto text = read_file(data() + "/PG_VERSION");
  if (!text) return fail(text.error());
  if (!*text) {
    if (!exists(data())) return {};
    return fail(sqlstate::kDataCorrupted,
                fmt::format("{} is no data directory of PostgreSQL: PG_VERSION is missing", data()), {},
                "Restore it from a copy. Decan does not overwrite it, since it may hold your data.");
  }
  const std::string version = (*text)->substr(0, (*text)->find('\n'));
  if (version == kPostgresVersion) return {};
  return fail(sqlstate::kFeatureNotSupported,
              fmt::format("{} was made by PostgreSQL {}; Decan runs PostgreSQL {}", data(), version,
                          kPostgresVersion),
              {}, "Use another directory with --dir and copy the data with pg_dump.");
}

Result<Process> UnitServer::start_initdb() const {
  const std::string target = data() + ".new";
  if (Status done = end_servers_in(target); !done) return fail(done.error());
  if (Status done = remove_tree(target); !done) return fail(done.error());
  if (Status done = make_directory(log_directory(), 0700); !done) return fail(done.error());
  Command command;
  command.program = options_.settings.binaries + "/initdb";
  command.arguments = {"--pgdata",
                       target,
                       "--username=postgres",
                       "--auth=scram-sha-256",
                       "--pwfile=/dev/fd/3",
                       "--encoding=UTF8",
                       "--locale=C.UTF-8",
                       "--data-checksums"};
  command.input = options_.superuser_password + "\n";
  command.death_signal = SIGKILL;  // a new supervisor would remove what it is writing
  command.output = log_directory() + "/initdb.log";
  command.directory = options_.directory;
  return Process::start(command);
}

Status UnitServer::finish_initdb(const Exit& exit) const {
  const std::string log = log_directory() + "/initdb.log";
  if (!exit.success()) {
    const std::string lines = tail_of(log, 6);
    const bool full = lines.find("No space left") != std::string::npos;
    return fail(full ? sqlstate::kDiskFull : sqlstate::kInternalError,
                fmt::format("initdb of storage unit {} ended with {}", name(), exit.to_string()), lines,
                full ? "Free some space and run 'decan up' again." : "See " + log);
  }
  std::error_code code;
  fs::rename(data() + ".new", data(), code);
  if (code) return fail(system_error("can not rename the data directory of " + name(), code.value()));
  return {};
}

Status UnitServer::write_configuration() const {
  const Config::Units& s = options_.settings;
  std::string text =
      "# Written by Decan at every start. Your own settings belong into units.settings of decan.yaml.\n";
  const auto set = [&](std::string_view key, std::string_view value) {
    text += fmt::format("{} = {}\n", key, setting_value(value));
  };
  set("listen_addresses", "127.0.0.1");
  set("port", std::to_string(options_.port));
  set("unix_socket_directories", options_.socket_directory);
  set("unix_socket_permissions", "0700");
  set("cluster_name", name());
  set("password_encryption", "scram-sha-256");
  set("wal_level", "logical");
  set("max_prepared_transactions", std::to_string(s.max_prepared_transactions));
  set("max_connections", std::to_string(s.max_connections));
  set("shared_buffers", format_size(s.shared_buffers.value));
  set("work_mem", format_size(s.work_mem.value));
  set("enable_partitionwise_join", "on");
  set("enable_partitionwise_aggregate", "on");
  set("logging_collector", "on");
  set("log_directory", log_directory());
  set("log_filename", "postgresql-%a.log");
  set("log_rotation_age", "1d");
  set("log_rotation_size", "64MB");
  set("log_truncate_on_rotation", "on");
  set("log_file_mode", "0600");
  set("log_line_prefix", "%m [%p] %q%u@%d ");
  for (const auto& [key, value] : s.settings) set(key, value);
  if (Status done = write_file(data() + "/decan.conf", text, 0600); !done) return done;
  const std::string main = data() + "/postgresql.conf";
  constexpr std::string_view kInclude = "include 'decan.conf'\n";
  auto existing = read_file(main);
  if (!existing) return fail(existing.error());
  std::string whole = existing->value_or("");
  if (whole.ends_with(kInclude)) return {};
  if (!whole.empty() && whole.back() != '\n') whole += '\n';
  return write_file(main, whole + std::string(kInclude), 0600);
}

Result<Process> UnitServer::start() const {
  if (Status done = make_directory(log_directory(), 0700); !done) return fail(done.error());
  if (Status done = write_configuration(); !done) return fail(done.error());
  Command command;
  command.program = options_.settings.binaries + "/postgres";
  // Also here, so that ALTER SYSTEM can not move the server away from where Decan looks for it.
  command.arguments = {"-D", data(), "-p", std::to_string(options_.port), "-k", options_.socket_directory};
  command.output = log_directory() + "/start.log";
  command.directory = options_.directory;
  return Process::start(command);
}

std::optional<Process> UnitServer::running() const {
  const auto file = read_postmaster_file(data());
  if (!file || !is_postmaster_of(file->pid, data())) return std::nullopt;
  return Process::adopt(file->pid);
}

Status UnitServer::clean_up() const {
  if (running()) {
    return fail(sqlstate::kObjectNotInPrerequisiteState, fmt::format("a server runs in {} already", data()));
  }
  if (Status done = end_servers_in(data()); !done) return done;
  // PostgreSQL takes a lock file for valid when any process of this user has that pid, as after a reboot.
  if (read_postmaster_file(data())) ::unlink((data() + "/postmaster.pid").c_str());
  // The same for the lock of the socket. Nobody but this cluster's units has sockets in that directory.
  const std::string socket = fmt::format("{}/.s.PGSQL.{}", options_.socket_directory, options_.port);
  const auto lock = read_file(socket + ".lock");
  if (lock && *lock && process_name(std::atoi((*lock)->c_str())) != "postgres") {
    ::unlink(socket.c_str());
    ::unlink((socket + ".lock").c_str());
  }
  return {};
}

UnitServer::Readiness UnitServer::readiness() const {
  const auto file = read_postmaster_file(data());
  if (!file || !is_postmaster_of(file->pid, data())) return Readiness::kDown;
  return file->status == "ready" ? Readiness::kReady : Readiness::kStarting;
}

std::string UnitServer::newest_log() const {
  std::error_code code;
  std::string newest;
  fs::file_time_type time{};
  for (const auto& entry : fs::directory_iterator(log_directory(), code)) {
    const std::string file = entry.path().filename();
    if (!file.starts_with("postgresql-") || !file.ends_with(".log")) continue;
    const auto written = entry.last_write_time(code);
    if (newest.empty() || written > time) {
      newest = entry.path().string();
      time = written;
    }
  }
  return newest;
}

std::string UnitServer::last_log_lines(size_t lines) const {
  std::string text;
  std::istringstream in(tail_of(log_directory() + "/start.log", lines));
  for (std::string line; std::getline(in, line);) {
    const bool noise = line.find("redirecting log output") != std::string::npos ||
                       line.find("Future log output") != std::string::npos;
    if (!noise) text += line + '\n';
  }
  if (const std::string log = newest_log(); !log.empty()) text += tail_of(log, lines);
  return text;
}

std::string UnitServer::dsn(std::string_view database) const {
  return fmt::format(
      "host={} port={} user=postgres password={} dbname={} connect_timeout=10 application_name=decan-agent "
      "sslmode=disable",
      dsn_value(options_.socket_directory), options_.port, dsn_value(options_.superuser_password),
      dsn_value(database));
}

bool stop_postgres(Process& process, std::chrono::milliseconds patience, const std::function<void()>& tick) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  process.signal(SIGINT);
  while (std::chrono::steady_clock::now() < deadline) {
    if (process.wait(100ms)) return true;
    if (tick) tick();
  }
  process.signal(SIGQUIT);
  return process.wait(10s).has_value();
}

}  // namespace decan::agent
