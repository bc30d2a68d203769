// What handlers need from the session that runs them. Implemented by session (and by tests). All of it on the
// session's loop; the context outlives the handler.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "async/task.h"
#include "base/error.h"
#include "catalog/snapshot.h"
#include "meta/store.h"
#include "meta/topology.h"
#include "placement/unit_runner.h"

namespace decan::distsql {

struct SessionInfo {
  std::string id;  // what KILL takes
  std::string role, database, address, application;
  std::string compute_node;
  std::string state;      // active, idle, idle in transaction
  std::string statement;  // empty when the client may not see it
  int64_t session_seconds = 0, state_seconds = 0;
};

struct ComputeNodeInfo {
  std::string instance_id, host, status, labels, version, databases;
  uint16_t port = 0;
  int64_t worker_id = 0;
};

// One line of PREVIEW: a storage unit and what is sent to it.
struct PreviewLine {
  std::string unit, sql;
};

class AdminContext {
 public:
  virtual ~AdminContext() = default;

  // --- who, where ---
  virtual std::string database() const = 0;
  virtual std::vector<std::string> search_path() const = 0;  // expanded
  virtual bool may_administer() const = 0;                   // superuser of the logical database
  virtual bool in_block() const = 0;                         // the client has a transaction open
  // As the client's transaction sees it.
  virtual catalog::SnapshotPtr catalog() const = 0;
  virtual placement::UnitRunner& runner() = 0;

  // --- metadata ---
  // Runs `work` on the blocking pool.
  virtual async::Task<Status> with_store(std::function<Status(meta::Store&)> work) = 0;
  // Looks at the server of a unit that is to be registered, or was changed from `before`, as its service
  // user: whether it can be a unit (version, rights, settings) and, with `before`, still is the same one.
  // Gives the record with what was learned of the server. Errors tell the operator what to change there.
  virtual async::Task<Result<meta::UnitRecord>> check_unit(meta::UnitRecord unit,
                                                           std::optional<meta::UnitRecord> before) = 0;
  // Makes a checked server a unit that has what all units have, and stores its record. On an error nothing of
  // it is known. Gives notices.
  virtual async::Task<Result<std::vector<std::string>>> add_unit(meta::UnitRecord unit) = 0;
  // Makes what is on a unit only, and was made there, part of the cluster; gives the number of tables.
  virtual async::Task<Result<uint64_t>> load_tables(meta::UnitRecord unit) = 0;
  // Takes a unit out, if `may_leave` says so for the catalogs of all databases as of that moment: first its
  // record, then what Decan has made there. Its single tables are forgotten. Gives notices.
  using MayLeave = std::function<Status(const std::vector<catalog::SnapshotPtr>&)>;
  virtual async::Task<Result<std::vector<std::string>>> remove_unit(meta::UnitRecord unit,
                                                                    MayLeave may_leave) = 0;
  // The topology in the metadata store was changed.
  virtual async::Task<Status> units_changed() = 0;
  // Pool settings of units that say nothing themselves, by property name (maxPoolSize, …).
  virtual std::vector<std::pair<std::string, std::string>> unit_defaults() const = 0;

  // --- the cluster ---
  virtual async::Task<Result<std::vector<ComputeNodeInfo>>> compute_nodes() = 0;
  virtual async::Task<Result<std::vector<SessionInfo>>> sessions() = 0;
  // Ends a session, or only its statement. Errors: 42704 no such session, 42501.
  virtual async::Task<Status> kill(std::string session_id, bool only_statement) = 0;
  virtual async::Task<Result<std::vector<PreviewLine>>> preview(std::string sql) = 0;
  // Name and value of each variable, sorted. SET: 42704 unknown, 22023 bad value, 42501.
  virtual async::Task<Result<std::vector<std::pair<std::string, std::string>>>> variables() = 0;
  virtual async::Task<Status> set_variable(std::string name, std::string value) = 0;
};

}  // namespace decan::distsql
