// What the metadata store says about the cluster's servers. Keys: units/<name> (JSON), cluster/home,
// cluster/id, cluster/secret, cluster/next_ordinal, variables/<name>.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "meta/store.h"

namespace decan::meta {

// A storage unit: one PostgreSQL server and how Decan itself logs in to it.
struct UnitRecord {
  std::string name;  // ds_0
  std::string host;  // host name, address, or absolute path of a Unix socket directory
  uint16_t port = 5432;
  std::string service_user;  // superuser of the unit; Decan's own sessions (catalog, recovery, listen)
  std::string service_password;
  std::string database;  // database of REGISTER STORAGE UNIT; empty: the logical database's own name
  bool tls = false;
  uint32_t ordinal = 0;  // order of registration: UnitId within snapshots; never given to another server
  std::string system_identifier;  // of the server (pg_control_system()); empty: not known
  std::vector<std::pair<std::string, std::string>> properties;  // maxPoolSize, …
  bool embedded = false;       // created by `decan up`: the supervisor runs it
  std::string data_directory;  // embedded only
};

Result<std::vector<UnitRecord>> load_units(Store& store);                     // by ordinal
Status save_unit(Store& store, const UnitRecord& unit, bool must_not_exist);  // 42710 when it exists
Status remove_unit(Store& store, std::string_view name);                      // 42704 when absent
// For a unit to be registered: one that no unit ever had.
Result<uint32_t> claim_ordinal(Store& store);
// 55000 when no home unit is set yet.
Result<std::string> home_unit(Store& store);
Status set_home_unit(Store& store, std::string_view name);
// What units and compute nodes know and clients do not (auth/proof.h). `fresh` is stored when there is none.
Result<std::string> cluster_secret(Store& store, const std::string& fresh);
std::string to_json(const UnitRecord& unit);
Result<UnitRecord> unit_from_json(std::string_view text);

}  // namespace decan::meta
