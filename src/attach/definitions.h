// The definitions of a database as SQL statements, made by PostgreSQL's own pg_dump and pg_restore.
#pragma once

#include <compare>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/ids.h"
#include "meta/topology.h"

namespace decan::attach {

// A row of a system catalog.
struct ObjectId {
  Oid catalog = 0, object = 0;
  auto operator<=>(const ObjectId&) const = default;
};

// What is not wanted of a database.
struct LeftOut {
  std::set<ObjectId> objects;
  std::vector<std::string> relations;  // patterns of pg_dump: "schema"."name"
};

struct Definitions {
  std::vector<std::string> before;  // until the tables can take rows
  std::vector<std::string> after;   // indexes, constraints, triggers, policies, views that need them
};

// A table of contents (pg_restore --list) without what is left out, its comments and its rights.
std::string filtered_contents(std::string_view contents, const std::set<ObjectId>& left_out);

// Everything that users made in the database but rows, and without Decan's own. Blocks. `binaries`: where
// pg_dump is. Errors: those of async::run_program; XX000 when the text can not be read.
Result<Definitions> read_definitions(const std::string& binaries, const meta::UnitRecord& unit,
                                     const std::string& database, const LeftOut& left_out);

}  // namespace decan::attach
