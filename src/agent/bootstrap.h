// What a new unit needs before a compute node can use it: Decan's schema, the owner role with one and the
// same verifier everywhere, the first database, and its entry in the metadata store. Every step may be
// repeated. Blocking; one thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "agent/layout.h"
#include "agent/unit_server.h"
#include "base/error.h"
#include "meta/store.h"

namespace decan::agent {

struct UnitPlan {
  std::string name;
  uint16_t port = 0;
  std::string password;
  uint32_t ordinal = 0;
};

// The embedded units that this directory has or is about to have. Before the first bootstrap is complete
// `wanted` decides; later 0 or the same number is accepted, another refused (0A000). New units get passwords
// and free ports, which are stored before anything is made with them.
struct UnitRequest {
  uint32_t wanted = 0;  // 0: as many as there are, at first kDefaultUnits
  uint16_t first_port = 0;
};
inline constexpr uint32_t kDefaultUnits = 2;
inline constexpr uint32_t kMaxEmbeddedUnits = 64;
Result<std::vector<UnitPlan>> plan_units(meta::Store& store, const UnitRequest& request);
Status store_port(meta::Store& store, const UnitPlan& plan);

// A unit moved to another port: what compute nodes read of it, if it is registered.
Status update_address(meta::Store& store, const UnitServer& unit, const UnitPlan& plan);

Result<bool> is_bootstrapped(meta::Store& store);

struct BootstrapOptions {
  std::string owner_password;
  // Made with the cluster's secret; idempotent; null: none.
  std::function<std::string(const std::string& secret)> schema_sql;
  std::function<bool()> stop = {};  // asked between steps
};
// All units answer. At the first time everything; later only what changed: addresses, and the schema when its
// text did.
Status bootstrap(meta::Store& store, const std::vector<UnitServer>& units, const std::vector<UnitPlan>& plans,
                 const BootstrapOptions& options);

}  // namespace decan::agent
