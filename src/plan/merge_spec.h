// How the rows of several units become the rows of one answer (tier 2). Made by the planner, run by exec.
//
// A fragment (the statement every unit gets) returns columns in two parts: first `visible` columns, in the
// order and the format that the client asked for; then hidden ones, always in binary format, that the merge
// compares or adds. Types are known only when the units describe the fragment; a merge over a type that is
// not provably exact is refused then with 0A000, before any row is read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"

namespace decan::plan {

// A value that is known when a statement runs: constant, literal of the template, or bound parameter.
struct ValueRef {
  enum class Kind { kConstant, kLiteral, kParameter } kind = Kind::kConstant;
  std::string constant;  // kConstant: text form, as if written between quotes
  uint32_t index = 0;    // kLiteral: ordinal in Template::literals; kParameter: n of $n, from 1
  bool negated = false;  // a unary minus stood before it
  bool is_null = false;  // kConstant NULL
  Oid type =
      0;  // key values: type as which the text is read before it is converted to the key's (0: the key's)
  // Key values: $n is also used where its type may have been inferred from something else than the key, so it
  // must come with a type (ParameterValue::type) to be used for routing.
  bool uncertain = false;
  bool operator==(const ValueRef&) const = default;
};

struct SortKey {
  uint32_t column = 0;     // column of the fragment (hidden, binary), or of the output when `of_output`
  bool of_output = false;  // order by an aggregate's merged value: index into MergeSpec::output
  bool descending = false;
  bool nulls_first = false;  // PostgreSQL's default is nulls_first == descending
  bool c_ordered = false;    // text: every collation involved orders as memcmp
};

struct OutputColumn {
  enum class Kind {
    kColumn,  // fragment column `column`, passed through as bytes
    kCount,   // sum of int8 counts in `column`; never NULL
    kSum,     // sum of partial sums: int8 or numeric in `column` (float is refused)
    kMin,     // `column` holds the value in the client's format, `key` in binary
    kMax,
    kAvg,      // `column` = partial sum (int8 or numeric), `key` = partial count
    kBoolAnd,  // bool_and / every
    kBoolOr,
  } kind = Kind::kColumn;
  uint32_t column = 0;
  uint32_t key = 0;
  bool c_ordered = false;  // kMin/kMax over text
  Oid sum_type =
      0;  // kSum/kAvg: result type PostgreSQL gives (int8 or numeric); 0 = take the fragment's type
  std::string name;  // result column name
};

struct HavingTerm {        // output-level predicate: aggregate compared with a number
  OutputColumn aggregate;  // not necessarily part of the output
  enum class Op { kEq, kNe, kLt, kLe, kGt, kGe } op = Op::kEq;
  ValueRef value;
};

struct MergeSpec {
  uint32_t visible = 0;              // number of visible fragment columns (client's formats)
  uint32_t hidden = 0;               // hidden ones after them (binary)
  std::vector<OutputColumn> output;  // the answer's columns
  bool grouped = false;              // merge rows that agree in `group_keys` (empty keys: one row in all)
  std::vector<uint32_t> group_keys;  // hidden fragment columns; DISTINCT is grouped without aggregates
  std::vector<HavingTerm> having;    // conjunction
  std::vector<SortKey> order_by;     // units sort by the same keys when !grouped
  std::optional<ValueRef> limit, offset;  // of the whole answer; fragments carry limit + offset themselves
  bool with_ties = false;                 // FETCH FIRST … WITH TIES
};

}  // namespace decan::plan
