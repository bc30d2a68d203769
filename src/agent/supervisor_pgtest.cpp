// The supervisor over real PostgreSQL servers, in a child process as it is in production; without a compute
// node.
#include "agent/supervisor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <thread>

#include "agent/bootstrap.h"
#include "agent/credentials.h"
#include "agent/files.h"
#include "agent/inspect.h"
#include "agent/ports.h"
#include "agent/sql.h"
#include "agent/state.h"
#include "agent/unit_server.h"
#include "base/log.h"
#include "meta/sqlite_store.h"
#include "meta/topology.h"

namespace decan::agent {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

constexpr const char* kSchema =
    "CREATE SCHEMA IF NOT EXISTS decan; CREATE TABLE IF NOT EXISTS decan.map (epoch bigint)";

class SupervisorTest : public ::testing::Test {
 protected:
  SupervisorTest()
      : account_(service_account().value()), directory_(make_directory_for(account_)), layout_(directory_) {}
  ~SupervisorTest() override {
    if (supervisor_ > 0) stop();
    (void)stop_orphans(layout_, default_config(directory_));
    fs::remove_all(directory_);
  }

  static std::string make_directory_for(const Account& account) {
    std::string pattern = "/tmp/decan-agentXXXXXX";
    const std::string made = ::mkdtemp(pattern.data());
    (void)!::chown(made.c_str(), account.uid, account.gid);
    return made;
  }

  // Starts a supervisor as `decan up` does; `wait_for` decides when it has gone far enough.
  void start(uint32_t units = 0) {
    supervisor_ = ::fork();
    ASSERT_GE(supervisor_, 0);
    if (supervisor_ != 0) return;
    log::configure(log::Level::kError, log::Format::kText);
    ::_exit(run(units));
  }

  int run(uint32_t units) {
    if (!become(account_) || !complete_directory(layout_)) return 10;
    ::prctl(PR_SET_PDEATHSIG,
            SIGTERM);  // a test that crashes leaves nothing behind; becoming another user undoes it
    Config config = default_config(directory_);
    config.units.shared_buffers.value = 16u << 20;
    config.units.first_port = 20'000 + ::getpid() % 20'000;
    config.units.settings = {{"fsync", "off"}};
    config.log.level = log::Level::kError;
    SupervisorOptions options{
        .layout = layout_, .config = config, .units = units, .schema_sql = [](const std::string&) {
          return std::string(kSchema);
        }};
    return run_supervisor(std::move(options)) ? 0 : 1;
  }

