// The one process that makes, starts and watches everything of an embedded cluster. `decan up` starts it in
// the background or, with --foreground, is it. Single-threaded but for the loading of demo data.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "agent/layout.h"
#include "agent/process.h"
#include "base/config.h"
#include "base/error.h"

namespace decan::agent {

struct SupervisorOptions {
  Layout layout;
  Config config;
  uint32_t units = 0;  // as asked for; 0: as many as there are
  bool demo = true;    // load demo data once, when the compute node answers for the first time
  // Decan's schema for the units, made with the cluster's secret; idempotent.
  std::function<std::string(const std::string& secret)> schema_sql = {};
  std::optional<Command> compute = {};  // without it only the units run
};

// Runs until SIGTERM or SIGINT (then stops the compute node, then the units, and returns success) or until
// the start fails (then it stops what it started). SIGHUP reloads the configuration and tells the compute
// node. 55006 when another supervisor runs. Blocks these signals in the calling thread.
Status run_supervisor(SupervisorOptions options);

// Stops what a supervisor that was killed left running. True: there was something.
Result<bool> stop_orphans(const Layout& layout, const Config& config);

}  // namespace decan::agent
