// Name resolution: which relation and column a name in a query means. Builds one Level per query block
// (SELECT, leg of a set operation, sub-query, CTE, the statement itself) with its sources. Lives only while a
// statement is planned.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plan/planner.h"
#include "sql/ast.h"

namespace decan::plan {

struct Level;

// Something that yields rows in FROM, or the target of a write.
struct Source {
  enum class Kind : uint8_t { kRelation, kDerived, kFunction };
  Kind kind = Kind::kRelation;
  Level* level = nullptr;                       // where it stands
  const sql::FromItem* item = nullptr;          // null for the target of a write
  const sql::RelationRef* ref = nullptr;        // kRelation
  const catalog::Relation* relation = nullptr;  // null: system catalog, temporary or unknown
  bool is_temp = false;
  Level* derived = nullptr;          // kDerived: the sub-query or CTE; null for a CTE's reference to itself
  std::string alias;                 // name it is referred to by
  std::vector<std::string> columns;  // names, when known
  bool columns_known = false;
  bool is_write_target = false;
};

// A column of a source.
struct ColumnId {
  const Source* source = nullptr;
  uint32_t index = 0;
  auto operator<=>(const ColumnId&) const = default;
};

enum class LevelRole : uint8_t { kTop, kLeg, kSublink, kDerived, kCte };

struct Level {
  const sql::Query* query = nullptr;
  Level* parent = nullptr;  // enclosing scope of names
  LevelRole role = LevelRole::kTop;
  const sql::Expr* sublink = nullptr;  // kSublink
  const Source* as_source = nullptr;   // kDerived, and kCte that is referred to once
  uint32_t references = 0;             // kCte
  bool recursive = false;              // CTE that may refer to itself
  std::vector<Source*> sources;
  std::vector<Level*> children;  // legs, sublinks, derived tables, CTEs
  std::map<std::string, Level*, std::less<>> ctes;
};

class Scope {
 public:
  Scope(const sql::Query& query, const Context& context);
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  const Level& top() const { return *top_; }
  const std::deque<Level>& levels() const { return levels_; }
  const std::deque<Source>& sources() const { return sources_; }
  const Context& context() const { return context_; }

  // The column a reference means; nullopt when it can not be told.
  std::optional<ColumnId> resolve(const Level& level, const sql::Expr& column) const;
  // The catalog's column, followed through derived tables that pass it on unchanged; nullptr if it is no such
  // column.
  const catalog::Column* base_column(const ColumnId& id) const;
  // The column a derived source's column is made of, when it is one.
  std::optional<ColumnId> origin(const ColumnId& id) const;
  // The name stands for a whole row of a source: SELECT o FROM orders o.
  bool is_whole_row(const Level& level, const sql::Expr& column) const;
  // All columns that * or t.* stands for, in order; nullopt when a source's columns are unknown.
  struct StarColumn {
    std::string name;
    std::optional<ColumnId> column;  // none for a column that a FULL JOIN … USING merges
    bool merged = false;             // by USING or NATURAL: its name alone refers to it
  };
  std::optional<std::vector<StarColumn>> expand_star(const Level& level, const sql::Expr& star) const;
  const Source* source_of(const sql::FromItem& item) const;
  // Output names of a query; nullopt when unknown.
  std::optional<std::vector<std::string>> output_names(const Level& level) const;
  // Target expression of output column i when the level is a plain SELECT (stars expanded): either a column
  // or an expression.
  struct Output {
    std::optional<ColumnId> column;
    const sql::Expr* expr = nullptr;  // null: a column of *
    bool merged = false;              // see StarColumn
  };
  std::optional<std::vector<Output>> outputs(const Level& level) const;

 private:
  Level& add_level(const sql::Query& query, Level* parent, LevelRole role);
  void fill(Level& level);
  void add_from(Level& level, const sql::FromItem& item);
  void add_relation(Level& level, const sql::RelationRef& ref, const sql::FromItem* item);
  void name_function_columns(Source& source, const sql::FromItem& item);
  void add_sublinks(Level& level, const sql::Expr* expr);
  void add_expressions(Level& level);
  Level* find_cte(const Level& level, std::string_view name) const;
  void name_columns(Source& source, const std::vector<std::string>& aliases);
  std::optional<ColumnId> find_in_level(const Level& level, std::string_view name, bool& unknown) const;
  std::optional<std::vector<StarColumn>> columns_of(const sql::FromItem& item) const;
  std::optional<ColumnId> merged_column(const Level& level, std::string_view name) const;
  const Source* find_source(const Level& level, const std::vector<std::string>& names) const;

  const Context& context_;
  std::deque<Level> levels_;
  std::deque<Source> sources_;
  std::map<const sql::FromItem*, const Source*> by_item_;
  Level* top_ = nullptr;
};

bool is_system_column(std::string_view name);

// Calls `visit` for the expression and everything below it, sub-queries excluded (their node itself is
// visited).
template <class Visit>
void walk(const sql::Expr* expr, const Visit& visit) {
  if (expr == nullptr) return;
  visit(*expr);
  for (const sql::Expr* arg : expr->args) walk(arg, visit);
  walk(expr->filter, visit);
  for (const auto& item : expr->agg_order) walk(item.expr, visit);
  if (expr->window != nullptr) {
    for (const sql::Expr* item : expr->window->partition_by) walk(item, visit);
    for (const auto& item : expr->window->order_by) walk(item.expr, visit);
    for (const sql::Expr* item : expr->window->bounds) walk(item, visit);
  }
}

// Every expression that stands directly in a query block (not in its sub-queries, legs, derived tables).
std::vector<const sql::Expr*> expressions_of(const sql::Query& query);

}  // namespace decan::plan
