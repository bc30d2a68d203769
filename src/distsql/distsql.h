// The admin language: what is one of its statements, and what it says. Pure; any thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "distsql/ast.h"

namespace decan::distsql {

inline constexpr size_t kMaxStatementBytes = 1 << 20;

// Whether a text starts as a statement of the admin language does. Reads a few words; false for everything
// that PostgreSQL's own grammar could accept.
bool looks_like_distsql(std::string_view sql);

// Whether running it changes nothing (SHOW, PREVIEW, COUNT, EXPORT).
bool only_shows(std::string_view sql);

// One statement, with or without a ';' at its end. Errors: 42601, with the position in characters from 1 in
// `position_out`.
Result<Statement> parse(std::string_view sql, uint32_t* position_out);

}  // namespace decan::distsql
