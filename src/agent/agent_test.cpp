// The parts that need no server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "agent/backoff.h"
#include "agent/certificate.h"
#include "agent/credentials.h"
#include "agent/files.h"
#include "agent/layout.h"
#include "agent/parts.h"
#include "agent/ports.h"
#include "agent/process.h"
#include "agent/state.h"
#include "agent/unit_server.h"

namespace decan::agent {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class AgentTest : public ::testing::Test {
 protected:
  AgentTest() {
    std::string pattern = ::testing::TempDir() + "agentXXXXXX";
    directory_ = ::mkdtemp(pattern.data());
  }
  ~AgentTest() override { fs::remove_all(directory_); }
  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  static mode_t mode_of(const std::string& file) {
    struct stat info{};
    return ::stat(file.c_str(), &info) == 0 ? info.st_mode & 0777 : 0;
  }
  std::string directory_;
};

TEST(Backoff, doubles_to_ten_seconds_and_starts_again_after_a_healthy_minute) {
  Backoff backoff;
  EXPECT_EQ(backoff.next(0ms), 200ms);
  EXPECT_EQ(backoff.next(0ms), 400ms);
  for (int i = 0; i < 10; ++i) backoff.next(1s);
  EXPECT_EQ(backoff.next(59s), 10s);
  EXPECT_EQ(backoff.next(60s), 200ms);
  EXPECT_EQ(backoff.next(0ms), 400ms);
}

TEST_F(AgentTest, a_written_file_has_its_text_and_mode_and_leaves_nothing_beside_it) {
  ASSERT_TRUE(write_file(path("a"), "one", 0600));
  ASSERT_TRUE(write_file(path("a"), "two", 0644));
  EXPECT_EQ(read_file(path("a")).value(), "two");
  EXPECT_EQ(mode_of(path("a")), 0644u);
  EXPECT_EQ(std::distance(fs::directory_iterator(directory_), fs::directory_iterator()), 1);
  EXPECT_FALSE(read_file(path("missing")).value());
  EXPECT_EQ(read_file(path("a"), 2).error().sqlstate, "54000");
  EXPECT_EQ(write_file(path("no/such/a"), "", 0600).error().sqlstate, "58030");
}

TEST_F(AgentTest, the_tail_of_a_file_is_its_last_whole_lines) {
  ASSERT_TRUE(write_file(path("log"), "one\ntwo\nthree\n", 0600));
  EXPECT_EQ(tail_of(path("log"), 2), "two\nthree\n");
  EXPECT_EQ(tail_of(path("log"), 9), "one\ntwo\nthree\n");
  EXPECT_EQ(tail_of(path("log"), 0), "");
  EXPECT_EQ(tail_of(path("missing"), 2), "");
}

TEST_F(AgentTest, a_lock_is_held_once_and_tells_its_holder) {
  auto lock = FileLock::try_lock(path("lock")).value();
  ASSERT_TRUE(lock);
  EXPECT_FALSE(FileLock::try_lock(path("lock")).value());
  EXPECT_EQ(FileLock::holder(path("lock")), ::getpid());
  lock.reset();
  EXPECT_FALSE(FileLock::holder(path("lock")));
  EXPECT_TRUE(FileLock::try_lock(path("lock")).value());
}

TEST_F(AgentTest, a_lock_lives_on_in_the_child_that_keeps_it) {
  auto lock = FileLock::try_lock(path("lock")).value();
  Command command;
  command.program = "/bin/sleep";
  command.arguments = {"30"};
  command.kept_fd = lock->fd();
  auto process = Process::start(command).value();
  ASSERT_TRUE(lock->write_pid(process.pid()));
  lock.reset();
  EXPECT_EQ(FileLock::holder(path("lock")), process.pid());
  process.signal(SIGKILL);
  ASSERT_TRUE(process.wait(5s));
  EXPECT_FALSE(FileLock::holder(path("lock")));
}

TEST_F(AgentTest, a_child_reads_its_input_and_writes_to_its_log) {
  Command command;
  command.program = "/bin/cat";
  command.arguments = {"/dev/fd/3"};
  command.input = "secret\n";
  command.output = path("log");
  auto process = Process::start(command).value();
  const auto exit = process.wait(5s);
  ASSERT_TRUE(exit);
  EXPECT_TRUE(exit->success());
  EXPECT_EQ(read_file(path("log")).value(), "secret\n");
  EXPECT_EQ(mode_of(path("log")), 0600u);
}

TEST_F(AgentTest, a_child_gets_a_clean_environment) {
  ::setenv("PGPORT", "1", 1);
  Command command;
  command.program = "/usr/bin/env";
  const std::string text = capture(command, 5s).value();
  ::unsetenv("PGPORT");
  EXPECT_EQ(text.find("PGPORT"), std::string::npos);
  EXPECT_THAT(text, HasSubstr("LANG=C.UTF-8"));
}

TEST_F(AgentTest, the_end_of_a_child_is_told_as_it_was) {
  Command command;
  command.program = "/bin/sh";
  command.arguments = {"-c", "exit 3"};
  EXPECT_EQ(Process::start(command)->wait(5s)->to_string(), "exit code 3");
  command.arguments = {"-c", "kill -9 $$"};
  EXPECT_THAT(Process::start(command)->wait(5s)->to_string(), HasSubstr("signal 9"));
  command.program = "/nonexistent";
  EXPECT_THAT(Process::start(command).error().message, HasSubstr("/nonexistent: No such file"));
}

TEST_F(AgentTest, an_adopted_process_is_watched_without_being_a_child) {
  Command command;
  command.program = "/bin/sh";
  command.arguments = {"-c", "sleep 30 & echo $!"};
  const pid_t grandchild = std::atoi(capture(command, 5s).value().c_str());
  auto process = Process::adopt(grandchild);
  ASSERT_TRUE(process);
  EXPECT_FALSE(process->poll());
  process->signal(SIGKILL);
  const auto exit = process->wait(5s);
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->to_string(), "unknown exit code");
  EXPECT_FALSE(Process::adopt(grandchild));
}

