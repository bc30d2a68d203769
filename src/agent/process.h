// Child processes and processes that were adopted, held by pidfd so that a reused pid is never signalled.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/files.h"
#include "base/error.h"

namespace decan::agent {

struct Command {
  std::string program;  // absolute path, and argv[0]
  int program_fd =
      -1;  // an open executable, when the path may not be reachable; then program is only argv[0]
  std::vector<std::string> arguments;  // without argv[0]
  std::string directory = "/";
  std::string output;    // standard output and error are appended to this file; empty: inherited
  std::string input;     // at most 4 kB, readable by the child as /dev/fd/3
  int kept_fd = -1;      // stays open in the child (at some number)
  int death_signal = 0;  // sent by the kernel when the thread that started it ends
};

// How a process ended; unknown for one that was adopted.
struct Exit {
  std::optional<int> code;
  std::optional<int> signal;
  bool success() const { return code == 0; }
  std::string to_string() const;  // "exit code 1", "signal 9 (Killed)", "unknown exit code"
};

class Process {
 public:
  // Starts in a session of its own with a clean environment (PATH, HOME, LANG, TZ). Errors: the program can
  // not be executed.
  static Result<Process> start(const Command& command);
  // A process that runs already; nullopt when there is none with this pid.
  static std::optional<Process> adopt(pid_t pid);

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_.get(); }  // readable when the process has ended
  bool adopted() const { return adopted_; }
  bool signal(int number) const;
  // nullopt: still running. Reaps a child.
  std::optional<Exit> poll();
  // Waits at most so long, or until `stop` says true (asked every 50 ms).
  std::optional<Exit> wait(std::chrono::milliseconds at_most, const std::function<bool()>& stop = {});

 private:
  Process(pid_t pid, Descriptor pidfd, bool adopted)
      : pid_(pid), pidfd_(std::move(pidfd)), adopted_(adopted) {}
  pid_t pid_;
  Descriptor pidfd_;
  bool adopted_;
  std::optional<Exit> exit_;
};

// Runs a program to its end and returns the first 64 kB that it wrote.
Result<std::string> capture(Command command, std::chrono::milliseconds at_most);

// Facts of /proc about a process; empty when it is not there, has ended, or is not ours to see.
std::string process_directory(pid_t pid);
std::string process_name(pid_t pid);
std::vector<std::string> process_arguments(pid_t pid);
// Our user's processes whose working directory is `directory` (PostgreSQL's processes stay in their data
// directory).
std::vector<pid_t> processes_in(const std::string& directory);

// Raises the soft limit of open files to the hard one; children inherit it. A compute node needs one per
// client.
void raise_file_limit();

// The user that servers run as. PostgreSQL refuses to run as root: started by root it is user postgres.
struct Account {
  uid_t uid = 0;
  gid_t gid = 0;
  std::string name, home;
};
Result<Account> service_account();
Result<Account> account_of(uid_t uid);
// Gives up root for good: groups, group, user. Nothing happens when the process is that user already.
Status become(const Account& account);

}  // namespace decan::agent
