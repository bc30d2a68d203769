// The schema `decan` that every logical database of every storage unit (and template1) holds.
#pragma once

#include <string>

#include "auth/proof.h"

namespace decan::placement {

// SQL for the simple protocol, in one transaction, as a superuser. May be run again; the caller keeps two
// runs apart. `key`: what the unit checks proofs with (auth/proof.h).
std::string schema_sql(const auth::ProofKey& key);

// Takes all of it away again, as a superuser. Nothing happens where it is not installed.
std::string remove_schema_sql();

}  // namespace decan::placement
