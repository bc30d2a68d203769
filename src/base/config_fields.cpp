#include "base/config_fields.h"

namespace decan::config {
namespace {

constexpr bool kReload = true;
constexpr bool kRestart = false;

template <class Enum>
ChoiceSlot choice(Enum& value, std::vector<std::string> words) {
  return {std::move(words), [&value] { return static_cast<size_t>(value); },
          [&value](size_t index) { value = static_cast<Enum>(index); }};
}

void add_compute(std::vector<Field>& out, Config& config) {
  auto& c = config.compute;
  out.push_back(
      {"compute", "listen", ListenSlot{&c.listen, false}, kRestart,
       "Addresses and ports for clients; one or a list. Literal addresses: \"0.0.0.0:7432\", \"[::]:7432\".\n"
       "Remember the rules in 'hosts' when you listen on more than the loopback interface.\n"});
  out.push_back({"compute", "threads", IntegerSlot{&c.threads, 0, kMaxThreads}, kRestart,
                 "Event loops that serve clients. 0: one per core, at most 64.\n"});
  out.push_back(
      {"compute", "metrics_listen", ListenSlot{&c.metrics_listen, true}, kRestart,
       "Where /metrics (Prometheus), /healthz and /readyz answer over HTTP, without login; or off.\n"});
  out.push_back({"compute", "shutdown_grace", DurationSlot{&c.shutdown_grace, true}, kReload,
                 "How long clients may finish their transaction when the compute node is told to stop.\n"});
}

void add_tls(std::vector<Field>& out, Config& config) {
  auto& t = config.tls;
  out.push_back({"tls", "mode", choice(t.mode, {"off", "on", "require"}), kRestart,
                 "off: no TLS; on: clients choose; require: clients without TLS are refused.\n"});
  out.push_back(
      {"tls", "certificate", &t.certificate, kRestart,
       "PEM file with the certificate and what leads to its root. 'decan up' makes a self-signed one.\n"});
  out.push_back(
      {"tls", "key", &t.key, kRestart, "PEM file with the private key; only its owner may read it.\n"});
}

void add_limits(std::vector<Field>& out, Config& config) {
  auto& l = config.limits;
  constexpr uint64_t kKilo = 1024, kMega = kKilo * kKilo, kTera = kMega * kMega;
  out.push_back({"limits", "max_client_connections", IntegerSlot{&l.max_client_connections, 1, 1'000'000},
                 kReload, "More clients are refused with 53300.\n"});
  out.push_back(
      {"limits", "max_unit_connections", IntegerSlot{&l.max_unit_connections, 1, 10'000}, kReload,
       "Server connections of this compute node to one storage unit, over all roles and databases.\n"
       "Must leave ten of units.max_connections free for Decan's own sessions and for you.\n"});
  out.push_back({"limits", "authentication_timeout", DurationSlot{&l.authentication_timeout, false}, kReload,
                 "A client that has not logged in by then is disconnected.\n"});
  out.push_back(
      {"limits", "login_failures", IntegerSlot{&l.login_failures, 0, 1'000'000}, kReload,
       "So many failed logins of one role from one address within login_window are answered; then logins of\n"
       "that pair are refused until the window has passed. 0: no throttle.\n"});
  out.push_back(
      {"limits", "login_window", DurationSlot{&l.login_window, false}, kReload, "See login_failures.\n"});
  out.push_back({"limits", "session_buffer_bytes",
                 SizeSlot{&l.session_buffer_bytes, 16 * kKilo, 1024 * kMega}, kReload,
                 "Bytes that one session may hold unsent per direction before its other side is paused. A "
                 "session whose\n"
                 "notifications exceed it, because it is in a transaction or does not read, is ended.\n"});
  out.push_back({"limits", "plan_cache_bytes", SizeSlot{&l.plan_cache_bytes, kMega, kTera}, kRestart,
                 "Memory for plans of statements, over all sessions.\n"});
  out.push_back({"limits", "merge_memory", SizeSlot{&l.merge_memory, kMega, kTera}, kRestart,
                 "Memory for rows of statements that are merged over several units, over all sessions; a "
                 "statement that\n"
                 "would need more fails with 53200.\n"});
}

void add_pool(std::vector<Field>& out, Config& config) {
  auto& p = config.pool;
  out.push_back({"pool", "connect_timeout", DurationSlot{&p.connect_timeout, false}, kReload,
                 "To connect and log in to a storage unit.\n"});
  out.push_back({"pool", "queue_timeout", DurationSlot{&p.queue_timeout, false}, kReload,
                 "How long a statement waits for a server connection before it fails with 53300.\n"});
  out.push_back({"pool", "idle_timeout", DurationSlot{&p.idle_timeout, true}, kReload,
                 "A server connection that nobody used for so long is closed.\n"});
  out.push_back({"pool", "max_lifetime", DurationSlot{&p.max_lifetime, true}, kReload,
                 "A server connection older than this is closed when it is returned.\n"});
  out.push_back({"pool", "prepared_statements_per_connection",
                 IntegerSlot{&p.prepared_statements_per_connection, 0, 100'000}, kReload,
                 "Prepared statements kept on one server connection; the least recently used is closed.\n"});
}

void add_log(std::vector<Field>& out, Config& config) {
  auto& l = config.log;
  out.push_back({"log", "level", choice(l.level, {"debug", "info", "warning", "error"}), kReload,
                 "The least level that is written.\n"});
  out.push_back({"log", "format", choice(l.format, {"text", "json"}), kReload,
                 "text: key=value fields; json: one object per line.\n"});
  out.push_back({"log", "slow_statement", DurationSlot{&l.slow_statement, true}, kReload,
                 "Statements that take longer are logged with their template (no literals) and units.\n"});
}

void add_units(std::vector<Field>& out, Config& config) {
  auto& u = config.units;
  constexpr uint64_t kKilo = 1024, kGiga = kKilo * kKilo * kKilo;
  out.push_back(
      {"units", "binaries", &u.binaries, kRestart, "Directory of PostgreSQL 15's initdb and postgres.\n"});
  out.push_back({"units", "first_port", IntegerSlot{&u.first_port, 1024, 65'000}, kRestart,
                 "New units take the first free ports from here on.\n"});
  out.push_back({"units", "shared_buffers", SizeSlot{&u.shared_buffers, 128 * kKilo, 1024 * kGiga}, kRestart,
                 "PostgreSQL's setting, for each embedded unit.\n"});
  out.push_back({"units", "work_mem", SizeSlot{&u.work_mem, 64 * kKilo, kGiga}, kRestart,
                 "PostgreSQL's setting, for each embedded unit.\n"});
  out.push_back({"units", "max_connections", IntegerSlot{&u.max_connections, 20, 10'000}, kRestart,
                 "PostgreSQL's setting, for each embedded unit. See limits.max_unit_connections.\n"});
  out.push_back(
      {"units", "max_prepared_transactions", IntegerSlot{&u.max_prepared_transactions, 1, 10'000}, kRestart,
       "PostgreSQL's setting. Every transaction that writes to several units holds one while it commits.\n"});
  out.push_back(
      {"units", "settings", &u.settings, kRestart,
       "Further settings of postgresql.conf, as a map: {random_page_cost: 1.1}. What Decan itself needs\n"
       "(port, sockets, wal_level, password_encryption …) can not be set here.\n"});
}

}  // namespace

const std::vector<Section>& sections() {
  static const std::vector<Section> all = {
      {"", ""},
      {"compute", "The compute node: what clients connect to.\n"},
      {"tls", "Encryption between clients and the compute node.\n"},
      {"limits", "Bounds. Sizes are written as 64kB, 256MB, 1GB; times as 500ms, 30s, 5min, 1h, 1d.\n"},
      {"pool", "Server connections of the compute node to the storage units.\n"},
      {"log", "The log of the compute node and of the supervisor.\n"},
      {"units",
       "Storage units that 'decan up' makes and runs itself: PostgreSQL 15 servers on this machine.\n"},
  };
  return all;
}

std::vector<Field> fields(Config& config) {
  std::vector<Field> out;
  out.push_back(
      {"", "data_directory", &config.data_directory, kRestart,
       "Where data, logs, sockets and the metadata store are. Default: the directory of this file.\n"});
  out.push_back(
      {"", "hosts", &config.hosts, kReload,
       "Who may log in from where. The first rule that fits decides; without one the login is refused.\n"
       "address: a range such as 10.0.0.0/8 or ::1/128, or all. database, role: all, a name, or a list.\n"
       "method: scram-sha-256 or reject. tls: optional or require (then it fits only encrypted logins).\n"});
  add_compute(out, config);
  add_tls(out, config);
  add_limits(out, config);
  add_pool(out, config);
  add_log(out, config);
  add_units(out, config);
  return out;
}

}  // namespace decan::config
