// Tables, their constraints, indexes and views.
#include <algorithm>
#include <optional>
#include <set>

#include "plan/ddl_planner.h"
#include "plan/functions.h"
#include "plan/query_planner.h"
#include "plan/survey.h"
#include "sql/lexer.h"

namespace decan::plan {

using catalog::Placement;
using catalog::Relation;
using sql::Tree;

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
      return refuse(
          out_,
          "the partitions of the distributed table \"" + relation->name + "\" are managed by the cluster",
          "Create a table of its own.");
  }
  const std::string name = range_var.str("relname");
  for (const Tree& constraint : stmt.all("Constraint")) {
    if (!check_constraint(nullptr, name, constraint, "")) return;
  }
  std::vector<const Relation*> needed = relations_of(stmt.list("inh_relations"));
  for (const Relation* relation : needed) {
    if (!(where(relation) == Where{false, snapshot_.home}))
      return refuse(
          out_, "a table is created on the home unit, but \"" + relation->name + "\" is on another one", "");
  }
  run_home();
}

// Unknown functions and the clock in a default are evaluated once per unit.
bool DdlPlanner::check_column(const Relation* relation, const std::string& table, const Tree& column) {
  // Sharded tables: each row has its own value, and units give sequences ranges of their own.
  if (relation == nullptr || relation->placement != Placement::kBroadcast) return true;
  const auto type_names = column.child("type_name").strings("names");
  const std::string type = type_names.empty() ? "" : type_names.back();
  bool identity = type == "serial" || type == "bigserial" || type == "smallserial" || type == "serial4" ||
                  type == "serial8";
  bool differs = false;
  for (const Tree& constraint : column.list("constraints")) {
    identity = identity || constraint.name_of("contype") == "CONSTR_IDENTITY";
    if (constraint.name_of("contype") != "CONSTR_DEFAULT") continue;
    for (const Tree& call : constraint.all("FuncCall"))
      differs = differs || classify_function(call.strings("funcname")) != FunctionClass::kPure;
    differs = differs || !constraint.all("SQLValueFunction").empty();
  }
  if (identity) {
    refuse(out_, "a serial or identity column can not be added to the broadcast table \"" + table + "\"",
           "Create the column before the table is distributed, or use a uuid.");
  } else if (differs) {
    refuse(out_,
           "the default of a new column of the broadcast table \"" + table +
               "\" may give another value on every unit",
           "Add the column without a default, then set the default and update the rows with a constant.");
  }
  return !identity && !differs;
}

bool DdlPlanner::check_unique(const Relation& relation, const std::vector<std::string>& columns,
                              const std::string& what) {
  if (relation.placement != Placement::kSharded) return true;
  for (const int16_t key : relation.key_attnums) {
    const auto column = std::ranges::find(relation.columns, key, &catalog::Column::attnum);
    if (column == relation.columns.end() || std::ranges::find(columns, column->name) != columns.end())
      continue;
    refuse(out_,
           what + " on the sharded table \"" + relation.name + "\" must contain its sharding key column \"" +
               column->name + "\"",
           "Add the column \"" + column->name + "\" to it.");
    return false;
  }
  return true;
}

