// The clock in a statement for several units: now(), CURRENT_DATE and their like are replaced by one time for
// all; what can not be replaced is told.
#pragma once

#include <string>
#include <vector>

#include "plan/scope.h"
#include "plan/text.h"

namespace decan::plan {

struct NowCalls {
  std::vector<NowCall> calls;                  // in the order of the text
  std::string obstacle;                        // a use that can not be replaced: 'now'::timestamptz, age(x)
  std::vector<uint32_t> literals, parameters;  // see Plan::clock_literals
};

NowCalls find_now_calls(const Scope& scope, const SourceText& source, bool conforming_strings);

// True for 'now', 'today', 'tomorrow', 'yesterday' as PostgreSQL's date input reads them, also with a time
// behind.
bool is_clock_word(std::string_view text);

}  // namespace decan::plan
