#include "async/program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace decan::async {
namespace {

constexpr size_t kMaxErrorBytes = 8 * 1024;
constexpr std::string_view kSystemError = "58000", kUndefinedFile = "58P01";

// A pipe whose reading end is ours alone.
struct Pipe {
  std::array<int, 2> ends{-1, -1};
  Pipe() {
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) ends = {-1, -1};
  }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void close_end(size_t end) {
    if (ends[end] >= 0) ::close(ends[end]);
    ends[end] = -1;
  }
};

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

// Reads until both ends are closed by the child. False: too much, or not in time.
enum class Ended { kYes, kTooMuch, kTooLate };
Ended read_both(Pipe& output, Pipe& errors, std::string& out, std::string& err, size_t max_bytes,
                std::chrono::steady_clock::time_point until) {
  std::array<char, 16 * 1024> buffer{};
  while (output.ends[0] >= 0 || errors.ends[0] >= 0) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    if (left.count() <= 0) return Ended::kTooLate;
    std::array<pollfd, 2> waiting{pollfd{output.ends[0], POLLIN, 0}, pollfd{errors.ends[0], POLLIN, 0}};
    if (::poll(waiting.data(), waiting.size(), static_cast<int>(left.count())) < 0 && errno != EINTR)
      return Ended::kTooLate;
    for (size_t i = 0; i < waiting.size(); ++i) {
      if (waiting[i].revents == 0) continue;
      Pipe& pipe = i == 0 ? output : errors;
      const ssize_t got = ::read(pipe.ends[0], buffer.data(), buffer.size());
      if (got <= 0) {
        if (got == 0 || errno != EINTR) pipe.close_end(0);
      } else if (i == 0) {
        out.append(buffer.data(), static_cast<size_t>(got));
        if (out.size() > max_bytes) return Ended::kTooMuch;
      } else if (err.size() < kMaxErrorBytes) {
        err.append(buffer.data(), static_cast<size_t>(got));
      }
    }
  }
  return Ended::kYes;
}

}  // namespace

Result<std::string> run_program(const Program& program, size_t max_bytes, std::chrono::milliseconds at_most) {
  Pipe output, errors;
  if (output.ends[0] < 0 || errors.ends[0] < 0)
    return fail(kSystemError, "a pipe can not be made", std::strerror(errno));
  std::vector<std::string> arguments{program.path}, environment{"PATH=/usr/bin:/bin", "LANG=C.UTF-8"};
  arguments.insert(arguments.end(), program.arguments.begin(), program.arguments.end());
  environment.insert(environment.end(), program.environment.begin(), program.environment.end());
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, output.ends[1], 1);
  ::posix_spawn_file_actions_adddup2(&actions, errors.ends[1], 2);
  posix_spawnattr_t attributes;  // this thread's blocked and ignored signals are not the program's
  ::posix_spawnattr_init(&attributes);
  sigset_t none, ignored;
  ::sigemptyset(&none);
  ::sigemptyset(&ignored);
  ::sigaddset(&ignored, SIGPIPE);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &ignored);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = 0;
  const int failed = ::posix_spawn(&pid, program.path.c_str(), &actions, &attributes,
                                   pointers(arguments).data(), pointers(environment).data());
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return fail(kUndefinedFile, program.path + " can not be started", std::strerror(failed));
  output.close_end(1);
  errors.close_end(1);
  std::string out, err;
  const Ended ended =
      read_both(output, errors, out, err, max_bytes, std::chrono::steady_clock::now() + at_most);
  if (ended != Ended::kYes) ::kill(pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (ended == Ended::kTooMuch)
    return fail(sqlstate::kProgramLimitExceeded, program.path + " wrote too much");
  if (ended == Ended::kTooLate) return fail(sqlstate::kQueryCanceled, program.path + " was not done in time");
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    while (!err.empty() && err.back() == '\n') err.pop_back();
    return fail(kSystemError, program.path + " failed", std::move(err));
  }
  return out;
}

}  // namespace decan::async
