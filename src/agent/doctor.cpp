#include "agent/doctor.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <filesystem>

#include "agent/certificate.h"
#include "agent/files.h"
#include "agent/inspect.h"
#include "agent/ports.h"
#include "agent/sql.h"
#include "agent/unit_server.h"
#include "base/config.h"
#include "base/quantity.h"
#include "meta/sqlite_store.h"
#include "meta/topology.h"

namespace decan::agent {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kLittleSpace = 512ull << 20, kWarnSpace = 2ull << 30;
constexpr int kWarnDays = 30;

class Doctor {
 public:
  explicit Doctor(const Layout& layout) : layout_(layout), config_(default_config(layout.root)) {}

  std::vector<Finding> examine() {
    check_account();
    check_directory();
    check_disk();
    check_config();
    check_programs();
    check_limits();
    if (!layout_.is_cluster()) {
      good("cluster", fmt::format("there is no cluster in {} yet", layout_.root));
      check_ports(false);
      return std::move(findings_);
    }
    check_format();
    check_secrets();
    check_certificate();
    const auto report = inspect(layout_);
    if (!report) {
      bad("cluster", report.error());
    } else {
      check_running(*report);
      check_ports(report->supervised);
      check_units(*report);
    }
    return std::move(findings_);
  }

 private:
  void good(std::string check, std::string text) {
    findings_.push_back({std::move(check), Verdict::kGood, text, ""});
  }
  void warn(std::string check, std::string text, std::string advice) {
    findings_.push_back({std::move(check), Verdict::kWarning, std::move(text), std::move(advice)});
  }
  void bad(std::string check, std::string text, std::string advice) {
    findings_.push_back({std::move(check), Verdict::kBad, std::move(text), std::move(advice)});
  }
  void bad(std::string check, const Error& error) {
    std::string text = error.message;
    if (!error.detail.empty()) text += " (" + error.detail + ")";
    bad(std::move(check), std::move(text), error.hint);
  }

  void check_account() {
    const auto account = service_account();
    if (!account) return bad("account", account.error());
    good("account", fmt::format("servers run as user {}", account->name));
  }

  void check_directory() {
    struct stat info{};
    if (::stat(layout_.root.c_str(), &info) != 0) {
      fs::path parent = fs::path(layout_.root).parent_path();
      while (!parent.empty() && parent != parent.root_path() && !exists(parent))
        parent = parent.parent_path();
      if (::access(parent.c_str(), W_OK) == 0)
        return good("directory", fmt::format("{} can be made", layout_.root));
      return bad("directory",
                 fmt::format("{} can not be made: {} is not writable", layout_.root, parent.string()),
                 "Choose another directory with --dir.");
    }
    if (layout_.is_cluster() && (info.st_mode & 077) != 0) {
      return bad("directory",
                 fmt::format("{} is open to other users (mode {:o})", layout_.root, info.st_mode & 0777),
                 fmt::format("chmod 700 {}", layout_.root));
    }
    good("directory", fmt::format("{} is there", layout_.root));
    if (layout_.socket_directory != layout_.run()) {
      good("sockets", fmt::format("the path is long, so sockets are in {}", layout_.socket_directory));
    }
  }

  void check_disk() {
    std::string path = layout_.root;
    while (!exists(path) && path.size() > 1) path = fs::path(path).parent_path();
    struct statvfs info{};
    if (::statvfs(path.c_str(), &info) != 0)
      return bad("disk", system_error("can not look at " + path, errno));
    const uint64_t free_bytes = uint64_t{info.f_bavail} * info.f_frsize;
    const std::string text =
        fmt::format("{:.1f} GB free below {}", static_cast<double>(free_bytes) / (1u << 30), path);
    if (free_bytes < kLittleSpace)
      return bad("disk", text, "Free some space: PostgreSQL stops when the disk is full.");
    if (free_bytes < kWarnSpace) return warn("disk", text, "Free some space soon.");
    good("disk", text);
    if (info.f_files > 0 && info.f_favail < 10'000)
      warn("disk", "few inodes are free", "Remove small files.");
  }

  void check_config() {
    if (!exists(layout_.config())) return;
    auto loaded = load_config(layout_.config());
    if (!loaded) return bad("configuration", loaded.error());
    config_ = std::move(*loaded);
    good("configuration", fmt::format("{} is valid", layout_.config()));
  }

  void check_programs() {
    if (Status done = UnitServer::check_programs(config_.units.binaries); !done)
      return bad("packages", done.error());
    good("packages", fmt::format("PostgreSQL {} in {}", kPostgresVersion, config_.units.binaries));
  }

  void check_limits() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    const auto wanted = static_cast<rlim_t>(config_.limits.max_client_connections + 1000);
    if (limit.rlim_max >= wanted) return good("limits", fmt::format("up to {} open files", limit.rlim_max));
    warn("limits",
         fmt::format("at most {} open files, but limits.max_client_connections is {}", limit.rlim_max,
                     config_.limits.max_client_connections),
         "Raise the hard limit (ulimit -Hn), or lower limits.max_client_connections.");
  }

