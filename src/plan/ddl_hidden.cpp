// Hidden functions (catalog/hidden.h) that DDL runs itself, over the rows that a table has, and those behind
// temporary objects, which no snapshot lists. What only stores a call is not refused: statements that run it
// will be.
#include <algorithm>

#include "plan/ddl_planner.h"
#include "plan/functions.h"
#include "plan/query_planner.h"
#include "plan/survey.h"

namespace decan::plan {

using catalog::Relation;
using sql::Tree;

namespace {

HiddenCall attached_to(const Relation* relation) {
  if (relation == nullptr) return {};
  const std::string& table = !relation->use_hidden.empty()     ? relation->use_hidden
                             : !relation->calls_hidden.empty() ? relation->calls_hidden
                                                               : relation->hides_sharded;
  if (table.empty()) return {};
  return {"a trigger, default, constraint, policy or column type of \"" + relation->name + "\"", table};
}

}  // namespace

HiddenCall DdlPlanner::called_below(const Tree& tree) const {
  if (auto call = hidden_call(tree, snapshot_)) return call;
  if (!snapshot_.may_miss_rows()) return {};
  for (const Tree& call : tree.all("FuncCall")) {
    const auto names = call.strings("funcname");
    if (!names.empty() && runs_text(names, call.list("args").size()))
      return {"function " + names.back() + "()", std::string(catalog::kDynamicSql)};
  }
  return {};
}

HiddenCall DdlPlanner::called_by_alter(const Relation* relation, const Tree& command) const {
  const std::string type = command.name_of("subtype");
  const Tree def = command.child("def");
  if (type == "AT_AddColumn") return called_below(def);
  if (type == "AT_AddConstraint") return def.flag("skip_validation") ? HiddenCall() : called_below(def);
  if (type == "AT_AlterColumnType") {
    if (auto call = called_below(def)) return call;
    return attached_to(relation);  // also checks, indexes and generated columns are made again
  }
  if (type == "AT_ValidateConstraint" || type == "AT_AttachPartition") return attached_to(relation);
  return {};
}

HiddenCall DdlPlanner::called_by_trigger() const {
  const auto names = tree_.strings("funcname");
  if (names.empty()) return {};
  const std::string schema = names.size() > 1 ? names[names.size() - 2] : "";
  const auto* hidden = snapshot_.hidden_function(schema, names.back());
  if (hidden == nullptr) return {};
  return {"function " + names.back() + "()", hidden->sharded_table};
}

// A temporary object over hidden functions would run them later unseen.
HiddenCall DdlPlanner::called_by_temporary(const std::string& kind) const {
  if (kind == "CreateTrigStmt") {
    if (auto call = called_by_trigger()) return call;
  }
  // A new table may take columns, defaults and constraints from those that it is made from.
  for (const Tree& range_var : tree_.all("RangeVar")) {
    if (auto call = attached_to(find(range_var))) return call;
  }
  return called_below(tree_);
}

bool DdlPlanner::concerns_temporary(const std::string& kind) const {
  if (kind == "CreateTableAsStmt" || kind == "SelectStmt") return spec_.creates_temp;
  if (kind == "ViewStmt") return is_temp(tree_.child("view"));
  static constexpr std::string_view kOfRelation[] = {"CreateStmt", "AlterTableStmt", "IndexStmt",
                                                     "CreateTrigStmt", "RuleStmt"};
  if (std::ranges::find(kOfRelation, kind) != std::end(kOfRelation)) return is_temp(tree_.child("relation"));
  if (kind == "CreatePolicyStmt" || kind == "AlterPolicyStmt") return is_temp(tree_.child("table"));
  return false;
}

void DdlPlanner::refuse_hidden_code(const std::string& kind) {
  if (out_.action == Action::kRefuse) return;
  HiddenCall call;
  if (concerns_temporary(kind)) {
    call = called_by_temporary(kind);
  } else if (kind == "CreateEventTrigStmt") {
    call = called_by_trigger();  // by any DDL, which no plan looks at
  } else if (kind == "AlterTableStmt") {
    const Relation* relation = find(tree_.child("relation"));
    for (const Tree& command : tree_.list("cmds")) {
      if ((call = called_by_alter(relation, command))) break;
    }
  } else if (kind == "IndexStmt") {
    call = called_below(tree_);
    const Relation* relation = find(tree_.child("relation"));
    const bool compares = relation != nullptr && !relation->use_hidden.empty();
    if (!call && compares) call = attached_to(relation);
  } else if (kind == "RefreshMatViewStmt") {
    const Relation* view = find(tree_.child("relation"));
    const bool hidden = view != nullptr && !(view->hides_sharded.empty() && view->use_hidden.empty());
    if (hidden) call = attached_to(view);
  } else if (kind == "AlterDomainStmt") {
    const Tree def = tree_.child("def");
    const auto names = tree_.strings("type_name");
    if (tree_.str("subtype") == "C" && !def.flag("skip_validation")) call = called_below(def);
    if (tree_.str("subtype") == "V" && !names.empty()) {
      const std::string schema = names.size() > 1 ? names[names.size() - 2] : "";
      const auto table = snapshot_.hidden_type(schema, names.back(), true);
      if (!table.empty()) call = {"a constraint of domain " + names.back(), std::string(table)};
    }
  }
  if (!call) return;
  refuse_hidden(out_, call.what, call.table);
  out_.refusal.hint +=
      kind == "AlterTableStmt"
          ? " A default can be set with ALTER COLUMN … SET DEFAULT, which does not run it, and "
            "a constraint added as NOT VALID."
          : "";
}

}  // namespace decan::plan