bool DdlPlanner::check_foreign_key(const Relation* relation, const std::string& table, const Tree& constraint,
                                   const std::string& column) {
  const Relation* target = find(constraint.child("pktable"));
  const Placement from = relation == nullptr ? Placement::kSingle : relation->placement;
  const Placement to = target == nullptr ? Placement::kSingle : target->placement;
  const std::string pair =
      "a foreign key from \"" + table + "\" to \"" + constraint.child("pktable").str("relname") + "\"";
  if (from == Placement::kSingle) {
    // A new table has no rows, and gets none before it is distributed (Relation::waits_for).
    if (to == Placement::kSharded && relation != nullptr) {
      refuse(out_, pair + " is not supported: a single table can not refer to a sharded one",
             "Distribute the table first, then add the foreign key.");
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
    refuse(out_, pair + " is not supported: the referenced table lives on one unit only",
           "Make it a broadcast table with create_reference_table().");
    return false;
  }
  if (to == Placement::kBroadcast) return true;
  if (from == Placement::kBroadcast) {
    refuse(out_, pair + " is not supported: a broadcast table can not refer to a sharded one", "");
    return false;
  }
  if (relation->group != target->group) {
    refuse(out_, pair + " is not supported: the tables are not in the same shard group",
           "Distribute them with colocate_with.");
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

bool DdlPlanner::check_constraint(const Relation* relation, const std::string& table, const Tree& constraint,
                                  const std::string& column) {
  const std::string type = constraint.name_of("contype");
  if (type == "CONSTR_FOREIGN") return check_foreign_key(relation, table, constraint, column);
  if (relation == nullptr) return true;
  if (type == "CONSTR_PRIMARY" || type == "CONSTR_UNIQUE") {
    if (!constraint.str("indexname").empty()) return true;
    std::vector<std::string> columns = constraint.strings("keys");
    if (columns.empty() && !column.empty()) columns = {column};
    return check_unique(*relation, columns,
                        type == "CONSTR_PRIMARY" ? "a primary key" : "a unique constraint");
  }
  if (type == "CONSTR_EXCLUSION" && relation->placement == Placement::kSharded) {
    refuse(
        out_, "exclusion constraints are not supported on the sharded table \"" + table + "\"",
        "PostgreSQL 15 has none on partitioned tables. Keep the table on one unit, or check with a trigger.");
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
    refuse(out_,
           "the sharding key column \"" + column + "\" of \"" + relation.name + "\" can not be " +
               (type == "AT_DropColumn" ? "dropped" : "changed to another type"),
           "Make the table single again with undistribute_table(), change it, and distribute it again.");
    return false;
  }
  const bool placed = type == "AT_AttachPartition" || type == "AT_DetachPartition" ||
                      type == "AT_DetachPartitionFinalize" || type == "AT_AddInherit" ||
                      type == "AT_DropInherit";
  const bool identity = type == "AT_AddIdentity" || type == "AT_SetUnLogged" || type == "AT_SetLogged" ||
                        type == "AT_EnableRule" || type == "AT_EnableAlwaysRule" ||
                        type == "AT_EnableReplicaRule" ||
                        (relation.placement == Placement::kSharded &&
                         (type == "AT_SetRelOptions" || type == "AT_ResetRelOptions"));
  if (placed || identity) {
    refuse(out_,
           placed ? "the partitions of the distributed table \"" + relation.name +
                        "\" are managed by the cluster"
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
    if (command.name_of("subtype") == "AT_DetachPartition" && command.child("def").flag("concurrent"))
      outside_blocks(out_.tag, "... DETACH CONCURRENTLY");
    for (const Tree& constraint : command.all("Constraint")) {
      if (!check_constraint(relation, tree_.child("relation").str("relname"), constraint, "")) return;
    }
  }
  // pg_dump writes ALTER TABLE ONLY; for a partitioned table ONLY would leave its partitions out.
  if (relation != nullptr && relation->placement == Placement::kSharded &&
      !tree_.child("relation").flag("inh"))
    leave_out_only();
  run_for(tree_.child("relation"));
}

void DdlPlanner::leave_out_only() {
  const std::string_view text = input_.own_text();
  sql::Lexer lexer(text, input_.context->standard_conforming_strings);
  for (sql::Token token = lexer.next(); token.kind == sql::TokenKind::kIdentifier; token = lexer.next()) {
    const std::string_view word = text.substr(token.begin, token.end - token.begin);
    if (word.size() != 4 ||
        !std::ranges::equal(word, std::string_view("only"), [](char a, char b) { return (a | 0x20) == b; }))
      continue;
    spec_.unit_sql = std::string(text.substr(0, token.begin)) + std::string(text.substr(token.end));
    return;
  }
}

void DdlPlanner::create_index() {
  set_tag("CREATE INDEX");
  if (tree_.flag("concurrent")) outside_blocks("CREATE INDEX", "CONCURRENTLY");
  const Relation* relation = find(tree_.child("relation"));
  if (relation != nullptr && relation->placement == Placement::kSharded) {
    if (tree_.flag("concurrent"))
      return refuse(
          out_, "CREATE INDEX CONCURRENTLY on the sharded table \"" + relation->name + "\" is not supported",
          "Leave CONCURRENTLY out.");
    std::vector<std::string> columns;
    for (const Tree& element : tree_.list("index_params")) columns.push_back(element.str("name"));
    if (tree_.flag("unique") && !check_unique(*relation, columns, "a unique index")) return;
  }
  run_for(tree_.child("relation"));
}

}  // namespace decan::plan
