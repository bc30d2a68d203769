#include "plan/key_facts.h"

#include <algorithm>

namespace decan::plan {
namespace {

using sql::Expr;
using sql::ExprKind;
using sql::FromItem;
using sql::FromKind;
using sql::JoinType;
using sql::OperatorKind;
using sql::QueryKind;

bool is_equality(const Expr& expr) {
  if (expr.names.empty() || expr.names.back() != "=") return false;
  return expr.names.size() == 1 || (expr.names.size() == 2 && expr.names[0] == "pg_catalog");
}

bool contains(const FromItem& item, const FromItem& wanted) {
  if (&item == &wanted) return true;
  return (item.left != nullptr && contains(*item.left, wanted)) ||
         (item.right != nullptr && contains(*item.right, wanted));
}

}  // namespace

std::optional<ColumnId> key_column_of(const Source& source, size_t key_index) {
  if (source.relation == nullptr || key_index >= source.relation->key_attnums.size()) return std::nullopt;
  const auto& columns = source.relation->columns;
  const auto found =
      std::ranges::find(columns, source.relation->key_attnums[key_index], &catalog::Column::attnum);
  if (found == columns.end()) return std::nullopt;
  return ColumnId{&source, static_cast<uint32_t>(found - columns.begin())};
}

// A column whose equality is the built-in one: collations made by users may not be deterministic.
std::optional<ColumnId> FactFinder::key_column(const Level& level, const Expr& expr, Oid& type) const {
  if (expr.kind != ExprKind::kColumn) return std::nullopt;
  const auto id = scope_.resolve(level, expr);
  if (!id) return std::nullopt;
  const catalog::Column* column = scope_.base_column(*id);
  if (column == nullptr || column->collation >= kFirstUserOid || column->type >= kFirstUserOid)
    return std::nullopt;
  type = column->type;
  return id;
}

void FactFinder::equal(ColumnId a, ColumnId b, Facts& out) const {
  const catalog::Column* left = scope_.base_column(a);
  const catalog::Column* right = scope_.base_column(b);
  if (left == nullptr || right == nullptr || type_family(left->type) != type_family(right->type)) return;
  if (left->collation >= kFirstUserOid || right->collation >= kFirstUserOid) return;
  out.push_back({a, b, std::nullopt});
}

void FactFinder::from_row_operator(const Level& level, const Expr& expr, Facts& out) const {
  const Expr& left = *expr.args[0];
  const Expr& right = *expr.args[1];
  if (left.args.size() != right.args.size()) return;
  for (size_t i = 0; i < left.args.size(); ++i) {
    if (left.args[i] == nullptr || right.args[i] == nullptr) continue;
    Expr pair;
    pair.kind = ExprKind::kOperator;
    pair.names = {"="};
    pair.args = {left.args[i], right.args[i]};
    from_operator(level, pair, out);
  }
}

void FactFinder::from_operator(const Level& level, const Expr& expr, Facts& out) const {
  if (expr.args.size() < 2 || expr.args[0] == nullptr || expr.args[1] == nullptr || !is_equality(expr))
    return;
  Oid type = 0;
  if (expr.op == OperatorKind::kIn || expr.op == OperatorKind::kAny) {
    const auto column = key_column(level, *expr.args[0], type);
    if (!column) return;
    std::optional<KeyCondition> condition;
    if (expr.op == OperatorKind::kAny) {
      condition = values_.any_array(*expr.args[1], type);
    } else {
      condition.emplace();
      for (size_t i = 1; i < expr.args.size(); ++i) {
        auto value = expr.args[i] == nullptr ? std::nullopt : values_.comparand(*expr.args[i], type);
        if (!value) return;
        condition->any_of.push_back(*value);
      }
    }
    if (condition) out.push_back({*column, std::nullopt, std::move(condition)});
    return;
  }
  if (expr.op != OperatorKind::kPlain || expr.args.size() != 2) return;
  if (expr.args[0]->kind == ExprKind::kRow && expr.args[1]->kind == ExprKind::kRow)
    return from_row_operator(level, expr, out);
  Oid right_type = 0;
  const auto left = key_column(level, *expr.args[0], type);
  const auto right = key_column(level, *expr.args[1], right_type);
  if (left && right) {
    equal(*left, *right, out);
  } else if (left || right) {
    const Expr& other = left ? *expr.args[1] : *expr.args[0];
    if (auto value = values_.comparand(other, left ? type : right_type))
      out.push_back({left ? *left : *right, std::nullopt, KeyCondition{{*value}, {}, {}, 0}});
  }
}

// key = a OR key = b OR key IN (c, d).
std::optional<Fact> FactFinder::from_or(const Level& level, const Expr& expr) const {
  std::optional<Fact> out;
  for (const Expr* arg : expr.args) {
    Facts facts;
    from_condition(level, arg, facts);
    if (facts.size() != 1 || !facts[0].values || facts[0].values->any_of.empty()) return std::nullopt;
    if (!out) {
      out = facts[0];
    } else {
      if (out->column != facts[0].column) return std::nullopt;
      auto& values = out->values->any_of;
      values.insert(values.end(), facts[0].values->any_of.begin(), facts[0].values->any_of.end());
    }
  }
  return out;
}

void FactFinder::from_condition(const Level& level, const Expr* expr, Facts& out) const {
  if (expr == nullptr) return;
  if (expr->kind == ExprKind::kAnd) {
    for (const Expr* arg : expr->args) from_condition(level, arg, out);
  } else if (expr->kind == ExprKind::kOr) {
    if (auto fact = from_or(level, *expr)) out.push_back(std::move(*fact));
  } else if (expr->kind == ExprKind::kOperator) {
    from_operator(level, *expr, out);
  } else if (expr->kind == ExprKind::kSubquery && expr->subquery_kind == sql::SubqueryKind::kAny &&
             is_equality(*expr) == !expr->names.empty() && expr->args.size() == 1 &&
             expr->args[0] != nullptr) {
    // x IN (SELECT y …): a row that passes has x = y for some row of the sub-query, whose own facts hold for
    // y.
    for (const Level* child : level.children) {
      if (child->sublink != expr) continue;
      const auto columns = scope_.outputs(*child);
      Oid type = 0;
      const auto left = key_column(level, *expr->args[0], type);
      if (!left || !columns || columns->size() != 1 || !(*columns)[0].column) continue;
      Facts inner_facts;
      level_facts(*child, nullptr, inner_facts);
      const Closure closure(inner_facts);
      if (const KeyCondition* condition = closure.condition(*(*columns)[0].column)) {
        const catalog::Column* column = scope_.base_column(*(*columns)[0].column);
        if (column != nullptr && type_family(column->type) == type_family(type))
          out.push_back({*left, std::nullopt, *condition});
      }
    }
  }
}

// The column `name` of one side of a join: of its only source that has it, or of the leftmost one when inner
// and left joins have merged the others into it.
std::optional<ColumnId> FactFinder::using_column(const Level& level, const FromItem& side,
                                                 std::string_view name) const {
  std::optional<ColumnId> out;
  size_t matches = 0;
  for (const Source* source : level.sources) {
    if (source->item == nullptr || !contains(side, *source->item)) continue;
    if (!source->columns_known) return std::nullopt;
    for (uint32_t i = 0; i < source->columns.size(); ++i) {
      if (source->columns[i] != name) continue;
      if (!out) out = ColumnId{source, i};
      ++matches;
    }
  }
  size_t merges = 0;
  bool safe = true;
  const auto visit = [&](const auto& self, const FromItem& item) -> void {
    if (item.kind != FromKind::kJoin) return;
    if (std::ranges::find(item.using_columns, name) != item.using_columns.end()) ++merges;
    if (item.natural || item.join == JoinType::kFull || item.join == JoinType::kRight) safe = false;
    self(self, *item.left);
    self(self, *item.right);
  };
  visit(visit, side);
  return matches == 1 || (safe && matches == merges + 1) ? out : std::nullopt;
}

void FactFinder::from_using(const Level& level, const FromItem& join, Facts& out) const {
  for (const std::string& name : join.using_columns) {
    const auto left = using_column(level, *join.left, name);
    const auto right = using_column(level, *join.right, name);
    if (left && right) equal(*left, *right, out);
  }
}

Facts FactFinder::facts_on(const Level& level, const FromItem& join) const {
  Facts out;
  from_condition(level, join.on, out);
  from_using(level, join, out);
  return out;
}

// Conditions of joins that every row of the item satisfies.
void FactFinder::inner(const Level& level, const FromItem& item, Facts& out) const {
  if (item.kind == FromKind::kSample) return inner(level, *item.left, out);
  if (item.kind != FromKind::kJoin) return;
  if (item.join == JoinType::kInner) {
    const Facts on = facts_on(level, item);
    out.insert(out.end(), on.begin(), on.end());
  }
  if (item.join == JoinType::kInner || item.join == JoinType::kLeft) inner(level, *item.left, out);
  if (item.join == JoinType::kInner || item.join == JoinType::kRight) inner(level, *item.right, out);
}

// A derived table's own facts, and which of its columns are which inner columns.
void FactFinder::derived(const Source& source, Facts& out) const {
  if (source.kind != Source::Kind::kDerived || source.derived == nullptr) return;
  const auto columns = scope_.outputs(*source.derived);
  if (source.derived->role == LevelRole::kCte && source.derived->references != 1) {
    // Each reference has rows of its own: equality with the CTE's inner columns would make them equal to each
    // other. What is known of all rows holds for each.
    if (!columns) return;
    Facts inner;
    level_facts(*source.derived, nullptr, inner);
    const Closure closure(inner);
    for (uint32_t i = 0; i < columns->size(); ++i) {
      const auto& column = (*columns)[i].column;
      const KeyCondition* condition = column ? closure.condition(*column) : nullptr;
      if (condition != nullptr) out.push_back({{&source, i}, std::nullopt, *condition});
    }
    return;
  }
  level_facts(*source.derived, nullptr, out);
  if (!columns) return;
  for (uint32_t i = 0; i < columns->size(); ++i) {
    if ((*columns)[i].column) equal({&source, i}, *(*columns)[i].column, out);
  }
}

Facts FactFinder::inherent(const FromItem& item) const {
  Facts out;
  if (const Source* source = scope_.source_of(item)) derived(*source, out);
  for (const FromItem* child : {item.left, item.right}) {
    if (child == nullptr) continue;
    const Facts facts = inherent(*child);
    out.insert(out.end(), facts.begin(), facts.end());
  }
  return out;
}

void FactFinder::level_facts(const Level& level, const Source* without, Facts& out) const {
  const sql::Query& query = *level.query;
  from_condition(level, query.where, out);
  for (const FromItem* item : query.from) inner(level, *item, out);
  for (const Source* source : level.sources) {
    if (source != without) derived(*source, out);
  }
}

Facts FactFinder::facts_of(const Level& level) const {
  Facts out;
  level_facts(level, nullptr, out);
  outer(level, out);
  return out;
}

// ON conditions of outer joins that restrict the rows of `wanted`, which stands on their nullable side.
void FactFinder::on_path(const Level& level, const FromItem& item, const FromItem& wanted, Facts& out) const {
  if (item.kind == FromKind::kSample) return on_path(level, *item.left, wanted, out);
  if (item.kind != FromKind::kJoin) return;
  const bool in_left = contains(*item.left, wanted);
  const bool nullable =
      (item.join == JoinType::kLeft && !in_left) || (item.join == JoinType::kRight && in_left);
  if (item.join == JoinType::kInner) inner(level, item, out);
  if (nullable) {
    const Facts on = facts_on(level, item);
    out.insert(out.end(), on.begin(), on.end());
    inner(level, in_left ? *item.left : *item.right, out);
  }
  on_path(level, in_left ? *item.left : *item.right, wanted, out);
}

Facts FactFinder::facts_for(const Source& source) const {
  Facts out;
  level_facts(*source.level, nullptr, out);
  if (source.item != nullptr) {
    for (const FromItem* item : source.level->query->from) {
      if (contains(*item, *source.item)) on_path(*source.level, *item, *source.item, out);
    }
  }
  outer(*source.level, out);
  return out;
}

// Whether a condition on a column that the query passes on may be applied to its rows beforehand.
bool FactFinder::passes_conditions_down(const Level& level) const {
  const sql::Query& query = *level.query;
  if (query.kind != QueryKind::kSelect || query.limit != nullptr || query.offset != nullptr || query.locking)
    return false;
  if (!query.distinct_on.empty() || query.grouping_sets || !query.windows.empty() || level.recursive)
    return false;
  bool windows = false;
  for (const auto& target : query.targets)
    walk(target.expr, [&](const Expr& expr) { windows = windows || expr.has_window; });
  return !windows;
}

// WHERE x IN (SELECT y …): only rows with y = x matter.
void FactFinder::membership(const Level& level, Facts& out) const {
  const Expr& sublink = *level.sublink;
  if (sublink.subquery_kind != sql::SubqueryKind::kAny || (!sublink.names.empty() && !is_equality(sublink)))
    return;
  if (sublink.args.size() != 1 || sublink.args[0] == nullptr || !passes_conditions_down(level)) return;
  const Expr* where = level.parent->query->where;
  const bool conjunct = where == &sublink || (where != nullptr && where->kind == ExprKind::kAnd &&
                                              std::ranges::find(where->args, &sublink) != where->args.end());
  const auto columns = scope_.outputs(level);
  Oid type = 0;
  const auto tested = key_column(*level.parent, *sublink.args[0], type);
  if (conjunct && tested && columns && columns->size() == 1 && (*columns)[0].column)
    equal(*tested, *(*columns)[0].column, out);
}

// Facts of the enclosing blocks that hold for the rows that matter to this one.
void FactFinder::outer(const Level& level, Facts& out) const {
  const Level* parent = level.parent;
  switch (level.role) {
    case LevelRole::kTop:
      return;
    case LevelRole::kLeg:
      return outer(*parent, out);
    case LevelRole::kSublink:
      level_facts(*parent, nullptr, out);
      membership(level, out);
      return outer(*parent, out);
    case LevelRole::kDerived:
    case LevelRole::kCte:
      break;
  }
  if (level.as_source != nullptr && passes_conditions_down(level)) {
    const Facts facts = facts_for(*level.as_source);
    out.insert(out.end(), facts.begin(), facts.end());
    return;
  }
  if (level.role == LevelRole::kDerived) level_facts(*parent, level.as_source, out);
  outer(*parent, out);
}

Closure::Closure(const Facts& facts) {
  std::map<ColumnId, std::vector<ColumnId>> edges;
  for (const Fact& fact : facts) {
    edges[fact.column];
    if (fact.equals) {
      edges[fact.column].push_back(*fact.equals);
      edges[*fact.equals].push_back(fact.column);
    }
  }
  size_t next = 0;
  for (const auto& [start, unused] : edges) {
    if (group_.contains(start)) continue;
    ++next;
    std::vector<ColumnId> todo{start};
    group_[start] = next;
    while (!todo.empty()) {
      const ColumnId at = todo.back();
      todo.pop_back();
      for (const ColumnId& neighbour : edges[at]) {
        if (group_.emplace(neighbour, next).second) todo.push_back(neighbour);
      }
    }
  }
  for (const Fact& fact : facts) {
    if (!fact.values) continue;
    const size_t group = group_[fact.column];
    const auto known = conditions_.find(group);
    const auto width = [](const KeyCondition& c) { return c.any_of.empty() ? SIZE_MAX : c.any_of.size(); };
    // A condition on uncertain ground gives way to any other.
    const auto uncertain = [](const KeyCondition& c) {
      return std::ranges::any_of(c.any_of, [](const ValueRef& v) { return v.uncertain; });
    };
    const bool better =
        known != conditions_.end() && (std::pair(uncertain(*fact.values), width(*fact.values)) <
                                       std::pair(uncertain(known->second), width(known->second)));
    if (known == conditions_.end() || better) conditions_[group] = *fact.values;
  }
}

size_t Closure::root(const ColumnId& column) const {
  const auto found = group_.find(column);
  return found == group_.end() ? 0 : found->second;
}

bool Closure::equal(const ColumnId& a, const ColumnId& b) const {
  if (a == b) return true;
  const size_t group = root(a);
  return group != 0 && group == root(b);
}

const KeyCondition* Closure::condition(const ColumnId& column) const {
  const auto found = conditions_.find(root(column));
  return found == conditions_.end() ? nullptr : &found->second;
}

std::vector<ColumnId> Closure::class_of(const ColumnId& column) const {
  std::vector<ColumnId> out{column};
  const size_t group = root(column);
  for (const auto& [id, other] : group_) {
    if (group != 0 && other == group && id != column) out.push_back(id);
  }
  return out;
}

}  // namespace decan::plan
