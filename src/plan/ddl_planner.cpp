#include <algorithm>
#include <optional>
#include <set>

#include "plan/ddl_planner.h"
#include "plan/functions.h"
#include "plan/query_planner.h"
#include "plan/survey.h"
#include "sql/lexer.h"

namespace decan::plan {

namespace {

using catalog::Placement;
using catalog::Relation;
using catalog::RelationKind;
using sql::Tree;

constexpr std::string_view kSeparateHint = "Use one statement for the tables of each kind.";

// Statements that concern no table: they run on every unit, and are called so.
constexpr std::pair<std::string_view, std::string_view> kEverywhere[] = {
    {"CompositeTypeStmt", "CREATE TYPE"},
    {"CreateEnumStmt", "CREATE TYPE"},
    {"CreateRangeStmt", "CREATE TYPE"},
    {"CreateDomainStmt", "CREATE DOMAIN"},
    {"AlterEnumStmt", "ALTER TYPE"},
    {"AlterTypeStmt", "ALTER TYPE"},
    {"AlterDomainStmt", "ALTER DOMAIN"},
    {"CreateExtensionStmt", "CREATE EXTENSION"},
    {"AlterExtensionStmt", "ALTER EXTENSION"},
    {"AlterExtensionContentsStmt", "ALTER EXTENSION"},
    {"AlterFunctionStmt", "ALTER FUNCTION"},
    {"CreateCastStmt", "CREATE CAST"},
    {"CreateTransformStmt", "CREATE TRANSFORM"},
    {"CreateOpClassStmt", "CREATE OPERATOR CLASS"},
    {"CreateOpFamilyStmt", "CREATE OPERATOR FAMILY"},
    {"AlterOpFamilyStmt", "ALTER OPERATOR FAMILY"},
    {"AlterOperatorStmt", "ALTER OPERATOR"},
    {"CreateConversionStmt", "CREATE CONVERSION"},
    {"AlterTSDictionaryStmt", "ALTER TEXT SEARCH DICTIONARY"},
    {"AlterTSConfigurationStmt", "ALTER TEXT SEARCH CONFIGURATION"},
    {"CreateAmStmt", "CREATE ACCESS METHOD"},
    {"CreatePLangStmt", "CREATE LANGUAGE"},
    {"AlterRoleSetStmt", "ALTER ROLE"},
    {"GrantRoleStmt", "GRANT ROLE"},
    {"AlterDefaultPrivilegesStmt", "ALTER DEFAULT PRIVILEGES"},
    {"ReassignOwnedStmt", "REASSIGN OWNED"},
    {"DropOwnedStmt", "DROP OWNED"},
    {"CreateFdwStmt", "CREATE FOREIGN DATA WRAPPER"},
    {"AlterFdwStmt", "ALTER FOREIGN DATA WRAPPER"},
    {"CreateForeignServerStmt", "CREATE SERVER"},
    {"AlterForeignServerStmt", "ALTER SERVER"},
    {"CreateUserMappingStmt", "CREATE USER MAPPING"},
    {"AlterUserMappingStmt", "ALTER USER MAPPING"},
    {"DropUserMappingStmt", "DROP USER MAPPING"},
    {"AlterCollationStmt", "ALTER COLLATION"},
    {"CreateEventTrigStmt", "CREATE EVENT TRIGGER"},
    {"AlterEventTrigStmt", "ALTER EVENT TRIGGER"},
};

// CreatePublicationStmt -> CREATE PUBLICATION.
std::string words_of(std::string_view kind) {
  if (kind.ends_with("Stmt")) kind.remove_suffix(4);
  std::string out;
  for (const char c : kind) {
    const bool upper = c >= 'A' && c <= 'Z';
    if (upper && !out.empty()) out += ' ';
    out += upper ? c : static_cast<char>(c - 32);
  }
  return out;
}

}  // namespace

const Relation* DdlPlanner::find(const Tree& range_var) const {
  if (!range_var || is_temp(range_var)) return nullptr;
  return snapshot_.find(range_var.str("schemaname"), range_var.str("relname"), input_.context->search_path);
}

const Relation* DdlPlanner::find(const std::vector<std::string>& names) const {
  if (names.empty()) return nullptr;
  return snapshot_.find(names.size() > 1 ? names[names.size() - 2] : "", names.back(),
                        input_.context->search_path);
}

bool DdlPlanner::is_temp(const Tree& range_var) const {
  if (range_var.str("relpersistence") == "t" || range_var.str("schemaname") == "pg_temp") return true;
  const auto* temps = input_.context->temp_relations;
  return range_var.str("schemaname").empty() && temps != nullptr &&
         std::ranges::find(*temps, range_var.str("relname")) != temps->end();
}

Where DdlPlanner::where(const Relation* relation) const {
  if (relation == nullptr) return {false, snapshot_.home};
  if (relation->placement != Placement::kSingle) return {true, {}};
  const bool view = relation->kind == RelationKind::kView;
  if (view && (!relation->hides_sharded.empty() || relation->reads_only_broadcast)) return {true, {}};
  return {false, relation->unit};
}

void DdlPlanner::run_at(Where at) {
  if (out_.action == Action::kRefuse) return;
  if (out_.action != Action::kDdlConcurrent) out_.action = Action::kDdl;
  out_.effects.writes = true;
  spec_.scope = at.everywhere               ? DdlSpec::Scope::kAllUnits
                : at.unit == snapshot_.home ? DdlSpec::Scope::kHome
                                            : DdlSpec::Scope::kUnit;
  spec_.unit = at.unit;
}

void DdlPlanner::run_for(const std::vector<const Relation*>& relations, bool missing_ok) {
  std::optional<Where> common;
  for (const Relation* relation : relations) {
    const Where at = where(relation);
    if (common && !(*common == at)) {
      if (missing_ok) return run_everywhere();
      return refuse(out_, "the statement names objects that live on different storage units",
                    std::string(kSeparateHint));
    }
    common = at;
  }
  run_at(common.value_or(Where{false, snapshot_.home}));
}

void DdlPlanner::run_for(const Tree& range_var) {
  if (range_var && is_temp(range_var)) {
    out_.effects.uses_temp = true;
    return run_home();
  }
  run_at(where(find(range_var)));
}

// Functions that use a single table exist on the home unit only: where one does not exist, nothing is to be
// done.
void DdlPlanner::tolerate_absence() {
  std::string statement = "'";
  for (const char c : input_.own_text()) {
    statement += c;
    if (c == '\'') statement += c;
  }
  statement += "'";
  std::string block = "'BEGIN EXECUTE ";
  for (const char c : statement) {
    block += c;
    if (c == '\'') block += c;
  }
  if (block.find('\\') != std::string::npos) return;  // would be read by the unit's string settings
  spec_.others_sql =
      "DO " + block + "; EXCEPTION WHEN undefined_function OR undefined_object THEN NULL; END'";
}

void DdlPlanner::outside_blocks(std::string tag, std::string_view words) {
  out_.action = Action::kDdlConcurrent;
  out_.place = Place::kOutsideBlock;
  out_.tag = std::move(tag);
  if (!words.empty()) out_.words = out_.tag + " " + std::string(words);
}

// OBJECT_FOREIGN_TABLE -> FOREIGN TABLE.
std::string DdlPlanner::object_words(const std::string& object_type) {
  constexpr std::string_view kPrefix = "OBJECT_";
  std::string out = object_type.starts_with(kPrefix) ? object_type.substr(kPrefix.size()) : object_type;
  if (out == "MATVIEW") return "MATERIALIZED VIEW";
  if (out == "FDW") return "FOREIGN DATA WRAPPER";
  if (out == "OPCLASS") return "OPERATOR CLASS";
  if (out == "OPFAMILY") return "OPERATOR FAMILY";
  if (out == "STATISTIC_EXT") return "STATISTICS";
  if (out == "FOREIGN_SERVER") return "SERVER";
  if (out.starts_with("TS")) {
    const std::string_view rest = std::string_view(out).substr(2);
    return "TEXT SEARCH " + std::string(rest);
  }
  std::ranges::replace(out, '_', ' ');
  return out;
}

bool DdlPlanner::is_key_column(const Relation& relation, const std::string& column) const {
  const catalog::Column* found = relation.column(column);
  return found != nullptr &&
         std::ranges::find(relation.key_attnums, found->attnum) != relation.key_attnums.end();
}

std::vector<const Relation*> DdlPlanner::relations_of(const std::vector<Tree>& nodes) const {
  std::vector<const Relation*> out;
  for (const Tree& node : nodes) out.push_back(find(node));
  return out;
}

// What ACCESS SHARE keeps out changes a table's definition, on the home unit too: its lock stands for all. So
// pg_dump can lock tables of every kind in its one snapshot.
void DdlPlanner::lock() {
  constexpr int64_t kAccessShare = 1;
  const auto relations = relations_of(tree_.list("relations"));
  if (tree_.num("mode") == kAccessShare) return run_home();
  run_for(relations, false);
}

// --- groups of statements ---

bool DdlPlanner::tables(const std::string& kind) {
  if (kind == "CreateStmt") {
    create_table(tree_);
  } else if (kind == "CreateForeignTableStmt") {
    create_table(tree_.child("base_stmt"));
  } else if (kind == "CreateTableAsStmt" || kind == "SelectStmt") {
    create_as();
  } else if (kind == "ViewStmt") {
    create_view();
  } else if (kind == "AlterTableStmt") {
    alter_table();
  } else if (kind == "IndexStmt") {
    create_index();
  } else if (kind == "DropStmt") {
    drop();
  } else if (kind == "TruncateStmt") {
    truncate();
  } else if (kind == "RenameStmt") {
    rename();
  } else if (kind == "GrantStmt") {
    grant();
  } else if (kind == "CommentStmt" || kind == "SecLabelStmt") {
    comment();
  } else if (kind == "RefreshMatViewStmt") {
    set_tag("REFRESH MATERIALIZED VIEW");
    spec_.writes_rows = true;
    spec_.changes_catalog = false;
    run_for(tree_.child("relation"));
  } else if (kind == "CreateSeqStmt") {
    set_tag("CREATE SEQUENCE");
    spec_.creates_temp = is_temp(tree_.child("sequence"));
    run_home();
  } else if (kind == "AlterSeqStmt") {
    set_tag("ALTER SEQUENCE");
    run_for(tree_.child("sequence"));
  } else {
    return false;
  }
  return true;
}

bool DdlPlanner::objects(const std::string& kind) {
  const auto* found =
      std::ranges::find(kEverywhere, kind, &std::pair<std::string_view, std::string_view>::first);
  if (found != std::end(kEverywhere)) {
    set_tag(std::string(found->second));
    if (kind == "AlterFunctionStmt") tolerate_absence();
    if (kind == "GrantRoleStmt") set_tag(tree_.flag("is_grant") ? "GRANT ROLE" : "REVOKE ROLE");
    run_everywhere();
  } else if (kind == "DefineStmt") {
    set_tag("CREATE " + object_words(tree_.name_of("kind")));
    run_everywhere();
  } else if (kind == "CreateFunctionStmt") {
    create_function();
  } else if (kind == "CreateRoleStmt" || kind == "AlterRoleStmt" || kind == "DropRoleStmt") {
    role(kind);
  } else if (kind == "CreateSchemaStmt") {
    set_tag("CREATE SCHEMA");
    if (!tree_.list("schema_elts").empty()) {
      refuse(out_, "CREATE SCHEMA with objects in it is not supported",
             "Create the schema first, then the objects.");
    } else {
      run_everywhere();
    }
  } else if (kind == "AlterObjectSchemaStmt" || kind == "AlterOwnerStmt" ||
             kind == "AlterObjectDependsStmt") {
    set_tag("ALTER " + object_words(tree_.name_of("object_type")));
    if (is_routine(tree_.name_of("object_type"))) tolerate_absence();
    if (const Tree relation = tree_.child("relation")) {
      run_for(relation);
    } else {
      run_everywhere();
    }
  } else if (kind == "CreateTrigStmt") {
    set_tag("CREATE TRIGGER");
    run_for(tree_.child("relation"));
  } else if (kind == "CreatePolicyStmt" || kind == "AlterPolicyStmt") {
    set_tag(kind == "CreatePolicyStmt" ? "CREATE POLICY" : "ALTER POLICY");
    run_for(tree_.child("table"));
  } else if (kind == "CreateStatsStmt") {
    set_tag("CREATE STATISTICS");
    run_for(relations_of(tree_.list("relations")), false);
  } else if (kind == "RuleStmt") {
    set_tag("CREATE RULE");
    const Relation* relation = find(tree_.child("relation"));
    if (relation != nullptr && where(relation).everywhere) {
      refuse(out_, "rules on the distributed table \"" + relation->name + "\" are not supported",
             "Use a trigger.");
    } else {
      run_for(tree_.child("relation"));
    }
  } else {
    return false;
  }
  return true;
}

bool DdlPlanner::databases(const std::string& kind) {
  static const std::vector<std::pair<std::string, std::string>> kDatabases = {
      {"CreatedbStmt", "CREATE DATABASE"},
      {"DropdbStmt", "DROP DATABASE"},
      {"AlterDatabaseStmt", "ALTER DATABASE"},
      {"AlterDatabaseSetStmt", "ALTER DATABASE"},
      {"AlterDatabaseRefreshCollStmt", "ALTER DATABASE"}};
  const auto found = std::ranges::find(kDatabases, kind, &std::pair<std::string, std::string>::first);
  if (found == kDatabases.end()) return false;
  set_tag(found->second);
  out_.name = tree_.str("dbname");
  spec_.tag_object = "database";
  spec_.changes_catalog = false;
  // ALTER DATABASE … SET does not need to stay outside of transactions.
  if (kind != "AlterDatabaseSetStmt") outside_blocks(found->second);
  run_everywhere();
  return true;
}

bool DdlPlanner::maintenance(const std::string& kind) {
  spec_.changes_catalog = false;
  if (kind == "VacuumStmt") {
    const bool vacuum = tree_.flag("is_vacuumcmd");
    set_tag(vacuum ? "VACUUM" : "ANALYZE");
    if (vacuum) outside_blocks("VACUUM");
    std::vector<const Relation*> relations;
    for (const Tree& item : tree_.list("rels")) relations.push_back(find(item.child("relation")));
    if (relations.empty()) {
      run_everywhere();
    } else {
      run_for(relations, false);
    }
  } else if (kind == "ClusterStmt" || kind == "ReindexStmt") {
    outside_blocks(kind == "ClusterStmt" ? "CLUSTER" : "REINDEX");
    if (const Tree relation = tree_.child("relation")) {
      run_for(relation);
    } else {
      run_everywhere();
    }
  } else if (kind == "LockStmt") {
    set_tag("LOCK TABLE");
    out_.place = Place::kInBlock;
    lock();
  } else if (kind == "CheckPointStmt") {
    outside_blocks("CHECKPOINT");
    run_everywhere();
  } else {
    return false;
  }
  return true;
}

void DdlPlanner::plan() {
  const std::string kind = tree_.kind();
  if (kind == "AlterSystemStmt")
    return refuse(out_, "ALTER SYSTEM is not supported", "Change the cluster's configuration instead.");
  if (!tables(kind) && !objects(kind) && !databases(kind) && !maintenance(kind))
    refuse(out_, words_of(kind) + " is not supported",
           "Run it on a storage unit directly if it is needed there.");
  refuse_hidden_code(kind);
  if (out_.action == Action::kDdl || out_.action == Action::kDdlConcurrent) out_.detail = std::move(spec_);
}

void plan_ddl(const UtilityInput& input, Plan& out) {
  DdlPlanner(input, out).plan();
}

}  // namespace decan::plan