  void check_format() {
    const auto mark = read_file(layout_.format());
    if (!mark || !*mark || **mark != fmt::format("{}\n", kDirectoryFormat)) {
      return bad("version", fmt::format("{} was made by another version of Decan", layout_.root),
                 "Use that version, or another directory.");
    }
    good("version", fmt::format("Decan {}, directory format {}", DECAN_VERSION, kDirectoryFormat));
  }

  void check_secrets() {
    for (const std::string& path : {layout_.credentials(), layout_.meta(), layout_.key()}) {
      struct stat info{};
      if (::stat(path.c_str(), &info) == 0 && (info.st_mode & 077) != 0) {
        bad("secrets", fmt::format("other users may read {}", path), fmt::format("chmod 600 {}", path));
      }
    }
  }

  void check_certificate() {
    if (config_.tls.mode == TlsMode::kOff || !exists(config_.tls.certificate)) return;
    const auto days = days_left(config_.tls.certificate);
    if (!days) return bad("certificate", days.error());
    const std::string text = fmt::format("{} ends in {} days", config_.tls.certificate, *days);
    if (*days < 0)
      return bad("certificate", text, "Replace it and restart; remove it to have a new self-signed one.");
    if (*days < kWarnDays) return warn("certificate", text, "Replace it soon.");
    good("certificate", text);
  }

  void check_running(const ClusterReport& report) {
    if (!report.supervised) {
      if (report.state.phase == Phase::kFailed && report.state.error)
        bad("cluster", *report.state.error);
      else if (report.state.supervisor_pid == 0)
        warn("cluster", "the cluster was never started whole", "Run 'decan up'.");
      else if (report.state.phase == Phase::kStopped)
        warn("cluster", "the cluster is stopped", "Run 'decan up'.");
      else
        bad("cluster", "no supervisor runs, though the cluster was not stopped", "Run 'decan up'.");
      return;
    }
    for (const ComponentReport& component : report.components) {
      const std::string where = fmt::format("{} on {}", component.state.name, component.state.address);
      if (component.answers) {
        good("cluster", fmt::format("{} answers", where));
      } else {
        bad("cluster",
            fmt::format(
                "{} does not answer: {}", where,
                component.state.message.empty() ? name_of(component.state.phase) : component.state.message),
            fmt::format("See 'decan logs {}'.", component.state.name));
      }
    }
    if (!report.state.note.empty())
      warn("cluster", report.state.note, "Run 'decan down' and 'decan up' to try again.");
  }

  void check_ports(bool supervised) {
    if (supervised) return;  // then they are taken by the compute node, as they should be
    for (const ListenAddress& address : config_.compute.listen) check_port(address, "compute.listen");
    for (const ListenAddress& address : config_.compute.metrics_listen)
      check_port(address, "compute.metrics_listen");
  }

  void check_port(const ListenAddress& address, const std::string& key) {
    if (Status free = require_free(address, key); !free) return bad("ports", free.error());
    good("ports", fmt::format("{} is free for {}", to_string(address), key));
  }

  void check_units(const ClusterReport& report) {
    auto store = meta::open_sqlite_store(layout_.meta());
    if (!store) return bad("metadata", store.error());
    const auto units = meta::load_units(**store);
    if (!units) return bad("metadata", units.error());
    good("metadata", fmt::format("{} storage units are registered", units->size()));
    if (!report.supervised) return;
    for (const meta::UnitRecord& unit : *units) {
      const std::string dsn = fmt::format(
          "host={} port={} user={} password={} dbname=postgres connect_timeout=3 "
          "application_name=decan-doctor",
          dsn_value(unit.host), unit.port, dsn_value(unit.service_user), dsn_value(unit.service_password));
      check_unit(unit, dsn);
    }
  }

  void check_unit(const meta::UnitRecord& unit, const std::string& dsn) {
    const std::string what = "storage unit " + unit.name;
    auto connection = SqlConnection::open(dsn);
    if (!connection) return bad(what, connection.error());
    const auto rows = connection->run(
        "SELECT (SELECT count(*) FROM pg_prepared_xacts WHERE prepared < now() - interval '1 minute'), "
        "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), "
        "current_setting('max_connections')::int, "
        "(SELECT max(age(datfrozenxid)) FROM pg_database), current_setting('server_version')");
    if (!rows || rows->empty()) return bad(what, rows ? Error{} : rows.error());
    const auto number = [&](size_t column) { return std::atoll((*rows)[0][column].value_or("0").c_str()); };
    if (number(0) > 0) {
      warn(what, fmt::format("{} transactions are prepared for more than a minute", number(0)),
           "They are finished by the compute node; when they stay, see 'decan logs compute'.");
    }
    if (number(1) * 10 > number(2) * 9) {
      warn(what, fmt::format("{} of {} connections are in use", number(1), number(2)),
           "Raise units.max_connections, or lower limits.max_unit_connections.");
    }
    if (number(3) > 1'000'000'000) {
      warn(what, fmt::format("transaction ids are {} old", number(3)),
           "Run VACUUM; see why autovacuum does not.");
    }
    good(what, fmt::format("PostgreSQL {}, {} of {} connections in use", (*rows)[0][4].value_or("?"),
                           number(1), number(2)));
  }

  const Layout& layout_;
  Config config_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> examine(const Layout& layout) {
  return Doctor(layout).examine();
}

}  // namespace decan::agent
