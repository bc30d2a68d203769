// What the supervisor tells others: run/state.json, replaced atomically after every change. Plain data; any
// thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace decan::agent {

enum class Phase {
  kPreparing,
  kCreatingUnits,
  kStartingUnits,
  kBootstrapping,
  kStartingCompute,
  kLoadingDemo,
  kReady,
  kStopping,
  kStopped,
  kFailed,
};
std::string_view name_of(Phase phase);  // "creating storage units"

enum class ComponentPhase {
  kStopped,
  kStarting,
  kRunning,
  kWaiting
};  // waiting: died, starts again after a pause
std::string_view name_of(ComponentPhase phase);

struct ComponentState {
  std::string name;  // ds_0, compute
  std::string kind;  // unit, compute
  ComponentPhase phase = ComponentPhase::kStopped;
  pid_t pid = 0;
  std::string address;   // host:port
  int64_t restarts = 0;  // since the supervisor started
  int64_t since = 0;     // Unix time of the last change of phase
  bool adopted = false;  // was running when the supervisor came
  std::string message;   // why it waits
};

struct ClusterState {
  Phase phase = Phase::kPreparing;
  int64_t since = 0;  // Unix time of the last change of phase
  pid_t supervisor_pid = 0;
  std::string note;  // a detail of the phase, or a warning that stays: demo data could not be loaded …
  bool first_start = false;    // this start made the cluster
  std::optional<Error> error;  // kFailed
  std::vector<ComponentState> components;
};

std::string to_json(const ClusterState& state);
Result<ClusterState> state_from_json(std::string_view text);
Status write_state(const std::string& path, const ClusterState& state);
// nullopt: there is none.
Result<std::optional<ClusterState>> read_state(const std::string& path);

int64_t unix_time();

}  // namespace decan::agent
