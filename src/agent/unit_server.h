// One embedded storage unit: a PostgreSQL 15 server with its directory, made and run on this machine.
// Blocking; one thread. Its data directory appears by a rename when initdb has finished, so what is there is
// whole.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "agent/layout.h"
#include "agent/process.h"
#include "base/config.h"
#include "base/error.h"

namespace decan::agent {

inline constexpr std::string_view kPostgresVersion = "15";

class UnitServer {
 public:
  struct Options {
    std::string name;       // ds_0
    std::string directory;  // holds data/ and log/
    std::string socket_directory;
    uint16_t port = 0;
    std::string superuser_password;
    Config::Units settings;
  };
  explicit UnitServer(Options options) : options_(std::move(options)) {}

  const std::string& name() const { return options_.name; }
  uint16_t port() const { return options_.port; }
  void set_port(uint16_t port) { options_.port = port; }
  const std::string& socket_directory() const { return options_.socket_directory; }
  const std::string& password() const { return options_.superuser_password; }
  std::string data() const { return options_.directory + "/data"; }
  std::string log_directory() const { return options_.directory + "/log"; }
  bool is_made() const;

  // Programs are there and of version 15; an existing data directory is of that version too.
  static Status check_programs(const std::string& binaries);
  Status check_version() const;

  // initdb into data.new (what is left of an earlier one goes first); `finish_initdb` judges its end and
  // renames.
  Result<Process> start_initdb() const;
  Status finish_initdb(const Exit& exit) const;

  // Writes data/decan.conf; idempotent.
  Status write_configuration() const;
  Result<Process> start() const;  // after clean_up
  // The postmaster that runs on this data directory already.
  std::optional<Process> running() const;
  // Removes a lock file whose process is gone or is something else, and ends server processes without a
  // postmaster.
  Status clean_up() const;
  enum class Readiness { kDown, kStarting, kReady };
  Readiness readiness() const;
  // The last error of the server's own log, for messages; may be empty.
  std::string last_log_lines(size_t lines) const;
  std::string newest_log() const;
  // libpq connection string of the superuser over the Unix socket.
  std::string dsn(std::string_view database) const;

 private:
  Options options_;
};

// Fast shutdown (SIGINT), then immediate (SIGQUIT); false: it still runs.
bool stop_postgres(Process& process, std::chrono::milliseconds patience,
                   const std::function<void()>& tick = {});

// One value of a libpq connection string, quoted.
std::string dsn_value(std::string_view text);

}  // namespace decan::agent
