// The configuration: one YAML file, read whole into this struct. Unknown keys and bad values are refused with
// file, line and column. base/config_fields.cpp is the table of all keys with their documentation. Immutable
// after loading; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/access_rule.h"
#include "base/error.h"
#include "base/log.h"

namespace decan {

struct ListenAddress {
  std::string address;  // a literal IPv4 or IPv6 address, without brackets
  uint16_t port = 0;
  bool operator==(const ListenAddress&) const = default;
};
std::string to_string(const ListenAddress& address);  // 127.0.0.1:7432, [::1]:7432

struct Bytes {
  uint64_t value = 0;
  bool operator==(const Bytes&) const = default;
};

using Duration = std::chrono::milliseconds;

enum class TlsMode { kOff, kOn, kRequire };

struct Config {
  std::string data_directory;  // absolute once loaded

  struct Compute {
    std::vector<ListenAddress> listen;
    int64_t threads = 0;                        // 0: as many as cores, at most kMaxThreads
    std::vector<ListenAddress> metrics_listen;  // empty: off
    Duration shutdown_grace{};                  // how long sessions may finish their transaction at shutdown
  } compute;

  struct Tls {
    TlsMode mode = TlsMode::kOn;
    std::string certificate, key;  // absolute once loaded; empty only with mode off
  } tls;

  std::vector<AccessRule> hosts;

  struct Limits {
    int64_t max_client_connections = 0;
    int64_t max_unit_connections = 0;  // of this compute node to one storage unit
    Duration authentication_timeout{};
    int64_t login_failures = 0;  // per address and role within login_window, then refused; 0: no throttle
    Duration login_window{};
    Bytes session_buffer_bytes;  // high watermark per direction of one session
    Bytes plan_cache_bytes;      // whole process
    Bytes merge_memory;          // whole process, rows buffered by merging operators
  } limits;

  struct Pool {
    Duration connect_timeout{}, queue_timeout{}, idle_timeout{}, max_lifetime{};
    int64_t prepared_statements_per_connection = 0;
  } pool;

  struct Log {
    log::Level level = log::Level::kInfo;
    log::Format format = log::Format::kText;
    Duration slow_statement{};  // zero: none are logged
  } log;

  struct Units {
    std::string binaries;  // directory of initdb, postgres, pg_ctl
    int64_t first_port = 0;
    Bytes shared_buffers, work_mem;
    int64_t max_connections = 0, max_prepared_transactions = 0;
    std::map<std::string, std::string> settings;  // further lines of postgresql.conf
  } units;
};

inline constexpr int64_t kMaxThreads = 64;
inline constexpr uint16_t kDefaultPort = 7432;
inline constexpr uint16_t kDefaultMetricsPort = 7433;

// All defaults; data_directory as given.
Config default_config(const std::string& data_directory);
// Reads the file; keys that are absent keep their defaults. Relative paths in it are relative to the file's
// directory, which is also the default data directory. Error F0000: "path:line:column: sentence".
Result<Config> load_config(const std::string& path);
Result<Config> parse_config(std::string_view yaml, const std::string& path);
// Commented YAML with every key, its documentation, its value in `config`, and whether a reload suffices.
std::string documented_yaml(const Config& config);
// Every key and its value as YAML, without comments.
std::string effective_yaml(const Config& config);

// What a reload (SIGHUP) does: `config` is `running` with the reloadable keys of `loaded`.
struct Reload {
  Config config;
  std::vector<std::string> changed;       // keys that take effect now
  std::vector<std::string> need_restart;  // keys that differ, but need a restart
};
Reload plan_reload(const Config& running, const Config& loaded);

// One thread per core, unless the configuration says otherwise.
int effective_threads(const Config& config);

}  // namespace decan
