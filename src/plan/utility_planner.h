// Plans statements that are neither queries nor DDL: transactions, settings, SQL-level prepared statements
// and cursors, COPY, EXPLAIN, LISTEN, and the placement functions.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "plan/plan.h"
#include "plan/planner.h"
#include "plan/text.h"
#include "sql/parse.h"

namespace decan::plan {

struct UtilityInput {
  const sql::Statement* statement = nullptr;
  std::string_view sql;  // the whole text
  std::span<const Oid> parameter_types;
  const Context* context = nullptr;
  bool alone = true;  // the only statement of the text: positions are counted from its start
  uint32_t base() const { return alone ? 0 : statement->offset; }
  sql::Range range() const { return {statement->offset, statement->offset + statement->bytes}; }
  std::string_view own_text() const { return sql.substr(statement->offset, statement->bytes); }
};

// False: not such a statement (then it is DDL).
bool plan_utility(const UtilityInput& input, Plan& out);
void plan_copy(const UtilityInput& input, Plan& out);
void plan_explain(const UtilityInput& input, Plan& out);
// SELECT create_distributed_table(…) and SELECT set_config(…): true when the query is one of these.
bool plan_special_select(const UtilityInput& input, Plan& out);
// DDL and everything else that is not a query.
void plan_ddl(const UtilityInput& input, Plan& out);

// The name that an identifier's token stands for, quoted or folded.
std::string identifier_value(std::string_view token);
// Names of sharded tables that a piece of code (a function body, a DO block) mentions; empty when none.
// Broadcast tables count when the code writes at all.
std::string table_in_code(std::string_view code, const catalog::Snapshot& snapshot);
// Whether it runs SQL that it puts together: anything but EXECUTE of one literal, which table_in_code looks
// into.
bool builds_sql(std::string_view code);

}  // namespace decan::plan
