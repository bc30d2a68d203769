// The planner's view of a parsed query: SELECT, VALUES, set operations, INSERT, UPDATE, DELETE, MERGE, and
// their expressions. Built from libpg_query's tree; names are unquoted and folded as PostgreSQL does. Nodes
// live in the ParsedText that made them and are immutable. Offsets are bytes in the whole parsed text; -1
// means unknown.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace decan::sql {

struct Query;
struct Expr;

struct TypeRef {
  std::string schema;  // "pg_catalog" for the grammar's own names (int, varchar, …)
  std::string name;    // int4, varchar, …
  bool is_array = false;
  bool has_modifier = false;  // varchar(10), numeric(5,2), interval day
};

enum class ExprKind : uint8_t {
  kColumn,  // `names`; `star` when the last part is *
  kLiteral,
  kParameter,
  kCast,      // args[0] to `type`
  kOperator,  // `op`, names = operator name; args = left (null for prefix operators), right
  kAnd,
  kOr,
  kNot,
  kNullTest,
  kFunction,  // also aggregates and window functions
  kSubquery,  // `subquery`, args[0] = test expression if any
  kRow,
  kArray,
  kIndirection,
  kCollate,
  kCase,
  kCoalesce,
  kMinMax,
  kSqlValue,   // CURRENT_TIMESTAMP, CURRENT_USER, …
  kDefault,    // DEFAULT in VALUES or SET
  kCurrentOf,  // WHERE CURRENT OF cursor
  kOther,      // everything else; args hold the expressions in it
};

enum class OperatorKind : uint8_t {
  kPlain,
  kAny,
  kAll,
  kIn,
  kNotIn,
  kDistinct,
  kNotDistinct,
  kBetween,
  kLike,
  kNullIf
};
enum class LiteralType : uint8_t { kNull, kInteger, kNumeric, kString, kBool, kBits };
enum class SubqueryKind : uint8_t { kExists, kAny, kAll, kScalar, kArray, kRowCompare };

// Values are those of pg_query's SQLValueFunctionOp.
enum class SqlValue : uint8_t {
  kNone,
  kCurrentDate,
  kCurrentTime,
  kCurrentTimeN,
  kCurrentTimestamp,
  kCurrentTimestampN,
  kLocalTime,
  kLocalTimeN,
  kLocalTimestamp,
  kLocalTimestampN,
  kCurrentRole,
  kCurrentUser,
  kUser,
  kSessionUser,
  kCurrentCatalog,
  kCurrentSchema,
};

struct SortItem {
  const Expr* expr = nullptr;
  bool descending = false;
  bool explicit_direction = false;  // ASC or DESC was written
  bool nulls_first = false;
  bool explicit_nulls = false;
  bool by_operator = false;  // USING op
};

struct Window {
  std::string name;  // defined in WINDOW, or OVER name
  std::string base;  // refers to another window
  std::vector<const Expr*> partition_by;
  std::vector<SortItem> order_by;
  std::vector<const Expr*> bounds;  // frame offsets
};

struct Expr {
  ExprKind kind = ExprKind::kOther;
  int32_t location = -1;
  std::vector<std::string> names;
  bool star = false;              // kColumn: t.*; kFunction: count(*)
  std::vector<const Expr*> args;  // entries may be null (prefix operators)

  LiteralType literal = LiteralType::kNull;
  std::string text;  // kLiteral: the value, with its sign; "true"/"false"
  int32_t parameter = 0;
  TypeRef type;  // kCast
  OperatorKind op = OperatorKind::kPlain;
  bool negated = false;  // kNullTest: IS NOT NULL
  SqlValue sql_value = SqlValue::kNone;

  bool distinct = false;  // kFunction
  bool within_group = false;
  bool has_window = false;
  const Expr* filter = nullptr;
  std::vector<SortItem> agg_order;
  const Window* window = nullptr;

  SubqueryKind subquery_kind = SubqueryKind::kScalar;
  const Query* subquery = nullptr;

  const void* node = nullptr;  // libpg_query's node, for same_expression()
};

struct RelationRef {
  std::string catalog, schema, name;
  std::string alias;  // empty when none was written
  std::vector<std::string> column_aliases;
  bool only = false;
  int32_t location = -1;  // of the name's first part
};

enum class FromKind : uint8_t { kRelation, kSubquery, kFunction, kJoin, kSample, kTableFunction };
enum class JoinType : uint8_t { kInner, kLeft, kFull, kRight };

struct FromItem {
  FromKind kind = FromKind::kRelation;
  RelationRef relation;  // kRelation; alias and column_aliases also for the others
  const Query* subquery = nullptr;
  bool lateral = false;
  std::vector<const Expr*> functions;  // kFunction, kTableFunction: expressions in it
  bool ordinality = false;
  const FromItem* left = nullptr;  // kJoin, kSample (left only)
  const FromItem* right = nullptr;
  JoinType join = JoinType::kInner;
  bool natural = false;
  std::vector<std::string> using_columns;
  const Expr* on = nullptr;
};

struct Target {
  const Expr* expr = nullptr;
  std::string name;          // alias; INSERT/UPDATE: column
  bool indirection = false;  // UPDATE t SET a[1] = …, a.b = …
  int32_t location = -1;
};

struct Cte {
  std::string name;
  std::vector<std::string> column_aliases;
  const Query* query = nullptr;
  bool search_or_cycle = false;
};

enum class QueryKind : uint8_t { kSelect, kValues, kSetOperation, kInsert, kUpdate, kDelete, kMerge };
enum class SetOperation : uint8_t { kUnion, kIntersect, kExcept };

struct Query {
  QueryKind kind = QueryKind::kSelect;
  std::vector<Cte> ctes;
  bool recursive = false;

  // kSelect; UPDATE: SET list in targets, FROM in from; DELETE: USING in from
  std::vector<Target> targets;
  bool distinct = false;
  std::vector<const Expr*> distinct_on;
  bool into = false;
  std::vector<const FromItem*> from;
  const Expr* where = nullptr;
  std::vector<const Expr*> group_by;
  bool grouping_sets = false;
  bool group_distinct = false;
  const Expr* having = nullptr;
  std::vector<const Window*> windows;
  std::vector<std::vector<const Expr*>> rows;  // kValues

  SetOperation set_operation = SetOperation::kUnion;
  bool set_all = false;
  const Query* left = nullptr;
  const Query* right = nullptr;

  std::vector<SortItem> order_by;
  const Expr* limit = nullptr;  // LIMIT ALL is a NULL literal
  const Expr* offset = nullptr;
  bool with_ties = false;
  bool locking = false;             // FOR UPDATE/SHARE …
  std::vector<std::string> locked;  // … OF these; empty: all

  // kInsert, kUpdate, kDelete, kMerge
  RelationRef target;
  std::vector<Target> columns;    // INSERT (a, b)
  const Query* source = nullptr;  // INSERT … SELECT/VALUES; null for DEFAULT VALUES
  bool on_conflict = false;
  bool conflict_on_constraint = false;  // ON CONFLICT ON CONSTRAINT name
  std::vector<Target> conflict_set;
  std::vector<const Expr*> conflict_exprs;  // WHERE and inference expressions
  bool overriding = false;
  std::vector<Target> returning;
  const FromItem* merge_source = nullptr;
  std::vector<const Expr*> merge_exprs;  // join condition and all actions
};

// True when both are the same expression but for where they stand in the text.
bool same_expression(const Expr& a, const Expr& b);

}  // namespace decan::sql
