#include "plan/spread.h"

#include <algorithm>
#include <cstdlib>

#include "catalog/type_oids.h"
#include "plan/functions.h"

namespace decan::plan {
namespace {

using catalog::Placement;
using sql::Expr;
using sql::ExprKind;
using sql::FromItem;
using sql::FromKind;
using sql::JoinType;
using sql::QueryKind;

constexpr std::string_view kKeyHint =
    "Join sharded tables of one shard group on all columns of their sharding key, or make one of them a "
    "broadcast table.";

bool mentions_sharded(const Level& level) {
  for (const Source* source : level.sources) {
    if (source->relation != nullptr && source->relation->placement == Placement::kSharded) return true;
    // A CTE is a child of the level that declares it, which may be another one.
    if (source->kind == Source::Kind::kDerived && source->derived != nullptr &&
        mentions_sharded(*source->derived))
      return true;
  }
  return std::ranges::any_of(level.children, [](const Level* child) { return mentions_sharded(*child); });
}

void collect_sharded(const Level& level, std::vector<const Source*>& out) {
  for (const Source* source : level.sources) {
    if (source->relation != nullptr && source->relation->placement == Placement::kSharded)
      out.push_back(source);
    if (source->kind == Source::Kind::kDerived && source->derived != nullptr &&
        source->derived->role == LevelRole::kCte)
      collect_sharded(*source->derived, out);
  }
  for (const Level* child : level.children) {
    if (child->role != LevelRole::kCte) collect_sharded(*child, out);
  }
}

}  // namespace

bool has_aggregate(const Expr* expr) {
  bool found = false;
  walk(expr, [&](const Expr& node) {
    if (node.kind != ExprKind::kFunction || node.has_window) return;
    found = found || classify_function(node.names) == FunctionClass::kAggregate || node.star ||
            node.distinct || node.within_group || node.filter != nullptr || !node.agg_order.empty();
  });
  return found;
}

bool has_window(const Expr* expr) {
  bool found = false;
  walk(expr,
       [&](const Expr& node) { found = found || (node.kind == ExprKind::kFunction && node.has_window); });
  return found;
}

std::vector<const Expr*> partition_of(const sql::Query& query, const sql::Window& window) {
  if (!window.partition_by.empty()) return window.partition_by;
  const std::string& name = window.base.empty() ? window.name : window.base;
  if (name.empty()) return {};
  for (const auto* named : query.windows) {
    if (named->name == name && named != &window) return partition_of(query, *named);
  }
  return {};
}

std::nullopt_t SpreadFinder::fail_with(std::string message, std::string hint) {
  if (obstacle_.message.empty()) obstacle_ = {std::move(message), std::move(hint)};
  return std::nullopt;
}

std::optional<Spread> SpreadFinder::relation(const Source& source) {
  if (source.relation != nullptr && source.relation->placement == Placement::kBroadcast) return Spread{};
  if (source.relation != nullptr && source.relation->placement == Placement::kSharded) {
    Spread out;
    out.sharded = true;
    KeyTuple tuple;
    tuple.group = source.relation->group;
    for (size_t i = 0; i < source.relation->key_attnums.size(); ++i) {
      const auto column = key_column_of(source, i);
      if (!column) return fail_with("the sharding key of \"" + source.relation->name + "\" is not known", "");
      tuple.columns.push_back(*column);
    }
    out.keys.push_back(std::move(tuple));
    return out;
  }
  if (source.relation != nullptr && source.relation->kind == catalog::RelationKind::kView &&
      source.relation->reads_only_broadcast)
    return fail_with(
        "the view \"" + source.relation->name + "\" may have another answer on every storage unit",
        "Join the view's tables instead.");
  return fail_with("a query over several storage units can not read \"" + source.ref->name +
                       "\", which is on one unit only",
                   "Make it a broadcast table with create_reference_table(), or restrict the query to one "
                   "key of the sharded table.");
}

bool SpreadFinder::colocated(const Spread& left, const Spread& right, const Closure& closure) const {
  for (const KeyTuple& a : left.keys) {
    for (const KeyTuple& b : right.keys) {
      if (a.group != b.group || a.columns.size() != b.columns.size()) continue;
      bool equal = true;
      for (size_t i = 0; i < a.columns.size(); ++i)
        equal = equal && closure.equal(a.columns[i], b.columns[i]);
      if (equal) return true;
    }
  }
  return false;
}

// Inner join of two sides.
std::optional<Spread> SpreadFinder::combine(Spread left, Spread right, const Closure& closure) {
  if (left.sharded && right.sharded && !colocated(left, right, closure))
    return fail_with("sharded tables are joined without equality of their sharding keys",
                     std::string(kKeyHint));
  left.sharded = left.sharded || right.sharded;
  left.keys.insert(left.keys.end(), right.keys.begin(), right.keys.end());
  return left;
}

std::optional<Spread> SpreadFinder::join(const Level& level, const FromItem& from, const Facts& above) {
  Facts on = facts_.facts_on(level, from);
  Facts inner = above;
  if (from.join == JoinType::kInner) inner.insert(inner.end(), on.begin(), on.end());
  // Conditions from above hold for the rows that survive of a side that is never filled with NULLs.
  const bool keeps_left = from.join == JoinType::kInner || from.join == JoinType::kLeft;
  const bool keeps_right = from.join == JoinType::kInner || from.join == JoinType::kRight;
  auto left = item(level, *from.left, keeps_left ? inner : Facts{});
  if (!left) return std::nullopt;
  if (keeps_left && is_tied_lateral(*from.right, *left)) return left;
  auto right = item(level, *from.right, keeps_right ? inner : Facts{});
  if (!right) return std::nullopt;
  if (from.natural && left->sharded && right->sharded)
    return fail_with("NATURAL JOIN of sharded tables over several storage units is not supported",
                     "Write JOIN … USING.");
  if (from.join == JoinType::kInner) return combine(std::move(*left), std::move(*right), Closure(inner));
  const bool left_nullable = from.join != JoinType::kLeft;
  const bool right_nullable = from.join != JoinType::kRight;
  // The side whose rows are kept without a match must not be on every unit: each unit would keep them.
  if ((right_nullable && !left->sharded && right->sharded) ||
      (left_nullable && !right->sharded && left->sharded))
    return fail_with("an outer join keeps rows of a broadcast table that have no match in a sharded one",
                     "Turn the join round, or read the sharded table in a query of its own.");
  if (left->sharded && right->sharded) {
    for (const FromItem* side : {from.left, from.right}) {
      const Facts facts = facts_.inherent(*side);
      on.insert(on.end(), facts.begin(), facts.end());
    }
    if (!colocated(*left, *right, Closure(on)))
      return fail_with("sharded tables are joined without equality of their sharding keys",
                       std::string(kKeyHint));
  }
  if (left_nullable) {
    for (auto& key : left->keys) key.nullable = true;
  }
  if (right_nullable) {
    for (auto& key : right->keys) key.nullable = true;
  }
  left->sharded = left->sharded || right->sharded;
  left->keys.insert(left->keys.end(), right->keys.begin(), right->keys.end());
  return left;
}

std::optional<Spread> SpreadFinder::item(const Level& level, const FromItem& from, const Facts& above) {
  switch (from.kind) {
    case FromKind::kJoin:
      return join(level, from, above);
    case FromKind::kSample:
      return fail_with("TABLESAMPLE over several storage units is not supported", "");
    case FromKind::kTableFunction:
    case FromKind::kFunction:
      // Its rows depend on its arguments alone, which are constants or columns of the row beside it.
      for (const Expr* function : from.functions) {
        bool pure = true;
        walk(function, [&](const Expr& node) {
          if (node.kind != ExprKind::kFunction) return;
          const FunctionClass kind = classify_function(node.names, *scope_.context().catalog);
          pure = pure && (kind == FunctionClass::kPure || kind == FunctionClass::kSetReturning ||
                          kind == FunctionClass::kNow);
        });
        if (!pure)
          return fail_with("a function in FROM can not be evaluated on several storage units",
                           "Use built-in immutable functions only.");
      }
      return Spread{};
    case FromKind::kRelation:
    case FromKind::kSubquery:
      break;
  }
  const Source* source = scope_.source_of(from);
  if (source == nullptr) return fail_with("a part of FROM is not understood", "");
  if (source->kind == Source::Kind::kRelation) return relation(*source);
  if (source->derived == nullptr)
    return fail_with("a recursive query over several storage units is not supported", "");
  return output_of(*source->derived, *source);
}

std::optional<Spread> SpreadFinder::rows_of(const Level& level) {
  const sql::Query& query = *level.query;
  const Facts facts = facts_.facts_of(level);
  const Closure closure(facts);
  Spread out;
  if (level.sources.size() > 0 && level.sources[0]->is_write_target && query.kind != QueryKind::kInsert) {
    auto target = relation(*level.sources[0]);
    if (!target) return std::nullopt;
    out = std::move(*target);
  }
  for (const FromItem* from : query.from) {
    if (is_tied_lateral(*from, out)) continue;
    auto part = item(level, *from, facts);
    if (!part) return std::nullopt;
    auto joined = combine(std::move(out), std::move(*part), closure);
    if (!joined) return std::nullopt;
    out = std::move(*joined);
  }
  if (!check_sublinks(level, out)) return std::nullopt;
  return out;
}

bool SpreadFinder::check_sublinks(const Level& level, const Spread& spread) {
  for (const Level* child : level.children) {
    if (child->role == LevelRole::kSublink && !check_sublink(*child, spread)) return false;
  }
  return true;
}

bool SpreadFinder::check_sublink(const Level& child, const Spread& spread) {
  if (!mentions_sharded(child)) return replicated_exactly(child);
  if (!spread.sharded) {
    (void)fail_with("a sub-query reads a sharded table on several storage units",
                    "Join the tables on their sharding keys instead.");
    return false;
  }
  if (!every_shard_tied(child, spread)) {
    (void)fail_with("a sub-query reads a sharded table whose key is not tied to the outer query's",
                    "Add equality of the sharding keys to the sub-query's WHERE.");
    return false;
  }
  return true;
}

// LATERAL (SELECT … WHERE key = the row's key …): whatever it computes, its rows are on the unit of the row
// beside it.
bool SpreadFinder::is_tied_lateral(const FromItem& from, const Spread& beside) {
  if (from.kind != FromKind::kSubquery || !from.lateral || !beside.sharded) return false;
  const Source* source = scope_.source_of(from);
  if (source == nullptr || source->derived == nullptr || !mentions_sharded(*source->derived)) return false;
  const Obstacle before = obstacle_;
  const bool tied = every_shard_tied(*source->derived, beside);
  obstacle_ = before;
  return tied;
}

// Every sharded table below is restricted to the key of the outer row, so all its rows that matter are on
// that row's unit.
bool SpreadFinder::every_shard_tied(const Level& level, const Spread& outer) {
  std::vector<const Source*> sources;
  collect_sharded(level, sources);
  for (const Source* source : sources) {
    const Closure closure(facts_.facts_for(*source));
    bool tied = false;
    for (const KeyTuple& key : outer.keys) {
      if (key.group != source->relation->group) continue;
      bool equal = true;
      for (size_t i = 0; i < key.columns.size(); ++i) {
        const auto column = key_column_of(*source, i);
        equal = equal && column && closure.equal(*column, key.columns[i]);
      }
      tied = tied || equal;
    }
    if (!tied) return false;
  }
  // Single tables inside are not on every unit.
  for (const Level& inner : scope_.levels()) {
    const Level* at = &inner;
    while (at != nullptr && at != &level) at = at->parent;
    if (at == nullptr) continue;
    for (const Source* source : inner.sources) {
      if (source->kind == Source::Kind::kRelation && !relation(*source)) return false;
    }
  }
  return true;
}

// Sums of floating point numbers depend on the order of rows.
bool SpreadFinder::is_exact_number(const Level& level, const Expr& expr) const {
  const auto id = expr.kind == ExprKind::kColumn ? scope_.resolve(level, expr) : std::nullopt;
  const auto* column = id ? scope_.base_column(*id) : nullptr;
  return column != nullptr &&
         (type_family(column->type) == catalog::type::kInt8 || column->type == catalog::type::kNumeric);
}

// A query over broadcast tables that has the same answer on every unit, whatever order its rows are read in.
bool SpreadFinder::replicated_exactly(const Level& level) {
  const sql::Query& query = *level.query;
  for (const Source* source : level.sources) {
    if (source->kind == Source::Kind::kRelation && !relation(*source)) return false;
    if (source->kind == Source::Kind::kDerived && source->derived != nullptr &&
        source->derived->role == LevelRole::kCte && !replicated_exactly(*source->derived))
      return false;
  }
  const bool picks = query.limit != nullptr || query.offset != nullptr || !query.distinct_on.empty() ||
                     !query.windows.empty();
  bool order_matters = picks && !level.sources.empty();
  bool volatile_call = false;
  for (const Expr* expr : expressions_of(query)) {
    walk(expr, [&](const Expr& node) {
      if (node.kind != ExprKind::kFunction) return;
      order_matters = order_matters || node.has_window;
      const FunctionClass kind = classify_function(node.names, *scope_.context().catalog);
      volatile_call = volatile_call || kind == FunctionClass::kVolatile || kind == FunctionClass::kUnknown;
      if (kind != FunctionClass::kAggregate) return;
      static constexpr std::string_view kFree[] = {"count", "min",     "max",    "bool_and", "bool_or",
                                                   "every", "bit_and", "bit_or", "bit_xor"};
      const bool sum = node.names.back() == "sum" || node.names.back() == "avg";
      const bool exact_sum = sum && node.args.size() == 1 && is_exact_number(level, *node.args[0]);
      order_matters =
          order_matters || (!exact_sum && std::ranges::find(kFree, node.names.back()) == std::end(kFree));
    });
  }
  if (volatile_call) {
    (void)fail_with("a sub-query calls a function that may give another value on every storage unit", "");
    return false;
  }
  if (order_matters) {
    (void)fail_with(
        "a sub-query over broadcast tables picks rows by an order that may differ between storage units",
        "Leave out LIMIT, DISTINCT ON, window functions and order-dependent aggregates in the sub-query.");
    return false;
  }
  for (const Level* child : level.children) {
    if (!replicated_exactly(*child)) return false;
  }
  return true;
}

// GROUP BY of a sub-query with positions replaced by what they mean.
std::vector<const Expr*> SpreadFinder::group_exprs(const sql::Query& query) {
  std::vector<const Expr*> out;
  for (const Expr* expr : query.group_by) {
    if (expr->kind == ExprKind::kLiteral && expr->literal == sql::LiteralType::kInteger &&
        expr->text.size() < 5) {
      literal_dependent_ = true;
      const auto position = static_cast<size_t>(std::max(0, std::atoi(expr->text.c_str())));
      const bool no_star = std::ranges::none_of(query.targets, [](const sql::Target& target) {
        return target.expr->star && target.expr->kind != ExprKind::kFunction;
      });
      if (position >= 1 && position <= query.targets.size() && no_star)
        expr = query.targets[position - 1].expr;
    }
    out.push_back(expr);
  }
  return out;
}

std::optional<Spread> SpreadFinder::output_of(const Level& level, const Source& source) {
  const sql::Query& query = *level.query;
  if (!mentions_sharded(level)) {
    if (!replicated_exactly(level)) return std::nullopt;
    return Spread{};
  }
  if (query.kind == QueryKind::kSetOperation) return union_output(level, source);
  if (query.kind != QueryKind::kSelect)
    return fail_with("a data-modifying WITH over several storage units is not supported",
                     "Run the statements one by one in a transaction.");
  auto rows = rows_of(level);
  if (!rows || !is_row_wise(level, *rows)) return std::nullopt;
  return passed_keys(level, source, *rows);
}

std::optional<Spread> SpreadFinder::union_output(const Level& level, const Source& source) {
  const sql::Query& query = *level.query;
  if (level.recursive) return fail_with("a recursive query over a sharded table is not supported", "");
  if (query.set_operation != sql::SetOperation::kUnion || !query.set_all || query.limit != nullptr ||
      query.offset != nullptr)
    return fail_with(
        "a set operation other than UNION ALL in a sub-query over several storage units is not supported",
        "");
  for (const Level* leg : level.children) {
    if (leg->role != LevelRole::kLeg) continue;
    auto part = output_of(*leg, source);
    if (!part) return std::nullopt;
    if (!part->sharded)
      return fail_with(
          "UNION ALL of a sharded and a broadcast table over several storage units is not supported", "");
  }
  return Spread{true, {}};
}

// A sub-query whose output is the union of what the units compute: no clause that looks at rows of several
// keys.
bool SpreadFinder::is_row_wise(const Level& level, const Spread& rows) {
  const sql::Query& query = *level.query;
  if (query.limit != nullptr || query.offset != nullptr || query.grouping_sets || query.locking) {
    (void)fail_with(
        "a sub-query with LIMIT, OFFSET, grouping sets or FOR UPDATE over several storage units is not "
        "supported",
        "Move the clause to the outermost query.");
    return false;
  }
  bool aggregates = query.having != nullptr || !query.group_by.empty();
  bool unknown = false;
  for (const auto& target : query.targets) {
    aggregates = aggregates || has_aggregate(target.expr);
    walk(target.expr, [&](const Expr& node) {
      if (node.kind != ExprKind::kFunction) return;
      unknown =
          unknown || classify_function(node.names, *scope_.context().catalog) == FunctionClass::kUnknown;
      const bool crosses_keys =
          node.has_window && !contains_key(level, rows, partition_of(query, *node.window));
      aggregates = aggregates || crosses_keys;
    });
  }
  if (unknown && query.group_by.empty()) {
    (void)fail_with("a sub-query over several storage units calls a function that may be an aggregate", "");
  } else if (aggregates && !contains_key(level, rows, group_exprs(query))) {
    (void)fail_with(
        "a sub-query over several storage units aggregates rows without grouping by the sharding key",
        "Group by all columns of the sharding key, or aggregate in the outermost query.");
  } else if (!query.distinct_on.empty() && !contains_key(level, rows, query.distinct_on)) {
    (void)fail_with("DISTINCT ON in a sub-query over several storage units does not contain the sharding key",
                    "");
  } else if (query.distinct && !outputs_contain_key(level, rows)) {
    (void)fail_with("DISTINCT in a sub-query over several storage units does not contain the sharding key",
                    "");
  } else {
    return true;
  }
  return false;
}

bool SpreadFinder::outputs_contain_key(const Level& level, const Spread& rows) const {
  std::vector<ColumnId> columns;
  for (const auto& output : scope_.outputs(level).value_or(std::vector<Scope::Output>{})) {
    if (output.column) columns.push_back(*output.column);
  }
  return contains_key(level, rows, columns);
}

// Which output columns carry a key.
Spread SpreadFinder::passed_keys(const Level& level, const Source& source, const Spread& rows) const {
  Spread out;
  out.sharded = true;
  const auto outputs = scope_.outputs(level);
  if (!outputs) return out;
  const Closure closure(facts_.facts_of(level));
  for (const KeyTuple& key : rows.keys) {
    KeyTuple passed{key.group, {}, key.nullable};
    for (const ColumnId& column : key.columns) {
      for (uint32_t i = 0; i < outputs->size(); ++i) {
        const auto& candidate = (*outputs)[i].column;
        if (!candidate || !(*candidate == column || (!key.nullable && closure.equal(*candidate, column))))
          continue;
        passed.columns.push_back({&source, i});
        break;
      }
    }
    if (passed.columns.size() == key.columns.size()) out.keys.push_back(std::move(passed));
  }
  return out;
}

bool SpreadFinder::contains_key(const Level& level, const Spread& spread,
                                const std::vector<ColumnId>& columns) const {
  const Closure closure(facts_.facts_of(level));
  return std::ranges::any_of(spread.keys, [&](const KeyTuple& key) {
    if (key.nullable) return false;
    return std::ranges::all_of(key.columns, [&](const ColumnId& wanted) {
      return std::ranges::any_of(columns,
                                 [&](const ColumnId& column) { return closure.equal(column, wanted); });
    });
  });
}

bool SpreadFinder::contains_key(const Level& level, const Spread& spread,
                                const std::vector<const Expr*>& exprs) const {
  std::vector<ColumnId> columns;
  for (const Expr* expr : exprs) {
    if (expr == nullptr || expr->kind != ExprKind::kColumn) continue;
    // A name of an outer query's column may mean this query's output column here.
    const auto column = scope_.resolve(level, *expr);
    if (column && column->source->level == &level) columns.push_back(*column);
  }
  return contains_key(level, spread, columns);
}

}  // namespace decan::plan
