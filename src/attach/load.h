// Tables that a storage unit came with become single tables of the cluster.
#pragma once

#include <string>

#include "attach/server.h"
#include "txn/transaction.h"

namespace decan::attach {

// How distributed transactions of Decan's own run.
struct Sessions {
  backend::Pool& pool;
  txn::GidSource& gids;
  backend::Identity service;  // its database is set here
};

// Takes over what the unit has and the home unit has not: definitions of everything on the home unit, where
// tables stay empty, and of what is no table and needs none on all units. One distributed transaction. The
// caller keeps DDL away. Gives the number of tables. Errors: those of the servers, with the statement.
async::Task<Result<uint64_t>> load_tables(Ground& ground, Sessions sessions, std::string database,
                                          meta::UnitRecord unit);

}  // namespace decan::attach