TEST_F(AgentTest, a_child_with_a_death_signal_ends_with_its_parent) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t parent = ::fork();
  if (parent == 0) {
    Command command;
    command.program = "/bin/sleep";
    command.arguments = {"30"};
    command.death_signal = SIGTERM;
    const pid_t pid = Process::start(command)->pid();
    (void)!::write(ends[1], &pid, sizeof pid);
    ::pause();
  }
  pid_t pid = 0;
  ASSERT_EQ(::read(ends[0], &pid, sizeof pid), static_cast<ssize_t>(sizeof pid));
  auto grandchild = Process::adopt(pid);
  ASSERT_TRUE(grandchild);
  ::kill(parent, SIGKILL);
  EXPECT_TRUE(grandchild->wait(5s));
  ::waitpid(parent, nullptr, 0);
}

TEST_F(AgentTest, sockets_move_to_a_short_directory_when_the_path_is_too_long) {
  EXPECT_EQ(Layout("/srv/decan").socket_directory, "/srv/decan/run");
  const std::string deep = "/" + std::string(90, 'd');
  const Layout layout(deep);
  EXPECT_LE(layout.socket_directory.size() + std::string("/.s.PGSQL.65535.lock").size(), 107u);
  EXPECT_EQ(Layout(deep).socket_directory, layout.socket_directory) << "the same at every start";
  EXPECT_NE(Layout(deep + "e").socket_directory, layout.socket_directory);
}

TEST_F(AgentTest, a_new_directory_gets_its_mark_first_and_another_format_is_refused) {
  const Layout layout(path("d"));
  ASSERT_TRUE(make_directory(layout.root, 0700));
  EXPECT_FALSE(layout.is_cluster());
  ASSERT_TRUE(complete_directory(layout));
  ASSERT_TRUE(complete_directory(layout));
  EXPECT_TRUE(layout.is_cluster());
  ASSERT_TRUE(write_file(layout.format(), "99\n", 0600));
  const auto refused = complete_directory(layout);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().sqlstate, "0A000");
  EXPECT_THAT(refused.error().message, HasSubstr("another version of Decan (format 99"));
}

TEST_F(AgentTest, a_directory_without_a_cluster_is_told_so) {
  EXPECT_EQ(enter_directory(Layout(directory_)).error().sqlstate, "55000");
  EXPECT_EQ(enter_directory(Layout(path("missing"))).error().sqlstate, "55000");
}

TEST_F(AgentTest, a_certificate_is_made_once_and_half_a_pair_is_made_anew) {
  const std::string certificate = path("c.crt"), key = path("c.key");
  ASSERT_TRUE(ensure_certificate(certificate, key));
  EXPECT_EQ(mode_of(key), 0600u);
  const auto first = read_file(certificate).value();
  ASSERT_TRUE(ensure_certificate(certificate, key));
  EXPECT_EQ(read_file(certificate).value(), first);
  EXPECT_GT(days_left(certificate).value(), 3600);
  fs::remove(key);
  ASSERT_TRUE(ensure_certificate(certificate, key));
  EXPECT_NE(read_file(certificate).value(), first);
  EXPECT_FALSE(days_left(key));
}

