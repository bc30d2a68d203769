// The schema `decan` that every logical database of every storage unit (and template1) holds.
#pragma once

#include <string>

namespace decan::placement {

// SQL for the simple protocol, in one transaction, as a superuser. May be run again; the caller keeps two
// runs apart.
std::string schema_sql();

}  // namespace decan::placement
