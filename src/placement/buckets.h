// Decides which buckets a shard group has and where they lie. Pure.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/ids.h"
#include "placement/distribute.h"

namespace decan::placement {

// A bound as text and as hexadecimal of its binary form; filled in pairs.
struct BucketPlan {
  UnitId unit;
  uint32_t modulus = 0, remainder = 0;
  std::vector<std::optional<std::string>> lower, lower_hex, upper, upper_hex;
  std::vector<std::string> values, values_hex;
  bool accepts_null = false;
  bool is_default = false;
};

// 22023 when the options contradict themselves.
Status check_options(const ShardOptions& options);

// Buckets in turn over the units: bucket b lies on units[b % n]. Bounds have no binary form yet.
std::vector<BucketPlan> plan_buckets(const ShardOptions& options, const std::vector<UnitId>& units);

// The jsonb argument of decan.create_group().
std::string to_json(const std::vector<BucketPlan>& buckets);

// Unique among tables thanks to the id, and short enough that names derived from it fit into 63 bytes:
// <at most 30 bytes of the name>_<id>.
std::string leaf_prefix(std::string_view table, uint64_t id);

}  // namespace decan::placement
