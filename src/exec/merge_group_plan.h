// What a grouping merge knows before the first row. Internal to exec.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "exec/merge_aggregate.h"
#include "exec/merge_row.h"

namespace decan::exec {

struct GroupKey {
  uint32_t column;
  Oid type;
  ValueIdentity identity;
};

struct HavingFilter {
  size_t aggregate;
  plan::HavingTerm::Op op;
  std::optional<Aggregate::Comparand> value;  // nullopt: NULL, nothing passes
};

struct GroupOrder {
  std::optional<OrderKey> column;  // a hidden column of the group's first row
  size_t aggregate = 0;            // else this aggregate
  bool descending = false, nulls_first = false;
};

// Everything that is known before the first row.
struct GroupPlan {
  size_t columns = 0;
  std::vector<GroupKey> keys;
  std::vector<Aggregate> aggregates;                    // of the output, then of HAVING
  std::vector<std::optional<size_t>> output_aggregate;  // per output column
  std::vector<uint32_t> output_column;
  std::vector<int16_t> formats;  // of the output
  std::vector<HavingFilter> having;
  std::vector<GroupOrder> order;
  bool keeps_row = false;  // the first row of a group is needed later
};

// Error 0A000 where grouping, an aggregate or the order is not provably PostgreSQL's.
Result<GroupPlan> compile_grouping(const MergeInput& input);

}  // namespace decan::exec
