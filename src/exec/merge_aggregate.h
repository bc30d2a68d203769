// Aggregates over partial aggregates. A compiled Aggregate is shared by all groups; AggregateState is one
// group's. Internal to exec.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "exec/merge_row.h"
#include "exec/numeric.h"

namespace decan::exec {

// Small, since there is one per group and aggregate; what only some aggregates need is allocated.
struct AggregateState {
  struct More {
    Numeric numeric;         // numeric sums; averages once finished
    std::string shown, key;  // kMin, kMax: the winner for the client, and in binary
  };
  int128 integer = 0;          // counts and integer sums
  uint64_t rows = 0;           // kAvg: how many values were added
  std::unique_ptr<More> more;  // set for numeric values and for kMin, kMax once `any` is
  bool any = false;            // a value that is not NULL was seen
  bool flag = false;           // bool_and, bool_or

  size_t heap_bytes() const;
};

class Aggregate {
 public:
  using Kind = plan::OutputColumn::Kind;
  // What a HAVING value became.
  struct Comparand {
    Numeric numeric;
    double real = 0;
    bool flag = false;
  };

  // `formats`: format of each fragment column. Error 0A000 for types whose partial results can not be
  // combined exactly.
  static Result<Aggregate> compile(const plan::OutputColumn& output, const MergeInput& input,
                                   const std::vector<int16_t>& formats);

  // Adds one fragment row to a group.
  Status add(AggregateState& state, const RowValues& row) const;
  // After the last row: computes what depends on all of them.
  void finish(AggregateState& state) const;
  // The result in the client's format; `scratch` holds the bytes that are made here. nullopt is SQL NULL.
  Result<std::optional<std::string_view>> value(const AggregateState& state, bool binary,
                                                std::string& scratch) const;
  bool is_null(const AggregateState& state) const { return kind_ != Kind::kCount && !state.any; }
  // Ascending order of two finished states that are not NULL.
  int compare(const AggregateState& a, const AggregateState& b) const;

  // HAVING. Error 0A000 where the server's comparison can not be repeated, 22P02 for a bad number.
  Result<Comparand> comparand(const std::string& text) const;
  // Three-way order of a finished state that is not NULL and a value of comparand().
  int compare_with(const AggregateState& state, const Comparand& value) const;

 private:
  // How a numeric partial result arrives and leaves.
  enum class Number : uint8_t { kInteger, kNumeric };
  static Status compile_sum(const plan::OutputColumn& output, const MergeInput& input, Aggregate& made);
  Status add_number(AggregateState& state, std::string_view bytes) const;
  Status add_extreme(AggregateState& state, const RowValues& row) const;
  Result<int64_t> integer(std::string_view bytes, Oid type, bool binary) const;

  Kind kind_ = Kind::kColumn;
  uint32_t column_ = 0, key_ = 0;
  bool column_binary_ = false, key_binary_ = false;
  Oid column_type_ = 0, key_type_ = 0;
  Number partial_ = Number::kInteger, result_ = Number::kInteger;
  ValueOrder order_{};  // kMin, kMax
};

}  // namespace decan::exec
