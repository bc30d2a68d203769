// The three ways to merge; make_merge (merge.cpp) chooses. Internal to exec.
#pragma once

#include <memory>

#include "exec/merge.h"

namespace decan::exec {

// All take an input that make_merge has checked, and the description of the answer.
Result<std::unique_ptr<Merge>> make_concatenation(MergeInput input, wire::RowDescription description);
Result<std::unique_ptr<Merge>> make_ordered_merge(MergeInput input, wire::RowDescription description);
Result<std::unique_ptr<Merge>> make_grouping(MergeInput input, wire::RowDescription description);

}  // namespace decan::exec
