// Where the clauses of a query stand in its text. Statements are rewritten by replacing pieces of their own
// text, never by printing a tree: comments, literals and error positions stay as they are, and one rewriting
// serves every statement of a template.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sql/ast.h"

namespace decan::sql {

struct Range {
  uint32_t begin = 0, end = 0;  // bytes of the text, [begin, end)
  bool empty() const { return begin == end; }
  uint32_t bytes() const { return end - begin; }
};

// One SELECT … without set operations and parentheses, or UPDATE, or DELETE. Ranges start after the clause's
// keywords and end with its last token (comments behind it excluded).
struct SelectLayout {
  Range table_keyword;         // TABLE, in place of SELECT * FROM; `targets` is empty then
  Range distinct;              // DISTINCT [ON (…)] with its keywords
  std::vector<Range> targets;  // without aliases
  std::vector<Range> whole_targets;
  std::optional<Range> where;
  uint32_t where_place = 0;  // where " WHERE …" can be inserted when there is none
  std::vector<Range> group_by;
  Range group_clause;  // with its keywords
  std::optional<Range> having;
  Range having_clause;
};

struct QueryLayout {
  std::vector<SelectLayout>
      selects;                  // legs of a set operation from left to right, else one; none for VALUES legs
  std::vector<Range> order_by;  // expressions only, of the outermost query
  Range order_clause;           // with keywords
  Range limit_clauses;          // LIMIT, OFFSET, FETCH in any order, with keywords
  Range limit, offset;          // their expressions
  std::vector<Range> value_rows;  // VALUES of INSERT or of the outermost query: "( … )"
};

// The layout of a query statement that stands at [statement.begin, statement.end) of `sql`; nullopt when its
// text can not be cut safely (rare syntax). Every count is checked against the tree.
std::optional<QueryLayout> layout_of(std::string_view sql, Range statement, const Query& query,
                                     bool standard_conforming_strings);

// The name that starts at `location`: identifier { . identifier }.
Range name_range(std::string_view sql, int32_t location, bool standard_conforming_strings);

// Range of a call that starts at `location`: name ( … ), without FILTER and OVER; `arguments` is what stands
// between the parentheses, `filter` the whole FILTER ( … ) or empty.
struct CallLayout {
  Range call, arguments, filter;
};
std::optional<CallLayout> call_layout(std::string_view sql, int32_t location,
                                      bool standard_conforming_strings);

}  // namespace decan::sql
