// Finds calls of hidden functions (catalog/hidden.h) that do not name them: by operators, domains, casts,
// attributes, and names in code blocks.
#pragma once

#include <string>
#include <string_view>

#include "catalog/snapshot.h"
#include "sql/tree.h"

namespace decan::plan {

struct HiddenCall {
  std::string what;   // "operator ===", "a cast to type positive"; empty: none
  std::string table;  // as Survey::hidden_table
  explicit operator bool() const { return !what.empty(); }
};

// The first one below `tree`; functions called by name are found by Survey as well.
HiddenCall hidden_call(const sql::Tree& tree, const catalog::Snapshot& snapshot);
// The first one in a code block, code in its strings included; and tables that it may write whose triggers
// and such make one.
HiddenCall hidden_call_in_code(std::string_view code, const catalog::Snapshot& snapshot);

}  // namespace decan::plan
