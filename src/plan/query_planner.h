// Plans SELECT, INSERT, UPDATE, DELETE and MERGE. One object per statement; makes the plan once.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "plan/key_facts.h"
#include "plan/now_calls.h"
#include "plan/plan.h"
#include "plan/planner.h"
#include "plan/scope.h"
#include "plan/spread.h"
#include "plan/survey.h"
#include "plan/text.h"
#include "sql/parse.h"

namespace decan::plan {

struct QueryInput {
  const sql::Query* query = nullptr;
  sql::Tree tree;        // the statement it stands in
  sql::Range range;      // of the query in the text
  sql::Range statement;  // of the statement it stands in: COPY (query) …, DECLARE … FOR query
  std::span<const Oid> parameter_types;
};

class QueryPlanner {
 public:
  QueryPlanner(const QueryInput& input, const SourceText& source, const Context& context);

  // Fills action, routing, texts, merge, effects; tag and returns_rows too.
  void plan(Plan& out);
  // The plan depends on the value of a literal that its template leaves open.
  bool literal_dependent() const { return literal_dependent_; }

 private:
  // --- decisions (query_planner.cpp) ---
  void describe(Plan& out) const;
  void decide(Plan& out);
  std::optional<std::vector<Oid>> known_tables() const;
  void note_spellings();
  bool refuse_hidden(Plan& out) const;
  bool refuse_waiting(Plan& out) const;
  void route_without_shards(Plan& out);
  bool all_on_one_unit(Plan& out);
  bool route_by_key(Plan& out);
  void route_pins(Plan& out, std::vector<Routing::Pin> pins);
  std::optional<Routing::Pin> pin_of(const Source& source) const;
  bool key_is_changed(Plan& out) const;
  bool assigns_same_key(const Level& level, const sql::Target& target, const Source& source,
                        size_t key) const;
  bool single_valued(const Routing& routing) const;
  bool names_only() const;
  void scatter(Plan& out);
  void scatter_everywhere(Plan& out) const;  // routing to all units that hold buckets of its tables
  const NowCalls& now_calls();

  // --- writes (write_planner.cpp) ---
  void plan_insert(Plan& out);
  void insert_values(Plan& out, const sql::Query& source);
  void insert_select(Plan& out);
  std::optional<std::vector<ValueRef>> row_key(const std::vector<const sql::Expr*>& row,
                                               std::string& why) const;
  void plan_broadcast_write(Plan& out);
  std::string broadcast_obstacle();
  void scatter_write(Plan& out);
  bool insert_keys(const Level& source, std::vector<KeyCondition>& keys) const;
  bool inserts_own_key(const Level& source, const Spread& spread) const;
  void write_text_with_now(Plan& out);

  // --- texts (query_text.cpp) ---
  void make_leaf_text(Plan& out);
  bool leaves_possible() const;
  bool touches_identity() const;
  bool make_whole_text(Plan& out);
  void make_catalog_text(Plan& out);
  bool names_star() const;                                // "*" or "t.*" stands somewhere
  std::string system_schema(const Source& source) const;  // of a system catalog or view; empty for others
  void add_guards(TextBuilder& builder, const sql::QueryLayout& layout) const;
  const sql::QueryLayout* layout();
  std::string_view own_text() const;  // what Values::sql will be for this statement, up to its end

  const QueryInput& input_;
  const sql::Query& query_;
  const SourceText& source_;
  const Context& context_;
  const catalog::Snapshot& snapshot_;
  Scope scope_;
  Survey survey_;
  ValueReader values_;
  FactFinder facts_;
  sql::RewriteProof proof_;
  std::optional<sql::QueryLayout> layout_;
  bool layout_tried_ = false;
  std::optional<NowCalls> now_;
  mutable bool literal_dependent_ = false;
};

// Plan::refusal with 0A000.
void refuse(Plan& out, std::string message, std::string hint, std::string detail = {});
// `what` ("view \"v\"") reads `table` where the statement does not show it; catalog::kDynamicSql: perhaps
// any.
// Rows for a table that has to be distributed first (Relation::waits_for).
void refuse_write_before_distribution(Plan& out, const catalog::Relation& relation);
void refuse_hidden(Plan& out, const std::string& what, std::string_view table);

// The conjunct that raises 22012 when the unit's bucket map is not of this epoch.
std::string guard_conjunct(int64_t epoch);

}  // namespace decan::plan
