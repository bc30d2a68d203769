#include "plan/planner.h"

#include <algorithm>

#include "plan/query_planner.h"
#include "plan/utility_planner.h"
#include "sql/parse.h"

namespace decan::plan {
namespace {

uint32_t highest_parameter(const sql::Tree& tree) {
  int64_t highest = 0;
  for (const sql::Tree& parameter : tree.all("ParamRef"))
    highest = std::max(highest, parameter.num("number"));
  return static_cast<uint32_t>(highest);
}

// libpg_query reads strings as standard_conforming_strings does.
bool has_backslash_string(std::string_view sql) {
  sql::Template scanned;
  sql::scan_template(sql, false, scanned);
  return std::ranges::any_of(scanned.literals, [&](const sql::Literal& literal) {
    return sql[literal.offset] == '\'' && sql.substr(literal.offset, literal.bytes).contains('\\');
  });
}

struct Request {
  std::string_view sql;
  const sql::Template* tpl = nullptr;
  std::span<const Oid> parameter_types;
  const Context* context = nullptr;
  bool alone = true;  // the only statement of the text
};

void plan_query(const UtilityInput& input, const Request& request, Plan& out) {
  const sql::Query& query = *input.statement->query;
  if (query.kind == sql::QueryKind::kSelect && query.into) {
    out.exact_text = true;
    return plan_ddl(input, out);
  }
  if (plan_special_select(input, out)) {
    out.exact_text = true;
    return;
  }
  const sql::Range range = input.range();
  const uint32_t base = input.base();
  const QueryInput query_input{&query, input.statement->tree, range, range, request.parameter_types};
  const Plan blank = out;
  for (const sql::Template* tpl : {request.tpl, static_cast<const sql::Template*>(nullptr)}) {
    out = blank;
    out.exact_text = tpl == nullptr;
    const SourceText source(request.sql, tpl, base);
    QueryPlanner planner(query_input, source, *request.context);
    planner.plan(out);
    if (tpl == nullptr || !planner.literal_dependent()) return;
  }
}

PlanPtr plan_one(const sql::Statement& statement, const Request& request) {
  auto out = std::make_shared<Plan>();
  out->snapshot = request.context->catalog;
  out->parameter_count = highest_parameter(statement.tree);
  const UtilityInput input{&statement, request.sql, request.parameter_types, request.context, request.alone};
  (void)sql::take_unknown_field_used();
  if (statement.is_query) {
    plan_query(input, request, *out);
  } else {
    out->exact_text = true;
    if (!plan_utility(input, *out)) plan_ddl(input, *out);
  }
  if (sql::take_unknown_field_used()) {
    out->action = Action::kRefuse;
    out->refusal =
        Error{std::string(sqlstate::kInternalError), "the planner misread a " + statement.tree.kind()};
  }
  return out;
}

}  // namespace

Result<std::vector<PlannedStatement>> plan_statements(std::string_view sql, const sql::Template* tpl,
                                                      std::span<const Oid> parameter_types,
                                                      const Context& context, uint32_t* position_out) {
  if (!context.standard_conforming_strings && has_backslash_string(sql))
    return fail(sqlstate::kFeatureNotSupported,
                "backslashes in strings are not supported while standard_conforming_strings is off", {},
                "Write such strings as E'…', or set standard_conforming_strings to on.");
  auto parsed = sql::parse(sql, position_out);
  if (!parsed) return fail(parsed.error());
  Request request{sql, nullptr, parameter_types, &context, parsed->statements().size() == 1};
  if (tpl != nullptr && !tpl->exact && request.alone) request.tpl = tpl;
  std::vector<PlannedStatement> out;
  for (const sql::Statement& statement : parsed->statements())
    out.push_back({plan_one(statement, request), statement.offset, statement.bytes});
  return out;
}

}  // namespace decan::plan
