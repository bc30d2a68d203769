// Builds a Snapshot from what the home unit says about itself. Pure: the caller sends snapshot_query() in one
// round trip, as a role that may read all of pg_catalog, and hands the text-format rows back.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "catalog/snapshot.h"

namespace decan::catalog {

using TextTable = std::vector<std::vector<std::optional<std::string>>>;

// Rows of each SELECT of snapshot_query(), in order.
struct CatalogRows {
  std::vector<TextTable> results;
};

// Several SELECTs for the simple protocol. Fails on the server (42P01, 3F000) when schema decan is not
// installed there.
std::string snapshot_query();

// `units`: those that the metadata store knows, in ascending order. XX000 when the rows are not those of
// snapshot_query(); XX001 when the bucket map contradicts itself or names unknown units.
Result<SnapshotPtr> build_snapshot(const CatalogRows& rows, uint64_t version, std::string database,
                                   std::vector<UnitId> units, UnitId home);

}  // namespace decan::catalog
