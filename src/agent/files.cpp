#include "agent/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>

namespace decan::agent {
namespace {

namespace fs = std::filesystem;

Status write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return fail(system_error("can not write " + path, errno));
    }
    text.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

}  // namespace

Error system_error(std::string what, int code) {
  Error error{"58030", fmt::format("{}: {}", what, std::strerror(code))};
  switch (code) {
    case EACCES:
    case EPERM:
    case EROFS:
      error.sqlstate = sqlstate::kInsufficientPrivilege;
      error.hint = "Run as the user who owns the directory, or choose another one with --dir.";
      break;
    case ENOSPC:
    case EDQUOT:
      error.sqlstate = sqlstate::kDiskFull;
      error.hint = "Free some space and run 'decan up' again; it goes on where it was.";
      break;
    case EMFILE:
    case ENFILE:
      error.sqlstate = sqlstate::kInsufficientResources;
      error.hint = "Raise the limit of open files (ulimit -n).";
      break;
    default:
      break;
  }
  return error;
}

void Descriptor::reset(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

Status write_file(const std::string& path, std::string_view text, mode_t mode) {
  const std::string temporary = fmt::format("{}.{}.new", path, ::getpid());
  {
    const Descriptor fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
    if (!fd) return fail(system_error("can not make " + temporary, errno));
    Status done = write_all(fd.get(), text, temporary);
    if (done && (::fchmod(fd.get(), mode) != 0 || ::fsync(fd.get()) != 0)) {
      done = fail(system_error("can not write " + temporary, errno));
    }
    if (!done) {
      ::unlink(temporary.c_str());
      return done;
    }
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int code = errno;
    ::unlink(temporary.c_str());
    return fail(system_error("can not write " + path, code));
  }
  const Descriptor parent(::open(fs::path(path).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (parent) ::fsync(parent.get());
  return {};
}

Result<std::optional<std::string>> read_file(const std::string& path, size_t max_bytes) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    return fail(system_error("can not read " + path, errno));
  }
  std::string text;
  std::array<char, 16384> buffer;
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n == 0) return text;
    if (n < 0) {
      if (errno == EINTR) continue;
      return fail(system_error("can not read " + path, errno));
    }
    if (text.size() + static_cast<size_t>(n) > max_bytes) {
      return fail(sqlstate::kProgramLimitExceeded,
                  fmt::format("{} is larger than {} bytes", path, max_bytes));
    }
    text.append(buffer.data(), static_cast<size_t>(n));
  }
}

std::string tail_of(const std::string& path, size_t max_lines, size_t max_bytes) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info{};
  if (!fd || ::fstat(fd.get(), &info) != 0) return {};
  const auto size = static_cast<size_t>(info.st_size);
  const size_t bytes = std::min(size, max_bytes);
  std::string text(bytes, '\0');
  const ssize_t n = ::pread(fd.get(), text.data(), bytes, static_cast<off_t>(size - bytes));
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  size_t start = text.size();
  if (start > 0 && text.back() == '\n') --start;
  for (size_t lines = 0; lines < max_lines && start != 0; ++lines) {
    const size_t before = text.rfind('\n', start - 1);
    if (before == std::string::npos) return text;
    start = before;
  }
  return start == 0 ? text : text.substr(start + 1);
}

Status make_directory(const std::string& path, mode_t mode) {
  fs::path sofar;
  for (const fs::path& part : fs::path(path)) {
    sofar /= part;
    if (sofar.native().empty() || ::mkdir(sofar.c_str(), mode) == 0) continue;
    const int code = errno;
    struct stat info{};
    if (::stat(sofar.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) continue;
    return fail(system_error("can not make the directory " + sofar.string(), code));
  }
  return {};
}

Status remove_tree(const std::string& path) {
  std::error_code code;
  // Somebody else who is removing files there at the same time makes one attempt fail.
  for (int attempt = 0; attempt < 10; ++attempt) {
    fs::remove_all(path, code);
    if (code.value() != ENOENT && code.value() != ENOTEMPTY) break;
    ::usleep(20'000);
  }
  if (code) return fail(system_error("can not remove " + path, code.value()));
  return {};
}

bool exists(const std::string& path) {
  struct stat info{};
  return ::lstat(path.c_str(), &info) == 0;
}

Result<std::optional<FileLock>> FileLock::try_lock(const std::string& path) {
  Descriptor fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return fail(system_error("can not open " + path, errno));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return std::nullopt;
    return fail(system_error("can not lock " + path, errno));
  }
  FileLock lock(std::move(fd));
  if (Status written = lock.write_pid(::getpid()); !written) return fail(written.error());
  return lock;
}

Status FileLock::write_pid(pid_t pid) {
  const std::string text = fmt::format("{}\n", pid);
  if (::ftruncate(fd_.get(), 0) != 0 ||
      ::pwrite(fd_.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    return fail(system_error("can not write a lock file", errno));
  }
  return {};
}

std::optional<pid_t> FileLock::holder(const std::string& path) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return std::nullopt;
  if (::flock(fd.get(), LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK) return std::nullopt;
  char text[32] = "";
  const ssize_t n = ::pread(fd.get(), text, sizeof text - 1, 0);
  pid_t pid = 0;
  if (n > 0) std::from_chars(text, text + n, pid);
  return pid > 0 ? std::optional<pid_t>(pid) : std::nullopt;
}

std::string random_password(size_t characters) {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  constexpr size_t kUnbiased = 256 / kAlphabet.size() * kAlphabet.size();
  std::string out;
  while (out.size() < characters) {
    unsigned char byte = 0;
    if (::getrandom(&byte, 1, 0) != 1) continue;  // interrupted by a signal
    if (byte < kUnbiased) out += kAlphabet[byte % kAlphabet.size()];
  }
  return out;
}

}  // namespace decan::agent
