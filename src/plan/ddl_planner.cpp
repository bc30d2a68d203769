// DDL: on which units it runs, and what would break the placement of tables.
#include <algorithm>
#include <optional>
#include <set>

#include "plan/query_planner.h"
#include "plan/survey.h"
#include "plan/utility_planner.h"
#include "sql/lexer.h"

namespace decan::plan {
namespace {

using catalog::Placement;
using catalog::Relation;
using catalog::RelationKind;
using sql::Tree;

constexpr std::string_view kSeparateHint = "Use one statement for the tables of each kind.";

// Where an object lives: on every unit, or on one.
struct Where {
  bool everywhere = false;
  UnitId unit;
  bool operator==(const Where&) const = default;
};

class DdlPlanner {
 public:
  DdlPlanner(const UtilityInput& input, Plan& out)
      : input_(input), tree_(input.statement->tree), snapshot_(*input.context->catalog), out_(out) {}

  void plan();

 private:
  // --- objects ---
  const Relation* find(const Tree& range_var) const;
  const Relation* find(const std::vector<std::string>& names) const;
  bool is_temp(const Tree& range_var) const;
  Where where(const Relation* relation) const;
  void run_at(Where where);
  void run_everywhere() { run_at({true, {}}); }
  void run_home() { run_at({false, snapshot_.home}); }
  void run_for(const std::vector<const Relation*>& relations, bool missing_ok);
  void run_for(const Tree& range_var);
  void concurrently(std::string tag);
  void set_tag(std::string tag) { out_.tag = std::move(tag); }
  static std::string object_words(const std::string& object_type);

  // --- statements ---
  bool tables(const std::string& kind);
  bool objects(const std::string& kind);
  bool databases(const std::string& kind);
  bool maintenance(const std::string& kind);
  void create_table(const Tree& stmt);
  void create_as();
  void create_view();
  void alter_table();
  void leave_out_only();
  bool check_alter(const Relation& relation, const Tree& command);
  bool check_column(const Relation* relation, const std::string& table, const Tree& column);
  bool check_constraint(const Relation* relation, const std::string& table, const Tree& constraint, const std::string& column);
  bool check_unique(const Relation& relation, const std::vector<std::string>& columns, const std::string& what);
  bool check_foreign_key(const Relation* relation, const std::string& table, const Tree& constraint, const std::string& column);
  void create_index();
  void drop();
  void truncate();
  void rename();
  void grant();
  void comment();
  void create_function();
  void role(const std::string& kind);
  std::vector<const Relation*> relations_of(const std::vector<Tree>& nodes) const;
  bool is_key_column(const Relation& relation, const std::string& column) const;

