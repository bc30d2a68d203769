// Merges the rows of several units into one answer, exactly as PostgreSQL would have given it (tier 2).
// Sans-io: rows go in per source, rows come out as encoded DataRow messages. Single-threaded.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "plan/merge_spec.h"
#include "wire/message.h"

namespace decan::exec {

struct MergeLimits {
  size_t max_bytes = 256u << 20;  // groups or buffered rows held at once; beyond it 53200 names the setting
  std::string setting = "decan.merge_memory";
};

struct MergeInput {
  const plan::MergeSpec* spec = nullptr;
  wire::RowDescription fragment;        // as a unit described it: visible then hidden columns
  std::vector<int16_t> result_formats;  // the client's, one per output column (0 text, 1 binary)
  size_t sources = 0;
  std::optional<int64_t> limit, offset;  // evaluated; nullopt = none
  // Text form of each HavingTerm's value, sign included, in order; nullopt is SQL NULL (a bound NULL: no
  // group passes).
  std::vector<std::optional<std::string>> having_values;
  MergeLimits limits;
};

// What the merge wants next.
enum class MergeNeed {
  kRow,   // a row (or the end) of the source that wanted() names
  kDone,  // the answer is complete; remaining input may be cancelled
};

class Merge {
 public:
  virtual ~Merge() = default;
  // Columns of the answer, with the client's formats.
  virtual const wire::RowDescription& description() const = 0;
  // Source to feed next. Concatenation and grouping accept any source at any time: `any` is set.
  struct Wanted {
    MergeNeed need;
    size_t source = 0;
    bool any = false;
  };
  virtual Wanted wanted() const = 0;
  // A DataRow body of a source; bytes are copied if kept. Rows that become final are appended to `out` as
  // DataRow messages.
  virtual Status row(size_t source, std::string_view data_row_body, std::string& out) = 0;
  virtual Status end_of(size_t source, std::string& out) = 0;
  virtual uint64_t rows_out() const = 0;
  virtual size_t bytes_held() const = 0;
};

// Refuses with 0A000 (reason and hint) where a type's order, equality or sum is not provably PostgreSQL's.
Result<std::unique_ptr<Merge>> make_merge(MergeInput input);

}  // namespace decan::exec
