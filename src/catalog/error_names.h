// Turns the names of leaves, of their indexes and of copied foreign keys in a unit's error into the logical
// ones. Pure.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "catalog/snapshot.h"

namespace decan::catalog {

// Fields of an ErrorResponse or NoticeResponse by code letter (protocol chapter 55.8), as wire::ErrorFields
// holds them. Changes the schema, table and constraint fields, and names within message, detail and context;
// data values are left alone. Returns whether anything was changed.
bool map_error_names(const Snapshot& snapshot, std::vector<std::pair<char, std::string>>& fields);

// A notice that PostgreSQL gives for every leaf of a table besides that for the table itself: TRUNCATE …
// CASCADE.
bool repeats_for_leaf(const Snapshot& snapshot, const std::vector<std::pair<char, std::string>>& fields);

}  // namespace decan::catalog
