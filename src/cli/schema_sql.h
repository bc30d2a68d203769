// The SQL that Decan keeps on every unit; the text is placement's.
#pragma once

#include <string>

#if __has_include("placement/schema_sql.h")
#include "placement/schema_sql.h"
#endif

namespace decan::cli {

inline std::string schema_sql() {
#if __has_include("placement/schema_sql.h")
  return placement::schema_sql();
#else
  return {};
#endif
}

}  // namespace decan::cli
