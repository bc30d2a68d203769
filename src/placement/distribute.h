// Makes a plain table sharded or broadcast, and plain again. Each call runs inside the client's transaction,
// as the client's role, over a UnitRunner; on an error the caller rolls the transaction back, and nothing has
// changed. Runs on the session's loop; the runner must outlive the call. Reload the catalog snapshot after
// the commit.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "async/task.h"
#include "base/error.h"
#include "base/ids.h"
#include "catalog/snapshot.h"
#include "placement/unit_runner.h"

namespace decan::placement {

inline constexpr uint32_t kDefaultShardCount = 32;
inline constexpr uint32_t kMaxShardCount = 4'096;

// [lower, upper) of one range bucket, a text per key column; nullopt = MINVALUE or MAXVALUE.
struct RangeBound {
  std::vector<std::optional<std::string>> lower, upper;
};

// Values of one list bucket; nullopt = NULL.
using ListValues = std::vector<std::optional<std::string>>;

struct ShardOptions {
  // As in text::regclass: quoted where needed, with or without schema. table_name() spells it.
  std::string table;
  std::vector<std::string> key_columns;  // unquoted
  catalog::Algorithm algorithm = catalog::Algorithm::kHash;
  // kHash: number of buckets; absent: kDefaultShardCount, or that of the table to be co-located with.
  std::optional<uint32_t> shard_count;
  // A sharded table (as in text::regclass), "none", or "default": with any hash table whose key has the same
  // types and that was placed with "default" and the same number of buckets.
  std::string colocate_with = "default";
  std::vector<RangeBound> ranges;  // kRange, one bucket each
  std::vector<ListValues> lists;   // kList, one bucket each
  bool default_bucket = false;     // kRange, kList: one bucket more, for what fits nowhere else
  std::vector<UnitId> units;       // that get buckets, in turn; empty: all
};

struct Placed {
  GroupId group;
  uint64_t moved_rows = 0;  // rows that went to other units
};

// The text that text::regclass reads as this table; an empty schema means the search_path.
std::string table_name(std::string_view schema, std::string_view name);

// Errors: 0A000 where the table can not be sharded without losing something (says what), 42P01, 42703, 42501,
// 22023, 55000.
async::Task<Result<Placed>> create_distributed_table(UnitRunner& runner, ShardOptions options);
async::Task<Status> create_reference_table(UnitRunner& runner, std::string table);
// Brings all rows back to the home unit and drops the table elsewhere; also those of a single table that came
// with another unit.
async::Task<Status> undistribute_table(UnitRunner& runner, std::string table);

}  // namespace decan::placement
