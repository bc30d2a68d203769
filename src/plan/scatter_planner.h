// Tier 2: the fragment that every unit gets for a SELECT over several of them, and how the rows are merged.
// Exact, or an obstacle.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "plan/now_calls.h"
#include "plan/plan.h"
#include "plan/spread.h"
#include "plan/survey.h"
#include "plan/text.h"
#include "sql/layout.h"

namespace decan::plan {

struct ScatterInput {
  const Scope& scope;
  const Survey& survey;
  const FactFinder& facts;
  const ValueReader& values;
  const SourceText& source;
  const sql::QueryLayout& layout;
  const NowCalls& now;
  sql::Range statement;
  bool conforming_strings = true;
};

class ScatterPlanner {
 public:
  explicit ScatterPlanner(const ScatterInput& input);

  // Fills `merge` and `fragment_text` of the plan; false: see obstacle().
  bool build(Plan& out);
  const Obstacle& obstacle() const { return obstacle_; }
  // The plan depends on the value of a literal: ORDER BY 2, or two expressions that must be the same.
  bool literal_dependent() const { return literal_dependent_; }

 private:
  // A piece of SQL: new text, or a copy of the statement's.
  using Snippet = std::vector<std::variant<std::string, sql::Range>>;

  // An ORDER BY item.
  struct Key {
    const sql::Expr* expr = nullptr;  // null: an output column of *
    Snippet text;
    std::optional<size_t> target;  // it means this output column
    const sql::SortItem* item = nullptr;
  };
  struct Group {
    const sql::Expr* expr = nullptr;
    sql::Range text;
    // Written with a cast: a bare constant would be read as a position.
    bool is_constant() const { return expr->kind == sql::ExprKind::kLiteral; }
  };
  // One output column: of a target, or of the star among them.
  struct Output {
    const sql::Expr* expr = nullptr;  // null: a column of *
    std::optional<ColumnId> column;
    Snippet text;
    std::string name;
  };

  bool fail_with(std::string message, std::string hint);
  // --- what the query asks (scatter_planner.cpp) ---
  bool check_statement();
  bool check_calls();
  bool list_outputs();
  std::optional<size_t> position_of(const sql::Expr& expr);
  bool resolve_groups();
  bool resolve_order();
  bool same(const sql::Expr& a, const sql::Expr& b);
  bool windows_are_local() const;
  bool outputs_contain_key() const;
  bool limits();
  static std::optional<int64_t> folded(const sql::Expr& expr);
  std::optional<ValueRef> count_value(const sql::Expr& expr) const;
  bool build_select();
  bool build_union();

  // --- rows and DISTINCT (scatter_rows.cpp) ---
  bool build_rows();
  bool build_distinct();
  uint32_t hide(Snippet text);
  bool is_volatile(const sql::Expr* expr) const;
  bool c_ordered(const Key& key) const;
  bool c_ordered(const sql::Expr& expr) const;
  SortKey sort_key(const Key& key, uint32_t column, bool of_output) const;

  // --- groups (scatter_groups.cpp) ---
  bool build_groups();
  bool add_output(const Output& output);
  bool add_aggregate(const sql::Expr& call, OutputColumn& out);
  bool follows_from_groups(const sql::Expr& expr);
  bool add_having();
  bool having_term(const sql::Expr& expr);
  bool add_group_order();
  static Snippet group_text(const Group& group);

  // --- text (scatter_text.cpp) ---
  void write(Plan& out, bool replace_targets, bool keep_order);
  void write_guard(TextBuilder& builder, const sql::SelectLayout& select) const;
  void write_limit(TextBuilder& builder) const;
  static void write_columns(TextBuilder& builder, const std::vector<Snippet>& columns, bool comma_first);
  void write_hidden(TextBuilder& builder, bool comma_first) const;
  static void write_snippet(TextBuilder& builder, const Snippet& snippet);

  const ScatterInput& in_;
  const Level& top_;
  const sql::Query& query_;
  SpreadFinder finder_;
  Spread spread_;
  MergeSpec merge_;
  Obstacle obstacle_;
  bool literal_dependent_ = false;
  bool has_aggregates_ = false;
  bool local_groups_ = false;
  bool having_stays_ = false;
  std::vector<Output> outputs_;
  std::vector<Group> groups_;
  std::vector<Key> order_;
  std::vector<Snippet> shown_;  // grouped: what stands for the targets
  std::vector<Snippet> hidden_;
};

}  // namespace decan::plan
