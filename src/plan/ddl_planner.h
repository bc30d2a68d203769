// DDL: on which units it runs, and what would break the placement of tables. Private to the module; see
// plan_ddl().
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "plan/spellings.h"
#include "plan/utility_planner.h"
#include "sql/tree.h"

namespace decan::plan {

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
  const catalog::Relation* find(const sql::Tree& range_var) const;
  const catalog::Relation* find(const std::vector<std::string>& names) const;
  bool is_temp(const sql::Tree& range_var) const;
  Where where(const catalog::Relation* relation) const;
  void run_at(Where where);
  void run_everywhere() { run_at({true, {}}); }
  void run_home() { run_at({false, snapshot_.home}); }
  void run_for(const std::vector<const catalog::Relation*>& relations, bool missing_ok);
  void run_for(const sql::Tree& range_var);
  // What PostgreSQL runs outside of transaction blocks only; `words` follow the tag in its error.
  void outside_blocks(std::string tag, std::string_view words = {});
  void tolerate_absence();
  bool on_home_and_everywhere(const std::vector<const catalog::Relation*>& relations) const;
  void drop_if_exists_elsewhere();
  static bool is_routine(const std::string& object_type);
  void set_tag(std::string tag) { out_.tag = std::move(tag); }
  static std::string object_words(const std::string& object_type);

  // --- hidden functions (ddl_hidden.cpp) ---
  void refuse_hidden_code(const std::string& kind);
  bool concerns_temporary(const std::string& kind) const;
  HiddenCall called_below(const sql::Tree& tree) const;
  HiddenCall called_by_alter(const catalog::Relation* relation, const sql::Tree& command) const;
  HiddenCall called_by_temporary(const std::string& kind) const;
  HiddenCall called_by_trigger() const;

  // --- statements ---
  bool tables(const std::string& kind);
  bool objects(const std::string& kind);
  bool databases(const std::string& kind);
  bool maintenance(const std::string& kind);
  void create_table(const sql::Tree& stmt);
  void create_as();
  void create_view();
  void alter_table();
  void leave_out_only();
  bool check_alter(const catalog::Relation& relation, const sql::Tree& command);
  bool check_column(const catalog::Relation* relation, const std::string& table, const sql::Tree& column);
  bool check_constraint(const catalog::Relation* relation, const std::string& table,
                        const sql::Tree& constraint, const std::string& column);
  bool check_unique(const catalog::Relation& relation, const std::vector<std::string>& columns,
                    const std::string& what);
  bool check_foreign_key(const catalog::Relation* relation, const std::string& table,
                         const sql::Tree& constraint, const std::string& column);
  void create_index();
  void drop();
  void truncate();
  void lock();
  void rename();
  void grant();
  void comment();
  void create_function();
  void role(const std::string& kind);
  std::vector<const catalog::Relation*> relations_of(const std::vector<sql::Tree>& nodes) const;
  bool is_key_column(const catalog::Relation& relation, const std::string& column) const;

  const UtilityInput& input_;
  const sql::Tree tree_;
  const catalog::Snapshot& snapshot_;
  Plan& out_;
  DdlSpec spec_;
};

}  // namespace decan::plan
