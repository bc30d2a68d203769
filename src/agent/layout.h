// Where everything of one embedded cluster is, below one directory D:
//   decan.yaml meta.db credentials decan.format
//   units/<name>/{data,log}  tls/{server.crt,server.key}  log/{supervisor,compute}.log
//   run/{supervisor.lock,compute.lock,up.lock,state.json} and the units' sockets
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace decan::agent {

inline constexpr int kDirectoryFormat = 1;

struct Layout {
  std::string root;  // absolute
  std::string
      socket_directory;  // run/, or a short directory elsewhere: a socket's path has at most 107 bytes

  explicit Layout(std::string directory);

  std::string config() const { return root + "/decan.yaml"; }
  std::string meta() const { return root + "/meta.db"; }
  std::string credentials() const { return root + "/credentials"; }
  std::string format() const { return root + "/decan.format"; }
  std::string certificate() const { return root + "/tls/server.crt"; }
  std::string key() const { return root + "/tls/server.key"; }
  std::string run() const { return root + "/run"; }
  std::string state() const { return root + "/run/state.json"; }
  std::string up_lock() const { return root + "/run/up.lock"; }
  std::string supervisor_lock() const { return root + "/run/supervisor.lock"; }
  std::string compute_lock() const { return root + "/run/compute.lock"; }
  std::string log(std::string_view component) const;  // supervisor, compute
  std::string unit(std::string_view name) const;
  bool is_cluster() const;  // `decan up` has begun to make a cluster here
};

// /var/lib/decan for root, else $XDG_DATA_HOME/decan or ~/.local/share/decan.
std::string default_directory();
std::string absolute_path(const std::string& path);

// Makes D for the account that servers run as and gives up root. Refuses a directory that holds other things
// or belongs to somebody else.
Status enter_new_directory(const Layout& layout);
// For the verbs that look at or stop a cluster: gives up root for the owner of D. 55000 when D holds no
// cluster.
Status enter_directory(const Layout& layout);
// Sub-directories and the format mark; refuses the format of another version (0A000).
Status complete_directory(const Layout& layout);

}  // namespace decan::agent
