#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "testing/pg.h"

namespace decan::testing {
namespace {

namespace fs = std::filesystem;
constexpr auto kStartTimeout = std::chrono::seconds(60);
constexpr auto kStopTimeout = std::chrono::seconds(30);

// PostgreSQL refuses to run as root.
const passwd* server_account() {
  if (geteuid() != 0) return nullptr;
  const passwd* account = getpwnam("postgres");
  if (account == nullptr) throw std::runtime_error("no user postgres: install the package postgresql-15");
  return account;
}

std::string read_file(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// fork + exec as the server's account; output goes to `log`. Only async-signal-safe calls between fork and
// exec.
pid_t spawn(const std::vector<std::string>& arguments, const std::string& log, bool as_server) {
  const passwd* account = as_server ? server_account() : nullptr;
  std::vector<char*> argv;
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const pid_t pid = fork();
  if (pid < 0) throw std::runtime_error("fork failed");
  if (pid > 0) {
    close(out);
    return pid;
  }
  dup2(out, 1);
  dup2(out, 2);
  if (account != nullptr &&
      (setgroups(0, nullptr) != 0 || setgid(account->pw_gid) != 0 || setuid(account->pw_uid) != 0)) {
    _exit(126);
  }
  setpgid(0, 0);  // Ctrl-C reaches the test only, which stops the server itself
  if (as_server) prctl(PR_SET_PDEATHSIG, SIGQUIT);  // cleared by setuid, so set after it
  if (chdir("/") != 0) _exit(126);
  execv(argv[0], argv.data());
  _exit(127);
}

int wait_exit(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

uint16_t free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof address;
  const bool ok = fd >= 0 && bind(fd, reinterpret_cast<sockaddr*>(&address), bytes) == 0 &&
                  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &bytes) == 0;
  if (fd >= 0) close(fd);
  if (!ok) throw std::runtime_error("no free port");
  return ntohs(address.sin_port);
}

}  // namespace

std::string program(std::string_view name) {
  return "/usr/lib/postgresql/15/bin/" + std::string(name);
}

std::string run_program(const std::vector<std::string>& arguments) {
  char base[] = "/tmp/decan_run_XXXXXX";
  if (mkdtemp(base) == nullptr) throw std::runtime_error("mkdtemp failed");
  const fs::path directory = base;
  std::string command;
  for (const auto& argument : arguments) {
    command += '\'';
    for (const char c : argument) command += c == '\'' ? std::string("'\\''") : std::string(1, c);
    command += "' ";
  }
  command += "> " + (directory / "out").string();
  const int code = wait_exit(spawn({"/bin/sh", "-c", command}, directory / "err", false));
  const std::string out = read_file(directory / "out");
  const std::string err = read_file(directory / "err");
  fs::remove_all(directory);
  if (code != 0) throw std::runtime_error(arguments.at(0) + " failed: " + err);
  return out;
}

PgFixture::PgFixture(PgOptions options) : options_(std::move(options)) {
  char base[] = "/tmp/decan_pg_XXXXXX";
  if (mkdtemp(base) == nullptr) throw std::runtime_error("mkdtemp failed");
  directory_ = base;
  data_ = directory_ + "/data";
  if (const passwd* account = server_account()) {
    if (chown(directory_.c_str(), account->pw_uid, account->pw_gid) != 0)
      throw std::runtime_error("chown failed");
  }
  try {
    init_data_directory();
    constexpr int kPortAttempts = 5;  // another process may take the port between the look and the start
    for (int attempt = 1;; ++attempt) {
      port_ = free_port();
      write_configuration();
      try {
        start();
        return;
      } catch (const std::exception&) {
        if (attempt == kPortAttempts) throw;
      }
    }
  } catch (...) {
    fs::remove_all(directory_);
    throw;
  }
}

PgFixture::~PgFixture() {
  try {
    kill();
  } catch (const std::exception&) {
  }
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
}

void PgFixture::init_data_directory() {
  const std::string password_file = directory_ + "/password";
  std::ofstream(password_file) << options_.superuser_password << '\n';
  const std::string auth = options_.auth == Auth::kScram ? "scram-sha-256" : "trust";
  const int code = wait_exit(spawn({program("initdb"), "-D", data_, "-U", options_.superuser,
                                    "--auth=" + auth, "--pwfile=" + password_file, "--encoding=UTF8",
                                    "--locale=" + options_.locale, "--no-sync", "--no-instructions"},
                                   directory_ + "/log", true));
  if (code != 0) throw std::runtime_error("initdb failed: " + log());
}

void PgFixture::write_configuration() {
  std::ofstream conf(data_ + "/decan_test.conf");
  conf
      << "listen_addresses = '127.0.0.1'\nport = " << port_ << "\nunix_socket_directories = '" << directory_
      << "'\nmax_prepared_transactions = 64\nwal_level = logical\nfsync = off\nsynchronous_commit = off\n"
         "full_page_writes = off\nshared_buffers = 64MB\nmax_connections = 100\nautovacuum = off\n"
         "max_locks_per_transaction = 256\nlog_min_messages = warning\nlc_messages = 'C'\ntimezone = 'UTC'\n";
  for (const auto& [name, value] : options_.settings) conf << name << " = '" << value << "'\n";
  conf.close();
  const std::string main_file = data_ + "/postgresql.conf";
  if (read_file(main_file).find("decan_test.conf") == std::string::npos) {
    std::ofstream(main_file, std::ios::app) << "include 'decan_test.conf'\n";
  }
}

void PgFixture::start() {
  if (pid_ > 0) return;
  pid_ = spawn({program("postgres"), "-D", data_}, directory_ + "/log", true);
  wait_until_ready();
}

void PgFixture::wait_until_ready() {
  const auto deadline = std::chrono::steady_clock::now() + kStartTimeout;
  for (;;) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      throw std::runtime_error("the server did not start: " + log());
    }
    try {
      connect();
      return;
    } catch (const SqlError&) {
      if (std::chrono::steady_clock::now() > deadline) throw;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

void PgFixture::stop() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGINT);
  const auto deadline = std::chrono::steady_clock::now() + kStopTimeout;
  int status = 0;
  while (waitpid(pid_, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > deadline) {
      kill();
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  pid_ = -1;
}

void PgFixture::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGQUIT);
  wait_exit(pid_);
  pid_ = -1;
}

std::string PgFixture::log() const {
  return read_file(directory_ + "/log");
}

std::string PgFixture::dsn(std::string_view database, std::string_view role,
                           std::string_view password) const {
  std::string out = "host=" + host_ + " port=" + std::to_string(port_) + " dbname='" + std::string(database) +
                    "' user='" + std::string(role.empty() ? options_.superuser : role) +
                    "' connect_timeout=10";
  if (options_.auth == Auth::kScram) {
    out += " password='" + std::string(role.empty() ? options_.superuser_password : password) + "'";
  }
  return out;
}

Connection PgFixture::connect(std::string_view database, std::string_view role,
                              std::string_view password) const {
  return Connection(dsn(database, role, password));
}

void PgFixture::create_database(const std::string& name) {
  connect().exec("CREATE DATABASE \"" + name + "\"");
}

}  // namespace decan::testing