  std::optional<ClusterState> state() const {
    auto read = read_state(layout_.state());
    return read && *read ? **read : std::optional<ClusterState>();
  }
  bool wait_for(const std::function<bool(const ClusterState&)>& condition,
                std::chrono::seconds at_most = 60s) const {
    const auto deadline = std::chrono::steady_clock::now() + at_most;
    while (std::chrono::steady_clock::now() < deadline) {
      const auto now = state();
      const bool ours = now && now->supervisor_pid == supervisor_;
      if (ours && condition(*now)) return true;
      if (ours && now->phase == Phase::kFailed) break;
      std::this_thread::sleep_for(20ms);
    }
    ADD_FAILURE() << "last state: " << (state() ? to_json(*state()) : "none");
    return false;
  }
  bool wait_ready() const {
    return wait_for([](const ClusterState& s) { return s.phase == Phase::kReady; });
  }
  bool all_running(const ClusterState& s) const {
    return std::ranges::all_of(s.components,
                               [](const auto& c) { return c.phase == ComponentPhase::kRunning; });
  }
  int finish() {
    int status = -1;
    ::waitpid(supervisor_, &status, 0);
    supervisor_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  int stop() {
    ::kill(supervisor_, SIGTERM);
    return finish();
  }
  void kill_supervisor() {
    ::kill(supervisor_, SIGKILL);
    finish();
  }

  std::vector<meta::UnitRecord> units() const {
    return meta::load_units(*meta::open_sqlite_store(layout_.meta()).value()).value();
  }
  static std::string dsn_of(const meta::UnitRecord& unit, const std::string& database) {
    return "host=" + dsn_value(unit.host) + " port=" + std::to_string(unit.port) +
           " user=postgres password=" + dsn_value(unit.service_password) + " dbname=" + database;
  }
  static std::string value_at(const meta::UnitRecord& unit, const std::string& sql,
                              const std::string& database = "decan") {
    auto connection = SqlConnection::open(dsn_of(unit, database));
    if (!connection) return connection.error().message;
    const auto rows = connection->run(sql);
    if (!rows) return rows.error().message;
    return rows->empty() ? "no row" : (*rows)[0][0].value_or("NULL");
  }

  Account account_;
  std::string directory_;
  Layout layout_;
  pid_t supervisor_ = -1;
};

TEST_F(SupervisorTest, the_first_start_makes_units_that_a_compute_node_can_use) {
  start(2);
  ASSERT_TRUE(wait_ready());
  EXPECT_TRUE(state()->first_start);
  const auto made = units();
  ASSERT_EQ(made.size(), 2u);
  EXPECT_EQ(meta::home_unit(*meta::open_sqlite_store(layout_.meta()).value()).value(), "ds_0");
  const std::string verifier = "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'";
  EXPECT_THAT(value_at(made[0], verifier), HasSubstr("SCRAM-SHA-256$"));
  EXPECT_EQ(value_at(made[0], verifier), value_at(made[1], verifier));
  EXPECT_NE(made[0].service_password, made[1].service_password);
  for (const auto& unit : made) {
    const auto setting = [&](const std::string& name) { return value_at(unit, "SHOW " + name); };
    EXPECT_EQ(setting("data_checksums"), "on");
    EXPECT_EQ(setting("wal_level"), "logical");
    EXPECT_EQ(setting("password_encryption"), "scram-sha-256");
    EXPECT_EQ(setting("max_prepared_transactions"), "100");
    EXPECT_EQ(setting("enable_partitionwise_join"), "on");
    EXPECT_EQ(setting("enable_partitionwise_aggregate"), "on");
    EXPECT_EQ(setting("listen_addresses"), "127.0.0.1");
    EXPECT_EQ(
        value_at(unit,
                 "SELECT datcollate || pg_encoding_to_char(encoding) FROM pg_database WHERE datname='decan'"),
        "C.UTF-8UTF8");
    EXPECT_EQ(value_at(unit,
                       "SELECT rolsuper::text || rolcreaterole::text || rolcreatedb::text FROM pg_authid "
                       "WHERE rolname = 'app'"),
              "falsetruetrue");
    EXPECT_EQ(value_at(unit, "SELECT to_regclass('decan.map')::text"), "decan.map");
    EXPECT_EQ(value_at(unit, "SELECT to_regclass('decan.map')::text", "template1"), "decan.map");
    EXPECT_EQ(
        value_at(unit, "SELECT pg_catalog.pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'decan'"),
        "app");
  }
  const auto login = SqlConnection::open(
      "host=127.0.0.1 port=" + std::to_string(made[1].port) +
      " user=app dbname=decan password=" + stored_password(layout_, "app").value().value());
  EXPECT_TRUE(login) << login.error().message;
  EXPECT_FALSE(SqlConnection::open("host=127.0.0.1 port=" + std::to_string(made[1].port) +
                                   " user=postgres dbname=postgres"))
      << "nobody gets in without a password";
  EXPECT_EQ(stop(), 0);
  EXPECT_EQ(state()->phase, Phase::kStopped);
  EXPECT_FALSE(pings(made[0].host, made[0].port, 1));
}

TEST_F(SupervisorTest, a_second_start_finds_everything_as_it_was) {
  start(1);
  ASSERT_TRUE(wait_ready());
  EXPECT_EQ(value_at(units()[0], "CREATE TABLE t AS SELECT 42 AS a; SELECT a FROM t"), "42");
  const auto before = meta::to_json(units()[0]);
  EXPECT_EQ(stop(), 0);
  start();
  ASSERT_TRUE(wait_ready());
  EXPECT_FALSE(state()->first_start);
  EXPECT_EQ(meta::to_json(units()[0]), before);
  EXPECT_EQ(value_at(units()[0], "SELECT a FROM t"), "42");
}

TEST_F(SupervisorTest, a_killed_unit_is_started_again_with_its_data) {
  start(2);
  ASSERT_TRUE(wait_ready());
  const pid_t before = state()->components[1].pid;
  EXPECT_EQ(value_at(units()[1], "CREATE TABLE t AS SELECT 7 AS a; SELECT a FROM t"), "7");
  ASSERT_EQ(::kill(before, SIGKILL), 0);
  ASSERT_TRUE(
      wait_for([&](const ClusterState& s) { return s.components[1].restarts == 1 && all_running(s); }));
  EXPECT_NE(state()->components[1].pid, before);
  EXPECT_EQ(state()->components[0].restarts, 0);
  EXPECT_EQ(value_at(units()[1], "SELECT a FROM t"), "7");
}

TEST_F(SupervisorTest, a_unit_that_dies_with_a_busy_backend_left_behind_comes_back) {
  start(1);
  ASSERT_TRUE(wait_ready());
  auto busy = SqlConnection::open(dsn_of(units()[0], "decan")).value();
  std::thread runner([&busy] {
    // Never looks whether its postmaster lives.
    (void)busy.run("DO $$ BEGIN PERFORM count(*) FROM generate_series(1, 2000000000) g; END $$");
  });
  std::this_thread::sleep_for(300ms);
  ASSERT_EQ(::kill(state()->components[0].pid, SIGKILL), 0);
  EXPECT_TRUE(
      wait_for([&](const ClusterState& s) { return s.components[0].restarts > 0 && all_running(s); }));
  runner.join();
}

TEST_F(SupervisorTest, units_survive_a_killed_supervisor_and_are_adopted_by_the_next) {
  start(2);
  ASSERT_TRUE(wait_ready());
  const auto before = state()->components;
  kill_supervisor();
  EXPECT_TRUE(pings(units()[0].host, units()[0].port, 1)) << "units go on alone";
  start();
  ASSERT_TRUE(wait_ready());
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(state()->components[i].pid, before[i].pid);
    EXPECT_TRUE(state()->components[i].adopted);
  }
  ASSERT_EQ(::kill(before[0].pid, SIGKILL), 0) << "an adopted unit is watched like a child";
  EXPECT_TRUE(
      wait_for([&](const ClusterState& s) { return s.components[0].restarts == 1 && all_running(s); }));
  EXPECT_EQ(stop(), 0);
  EXPECT_FALSE(pings(units()[0].host, units()[0].port, 1));
}

TEST_F(SupervisorTest, orphans_are_stopped_without_a_supervisor) {
  start(2);
  ASSERT_TRUE(wait_ready());
  kill_supervisor();
  EXPECT_TRUE(stop_orphans(layout_, default_config(directory_)).value());
  EXPECT_FALSE(pings(units()[0].host, units()[0].port, 1));
  EXPECT_FALSE(stop_orphans(layout_, default_config(directory_)).value());
}

TEST_F(SupervisorTest, a_first_start_that_is_killed_anywhere_is_completed_by_the_next) {
  for (int delay_ms = 50; delay_ms < 6000; delay_ms += 50 + delay_ms / 3) {
    SCOPED_TRACE("killed after " + std::to_string(delay_ms) + " ms");
    start(2);
    std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
    ASSERT_EQ(::waitpid(supervisor_, nullptr, WNOHANG), 0) << "it gave up: " << to_json(*state());
    kill_supervisor();
  }
  start();
  ASSERT_TRUE(wait_ready());
  const auto made = units();
  ASSERT_EQ(made.size(), 2u);
  const std::string verifier = "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'";
  EXPECT_EQ(value_at(made[0], verifier), value_at(made[1], verifier));
  EXPECT_EQ(value_at(made[1], "SELECT to_regclass('decan.map')::text"), "decan.map");
}

TEST_F(SupervisorTest, a_half_made_data_directory_is_made_anew) {
  ASSERT_TRUE(make_directory(layout_.unit("ds_0") + "/data.new/base", 0700));
  ASSERT_TRUE(write_file(layout_.unit("ds_0") + "/data.new/PG_VERSION", "15\n", 0600));
  for (const auto& entry : fs::recursive_directory_iterator(directory_)) {
    (void)!::chown(entry.path().c_str(), account_.uid, account_.gid);
  }
  start(1);
  ASSERT_TRUE(wait_ready());
  EXPECT_FALSE(exists(layout_.unit("ds_0") + "/data.new"));
}

TEST_F(SupervisorTest, lost_data_is_not_replaced_by_an_empty_server) {
  start(1);
  ASSERT_TRUE(wait_ready());
  EXPECT_EQ(stop(), 0);
  fs::rename(layout_.unit("ds_0") + "/data", layout_.unit("ds_0") + "/moved");
  start();
  EXPECT_EQ(finish(), 1);
  ASSERT_TRUE(state()->error);
  EXPECT_THAT(state()->error->message, HasSubstr("the data of storage unit ds_0 is gone"));
  EXPECT_FALSE(exists(layout_.unit("ds_0") + "/data"));
}

TEST_F(SupervisorTest, a_unit_whose_port_is_taken_moves_to_another_one) {
  start(1);
  ASSERT_TRUE(wait_ready());
  const uint16_t before = units()[0].port;
  EXPECT_EQ(stop(), 0);
  const Descriptor fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(before);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  ASSERT_EQ(::listen(fd.get(), 1), 0);
  start();
  ASSERT_TRUE(wait_ready());
  EXPECT_NE(units()[0].port, before);
  EXPECT_EQ(value_at(units()[0], "SHOW port"), std::to_string(units()[0].port));
}

TEST_F(SupervisorTest, a_stale_lock_file_with_the_pid_of_another_process_does_not_matter) {
  start(1);
  ASSERT_TRUE(wait_ready());
  ASSERT_EQ(::kill(state()->components[0].pid, SIGKILL), 0);
  kill_supervisor();
  std::this_thread::sleep_for(200ms);
  Command sleeper;  // a process of the same user, so that PostgreSQL would believe the file
  sleeper.program = "/usr/bin/sleep";
  sleeper.arguments = {"300"};
  auto other = Process::start(sleeper).value();
  const std::string file = layout_.unit("ds_0") + "/data/postmaster.pid";
  std::string text = read_file(file).value().value();
  text.replace(0, text.find('\n'), std::to_string(other.pid()));
  ASSERT_TRUE(write_file(file, text, 0600));
  (void)!::chown(file.c_str(), account_.uid, account_.gid);
  start();
  EXPECT_TRUE(wait_ready());
  EXPECT_FALSE(other.poll()) << "the other process was not ours to end";
  other.signal(SIGKILL);
}

TEST_F(SupervisorTest, another_number_of_units_and_a_second_supervisor_are_refused) {
  start(1);
  ASSERT_TRUE(wait_ready());
  const pid_t first = supervisor_;
  start();
  EXPECT_EQ(finish(), 1) << "one supervisor per directory";
  supervisor_ = first;
  EXPECT_EQ(stop(), 0);
  start(2);
  EXPECT_EQ(finish(), 1);
  EXPECT_THAT(state()->error->message, HasSubstr("has 1 storage units"));
}

TEST_F(SupervisorTest, a_server_that_can_not_start_fails_the_start_with_its_own_words) {
  start(1);
  ASSERT_TRUE(wait_ready());
  EXPECT_EQ(stop(), 0);
  fs::remove(layout_.unit("ds_0") + "/data/global/pg_control");
  start();
  EXPECT_EQ(finish(), 1);
  EXPECT_THAT(state()->error->message, HasSubstr("ds_0 does not start"));
  EXPECT_THAT(state()->error->detail, HasSubstr("could not find the database system"));
}

}  // namespace
}  // namespace decan::agent
