// A single table of another unit becomes one of the home unit: the first step of whatever places it anew.
// Internal to the module.
#pragma once

#include "placement/change.h"

namespace decan::placement {

// Next values of the table's sequences on a unit, as the JSON that restore_sequences() and assign_sequences()
// (sql/placement.sql) take.
async::Task<Result<std::string>> next_values(Change& change, UnitId unit, const std::string& relation);

// Does nothing to tables that are on the home unit already. Errors: 0A000 where a foreign key or a sequence
// ties the table to what stays, or something depends on it.
async::Task<Status> bring_home(Change& change, UnitRunner& runner, const Description& table);

}  // namespace decan::placement
