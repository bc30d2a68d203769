// DROP, TRUNCATE, RENAME, rights, comments, functions, roles.
#include <algorithm>
#include <optional>
#include <set>

#include "plan/ddl_planner.h"
#include "plan/functions.h"
#include "plan/query_planner.h"
#include "plan/spellings.h"
#include "plan/survey.h"
#include "sql/lexer.h"

namespace decan::plan {

using catalog::Relation;
using sql::Tree;

bool DdlPlanner::is_routine(const std::string& object_type) {
  return object_type == "OBJECT_FUNCTION" || object_type == "OBJECT_PROCEDURE" ||
         object_type == "OBJECT_ROUTINE" || object_type == "OBJECT_AGGREGATE";
}

void DdlPlanner::drop() {
  const std::string type = tree_.name_of("remove_type");
  set_tag("DROP " + object_words(type));
  static const std::set<std::string> kRelations = {"OBJECT_TABLE",    "OBJECT_INDEX",
                                                   "OBJECT_VIEW",     "OBJECT_MATVIEW",
                                                   "OBJECT_SEQUENCE", "OBJECT_FOREIGN_TABLE"};
  static const std::set<std::string> kOfTables = {"OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE"};
  std::vector<const Relation*> relations;
  bool temp = false;
  for (const Tree& object : tree_.list("objects")) {
    std::vector<std::string> names;
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
  if (tree_.flag("concurrent")) outside_blocks(out_.tag, "CONCURRENTLY");
  out_.effects.uses_temp = temp;
  if (kRelations.contains(type) && !temp && !tree_.flag("missing_ok") && !tree_.flag("concurrent") &&
      on_home_and_everywhere(relations))
    return drop_if_exists_elsewhere();
  if (kRelations.contains(type) || kOfTables.contains(type))
    return run_for(relations, tree_.flag("missing_ok"));
  if (is_routine(type)) tolerate_absence();
  run_everywhere();
}

// Whether some of them are on the home unit only, the others on all units.
bool DdlPlanner::on_home_and_everywhere(const std::vector<const Relation*>& relations) const {
  bool home = false, everywhere = false;
  for (const Relation* relation : relations) {
    const Where at = where(relation);
    if (!at.everywhere && at.unit != snapshot_.home) return false;
    (at.everywhere ? everywhere : home) = true;
  }
  return home && everywhere;
}

// The home unit has them all, and tells what is missing.
void DdlPlanner::drop_if_exists_elsewhere() {
  const std::string_view text = input_.own_text();
  sql::Lexer lexer(text, input_.context->standard_conforming_strings);
  sql::Token last;
  const auto words = 1 + std::ranges::count(out_.tag, ' ');
  for (ptrdiff_t i = 0; i < words; ++i) last = lexer.next();
  spec_.others_sql =
      std::string(text.substr(0, last.end)) + " IF EXISTS" + std::string(text.substr(last.end));
  run_everywhere();
}

void DdlPlanner::truncate() {
  set_tag("TRUNCATE TABLE");
  spec_.changes_catalog = false;
  spec_.writes_rows = true;
  for (const Tree& relation : tree_.list("relations"))
    out_.effects.uses_temp = out_.effects.uses_temp || is_temp(relation);
  run_for(relations_of(tree_.list("relations")), false);
}

void DdlPlanner::create_as() {
  const bool into = tree_.is("SelectStmt");
  const Tree clause = into ? tree_.child("into_clause") : tree_.child("into");
  const bool matview = !into && tree_.name_of("objtype") == "OBJECT_MATVIEW";
  set_tag(matview ? "CREATE MATERIALIZED VIEW" : into ? "SELECT INTO" : "CREATE TABLE AS");
  spec_.writes_rows = true;
  if (input_.statement->query == nullptr)
    return refuse(out_, "CREATE TABLE AS EXECUTE is not supported",
                  "Use CREATE TABLE AS with the query itself.");
  const Scope scope(*input_.statement->query, *input_.context);
  const Survey survey = survey_of(scope);
  const bool elsewhere =
      std::ranges::any_of(survey.units, [&](UnitId unit) { return unit != snapshot_.home; });
  const bool hidden = !survey.hidden_what.empty() || hidden_call(tree_, snapshot_);
  if (!survey.sharded.empty() || hidden || elsewhere)
    return refuse(out_, "a table can not be created from a query that reads tables of other storage units",
                  "Create the table, then load it with COPY or INSERT.");
  spec_.creates_temp = is_temp(clause.child("rel"));
  run_home();
}

void DdlPlanner::create_view() {
  set_tag("CREATE VIEW");
  if (is_temp(tree_.child("view"))) {
    spec_.creates_temp = true;
    return run_home();
  }
  if (input_.statement->query == nullptr)
    return refuse(out_, "this form of CREATE VIEW is not supported", "");
  const Scope scope(*input_.statement->query, *input_.context);
  const Survey survey = survey_of(scope);
  const bool hidden = !survey.hidden_what.empty() || hidden_call(tree_, snapshot_);
  const bool distributed = !survey.sharded.empty() || !survey.broadcast.empty() || hidden;
  if (!survey.sharded.empty() || hidden) {
    if (!survey.units.empty())
      return refuse(
          out_,
          "a view can not join a sharded table with \"" + survey.single_name + "\", which lives on one unit",
          "Make it a broadcast table with create_reference_table().");
  }
  if (survey.units.size() > 1)
    return refuse(out_, "a view can not read tables of different storage units", "");
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
  if (type == "OBJECT_DATABASE")
    return refuse(out_, "a database can not be renamed", "Create a new one and move the data.");
  if (is_routine(type)) tolerate_absence();
  run_everywhere();
}

void DdlPlanner::grant() {
  set_tag(tree_.flag("is_grant") ? "GRANT" : "REVOKE");
  const std::string type = tree_.name_of("objtype");
  if (tree_.name_of("targtype") == "ACL_TARGET_OBJECT" &&
      (type == "OBJECT_TABLE" || type == "OBJECT_SEQUENCE"))
    return run_for(relations_of(tree_.list("objects")), false);
  if (is_routine(type) && tree_.name_of("targtype") == "ACL_TARGET_OBJECT") tolerate_absence();
  run_everywhere();
}

void DdlPlanner::comment() {
  set_tag(tree_.is("CommentStmt") ? "COMMENT" : "SECURITY LABEL");
  const std::string type = tree_.name_of("objtype");
  const Tree object = tree_.child("object");
  std::vector<std::string> names;
  if (object.is("List")) names = object.strings("items");
  static const std::set<std::string> kRelations = {"OBJECT_TABLE",    "OBJECT_INDEX",
                                                   "OBJECT_VIEW",     "OBJECT_MATVIEW",
                                                   "OBJECT_SEQUENCE", "OBJECT_FOREIGN_TABLE"};
  static const std::set<std::string> kParts = {"OBJECT_COLUMN", "OBJECT_TABCONSTRAINT", "OBJECT_TRIGGER",
                                               "OBJECT_POLICY", "OBJECT_RULE"};
  if (kParts.contains(type) && !names.empty()) names.pop_back();
  if (kRelations.contains(type) || kParts.contains(type)) return run_for({find(names)}, false);
  if (is_routine(type)) tolerate_absence();
  run_everywhere();
}

// Functions are needed wherever statements run; one that names a single table can only be made where that
// table is.
void DdlPlanner::create_function() {
  set_tag(tree_.flag("is_procedure") ? "CREATE PROCEDURE" : "CREATE FUNCTION");
  const auto is_single = [&](const std::string& name) {
    return std::ranges::any_of(snapshot_.relations(), [&](const auto& relation) {
      return relation->name == name && relation->is_named() &&
             where(relation.get()) == Where{false, snapshot_.home};
    });
  };
  bool single = false;
  sql::Lexer lexer(input_.own_text(), input_.context->standard_conforming_strings);
  const auto scan = [&](const auto& self, std::string_view text, int depth) -> void {
    sql::Lexer inner(text, true);
    for (sql::Token token = inner.next();
         token.kind != sql::TokenKind::kEnd && token.kind != sql::TokenKind::kFail; token = inner.next()) {
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
    sql::Lexer lexer(input_.sql.substr(0, range.end), input_.context->standard_conforming_strings,
                     static_cast<size_t>(option.num("location")));
    for (sql::Token token = lexer.next();
         token.kind != sql::TokenKind::kEnd && token.kind != sql::TokenKind::kFail; token = lexer.next()) {
      if (token.kind == sql::TokenKind::kIdentifier) continue;
      if (token.kind != sql::TokenKind::kString && token.kind != sql::TokenKind::kEscape)
        return refuse(out_, "this form of a password literal is not supported",
                      "Write the password between single quotes.");
      const std::string name =
          kind == "CreateRoleStmt" ? tree_.str("role") : tree_.child("role").str("rolename");
      spec_.password = DdlSpec::Password{token.begin - input_.base(), token.end - token.begin, name};
      return;
    }
  }
}

}  // namespace decan::plan
