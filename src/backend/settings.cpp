#include "backend/settings.h"
#include "base/quote.h"

namespace decan::backend {
namespace {

constexpr std::string_view kRole = "role";

void append(std::string& sql, std::string_view statement) {
  if (!sql.empty()) sql += ';';
  sql += statement;
}

}  // namespace

std::string set_config_sql(std::string_view name, std::string_view value) {
  return "SELECT pg_catalog.set_config(" + quote_literal(name) + ", " + quote_literal(value) + ", false)";
}

std::string setting_name_sql(std::string_view name) {
  if (name == "session authorization" || name == "session_authorization") return "SESSION AUTHORIZATION";
  if (name == kRole) return "ROLE";
  std::string sql;
  size_t start = 0;
  while (true) {  // extension settings have two parts: "my.setting"
    const size_t dot = name.find('.', start);
    sql += quote_identifier(name.substr(start, dot == std::string_view::npos ? dot : dot - start));
    if (dot == std::string_view::npos) return sql;
    sql += '.';
    start = dot + 1;
  }
}

std::string settings_difference(const Settings& from, const Settings& to) {
  std::string sql;
  if (from.same_as(to)) return sql;
  const auto role_before = from.statements().find(kRole);
  const auto role_after = to.statements().find(kRole);
  const bool had_role = role_before != from.statements().end();
  if (had_role) append(sql, "RESET ROLE");
  for (const auto& [name, statement] : from.statements()) {
    if (name != kRole && !to.statements().contains(name)) append(sql, "RESET " + setting_name_sql(name));
  }
  for (const auto& [name, statement] : to.statements()) {
    if (name == kRole) continue;
    const auto before = from.statements().find(name);
    if (before == from.statements().end() || before->second != statement) append(sql, statement);
  }
  if (role_after != to.statements().end()) append(sql, role_after->second);
  return sql;
}

}  // namespace decan::backend
