// Whether a query can be answered unit by unit: its rows are the union of what every unit computes over its
// own buckets.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plan/key_facts.h"
#include "plan/scope.h"
#include "plan/survey.h"

namespace decan::plan {

// One sharded table (or a derived one that passes its key on) inside a join: columns that tell a row's
// bucket.
struct KeyTuple {
  const catalog::ShardGroup* group = nullptr;
  std::vector<ColumnId> columns;
  bool nullable = false;  // on the nullable side of an outer join: NULL where there was no match
};

// How the rows of something lie on the units.
struct Spread {
  bool sharded = false;        // false: every unit computes the same rows
  std::vector<KeyTuple> keys;  // all lead to the same unit for a row
};

struct Obstacle {
  std::string message, hint;
};

class SpreadFinder {
 public:
  SpreadFinder(const Scope& scope, const FactFinder& facts) : scope_(scope), facts_(facts) {}
  // Spread of the rows that FROM and WHERE of a block yield; sub-queries in its expressions are checked, too.
  // nullopt: see obstacle().
  std::optional<Spread> rows_of(const Level& level);
  // Spread of a whole sub-query's output, in terms of `source`'s columns.
  std::optional<Spread> output_of(const Level& level, const Source& source);
  // True when `exprs` hold all columns of a key that is never NULL for want of a match.
  bool contains_key(const Level& level, const Spread& spread,
                    const std::vector<const sql::Expr*>& exprs) const;
  bool contains_key(const Level& level, const Spread& spread, const std::vector<ColumnId>& columns) const;
  const Obstacle& obstacle() const { return obstacle_; }
  // A position in GROUP BY was followed, so the answer holds for this literal only.
  bool literal_dependent() const { return literal_dependent_; }

 private:
  std::nullopt_t fail_with(std::string message, std::string hint);
  std::optional<Spread> item(const Level& level, const sql::FromItem& from, const Facts& above);
  std::optional<Spread> relation(const Source& source);
  std::optional<Spread> join(const Level& level, const sql::FromItem& from, const Facts& above);
  std::optional<Spread> combine(Spread left, Spread right, const Closure& closure);
  bool colocated(const Spread& left, const Spread& right, const Closure& closure) const;
  bool check_sublinks(const Level& level, const Spread& spread);
  bool check_sublink(const Level& child, const Spread& spread);
  bool is_tied_lateral(const sql::FromItem& from, const Spread& beside);
  bool every_shard_tied(const Level& level, const Spread& outer);
  std::optional<Spread> union_output(const Level& level, const Source& source);
  bool is_row_wise(const Level& level, const Spread& rows);
  bool outputs_contain_key(const Level& level, const Spread& rows) const;
  Spread passed_keys(const Level& level, const Source& source, const Spread& rows) const;
  bool replicated_exactly(const Level& level);
  bool is_exact_number(const Level& level, const sql::Expr& expr) const;

  const Scope& scope_;
  const FactFinder& facts_;
  std::vector<const sql::Expr*> group_exprs(const sql::Query& query);

  Obstacle obstacle_;
  bool literal_dependent_ = false;
};

// Windows of a block: those of its functions with named ones resolved. nullopt: PARTITION BY can not be told.
std::vector<const sql::Expr*> partition_of(const sql::Query& query, const sql::Window& window);
bool has_aggregate(const sql::Expr* expr);
bool has_window(const sql::Expr* expr);

}  // namespace decan::plan
