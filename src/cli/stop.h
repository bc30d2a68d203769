// Stopping a cluster, for `down` and `destroy`.
#pragma once

#include "agent/layout.h"
#include "base/config.h"
#include "base/error.h"

namespace decan::cli {

// Waits until everything has ended, with progress on standard error. False: nothing was running.
Result<bool> stop_cluster(const agent::Layout& layout, const Config& config);

}  // namespace decan::cli
