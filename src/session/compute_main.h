// The compute role: listens for clients, runs the loops, serves /metrics, /healthz and /readyz, finishes
// orphaned transactions.
#pragma once

#include <string>

#include "base/config.h"

namespace decan::session {

struct ComputeOptions {
  Config config;
  std::string config_path;
  std::string meta_path;  // the SQLite metadata store
};

// Runs until SIGTERM or SIGINT. 0: orderly end; 1: could not start (logged).
int run_compute(const ComputeOptions& options);

}  // namespace decan::session
