// Parts that the merges share: how an output row is made from a fragment row, LIMIT/OFFSET/WITH TIES, and
// compiled ORDER BY keys. Internal to exec.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "exec/merge.h"
#include "exec/value_order.h"

namespace decan::exec {

using RowValues = std::vector<std::optional<std::string_view>>;

std::unexpected<Error> malformed_value(Oid type);
std::unexpected<Error> planner_error(std::string what);  // XX000: the plan contradicts itself

// Decodes a DataRow and checks that it has the columns that were described.
Status split_row(std::string_view body, size_t columns, RowValues& out);

// Appends one DataRow message to `out`. Error 54000 beyond the protocol's limit.
Status append_row(std::string& out, const RowValues& values);

// Makes output rows of columns that are passed through. Copies the body as it is where it can.
class RowCopier {
 public:
  RowCopier(const plan::MergeSpec& spec, size_t fragment_columns);
  bool copies_whole() const { return whole_; }
  Status whole(std::string_view body, std::string& out) const;
  // `values` are those of `body`.
  Status copy(std::string_view body, const RowValues& values, std::string& out);

 private:
  std::vector<uint32_t> columns_;
  bool whole_ = false;   // the fragment's row is the answer's row
  bool prefix_ = false;  // the answer's row is the first columns of the fragment's row
  RowValues scratch_;
};

// LIMIT and OFFSET of the answer.
class Window {
 public:
  Window(std::optional<int64_t> limit, std::optional<int64_t> offset, bool with_ties);
  enum class Verdict { kSkip, kEmit, kFull };
  // The next row in order. kFull: the limit was reached before it (WITH TIES: it may still belong to the
  // answer).
  Verdict next();
  bool reached_limit() const { return limit_ && emitted_ >= *limit_; }
  bool done() const { return reached_limit() && (!with_ties_ || *limit_ == 0); }
  bool with_ties() const { return with_ties_; }
  void count_tie() { ++emitted_; }
  uint64_t emitted() const { return emitted_; }

 private:
  std::optional<uint64_t> limit_;
  uint64_t to_skip_ = 0;
  uint64_t emitted_ = 0;
  bool with_ties_ = false;
};

struct OrderKey {
  uint32_t column = 0;
  ValueOrder order;
  Oid type = 0;
  bool descending = false, nulls_first = false;
};

Result<OrderKey> compile_key(const plan::SortKey& key, const MergeInput& input);
int compare_nullable(const OrderKey& key, const std::optional<std::string_view>& a,
                     const std::optional<std::string_view>& b);
Status check_key(const OrderKey& key, const std::optional<std::string_view>& value);

std::unexpected<Error> over_budget(const MergeLimits& limits, std::string_view what);

}  // namespace decan::exec
