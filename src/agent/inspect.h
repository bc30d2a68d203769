// What runs of a cluster, seen from outside: the supervisor's state file plus a look at every component now.
#pragma once

#include <string>
#include <vector>

#include "agent/layout.h"
#include "agent/state.h"
#include "base/config.h"
#include "base/error.h"

namespace decan::agent {

struct ComponentReport {
  ComponentState state;
  bool answers = false;  // accepts logins now
};

struct ClusterReport {
  bool supervised = false;  // a supervisor runs
  ClusterState state;       // its last words, if any
  std::vector<ComponentReport> components;
  bool healthy() const;  // supervised, ready, and everything answers
};

Result<ClusterReport> inspect(const Layout& layout);

// PostgreSQL's ping (PQping): the server at this host (or socket directory) and port accepts connections.
bool pings(const std::string& host, uint16_t port, int timeout_s);

}  // namespace decan::agent
