#include "agent/layout.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <filesystem>

#include "agent/files.h"
#include "agent/process.h"

namespace decan::agent {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxSocketPath = 107;  // sockaddr_un.sun_path without its terminating zero
constexpr std::string_view kLongestSocket = "/.s.PGSQL.65535.lock";

// FNV-1a: only tells directories of one user apart.
uint64_t hash_of(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

std::string socket_directory_of(const std::string& root) {
  std::string inside = root + "/run";
  if (inside.size() + kLongestSocket.size() <= kMaxSocketPath) return inside;
  return fmt::format("/tmp/decan-{:016x}", hash_of(root));
}

// Empty, or with no more than a configuration that somebody prepared and what a `decan up` left that was
// killed while it wrote the format mark.
bool is_empty(const std::string& path) {
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(path, code)) {
    const std::string name = entry.path().filename();
    if (name != "decan.yaml" && !(name.starts_with("decan.format.") && name.ends_with(".new"))) return false;
  }
  return !code;
}

Status give_to(const std::string& path, const Account& account) {
  if (::lchown(path.c_str(), account.uid, account.gid) == 0 || errno == ENOENT) return {};
  return fail(system_error("can not give " + path + " to user " + account.name, errno));
}

Status check_owner(const std::string& path, const Account& account) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return fail(system_error("can not look at " + path, errno));
  if (!S_ISDIR(info.st_mode)) {
    return fail(sqlstate::kInvalidParameterValue, fmt::format("{} is not a directory", path), {},
                "Choose another one with --dir.");
  }
  if (info.st_uid != account.uid) {
    const auto owner = account_of(info.st_uid);
    return fail(sqlstate::kInsufficientPrivilege,
                fmt::format("the directory {} belongs to user {}, and servers run as user {}", path,
                            owner ? owner->name : std::to_string(info.st_uid), account.name),
                {}, "Choose another directory with --dir, or run decan as its owner.");
  }
  return {};
}

// A directory in /tmp could have been made by somebody else before us.
Status make_socket_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return fail(system_error("can not make the directory for sockets " + path, errno));
  }
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != ::geteuid() ||
      (info.st_mode & 077) != 0) {
    return fail(sqlstate::kInsufficientPrivilege,
                fmt::format("{} must be a directory that only user id {} can enter", path, ::geteuid()), {},
                "Remove it, or choose a shorter --dir, so that sockets fit below it.");
  }
  return {};
}

}  // namespace

Layout::Layout(std::string directory)
    : root(std::move(directory)), socket_directory(socket_directory_of(root)) {}

std::string Layout::log(std::string_view component) const {
  return fmt::format("{}/log/{}.log", root, component);
}
std::string Layout::unit(std::string_view name) const {
  return fmt::format("{}/units/{}", root, name);
}
bool Layout::is_cluster() const {
  return exists(format());
}

std::string default_directory() {
  if (::geteuid() == 0) return "/var/lib/decan";
  if (const char* data = std::getenv("XDG_DATA_HOME"); data && data[0] == '/')
    return std::string(data) + "/decan";
  const char* home = std::getenv("HOME");
  if (home && home[0] == '/') return std::string(home) + "/.local/share/decan";
  const auto account = account_of(::geteuid());
  return (account ? account->home : "/tmp") + "/.local/share/decan";
}

std::string absolute_path(const std::string& path) {
  std::error_code code;
  const fs::path plain = fs::absolute(path, code).lexically_normal();
  std::string out = fs::weakly_canonical(plain, code).string();
  if (code || out.empty())
    out = plain.string();  // a directory above it can not be entered: said later, by name
  while (out.size() > 1 && out.ends_with('/')) out.pop_back();
  return out;
}

Status enter_new_directory(const Layout& layout) {
  const auto account = service_account();
  if (!account) return fail(account.error());
  const bool is_new = !exists(layout.root);
  if (is_new) {
    const std::string parent = fs::path(layout.root).parent_path();
    if (Status made = make_directory(parent, 0755); !made) return made;
    if (::mkdir(layout.root.c_str(), 0700) != 0 && errno != EEXIST) {
      return fail(system_error("can not make the directory " + layout.root, errno));
    }
  } else if (!layout.is_cluster() && !is_empty(layout.root)) {
    std::error_code code;
    if (fs::is_directory(layout.root, code)) {
      return fail(sqlstate::kObjectNotInPrerequisiteState,
                  fmt::format("the directory {} holds files that are not Decan's", layout.root), {},
                  "Choose an empty or a new directory with --dir.");
    }
  }
  if (::geteuid() == 0 && (is_new || is_empty(layout.root))) {
    for (const std::string& path : {layout.config(), layout.root}) {
      if (Status given = give_to(path, *account); !given) return given;
    }
  }
  if (Status owned = check_owner(layout.root, *account); !owned) return owned;
  if (Status done = become(*account); !done) return done;
  if (::access(layout.root.c_str(), R_OK | W_OK | X_OK) != 0) {
    return fail(sqlstate::kInsufficientPrivilege,
                fmt::format("user {} can not enter the directory {}", account->name, layout.root), {},
                "A directory above it is closed to that user; choose another one with --dir.");
  }
  return {};
}

Status enter_directory(const Layout& layout) {
  struct stat info{};
  if (::stat(layout.root.c_str(), &info) == 0 && layout.is_cluster()) {
    if (::geteuid() != 0) return check_owner(layout.root, *account_of(::geteuid()));
    const auto owner = account_of(info.st_uid);
    if (!owner) return fail(owner.error());
    return become(*owner);
  }
  if (errno == EACCES) return fail(system_error("can not look at " + layout.root, EACCES));
  return fail(sqlstate::kObjectNotInPrerequisiteState, fmt::format("there is no cluster in {}", layout.root),
              {}, "Run 'decan up' to make one, or name its directory with --dir.");
}

Status complete_directory(const Layout& layout) {
  const auto mark = read_file(layout.format());
  if (!mark) return fail(mark.error());
  if (!*mark) {
    if (Status done = write_file(layout.format(), fmt::format("{}\n", kDirectoryFormat), 0600); !done)
      return done;
  } else {
    int found = 0;
    std::from_chars((*mark)->data(), (*mark)->data() + (*mark)->size(), found);
    if (found != kDirectoryFormat) {
      return fail(sqlstate::kFeatureNotSupported,
                  fmt::format("{} was made by another version of Decan (format {}; this version knows {})",
                              layout.root, found, kDirectoryFormat),
                  {}, "Use that version, or another directory with --dir.");
    }
  }
  if (::chmod(layout.root.c_str(), 0700) != 0)
    return fail(system_error("can not protect " + layout.root, errno));
  for (const char* name : {"/run", "/log", "/tls", "/units"}) {
    if (Status done = make_directory(layout.root + name, 0700); !done) return done;
  }
  if (layout.socket_directory != layout.run()) return make_socket_directory(layout.socket_directory);
  return {};
}

}  // namespace decan::agent
