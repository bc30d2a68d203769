#include "agent/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>

extern "C" {  // glibc 2.36 forgot it there
#include <sys/pidfd.h>
}

namespace decan::agent {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

constexpr int kInputFd = 3;

std::vector<std::string> clean_environment() {
  std::vector<std::string> out = {"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"};
  const passwd* user = ::getpwuid(::geteuid());
  out.push_back(fmt::format("HOME={}", user && user->pw_dir ? user->pw_dir : "/"));
  if (const char* zone = std::getenv("TZ")) out.push_back(fmt::format("TZ={}", zone));
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (std::string& s : strings) out.push_back(s.data());
  out.push_back(nullptr);
  return out;
}

// What the child needs, made before fork: between fork and exec only async-signal-safe calls are allowed.
struct Prepared {
  std::vector<std::string> arguments, environment;
  std::vector<char*> argv, envp;
  Descriptor output, input, null;
};

Result<Prepared> prepare(const Command& command) {
  Prepared made;
  made.arguments = {command.program};
  made.arguments.insert(made.arguments.end(), command.arguments.begin(), command.arguments.end());
  made.environment = clean_environment();
  made.argv = pointers(made.arguments);
  made.envp = pointers(made.environment);
  made.null.reset(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!command.output.empty()) {
    made.output.reset(::open(command.output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    if (!made.output) return fail(system_error("can not open the log " + command.output, errno));
  }
  if (!command.input.empty()) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return fail(system_error("can not make a pipe", errno));
    made.input.reset(ends[0]);
    const Descriptor writer(ends[1]);
    // Fits into the pipe's buffer, so this does not wait for a reader.
    if (command.input.size() > 4096 || ::write(writer.get(), command.input.data(), command.input.size()) !=
                                           static_cast<ssize_t>(command.input.size())) {
      return fail(system_error("can not write to a pipe", errno));
    }
  }
  return made;
}

[[noreturn]] void run_child(const Command& command, const Prepared& made, int report, pid_t parent) {
  ::setsid();
  if (command.death_signal != 0) {
    ::prctl(PR_SET_PDEATHSIG, command.death_signal);
    if (::getppid() != parent) ::_exit(127);  // it died before we asked
  }
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::umask(0077);
  // Descriptors above the ones that are about to be overwritten.
  const int program = command.program_fd >= 0 ? ::fcntl(command.program_fd, F_DUPFD_CLOEXEC, 20) : -1;
  const int reporter = ::fcntl(report, F_DUPFD_CLOEXEC, 20);
  const int input = made.input ? ::fcntl(made.input.get(), F_DUPFD_CLOEXEC, 20) : -1;
  const int output = made.output ? ::fcntl(made.output.get(), F_DUPFD_CLOEXEC, 20) : -1;
  if (command.kept_fd >= 0) ::fcntl(::fcntl(command.kept_fd, F_DUPFD, 20), F_SETFD, 0);
  ::dup2(made.null.get(), STDIN_FILENO);
  if (output >= 0) {
    ::dup2(output, STDOUT_FILENO);
    ::dup2(output, STDERR_FILENO);
  }
  if (input >= 0) ::dup2(input, kInputFd);
  if (::chdir(command.directory.c_str()) == 0) {
    if (program >= 0) {
      ::syscall(SYS_execveat, program, "", made.argv.data(), made.envp.data(), AT_EMPTY_PATH);
    } else {
      ::execve(command.program.c_str(), made.argv.data(), made.envp.data());
    }
  }
  const int code = errno;
  (void)!::write(reporter, &code, sizeof code);
  ::_exit(127);
}

}  // namespace

std::string Exit::to_string() const {
  if (code) return fmt::format("exit code {}", *code);
  if (signal) return fmt::format("signal {} ({})", *signal, ::strsignal(*signal));
  return "unknown exit code";
}

Result<Process> Process::start(const Command& command) {
  auto made = prepare(command);
  if (!made) return fail(made.error());
  int report[2];
  if (::pipe2(report, O_CLOEXEC) != 0) return fail(system_error("can not make a pipe", errno));
  const Descriptor reader(report[0]);
  Descriptor writer(report[1]);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return fail(system_error("can not start a process", errno));
  if (pid == 0) run_child(command, *made, writer.get(), parent);
  writer.reset();
  Descriptor pidfd(::pidfd_open(pid, 0));
  int code = 0;
  ssize_t n = 0;
  do n = ::read(reader.get(), &code, sizeof code);
  while (n < 0 && errno == EINTR);
  if (n == sizeof code || !pidfd) {
    ::waitpid(pid, nullptr, 0);
    return fail(system_error("can not execute " + command.program, n == sizeof code ? code : errno));
  }
  return Process(pid, std::move(pidfd), false);
}

std::optional<Process> Process::adopt(pid_t pid) {
  Descriptor pidfd(::pidfd_open(pid, 0));
  if (!pidfd) return std::nullopt;
  Process process(pid, std::move(pidfd), true);
  if (process.poll()) return std::nullopt;
  return process;
}

bool Process::signal(int number) const {
  return ::pidfd_send_signal(pidfd_.get(), number, nullptr, 0) == 0;
}

std::optional<Exit> Process::poll() {
  if (exit_) return exit_;
  pollfd ready{pidfd_.get(), POLLIN, 0};
  if (::poll(&ready, 1, 0) != 1) return std::nullopt;
  exit_ = Exit{};
  siginfo_t info{};
  if (!adopted_ && ::waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &info, WEXITED) == 0) {
    if (info.si_code == CLD_EXITED) {
      exit_->code = info.si_status;
    } else {
      exit_->signal = info.si_status;
    }
  }
  return exit_;
}

