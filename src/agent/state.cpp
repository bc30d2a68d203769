#include "agent/state.h"

#include <array>
#include <chrono>
#include <nlohmann/json.hpp>

#include "agent/files.h"

namespace decan::agent {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 10> kPhases = {"preparing",
                                                      "creating storage units",
                                                      "starting storage units",
                                                      "setting up storage units",
                                                      "starting the compute node",
                                                      "loading demo data",
                                                      "ready",
                                                      "stopping",
                                                      "stopped",
                                                      "failed"};
constexpr std::array<std::string_view, 4> kComponentPhases = {"stopped", "starting", "running", "waiting"};

template <size_t N>
size_t index_of(const std::array<std::string_view, N>& names, const std::string& name) {
  for (size_t i = 0; i < N; ++i) {
    if (names[i] == name) return i;
  }
  return 0;
}

json component_json(const ComponentState& component) {
  return json{{"name", component.name},   {"kind", component.kind},       {"state", name_of(component.phase)},
              {"pid", component.pid},     {"address", component.address}, {"restarts", component.restarts},
              {"since", component.since}, {"adopted", component.adopted}, {"message", component.message}};
}

ComponentState component_from(const json& value) {
  ComponentState out;
  out.name = value.value("name", "");
  out.kind = value.value("kind", "");
  out.phase = static_cast<ComponentPhase>(index_of(kComponentPhases, value.value("state", "")));
  out.pid = value.value("pid", 0);
  out.address = value.value("address", "");
  out.restarts = value.value("restarts", int64_t{0});
  out.since = value.value("since", int64_t{0});
  out.adopted = value.value("adopted", false);
  out.message = value.value("message", "");
  return out;
}

}  // namespace

std::string_view name_of(Phase phase) {
  return kPhases[static_cast<size_t>(phase)];
}
std::string_view name_of(ComponentPhase phase) {
  return kComponentPhases[static_cast<size_t>(phase)];
}

std::string to_json(const ClusterState& state) {
  json components = json::array();
  for (const ComponentState& component : state.components) components.push_back(component_json(component));
  json out{{"state", name_of(state.phase)},          {"since", state.since},
           {"supervisor_pid", state.supervisor_pid}, {"note", state.note},
           {"first_start", state.first_start},       {"components", std::move(components)}};
  if (state.error) {
    out["error"] = {{"sqlstate", state.error->sqlstate},
                    {"message", state.error->message},
                    {"detail", state.error->detail},
                    {"hint", state.error->hint}};
  }
  return out.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

Result<ClusterState> state_from_json(std::string_view text) {
  try {
    const json value = json::parse(text);
    ClusterState state;
    state.phase = static_cast<Phase>(index_of(kPhases, value.value("state", "")));
    state.since = value.value("since", int64_t{0});
    state.supervisor_pid = value.value("supervisor_pid", 0);
    state.note = value.value("note", "");
    state.first_start = value.value("first_start", false);
    if (const auto error = value.find("error"); error != value.end()) {
      state.error = Error{error->value("sqlstate", ""), error->value("message", ""),
                          error->value("detail", ""), error->value("hint", "")};
    }
    for (const json& component : value.value("components", json::array())) {
      state.components.push_back(component_from(component));
    }
    return state;
  } catch (const json::exception& error) {
    return fail(sqlstate::kDataCorrupted, "the supervisor's state file is damaged", error.what());
  }
}

Status write_state(const std::string& path, const ClusterState& state) {
  return write_file(path, to_json(state), 0600);
}

Result<std::optional<ClusterState>> read_state(const std::string& path) {
  const auto text = read_file(path);
  if (!text) return fail(text.error());
  if (!*text) return std::nullopt;
  auto state = state_from_json(**text);
  if (!state) return fail(state.error());
  return std::move(*state);
}

int64_t unix_time() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace decan::agent
