// The elements of a bound or written array, for = ANY(…) on a key. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace decan::plan {

// Elements of a one-dimensional array in text form; nullopt for other forms and for very long ones. NULL
// elements match nothing and are left out.
std::optional<std::vector<std::string>> text_elements(std::string_view text);

struct BinaryArray {
  Oid element = 0;
  std::vector<std::string_view> values;
};

// array_recv's format: dimensions, flags, element type, then (length, lower bound) per dimension and the
// elements. The values point into `bytes`.
std::optional<BinaryArray> binary_elements(std::string_view bytes);

}  // namespace decan::plan