TEST_F(AgentTest, the_owner_password_is_generated_once_and_fits_a_password_file) {
  const Layout layout(directory_);
  const std::string password = ensure_owner_password(layout).value();
  EXPECT_EQ(password.size(), 24u);
  EXPECT_EQ(ensure_owner_password(layout).value(), password);
  EXPECT_EQ(stored_password(layout, "app").value(), password);
  EXPECT_FALSE(stored_password(layout, "other").value());
  EXPECT_EQ(mode_of(layout.credentials()), 0600u);
  std::ofstream(layout.credentials(), std::ios::app) << "*:*:*:other:a\\:b\\\\c\n";
  EXPECT_EQ(stored_password(layout, "other").value(), "a:b\\c");
}

TEST(ClientUrl, encodes_what_urls_do_not_take_and_names_an_address_that_can_be_reached) {
  Config config = default_config("/d");
  config.compute.listen = {{"0.0.0.0", 5000}};
  EXPECT_EQ(client_url(config, {}), "postgresql://app@127.0.0.1:5000/decan");
  UrlOptions options;
  options.role = "a b";
  options.password = "p@ss/w:d";
  options.connect_timeout_s = 3;
  config.compute.listen = {{"::1", 5000}};
  config.tls.mode = TlsMode::kRequire;
  EXPECT_EQ(client_url(config, options),
            "postgresql://a%20b:p%40ss%2Fw%3Ad@[::1]:5000/decan?sslmode=require&connect_timeout=3");
}

TEST(State, comes_back_as_it_was_written) {
  ClusterState state;
  state.phase = Phase::kFailed;
  state.supervisor_pid = 7;
  state.note = "a \"note\"";
  state.error = Error{"55006", "m", "d", "h"};
  state.components.push_back({.name = "ds_0",
                              .kind = "unit",
                              .phase = ComponentPhase::kWaiting,
                              .pid = 9,
                              .address = "127.0.0.1:1",
                              .restarts = 3,
                              .since = 5,
                              .adopted = true,
                              .message = "x"});
  EXPECT_EQ(to_json(state_from_json(to_json(state)).value()), to_json(state));
  EXPECT_EQ(state_from_json("{").error().sqlstate, "XX001");
  EXPECT_EQ(state_from_json("{\"components\":3}").error().sqlstate, "XX001");
}

TEST(Ports, a_taken_port_is_refused_with_its_owner_and_the_key_to_change) {
  const uint16_t port = choose_port(20'000 + static_cast<uint16_t>(::getpid() % 20'000), {}).value();
  EXPECT_TRUE(require_free({"127.0.0.1", port}, "compute.listen"));
  const Descriptor fd(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  ASSERT_EQ(::listen(fd.get(), 1), 0);
  const auto refused = require_free({"127.0.0.1", port}, "compute.listen");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("(pid " + std::to_string(::getpid()) + ")"));
  EXPECT_THAT(refused.error().hint, HasSubstr("compute.listen"));
  EXPECT_NE(choose_port(port, {}).value(), port);
  EXPECT_TRUE(accepts({"127.0.0.1", port}));
  EXPECT_FALSE(accepts({"127.0.0.1", choose_port(port, {}).value()}));
}

TEST_F(AgentTest, a_large_log_is_set_aside_and_its_writer_goes_on_in_the_same_file) {
  const std::string log = path("x.log");
  ASSERT_TRUE(write_file(log, "small", 0600));
  rotate_log(log);
  EXPECT_FALSE(exists(log + ".1"));
  fs::resize_file(log, kMaxLogBytes + 1);
  std::ofstream writer(log, std::ios::app);
  rotate_log(log);
  writer << "after" << std::flush;
  EXPECT_EQ(fs::file_size(log + ".1"), kMaxLogBytes + 1);
  EXPECT_EQ(read_file(log).value(), "after");
}

TEST_F(AgentTest, data_of_another_version_or_without_version_is_refused) {
  UnitServer::Options options;
  options.name = "ds_0";
  options.directory = directory_;
  const UnitServer unit(options);
  EXPECT_TRUE(unit.check_version());
  ASSERT_TRUE(make_directory(unit.data(), 0700));
  EXPECT_EQ(unit.check_version().error().sqlstate, "XX001");
  ASSERT_TRUE(write_file(unit.data() + "/PG_VERSION", "14\n", 0600));
  EXPECT_THAT(unit.check_version().error().message, HasSubstr("was made by PostgreSQL 14"));
  ASSERT_TRUE(write_file(unit.data() + "/PG_VERSION", "15\n", 0600));
  EXPECT_TRUE(unit.check_version());
  EXPECT_EQ(UnitServer::check_programs(directory_).error().sqlstate, "42704");
}

}  // namespace
}  // namespace decan::agent