std::optional<Exit> Process::wait(std::chrono::milliseconds at_most, const std::function<bool()>& stop) {
  const auto deadline = Clock::now() + at_most;
  for (;;) {
    if (auto ended = poll()) return ended;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    if (left <= 0ms || (stop && stop())) return std::nullopt;
    pollfd ready{pidfd_.get(), POLLIN, 0};
    ::poll(&ready, 1, static_cast<int>(std::min(left, 50ms).count()));
  }
}

Result<std::string> capture(Command command, std::chrono::milliseconds at_most) {
  const Descriptor memory(::memfd_create("output", MFD_CLOEXEC));
  if (!memory) return fail(system_error("can not make a memory file", errno));
  command.output = fmt::format("/proc/self/fd/{}", memory.get());
  auto process = Process::start(command);
  if (!process) return fail(process.error());
  const auto exit = process->wait(at_most);
  if (!exit) {
    process->signal(SIGKILL);
    process->wait(5s);
    return fail(sqlstate::kQueryCanceled, fmt::format("{} did not end in time", command.program));
  }
  std::string text(64 << 10, '\0');
  const ssize_t n = ::pread(memory.get(), text.data(), text.size(), 0);
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  if (!exit->success()) {
    return fail(sqlstate::kInternalError, fmt::format("{} ended with {}", command.program, exit->to_string()),
                text);
  }
  return text;
}

std::string process_directory(pid_t pid) {
  std::error_code code;
  const fs::path path = fs::read_symlink(fmt::format("/proc/{}/cwd", pid), code);
  return code ? std::string() : path.string();
}

std::string process_name(pid_t pid) {
  // pid (name) state …; a zombie is no process any more, though nobody has asked for its end yet.
  const auto text = read_file(fmt::format("/proc/{}/stat", pid));
  if (!text || !*text) return {};
  const size_t open = (*text)->find('('), close = (*text)->rfind(')');
  if (open == std::string::npos || close == std::string::npos || close < open) return {};
  if (close + 2 < (*text)->size() && (**text)[close + 2] == 'Z') return {};
  return (*text)->substr(open + 1, close - open - 1);
}

std::vector<std::string> process_arguments(pid_t pid) {
  const auto text = read_file(fmt::format("/proc/{}/cmdline", pid));
  std::vector<std::string> out;
  if (!text || !*text) return out;
  for (size_t start = 0; start < (*text)->size();) {
    const size_t end = std::min((*text)->find('\0', start), (*text)->size());
    out.push_back((*text)->substr(start, end - start));
    start = end + 1;
  }
  return out;
}

std::vector<pid_t> processes_in(const std::string& directory) {
  std::vector<pid_t> out;
  std::error_code code;
  const std::string wanted = fs::weakly_canonical(directory, code).string();
  for (const auto& entry : fs::directory_iterator("/proc", code)) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error != std::errc() || end != name.data() + name.size()) continue;
    if (process_directory(pid) == wanted) out.push_back(pid);
  }
  return out;
}

void raise_file_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

Result<Account> account_of(uid_t uid) {
  const passwd* user = ::getpwuid(uid);
  if (!user) {
    return fail(sqlstate::kUndefinedObject, fmt::format("there is no user with id {} on this machine", uid));
  }
  return Account{user->pw_uid, user->pw_gid, user->pw_name, user->pw_dir};
}

Result<Account> service_account() {
  if (::geteuid() != 0) return account_of(::geteuid());
  const passwd* user = ::getpwnam("postgres");
  if (!user) {
    return fail(sqlstate::kUndefinedObject,
                "PostgreSQL does not run as root, and there is no user postgres on this machine", {},
                "Install Debian's package postgresql-15, or run decan as another user.");
  }
  return Account{user->pw_uid, user->pw_gid, user->pw_name, user->pw_dir};
}

Status become(const Account& account) {
  if (::geteuid() == account.uid) return {};
  if (::initgroups(account.name.c_str(), account.gid) != 0 || ::setgid(account.gid) != 0 ||
      ::setuid(account.uid) != 0) {
    return fail(system_error(fmt::format("can not run as user {}", account.name), errno));
  }
  ::setenv("HOME", account.home.c_str(), 1);
  // A change of user makes a process undumpable, and then its own /proc entries belong to root.
  ::prctl(PR_SET_DUMPABLE, 1);
  return {};
}

}  // namespace decan::agent
