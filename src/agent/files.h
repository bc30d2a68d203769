// Small files: written atomically, read with a bound, locked. Blocking; any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace decan::agent {

// 42501, 53100 or 58030 from errno: "<what>: <reason>", with a hint where one is known.
Error system_error(std::string what, int code);

// Owns a file descriptor.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~Descriptor() { reset(); }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset(int fd = -1);

 private:
  int fd_ = -1;
};

// Writes to a new file beside it, syncs and renames: readers see the old or the new text, also after a crash.
Status write_file(const std::string& path, std::string_view text, mode_t mode);
// nullopt: there is no such file. Files larger than `max_bytes` are refused.
Result<std::optional<std::string>> read_file(const std::string& path, size_t max_bytes = 1 << 20);
// The last lines of a file, at most `max_bytes`; empty when it can not be read.
std::string tail_of(const std::string& path, size_t max_lines, size_t max_bytes = 64 << 10);
// Makes the directory and its parents with this mode; one that is there stays as it is.
Status make_directory(const std::string& path, mode_t mode);
Status remove_tree(const std::string& path);
bool exists(const std::string& path);

// An advisory lock (flock) on a file that holds its owner's pid. Held until destroyed or the process ends;
// children inherit it only through `inheritable_fd`.
class FileLock {
 public:
  // nullopt: somebody else holds it.
  static Result<std::optional<FileLock>> try_lock(const std::string& path);
  // The pid written by the holder, if somebody holds the lock now.
  static std::optional<pid_t> holder(const std::string& path);
  Status write_pid(pid_t pid);
  int fd() const { return fd_.get(); }

 private:
  explicit FileLock(Descriptor fd) : fd_(std::move(fd)) {}
  Descriptor fd_;
};

// Letters and digits, about 5.95 bits each, from the kernel.
std::string random_password(size_t characters = 24);

}  // namespace decan::agent
