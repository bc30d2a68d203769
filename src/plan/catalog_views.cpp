#include "plan/catalog_views.h"

#include <array>

namespace decan::plan {
namespace {

// How a row tells whose it is.
enum class By : uint8_t {
  kNamespace,   // OID of the schema
  kRelation,    // OID of a relation
  kFunction,    // OID of a function
  kSchemaName,  // name of the schema
  kConstraint,  // name of the schema, of a view that lists constraints by name
  kName,        // is a schema's name itself
};

struct Rule {
  std::string_view name, column;
  By by;
};

constexpr Rule kCatalogs[] = {
    {"pg_attrdef", "adrelid", By::kRelation},
    {"pg_attribute", "attrelid", By::kRelation},
    {"pg_class", "relnamespace", By::kNamespace},
    {"pg_constraint", "connamespace", By::kNamespace},
    {"pg_event_trigger", "evtfoid", By::kFunction},
    {"pg_index", "indrelid", By::kRelation},
    {"pg_inherits", "inhrelid", By::kRelation},
    {"pg_namespace", "nspname", By::kName},
    {"pg_partitioned_table", "partrelid", By::kRelation},
    {"pg_policy", "polrelid", By::kRelation},
    {"pg_proc", "pronamespace", By::kNamespace},
    {"pg_rewrite", "ev_class", By::kRelation},
    {"pg_sequence", "seqrelid", By::kRelation},
    {"pg_statistic_ext", "stxnamespace", By::kNamespace},
    {"pg_trigger", "tgrelid", By::kRelation},
    {"pg_type", "typnamespace", By::kNamespace},
};

constexpr std::string_view kViewsWithSchemaname[] = {
    "pg_indexes",
    "pg_matviews",
    "pg_policies",
    "pg_publication_tables",
    "pg_rules",
    "pg_sequences",
    "pg_stat_all_indexes",
    "pg_stat_all_tables",
    "pg_stat_user_functions",
    "pg_stat_user_indexes",
    "pg_stat_user_tables",
    "pg_stat_xact_all_tables",
    "pg_stat_xact_user_functions",
    "pg_stat_xact_user_tables",
    "pg_statio_all_indexes",
    "pg_statio_all_sequences",
    "pg_statio_all_tables",
    "pg_statio_user_indexes",
    "pg_statio_user_sequences",
    "pg_statio_user_tables",
    "pg_stats",
    "pg_stats_ext",
    "pg_stats_ext_exprs",
    "pg_tables",
    "pg_views",
};

constexpr Rule kInformationSchema[] = {
    {"attributes", "udt_schema", By::kSchemaName},
    {"check_constraint_routine_usage", "constraint_schema", By::kSchemaName},
    {"check_constraints", "constraint_schema", By::kSchemaName},
    {"column_column_usage", "table_schema", By::kSchemaName},
    {"column_domain_usage", "table_schema", By::kSchemaName},
    {"column_options", "table_schema", By::kSchemaName},
    {"column_privileges", "table_schema", By::kSchemaName},
    {"column_udt_usage", "table_schema", By::kSchemaName},
    {"columns", "table_schema", By::kSchemaName},
    {"constraint_column_usage", "table_schema", By::kConstraint},
    {"constraint_table_usage", "table_schema", By::kConstraint},
    {"data_type_privileges", "object_schema", By::kSchemaName},
    {"domain_constraints", "domain_schema", By::kSchemaName},
    {"domain_udt_usage", "domain_schema", By::kSchemaName},
    {"domains", "domain_schema", By::kSchemaName},
    {"element_types", "object_schema", By::kSchemaName},
    {"key_column_usage", "constraint_schema", By::kConstraint},
    {"parameters", "specific_schema", By::kSchemaName},
    {"referential_constraints", "constraint_schema", By::kConstraint},
    {"role_column_grants", "table_schema", By::kSchemaName},
    {"role_routine_grants", "routine_schema", By::kSchemaName},
    {"role_table_grants", "table_schema", By::kSchemaName},
    {"role_udt_grants", "udt_schema", By::kSchemaName},
    {"role_usage_grants", "object_schema", By::kSchemaName},
    {"routine_column_usage", "specific_schema", By::kSchemaName},
    {"routine_privileges", "routine_schema", By::kSchemaName},
    {"routine_routine_usage", "specific_schema", By::kSchemaName},
    {"routine_sequence_usage", "specific_schema", By::kSchemaName},
    {"routine_table_usage", "specific_schema", By::kSchemaName},
    {"routines", "routine_schema", By::kSchemaName},
    {"schemata", "schema_name", By::kSchemaName},
    {"sequences", "sequence_schema", By::kSchemaName},
    {"table_constraints", "constraint_schema", By::kConstraint},
    {"table_privileges", "table_schema", By::kSchemaName},
    {"tables", "table_schema", By::kSchemaName},
    {"triggered_update_columns", "event_object_schema", By::kSchemaName},
    {"triggers", "event_object_schema", By::kSchemaName},
    {"udt_privileges", "udt_schema", By::kSchemaName},
    {"usage_privileges", "object_schema", By::kSchemaName},
    {"user_defined_types", "user_defined_type_schema", By::kSchemaName},
    {"view_column_usage", "view_schema", By::kSchemaName},
    {"view_routine_usage", "table_schema", By::kSchemaName},
    {"view_table_usage", "view_schema", By::kSchemaName},
    {"views", "table_schema", By::kSchemaName},
};

// Operators are qualified throughout: a search_path of the client's can not put others in their way.
constexpr std::string_view kHidden =
    "ARRAY(SELECT s.oid FROM pg_catalog.pg_namespace s WHERE s.nspname OPERATOR(pg_catalog.=) ANY "
    "('{decan,decan_shard}'::pg_catalog.name[]))";

std::string is_hidden_relation(std::string_view oid) {
  return "EXISTS (SELECT FROM pg_catalog.pg_class h WHERE h.oid OPERATOR(pg_catalog.=) " + std::string(oid) +
         " AND h.relnamespace OPERATOR(pg_catalog.=) ANY (" + std::string(kHidden) + "))";
}

std::string is_sharded(std::string_view oid) {
  return "EXISTS (SELECT FROM decan.relation d WHERE d.relid OPERATOR(pg_catalog.=) " + std::string(oid) +
         " AND d.placement OPERATOR(pg_catalog.=) 'sharded'::pg_catalog.text)";
}

std::string condition_of(const Rule& rule, const std::string& row) {
  const std::string column = row + "." + std::string(rule.column);
  const std::string other_schema = "(" + column +
                                   "::pg_catalog.name OPERATOR(pg_catalog.<>) ALL "
                                   "('{decan,decan_shard}'::pg_catalog.name[])) IS NOT FALSE";
  switch (rule.by) {
    case By::kNamespace:
      return column + " OPERATOR(pg_catalog.<>) ALL (" + std::string(kHidden) + ")";
    case By::kRelation:
      return "NOT " + is_hidden_relation(column);
    case By::kFunction:
      return "NOT EXISTS (SELECT FROM pg_catalog.pg_proc h WHERE h.oid OPERATOR(pg_catalog.=) " + column +
             " AND h.pronamespace OPERATOR(pg_catalog.=) ANY (" + std::string(kHidden) + "))";
    case By::kSchemaName:
      return other_schema;
    case By::kConstraint:  // copies of a foreign key for each leaf that it leads to
      return other_schema +
             " AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_namespace n ON "
             "n.oid "
             "OPERATOR(pg_catalog.=) k.connamespace WHERE k.conparentid OPERATOR(pg_catalog.<>) "
             "0::pg_catalog.oid "
             "AND k.conname OPERATOR(pg_catalog.=) " +
             row + ".constraint_name::pg_catalog.name AND n.nspname OPERATOR(pg_catalog.=) " + row +
             ".constraint_schema::pg_catalog.name AND " + is_hidden_relation("k.confrelid") + ")";
    case By::kName:
      return column + " OPERATOR(pg_catalog.<>) ALL ('{decan,decan_shard}'::pg_catalog.name[])";
  }
  return "true";
}

// What else is not as it was made.
std::string more_conditions(std::string_view name, const std::string& row) {
  if (name == "pg_constraint")
    return " AND NOT (" + row + ".conparentid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid AND " +
           is_hidden_relation(row + ".confrelid") + ")";
  if (name == "pg_trigger") return " AND NOT " + is_hidden_relation(row + ".tgconstrrelid");
  if (name == "pg_partitioned_table") return " AND NOT " + is_sharded(row + ".partrelid");
  return "";
}

// pg_class with sharded tables and their indexes as ordinary ones.
std::string class_columns(const std::string& row) {
  static constexpr std::string_view kColumns[] = {"oid",
                                                  "relname",
                                                  "relnamespace",
                                                  "reltype",
                                                  "reloftype",
                                                  "relowner",
                                                  "relam",
                                                  "relfilenode",
                                                  "reltablespace",
                                                  "relpages",
                                                  "reltuples",
                                                  "relallvisible",
                                                  "reltoastrelid",
                                                  "relhasindex",
                                                  "relisshared",
                                                  "relpersistence",
                                                  "relkind",
                                                  "relnatts",
                                                  "relchecks",
                                                  "relhasrules",
                                                  "relhastriggers",
                                                  "relhassubclass",
                                                  "relrowsecurity",
                                                  "relforcerowsecurity",
                                                  "relispopulated",
                                                  "relreplident",
                                                  "relispartition",
                                                  "relrewrite",
                                                  "relfrozenxid",
                                                  "relminmxid",
                                                  "relacl",
                                                  "reloptions",
                                                  "relpartbound"};
  const std::string table =
      row + ".relkind OPERATOR(pg_catalog.=) 'p'::\"char\" AND " + is_sharded(row + ".oid");
  const std::string index = row +
                            ".relkind OPERATOR(pg_catalog.=) 'I'::\"char\" AND EXISTS (SELECT FROM "
                            "pg_catalog.pg_index i WHERE i.indexrelid OPERATOR(pg_catalog.=) " +
                            row + ".oid AND " + is_sharded("i.indrelid") + ")";
  std::string out;
  for (const std::string_view column : kColumns) {
    const std::string plain = row + "." + std::string(column);
    std::string shown = plain;
    if (column == "relkind") {
      shown = "CASE WHEN " + table + " THEN 'r'::\"char\" WHEN " + index + " THEN 'i'::\"char\" ELSE " +
              plain + " END AS relkind";
    } else if (column == "relam") {
      shown = "CASE WHEN " + table + " THEN 2::pg_catalog.oid ELSE " + plain + " END AS relam";
    } else if (column == "relhassubclass") {
      shown = "CASE WHEN " + row + ".relkind OPERATOR(pg_catalog.=) ANY ('{p,I}'::\"char\"[]) AND (" + table +
              " OR " + index + ") THEN false ELSE " + plain + " END AS relhassubclass";
    }
    out += (out.empty() ? "" : ", ") + shown;
  }
  return out;
}

std::string columns_of(std::string_view name, const std::string& row, bool system_columns) {
  std::string out;
  if (system_columns) {
    for (const std::string_view column : {"tableoid", "ctid", "xmin", "cmin", "xmax", "cmax"})
      out += row + "." + std::string(column) + ", ";
  }
  if (name == "pg_class") return out + class_columns(row);
  if (name == "pg_indexes") {
    // pg_get_indexdef says ONLY of an index on a partitioned table.
    return row + ".schemaname, " + row + ".tablename, " + row + ".indexname, " + row +
           ".tablespace, CASE WHEN EXISTS (SELECT FROM decan.relation d JOIN pg_catalog.pg_class c ON c.oid "
           "OPERATOR(pg_catalog.=) d.relid JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) "
           "c.relnamespace WHERE c.relname OPERATOR(pg_catalog.=) " +
           row + ".tablename AND n.nspname OPERATOR(pg_catalog.=) " + row +
           ".schemaname) THEN pg_catalog.regexp_replace(" + row + ".indexdef, ' ON ONLY ', ' ON ') ELSE " +
           row + ".indexdef END AS indexdef";
  }
  return out + row + ".*";
}

std::optional<Rule> rule_of(std::string_view schema, std::string_view name, bool& is_view) {
  is_view = true;
  if (schema == "information_schema") {
    for (const Rule& rule : kInformationSchema) {
      if (rule.name == name) return rule;
    }
    return std::nullopt;
  }
  for (const std::string_view view : kViewsWithSchemaname) {
    if (view == name) return Rule{view, "schemaname", By::kSchemaName};
  }
  is_view = false;
  for (const Rule& rule : kCatalogs) {
    if (rule.name == name) return rule;
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> catalog_view(std::string_view schema, std::string_view name,
                                        std::string_view alias, bool system_columns) {
  bool is_view = false;
  const auto rule = rule_of(schema, name, is_view);
  if (!rule) return std::nullopt;
  const std::string row = "\"" + std::string(alias) + "\"";
  return "(SELECT " + columns_of(name, row, system_columns && !is_view) + " FROM " + std::string(schema) +
         "." + std::string(name) + " AS " + row + " WHERE " + condition_of(*rule, row) +
         more_conditions(name, row) + ")";
}

}  // namespace decan::plan
