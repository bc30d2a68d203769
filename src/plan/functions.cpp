#include "plan/functions.h"

#include <algorithm>
#include <iterator>

namespace decan::plan {
namespace {

struct Builtin {
  std::string_view name;
  FunctionClass kind;
};

constexpr Builtin kBuiltins[] = {
#include "plan/builtin_functions.inc"
};

bool contains(std::initializer_list<std::string_view> list, std::string_view name) {
  return std::ranges::find(list, name) != list.end();
}

}  // namespace

FunctionClass classify_function(const std::vector<std::string>& names) {
  if (names.empty() || names.size() > 2) return FunctionClass::kUnknown;
  if (names.size() == 2 && names[0] != "pg_catalog") return FunctionClass::kUnknown;
  const auto* found = std::ranges::lower_bound(kBuiltins, names.back(), {}, &Builtin::name);
  if (found == std::end(kBuiltins) || found->name != names.back()) return FunctionClass::kUnknown;
  return found->kind;
}

FunctionClass classify_function(const std::vector<std::string>& names, const catalog::Snapshot& snapshot) {
  const FunctionClass kind = classify_function(names);
  if (kind != FunctionClass::kUnknown || names.empty() || names.size() > 2) return kind;
  const std::string schema = names.size() == 2 ? names[0] : "";
  return schema != "pg_catalog" && snapshot.is_pure_function(schema, names.back()) ? FunctionClass::kPure
                                                                                   : kind;
}

bool is_sequence_function(std::string_view name) {
  return contains({"nextval", "currval", "setval", "lastval", "pg_sequence_last_value"}, name);
}

bool is_session_advisory_lock(std::string_view name) {
  return name.starts_with("pg_advisory_lock") || name.starts_with("pg_advisory_unlock") ||
         name.starts_with("pg_try_advisory_lock");
}

bool must_run_on_home(std::string_view name) {
  return is_sequence_function(name) || name.starts_with("pg_advisory_") ||
         name.starts_with("pg_try_advisory_") || name.starts_with("lo_") ||
         contains({"loread", "lowrite", "pg_notify", "setseed", "pg_export_snapshot"}, name);
}

bool reads_sequences(std::string_view name) {
  return name == "currval" || name == "lastval";
}

bool reads_session_value(std::string_view name) {
  return name.starts_with("txid_") || name.starts_with("pg_current_xact_id") ||
         contains(
             {"currval", "lastval", "pg_backend_pid", "pg_current_snapshot", "pg_export_snapshot", "setseed",
              "pg_my_temp_schema", "pg_trigger_depth", "inet_server_addr", "inet_server_port"},
             name);
}

bool runs_text(const std::vector<std::string>& names, size_t arguments) {
  if (names.empty() || names.size() > 2 || (names.size() == 2 && names[0] != "pg_catalog")) return false;
  const std::string_view name = names.back();
  if (name == "ts_rewrite") return arguments == 2;  // (tsquery, text): a query
  return contains(
      {"ts_stat", "query_to_xml", "query_to_xml_and_xmlschema", "table_to_xml", "table_to_xml_and_xmlschema",
       "schema_to_xml", "schema_to_xml_and_xmlschema", "database_to_xml", "database_to_xml_and_xmlschema"},
      name);
}

}  // namespace decan::plan
