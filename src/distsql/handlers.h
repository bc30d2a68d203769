// Runs parsed statements of the admin language. Changes of tables run inside the client's transaction; what
// is kept in the metadata store (units, rules of tables to come) takes effect at once and is not rolled back.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "async/task.h"
#include "base/error.h"
#include "distsql/admin_context.h"
#include "distsql/ast.h"

namespace decan::distsql {

struct AdminResult {
  std::vector<std::string> columns;                           // empty: no rows, only the tag
  std::vector<std::vector<std::optional<std::string>>> rows;  // text format
  std::string tag;
  std::vector<std::string> notices;  // NOTICE messages for the client
  bool catalog_changed = false;      // the session must read the catalog again
};

// Errors: 0A000 for statements whose feature is still to come, and those of each handler.
async::Task<Result<AdminResult>> execute(AdminContext& context, Statement statement);

// Places a table that was just created, inside the same transaction, when a rule waits for it. True when it
// did: the catalog must be read again. Both names as in the catalog.
async::Task<Result<bool>> apply_pending_rule(AdminContext& context, std::string schema, std::string table);

// Whether the statement changes tables, so that the session needs a transaction (its own when the client has
// none open).
bool needs_transaction(const Statement& statement);

}  // namespace decan::distsql
