// What the conditions of a statement say about key columns: equality with values and with each other. The
// rules for outer joins and sub-queries decide which condition may be used to leave out rows of which table
// without changing the answer; they are argued in README.md of this module.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <vector>

#include "plan/plan.h"
#include "plan/scope.h"
#include "plan/text.h"

namespace decan::plan {

// Types whose = compares as one family: int2/int4/int8; text and varchar; else the type itself.
Oid type_family(Oid type);
// OID of a built-in type by its name in a cast; 0 for others, arrays and types with a modifier.
Oid cast_type(const sql::TypeRef& type);

// Reads constants and parameters as values of a key column.
class ValueReader {
 public:
  ValueReader(const SourceText& source, std::span<const Oid> parameter_types, const Scope& scope);
  // The value as one that is compared with a column of type `type`; nullopt when it can not be used for
  // routing.
  std::optional<ValueRef> comparand(const sql::Expr& expr, Oid type) const;
  // The value as one that is assigned to such a column (INSERT, UPDATE), which converts differently.
  std::optional<ValueRef> assigned(const sql::Expr& expr, const catalog::Column& column) const;
  // = ANY(array).
  std::optional<KeyCondition> any_array(const sql::Expr& expr, Oid type) const;
  // A number for LIMIT and HAVING, as it stands; no casts.
  std::optional<ValueRef> plain(const sql::Expr& expr) const;

 private:
  std::optional<ValueRef> constant(const sql::Expr& expr, Oid type, Oid cast) const;
  std::optional<ValueRef> parameter(const sql::Expr& expr, Oid type, Oid cast) const;
  ValueRef literal_ref(const sql::Expr& expr) const;
  void note_uses(const Scope& scope);
  void note_assignments(const Level& level, std::map<const sql::Expr*, Oid>& out) const;
  void note_uses(const Level& level, const sql::Expr& expr, Oid context);
  Oid declared(int32_t number) const;

  const SourceText& source_;
  std::span<const Oid> parameter_types_;
  const Scope& scope_;
  std::map<int32_t, std::vector<Oid>> uses_;  // types each parameter's uses would give it; 0 unknown
};

// One usable fact.
struct Fact {
  ColumnId column;
  std::optional<ColumnId> equals;      // another column …
  std::optional<KeyCondition> values;  // … or values
};
using Facts = std::vector<Fact>;

// Collects facts of a statement.
class FactFinder {
 public:
  FactFinder(const Scope& scope, const ValueReader& values) : scope_(scope), values_(values) {}
  // Facts that may be used to restrict the rows of one source.
  Facts facts_for(const Source& source) const;
  // Facts that hold for every row that leaves the block's FROM and WHERE.
  Facts facts_of(const Level& level) const;
  // Facts in an ON clause (or USING) of a join.
  Facts facts_on(const Level& level, const sql::FromItem& join) const;
  // Facts of the sub-queries below an item: their own, and which column comes from which.
  Facts inherent(const sql::FromItem& item) const;

 private:
  void from_condition(const Level& level, const sql::Expr* expr, Facts& out) const;
  void from_operator(const Level& level, const sql::Expr& expr, Facts& out) const;
  void from_row_operator(const Level& level, const sql::Expr& expr, Facts& out) const;
  std::optional<Fact> from_or(const Level& level, const sql::Expr& expr) const;
  std::optional<ColumnId> using_column(const Level& level, const sql::FromItem& side,
                                       std::string_view name) const;
  void membership(const Level& level, Facts& out) const;
  void from_using(const Level& level, const sql::FromItem& join, Facts& out) const;
  void inner(const Level& level, const sql::FromItem& item, Facts& out) const;
  void on_path(const Level& level, const sql::FromItem& item, const sql::FromItem& wanted, Facts& out) const;
  void level_facts(const Level& level, const Source* without, Facts& out) const;
  void derived(const Source& source, Facts& out) const;
  void outer(const Level& level, Facts& out) const;
  bool passes_conditions_down(const Level& level) const;
  std::optional<ColumnId> key_column(const Level& level, const sql::Expr& expr, Oid& type) const;
  void equal(ColumnId a, ColumnId b, Facts& out) const;

  const Scope& scope_;
  const ValueReader& values_;
};

// Facts closed under equality.
class Closure {
 public:
  explicit Closure(const Facts& facts);
  bool equal(const ColumnId& a, const ColumnId& b) const;
  // The narrowest known condition on a column.
  const KeyCondition* condition(const ColumnId& column) const;
  // Every column known to be equal to it, itself included.
  std::vector<ColumnId> class_of(const ColumnId& column) const;

 private:
  size_t root(const ColumnId& column) const;
  std::map<ColumnId, size_t> group_;
  std::map<size_t, KeyCondition> conditions_;
};

// The source's column that holds a key column of its relation.
std::optional<ColumnId> key_column_of(const Source& source, size_t key_index);

}  // namespace decan::plan