  const UtilityInput& input_;
  const Tree tree_;
  const catalog::Snapshot& snapshot_;
  Plan& out_;
  DdlSpec spec_;
};

const Relation* DdlPlanner::find(const Tree& range_var) const {
  if (!range_var || is_temp(range_var)) return nullptr;
  return snapshot_.find(range_var.str("schemaname"), range_var.str("relname"), input_.context->search_path);
}

const Relation* DdlPlanner::find(const std::vector<std::string>& names) const {
  if (names.empty()) return nullptr;
  return snapshot_.find(names.size() > 1 ? names[names.size() - 2] : "", names.back(), input_.context->search_path);
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
  spec_.scope = at.everywhere                ? DdlSpec::Scope::kAllUnits
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
      return refuse(out_, "the statement names objects that live on different storage units", std::string(kSeparateHint));
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

void DdlPlanner::concurrently(std::string tag) {
  out_.action = Action::kDdlConcurrent;
  out_.tag = std::move(tag);
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
  return found != nullptr && std::ranges::find(relation.key_attnums, found->attnum) != relation.key_attnums.end();
}

std::vector<const Relation*> DdlPlanner::relations_of(const std::vector<Tree>& nodes) const {
  std::vector<const Relation*> out;
  for (const Tree& node : nodes) out.push_back(find(node));
  return out;
}

// --- tables ---

void DdlPlanner::create_table(const Tree& stmt) {
  set_tag(tree_.is("CreateForeignTableStmt") ? "CREATE FOREIGN TABLE" : "CREATE TABLE");
  const Tree range_var = stmt.child("relation");
  if (is_temp(range_var)) {
    spec_.creates_temp = true;
    return run_home();
  }
  for (const Tree& parent : stmt.list("inh_relations")) {
    const Relation* relation = find(parent);
    if (relation != nullptr && relation->placement != Placement::kSingle)
      return refuse(out_, "the partitions of the distributed table \"" + relation->name + "\" are managed by the cluster", "Create a table of its own.");
  }
  const std::string name = range_var.str("relname");
  for (const Tree& constraint : stmt.all("Constraint")) {
    if (!check_constraint(nullptr, name, constraint, "")) return;
  }
  std::vector<const Relation*> needed = relations_of(stmt.list("inh_relations"));
  for (const Relation* relation : needed) {
    if (!(where(relation) == Where{false, snapshot_.home}))
      return refuse(out_, "a table is created on the home unit, but \"" + relation->name + "\" is on another one", "");
  }
  run_home();
}

// Unknown functions and the clock in a default are evaluated once per unit.
bool DdlPlanner::check_column(const Relation* relation, const std::string& table, const Tree& column) {
  // Sharded tables: each row has its own value, and units give sequences ranges of their own.
  if (relation == nullptr || relation->placement != Placement::kBroadcast) return true;
  const auto type_names = column.child("type_name").strings("names");
  const std::string type = type_names.empty() ? "" : type_names.back();
  bool identity = type == "serial" || type == "bigserial" || type == "smallserial" || type == "serial4" || type == "serial8";
  bool differs = false;
  for (const Tree& constraint : column.list("constraints")) {
    identity = identity || constraint.name_of("contype") == "CONSTR_IDENTITY";
    if (constraint.name_of("contype") != "CONSTR_DEFAULT") continue;
    for (const Tree& call : constraint.all("FuncCall")) differs = differs || classify_function(call.strings("funcname")) != FunctionClass::kPure;
    differs = differs || !constraint.all("SQLValueFunction").empty();
  }
  if (identity) {
    refuse(out_, "a serial or identity column can not be added to the broadcast table \"" + table + "\"", "Create the column before the table is distributed, or use a uuid.");
  } else if (differs) {
    refuse(out_, "the default of a new column of the broadcast table \"" + table + "\" may give another value on every unit",
           "Add the column without a default, then set the default and update the rows with a constant.");
  }
  return !identity && !differs;
}

bool DdlPlanner::check_unique(const Relation& relation, const std::vector<std::string>& columns, const std::string& what) {
  if (relation.placement != Placement::kSharded) return true;
  for (const int16_t key : relation.key_attnums) {
    const auto column = std::ranges::find(relation.columns, key, &catalog::Column::attnum);
    if (column == relation.columns.end() || std::ranges::find(columns, column->name) != columns.end()) continue;
    refuse(out_, what + " on the sharded table \"" + relation.name + "\" must contain its sharding key column \"" + column->name + "\"",
           "Add the column \"" + column->name + "\" to it.");
    return false;
  }
  return true;
}

bool DdlPlanner::check_foreign_key(const Relation* relation, const std::string& table, const Tree& constraint, const std::string& column) {
  const Relation* target = find(constraint.child("pktable"));
  const Placement from = relation == nullptr ? Placement::kSingle : relation->placement;
  const Placement to = target == nullptr ? Placement::kSingle : target->placement;
  const std::string pair = "a foreign key from \"" + table + "\" to \"" + constraint.child("pktable").str("relname") + "\"";
  if (from == Placement::kSingle) {
    if (to == Placement::kSharded) {
      refuse(out_, pair + " is not supported: a single table can not refer to a sharded one", "Distribute the table first, then add the foreign key.");
      return false;
    }
    const UnitId unit = relation == nullptr ? snapshot_.home : relation->unit;
    if (to == Placement::kSingle && target != nullptr && target->unit != unit) {
      refuse(out_, pair + " is not supported: the tables live on different storage units", "");
      return false;
    }
    return true;
  }
  if (to == Placement::kSingle) {
    refuse(out_, pair + " is not supported: the referenced table lives on one unit only", "Make it a broadcast table with create_reference_table().");
    return false;
  }
  if (to == Placement::kBroadcast) return true;
  if (from == Placement::kBroadcast) {
    refuse(out_, pair + " is not supported: a broadcast table can not refer to a sharded one", "");
    return false;
  }
  if (relation->group != target->group) {
    refuse(out_, pair + " is not supported: the tables are not in the same shard group", "Distribute them with colocate_with.");
    return false;
  }
  std::vector<std::string> columns = constraint.strings("fk_attrs");
  if (columns.empty() && !column.empty()) columns = {column};
  if (!check_unique(*relation, columns, pair)) return false;
  // Key columns must refer to key columns, in the same positions.
  const std::vector<std::string> referenced = constraint.strings("pk_attrs");
  if (referenced.empty()) return true;
  for (size_t i = 0; i < columns.size() && i < referenced.size(); ++i) {
    if (is_key_column(*relation, columns[i]) == is_key_column(*target, referenced[i])) continue;
    refuse(out_, pair + " must refer from sharding key to sharding key", "");
    return false;
  }
  return true;
}

bool DdlPlanner::check_constraint(const Relation* relation, const std::string& table, const Tree& constraint, const std::string& column) {
  const std::string type = constraint.name_of("contype");
  if (type == "CONSTR_FOREIGN") return check_foreign_key(relation, table, constraint, column);
  if (relation == nullptr) return true;
  if (type == "CONSTR_PRIMARY" || type == "CONSTR_UNIQUE") {
    if (!constraint.str("indexname").empty()) return true;
    std::vector<std::string> columns = constraint.strings("keys");
    if (columns.empty() && !column.empty()) columns = {column};
    return check_unique(*relation, columns, type == "CONSTR_PRIMARY" ? "a primary key" : "a unique constraint");
  }
  if (type == "CONSTR_EXCLUSION" && relation->placement == Placement::kSharded) {
    refuse(out_, "exclusion constraints are not supported on the sharded table \"" + table + "\"", "");
    return false;
  }
  return true;
}

bool DdlPlanner::check_alter(const Relation& relation, const Tree& command) {
  const std::string type = command.name_of("subtype");
  const Tree def = command.child("def");
  if (type == "AT_AddColumn") {
    if (!check_column(&relation, relation.name, def)) return false;
    for (const Tree& constraint : def.list("constraints")) {
      if (!check_constraint(&relation, relation.name, constraint, def.str("colname"))) return false;
    }
    return true;
  }
  if (type == "AT_AddConstraint") return check_constraint(&relation, relation.name, def, "");
  const std::string column = command.str("name");
  if ((type == "AT_DropColumn" || type == "AT_AlterColumnType") && is_key_column(relation, column)) {
    refuse(out_, "the sharding key column \"" + column + "\" of \"" + relation.name + "\" can not be " + (type == "AT_DropColumn" ? "dropped" : "changed to another type"),
           "Make the table single again with undistribute_table(), change it, and distribute it again.");
    return false;
  }
  const bool placed = type == "AT_AttachPartition" || type == "AT_DetachPartition" || type == "AT_DetachPartitionFinalize" ||
                      type == "AT_AddInherit" || type == "AT_DropInherit";
  const bool identity = type == "AT_AddIdentity" || type == "AT_SetUnLogged" || type == "AT_SetLogged" || type == "AT_EnableRule" ||
                        type == "AT_EnableAlwaysRule" || type == "AT_EnableReplicaRule";
  if (placed || identity) {
    refuse(out_, placed ? "the partitions of the distributed table \"" + relation.name + "\" are managed by the cluster"
                        : "this change of the distributed table \"" + relation.name + "\" is not supported",
           "Make the table single again with undistribute_table(), change it, and distribute it again.");
    return false;
  }
  return true;
}

void DdlPlanner::alter_table() {
  set_tag("ALTER " + object_words(tree_.name_of("objtype")));
  const Relation* relation = find(tree_.child("relation"));
  for (const Tree& command : tree_.list("cmds")) {
    if (relation != nullptr && relation->placement != Placement::kSingle) {
      if (!check_alter(*relation, command)) return;
      continue;
    }
    if (command.name_of("subtype") == "AT_DetachPartition" && command.child("def").flag("concurrent")) concurrently(out_.tag);
    for (const Tree& constraint : command.all("Constraint")) {
      if (!check_constraint(relation, tree_.child("relation").str("relname"), constraint, "")) return;
    }
  }
  // pg_dump writes ALTER TABLE ONLY; for a partitioned table ONLY would leave its partitions out.
  if (relation != nullptr && relation->placement == Placement::kSharded && !tree_.child("relation").flag("inh")) leave_out_only();
  run_for(tree_.child("relation"));
}

void DdlPlanner::leave_out_only() {
  const std::string_view text = input_.own_text();
  sql::Lexer lexer(text, input_.context->standard_conforming_strings);
  for (sql::Token token = lexer.next(); token.kind == sql::TokenKind::kIdentifier; token = lexer.next()) {
    const std::string_view word = text.substr(token.begin, token.end - token.begin);
    if (word.size() != 4 || !std::ranges::equal(word, std::string_view("only"), [](char a, char b) { return (a | 0x20) == b; })) continue;
    spec_.unit_sql = std::string(text.substr(0, token.begin)) + std::string(text.substr(token.end));
    return;
  }
}

void DdlPlanner::create_index() {
  set_tag("CREATE INDEX");
  const Relation* relation = find(tree_.child("relation"));
  if (relation != nullptr && relation->placement == Placement::kSharded) {
    if (tree_.flag("concurrent"))
      return refuse(out_, "CREATE INDEX CONCURRENTLY on the sharded table \"" + relation->name + "\" is not supported", "Leave CONCURRENTLY out.");
    std::vector<std::string> columns;
    for (const Tree& element : tree_.list("index_params")) columns.push_back(element.str("name"));
    if (tree_.flag("unique") && !check_unique(*relation, columns, "a unique index")) return;
  }
  if (tree_.flag("concurrent")) concurrently("CREATE INDEX");
  run_for(tree_.child("relation"));
}

void DdlPlanner::drop() {
  const std::string type = tree_.name_of("remove_type");
  set_tag("DROP " + object_words(type));
  static const std::set<std::string> kRelations = {"OBJECT_TABLE", "OBJECT_INDEX", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_SEQUENCE", "OBJECT_FOREIGN_TABLE"};
  static const std::set<std::string> kOfTables = {"OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE"};
  std::vector<const Relation*> relations;
  bool temp = false;
  for (const Tree& object : tree_.list("objects")) {
    std::vector<std::string> names;   // functions, types and schemas have none
    if (object.is("List")) names = object.strings("items");
    if (kOfTables.contains(type) && !names.empty()) names.pop_back();
    const auto* temps = input_.context->temp_relations;
    if (names.size() == 1 && temps != nullptr && std::ranges::find(*temps, names[0]) != temps->end()) {
      temp = true;
      relations.push_back(nullptr);
    } else {
      relations.push_back(find(names));
    }
  }
  if (tree_.flag("concurrent")) concurrently(out_.tag);
  out_.effects.uses_temp = temp;
  if (kRelations.contains(type) || kOfTables.contains(type)) return run_for(relations, tree_.flag("missing_ok"));
  run_everywhere();
}

void DdlPlanner::truncate() {
  set_tag("TRUNCATE TABLE");
  spec_.changes_catalog = false;
  spec_.writes_rows = true;
  for (const Tree& relation : tree_.list("relations")) out_.effects.uses_temp = out_.effects.uses_temp || is_temp(relation);
  run_for(relations_of(tree_.list("relations")), false);
}

void DdlPlanner::create_as() {
  const bool into = tree_.is("SelectStmt");
  const Tree clause = into ? tree_.child("into_clause") : tree_.child("into");
  const bool matview = !into && tree_.name_of("objtype") == "OBJECT_MATVIEW";
  set_tag(matview ? "CREATE MATERIALIZED VIEW" : into ? "SELECT INTO" : "CREATE TABLE AS");
  spec_.writes_rows = true;
  if (input_.statement->query == nullptr) return refuse(out_, "CREATE TABLE AS EXECUTE is not supported", "Use CREATE TABLE AS with the query itself.");
  const Scope scope(*input_.statement->query, *input_.context);
  const Survey survey = survey_of(scope);
  const bool elsewhere = std::ranges::any_of(survey.units, [&](UnitId unit) { return unit != snapshot_.home; });
  if (!survey.sharded.empty() || !survey.hidden_what.empty() || elsewhere)
    return refuse(out_, "a table can not be created from a query that reads tables of other storage units", "Create the table, then load it with COPY or INSERT.");
  spec_.creates_temp = is_temp(clause.child("rel"));
  run_home();
}

void DdlPlanner::create_view() {
  set_tag("CREATE VIEW");
  if (is_temp(tree_.child("view"))) {
    spec_.creates_temp = true;
    return run_home();
  }
  if (input_.statement->query == nullptr) return refuse(out_, "this form of CREATE VIEW is not supported", "");
  const Scope scope(*input_.statement->query, *input_.context);
  const Survey survey = survey_of(scope);
  const bool distributed = !survey.sharded.empty() || !survey.broadcast.empty() || !survey.hidden_what.empty();
  if (!survey.sharded.empty() || !survey.hidden_what.empty()) {
    if (!survey.units.empty())
      return refuse(out_, "a view can not join a sharded table with \"" + survey.single_name + "\", which lives on one unit", "Make it a broadcast table with create_reference_table().");
  }
  if (survey.units.size() > 1) return refuse(out_, "a view can not read tables of different storage units", "");
  if (!survey.units.empty()) return run_at({false, *survey.units.begin()});
  if (distributed) return run_everywhere();
  run_home();
}

void DdlPlanner::rename() {
  const std::string type = tree_.name_of("rename_type");
  const bool part = type == "OBJECT_COLUMN" || type == "OBJECT_ATTRIBUTE" || type == "OBJECT_TABCONSTRAINT";
  set_tag("ALTER " + object_words(part ? tree_.name_of("relation_type") : type));
  if (type == "OBJECT_TABCONSTRAINT") set_tag("ALTER TABLE");
  if (const Tree relation = tree_.child("relation")) return run_for(relation);
  out_.name = tree_.str("subname");
  if (type == "OBJECT_DATABASE") return refuse(out_, "a database can not be renamed", "Create a new one and move the data.");
  run_everywhere();
}

void DdlPlanner::grant() {
  set_tag(tree_.flag("is_grant") ? "GRANT" : "REVOKE");
  const std::string type = tree_.name_of("objtype");
  if (tree_.name_of("targtype") == "ACL_TARGET_OBJECT" && (type == "OBJECT_TABLE" || type == "OBJECT_SEQUENCE"))
    return run_for(relations_of(tree_.list("objects")), false);
  run_everywhere();
}

void DdlPlanner::comment() {
  set_tag(tree_.is("CommentStmt") ? "COMMENT" : "SECURITY LABEL");
  const std::string type = tree_.name_of("objtype");
  std::vector<std::string> names = tree_.child("object").strings(tree_.child("object").is("List") ? "items" : "names");
  static const std::set<std::string> kRelations = {"OBJECT_TABLE", "OBJECT_INDEX", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_SEQUENCE", "OBJECT_FOREIGN_TABLE"};
  static const std::set<std::string> kParts = {"OBJECT_COLUMN", "OBJECT_TABCONSTRAINT", "OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE"};
  if (kParts.contains(type) && !names.empty()) names.pop_back();
  if (kRelations.contains(type) || kParts.contains(type)) return run_for({find(names)}, false);
  run_everywhere();
}

// Functions are needed wherever statements run; one that names a single table can only be made where that table is.
void DdlPlanner::create_function() {
  set_tag(tree_.flag("is_procedure") ? "CREATE PROCEDURE" : "CREATE FUNCTION");
  const auto is_single = [&](const std::string& name) {
    return std::ranges::any_of(snapshot_.relations(), [&](const auto& relation) {
      return relation->name == name && where(relation.get()) == Where{false, snapshot_.home};
    });
  };
  bool single = false;
  sql::Lexer lexer(input_.own_text(), input_.context->standard_conforming_strings);
  const auto scan = [&](const auto& self, std::string_view text, int depth) -> void {
    sql::Lexer inner(text, true);
    for (sql::Token token = inner.next(); token.kind != sql::TokenKind::kEnd && token.kind != sql::TokenKind::kFail; token = inner.next()) {
      const std::string_view piece = text.substr(token.begin, token.end - token.begin);
      if (token.kind == sql::TokenKind::kIdentifier || token.kind == sql::TokenKind::kQuotedIdentifier) {
        std::string name(piece);
        if (name.front() == '"') name = name.substr(1, name.size() - 2);
        single = single || is_single(name);
      } else if (depth < 3 && token.kind == sql::TokenKind::kDollarString) {
        const size_t tag = piece.find('$', 1) + 1;
        self(self, piece.substr(tag, piece.size() - 2 * tag), depth + 1);
      } else if (depth < 3 && token.kind == sql::TokenKind::kString && piece.size() > 2) {
        self(self, piece.substr(1, piece.size() - 2), depth + 1);
      }
    }
  };
  scan(scan, input_.own_text(), 0);
  if (single) return run_home();
  run_everywhere();
}

void DdlPlanner::role(const std::string& kind) {
  set_tag(kind == "CreateRoleStmt" ? "CREATE ROLE" : kind == "DropRoleStmt" ? "DROP ROLE" : "ALTER ROLE");
  spec_.tag_object = "role";
  spec_.changes_catalog = false;
  run_everywhere();
  if (kind != "CreateRoleStmt" && kind != "AlterRoleStmt") return;
  for (const Tree& option : tree_.list("options")) {
    if (option.str("defname") != "password") continue;
    if (!option.child("arg")) return;  // PASSWORD NULL
    // The literal behind PASSWORD; its option's location is the keyword's.
    const sql::Range range = input_.range();
    sql::Lexer lexer(input_.sql.substr(0, range.end), input_.context->standard_conforming_strings, static_cast<size_t>(option.num("location")));
    for (sql::Token token = lexer.next(); token.kind != sql::TokenKind::kEnd && token.kind != sql::TokenKind::kFail; token = lexer.next()) {
      if (token.kind == sql::TokenKind::kIdentifier) continue;
      if (token.kind != sql::TokenKind::kString && token.kind != sql::TokenKind::kEscape)
        return refuse(out_, "this form of a password literal is not supported", "Write the password between single quotes.");
      const std::string name = kind == "CreateRoleStmt" ? tree_.str("role") : tree_.child("role").str("rolename");
      spec_.password = DdlSpec::Password{token.begin - input_.base(), token.end - token.begin, name};
      return;
    }
  }
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
  static const std::vector<std::pair<std::string, std::string>> kEverywhere = {
      {"CompositeTypeStmt", "CREATE TYPE"}, {"CreateEnumStmt", "CREATE TYPE"}, {"CreateRangeStmt", "CREATE TYPE"},
      {"CreateDomainStmt", "CREATE DOMAIN"}, {"AlterEnumStmt", "ALTER TYPE"}, {"AlterTypeStmt", "ALTER TYPE"},
      {"AlterDomainStmt", "ALTER DOMAIN"}, {"CreateExtensionStmt", "CREATE EXTENSION"}, {"AlterExtensionStmt", "ALTER EXTENSION"},
      {"AlterExtensionContentsStmt", "ALTER EXTENSION"}, {"AlterFunctionStmt", "ALTER FUNCTION"}, {"CreateCastStmt", "CREATE CAST"},
      {"CreateTransformStmt", "CREATE TRANSFORM"}, {"CreateOpClassStmt", "CREATE OPERATOR CLASS"}, {"CreateOpFamilyStmt", "CREATE OPERATOR FAMILY"},
      {"AlterOpFamilyStmt", "ALTER OPERATOR FAMILY"}, {"AlterOperatorStmt", "ALTER OPERATOR"}, {"CreateConversionStmt", "CREATE CONVERSION"},
      {"AlterTSDictionaryStmt", "ALTER TEXT SEARCH DICTIONARY"}, {"AlterTSConfigurationStmt", "ALTER TEXT SEARCH CONFIGURATION"},
      {"CreateAmStmt", "CREATE ACCESS METHOD"}, {"CreatePLangStmt", "CREATE LANGUAGE"}, {"AlterRoleSetStmt", "ALTER ROLE"},
      {"GrantRoleStmt", "GRANT ROLE"}, {"AlterDefaultPrivilegesStmt", "ALTER DEFAULT PRIVILEGES"}, {"ReassignOwnedStmt", "REASSIGN OWNED"},
      {"DropOwnedStmt", "DROP OWNED"}, {"CreateFdwStmt", "CREATE FOREIGN DATA WRAPPER"}, {"AlterFdwStmt", "ALTER FOREIGN DATA WRAPPER"},
      {"CreateForeignServerStmt", "CREATE SERVER"}, {"AlterForeignServerStmt", "ALTER SERVER"}, {"CreateUserMappingStmt", "CREATE USER MAPPING"},
      {"AlterUserMappingStmt", "ALTER USER MAPPING"}, {"DropUserMappingStmt", "DROP USER MAPPING"}, {"AlterCollationStmt", "ALTER COLLATION"},
      {"CreateEventTrigStmt", "CREATE EVENT TRIGGER"}, {"AlterEventTrigStmt", "ALTER EVENT TRIGGER"}};
  const auto found = std::ranges::find(kEverywhere, kind, &std::pair<std::string, std::string>::first);
  if (found != kEverywhere.end()) {
    set_tag(found->second);
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
      refuse(out_, "CREATE SCHEMA with objects in it is not supported", "Create the schema first, then the objects.");
    } else {
      run_everywhere();
    }
  } else if (kind == "AlterObjectSchemaStmt" || kind == "AlterOwnerStmt" || kind == "AlterObjectDependsStmt") {
    set_tag("ALTER " + object_words(tree_.name_of("object_type")));
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
      refuse(out_, "rules on the distributed table \"" + relation->name + "\" are not supported", "Use a trigger.");
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
      {"CreatedbStmt", "CREATE DATABASE"}, {"DropdbStmt", "DROP DATABASE"}, {"AlterDatabaseStmt", "ALTER DATABASE"},
      {"AlterDatabaseSetStmt", "ALTER DATABASE"}, {"AlterDatabaseRefreshCollStmt", "ALTER DATABASE"}};
  const auto found = std::ranges::find(kDatabases, kind, &std::pair<std::string, std::string>::first);
  if (found == kDatabases.end()) return false;
  set_tag(found->second);
  out_.name = tree_.str("dbname");
  spec_.tag_object = "database";
  spec_.changes_catalog = false;
  // ALTER DATABASE … SET does not need to stay outside of transactions.
  if (kind != "AlterDatabaseSetStmt") concurrently(found->second);
  run_everywhere();
  return true;
}

bool DdlPlanner::maintenance(const std::string& kind) {
  spec_.changes_catalog = false;
  if (kind == "VacuumStmt") {
    const bool vacuum = tree_.flag("is_vacuumcmd");
    set_tag(vacuum ? "VACUUM" : "ANALYZE");
    if (vacuum) concurrently("VACUUM");
    std::vector<const Relation*> relations;
    for (const Tree& item : tree_.list("rels")) relations.push_back(find(item.child("relation")));
    if (relations.empty()) {
      run_everywhere();
    } else {
      run_for(relations, false);
    }
  } else if (kind == "ClusterStmt" || kind == "ReindexStmt") {
    concurrently(kind == "ClusterStmt" ? "CLUSTER" : "REINDEX");
    if (const Tree relation = tree_.child("relation")) {
      run_for(relation);
    } else {
      run_everywhere();
    }
  } else if (kind == "LockStmt") {
    set_tag("LOCK TABLE");
    run_for(relations_of(tree_.list("relations")), false);
  } else if (kind == "CheckPointStmt") {
    concurrently("CHECKPOINT");
    run_everywhere();
  } else {
    return false;
  }
  return true;
}

void DdlPlanner::plan() {
  const std::string kind = tree_.kind();
  if (kind == "AlterSystemStmt") return refuse(out_, "ALTER SYSTEM is not supported", "Change the cluster's configuration instead.");
  if (!tables(kind) && !objects(kind) && !databases(kind) && !maintenance(kind))
    refuse(out_, "this kind of statement is not supported (" + kind + ")", "Run it on a storage unit directly if it is needed there.");
  if (out_.action == Action::kDdl || out_.action == Action::kDdlConcurrent) out_.detail = std::move(spec_);
}

}  // namespace

void plan_ddl(const UtilityInput& input, Plan& out) { DdlPlanner(input, out).plan(); }

}  // namespace decan::plan
