// Sessions of Decan's own on servers that are, or are to become, storage units.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "async/loop.h"
#include "async/task.h"
#include "auth/proof.h"
#include "backend/pool.h"
#include "base/error.h"
#include "catalog/snapshot.h"
#include "meta/topology.h"

namespace decan::attach {

using Rows = std::vector<std::vector<std::optional<std::string>>>;

// What the compute node gives. Outlives every call; used on its loop.
struct Ground {
  async::Loop& loop;
  backend::UnitsPtr units;
  UnitId home;
  const auth::ProofKey& proofs;
  std::string binaries;  // where pg_dump is
  // The catalog as a connection to the home unit sees it.
  std::function<async::Task<Result<catalog::SnapshotPtr>>(backend::UnitConnection*)> load_catalog;
  // For whoever waits: what is being done.
  std::function<void(std::string)> progress;

  const meta::UnitRecord& home_record() const { return *(*units)[home.value]; }
};

// As the unit's service user, not from the pool: settings stay with the connection. Errors: the unit's own.
async::Task<Result<backend::UnitConnectionPtr>> connect(Ground& ground, meta::UnitRecord unit,
                                                        std::string database);

// Rows of the last statement of a text.
async::Task<Result<Rows>> rows_of(backend::UnitConnection& connection, std::string sql);
async::Task<Status> run(backend::UnitConnection& connection, std::string sql);

// Databases of the home unit that hold Decan's schema.
async::Task<Result<std::vector<std::string>>> logical_databases(Ground& ground);

// That a server can be the unit `record`: version, rights, settings, no standby, no unit of another cluster.
// `before`: the unit as it was (ALTER STORAGE UNIT), whose server it must be. Gives the record with the
// server's identifier. Errors: 0A000, 42501, 42710, 55000, each with what to do, and those of the server.
async::Task<Result<meta::UnitRecord>> check_server(Ground& ground, meta::UnitRecord record,
                                                   std::optional<meta::UnitRecord> before);

// Makes the roles of `from` on `to`, with their passwords, rights, memberships and settings. Errors: 55000
// when a role has more rights there.
enum class Superusers { kWithoutLogin, kLeaveOut };
async::Task<Status> copy_roles(backend::UnitConnection& from, backend::UnitConnection& to,
                               Superusers superusers);

}  // namespace decan::attach
