#include "plan/scope.h"

#include <algorithm>

namespace decan::plan {
namespace {

using sql::ExprKind;
using sql::FromKind;
using sql::QueryKind;

void add_from_expressions(const sql::FromItem& item, std::vector<const sql::Expr*>& out) {
  out.insert(out.end(), item.functions.begin(), item.functions.end());
  if (item.on != nullptr) out.push_back(item.on);
  if (item.left != nullptr) add_from_expressions(*item.left, out);
  if (item.right != nullptr) add_from_expressions(*item.right, out);
}

void add_targets(const std::vector<sql::Target>& targets, std::vector<const sql::Expr*>& out) {
  for (const auto& target : targets) {
    if (target.expr != nullptr) out.push_back(target.expr);
  }
}

std::string_view sql_value_name(sql::SqlValue value) {
  using enum sql::SqlValue;
  switch (value) {
    case kNone:
      return "?column?";
    case kCurrentDate:
      return "current_date";
    case kCurrentTime:
    case kCurrentTimeN:
      return "current_time";
    case kCurrentTimestamp:
    case kCurrentTimestampN:
      return "current_timestamp";
    case kLocalTime:
    case kLocalTimeN:
      return "localtime";
    case kLocalTimestamp:
    case kLocalTimestampN:
      return "localtimestamp";
    case kCurrentRole:
      return "current_role";
    case kCurrentUser:
      return "current_user";
    case kUser:
      return "user";
    case kSessionUser:
      return "session_user";
    case kCurrentCatalog:
      return "current_catalog";
    case kCurrentSchema:
      return "current_schema";
  }
  return "?column?";
}

// The name PostgreSQL gives an unnamed output column (FigureColname) and whether it is a strong one, which a
// cast around it keeps. Empty where it is not known here.
std::pair<std::string, bool> default_name(const sql::Expr& expr) {
  const auto inner = [&](size_t i) {
    return i < expr.args.size() && expr.args[i] != nullptr ? default_name(*expr.args[i])
                                                           : std::pair<std::string, bool>{"?column?", false};
  };
  switch (expr.kind) {
    case ExprKind::kColumn:
      return {expr.star || expr.names.empty() ? "" : expr.names.back(), true};
    case ExprKind::kFunction:
      return {expr.names.empty() ? "" : expr.names.back(), true};
    case ExprKind::kCast: {
      auto name = inner(0);
      if (name.second) return name;
      return {expr.type.name, false};
    }
    case ExprKind::kCollate:
      return inner(0);
    case ExprKind::kIndirection:
      return {expr.names.empty() ? inner(0) : std::pair<std::string, bool>{expr.names.back(), true}};
    case ExprKind::kSqlValue:
      return {std::string(sql_value_name(expr.sql_value)), true};
    case ExprKind::kCoalesce:
      return {"coalesce", true};
    case ExprKind::kOperator:
      if (expr.op == sql::OperatorKind::kNullIf) return {"nullif", true};
      return {"?column?", false};
    case ExprKind::kArray:
      return {"array", true};
    case ExprKind::kRow:
      return {"row", true};
    case ExprKind::kSubquery:
      switch (expr.subquery_kind) {
        case sql::SubqueryKind::kExists:
          return {"exists", true};
        case sql::SubqueryKind::kArray:
          return {"array", true};
        case sql::SubqueryKind::kScalar:
          if (expr.subquery != nullptr && !expr.subquery->targets.empty()) {
            const auto& target = expr.subquery->targets[0];
            return target.name.empty() ? default_name(*target.expr) : std::pair{target.name, true};
          }
          return {"?column?", false};
        default:
          return {"?column?", false};
      }
    case ExprKind::kMinMax:
    case ExprKind::kCase:
    case ExprKind::kOther:
      return {"", false};
    default:
      return {"?column?", false};
  }
}

}  // namespace

bool is_system_column(std::string_view name) {
  return name == "ctid" || name == "xmin" || name == "xmax" || name == "cmin" || name == "cmax" ||
         name == "tableoid";
}

std::vector<const sql::Expr*> expressions_of(const sql::Query& query) {
  std::vector<const sql::Expr*> out;
  add_targets(query.targets, out);
  out.insert(out.end(), query.distinct_on.begin(), query.distinct_on.end());
  for (const auto* item : query.from) add_from_expressions(*item, out);
  if (query.merge_source != nullptr) add_from_expressions(*query.merge_source, out);
  if (query.where != nullptr) out.push_back(query.where);
  out.insert(out.end(), query.group_by.begin(), query.group_by.end());
  if (query.having != nullptr) out.push_back(query.having);
  for (const auto* window : query.windows) {
    out.insert(out.end(), window->partition_by.begin(), window->partition_by.end());
    for (const auto& item : window->order_by) out.push_back(item.expr);
    out.insert(out.end(), window->bounds.begin(), window->bounds.end());
  }
  for (const auto& row : query.rows) out.insert(out.end(), row.begin(), row.end());
  for (const auto& item : query.order_by) out.push_back(item.expr);
  if (query.limit != nullptr) out.push_back(query.limit);
  if (query.offset != nullptr) out.push_back(query.offset);
  add_targets(query.conflict_set, out);
  out.insert(out.end(), query.conflict_exprs.begin(), query.conflict_exprs.end());
  add_targets(query.returning, out);
  out.insert(out.end(), query.merge_exprs.begin(), query.merge_exprs.end());
  return out;
}

Scope::Scope(const sql::Query& query, const Context& context) : context_(context) {
  top_ = &add_level(query, nullptr, LevelRole::kTop);
  fill(*top_);
}

Level& Scope::add_level(const sql::Query& query, Level* parent, LevelRole role) {
  Level& level = levels_.emplace_back();
  level.query = &query;
  level.parent = parent;
  level.role = role;
  if (parent != nullptr) parent->children.push_back(&level);
  return level;
}

void Scope::fill(Level& level) {
  const sql::Query& query = *level.query;
  for (const auto& cte : query.ctes) {
    if (cte.query == nullptr) continue;
    Level& child = add_level(*cte.query, &level, LevelRole::kCte);
    child.recursive = query.recursive;
    // With RECURSIVE, every CTE of the list is visible in every other one.
    if (query.recursive) level.ctes[cte.name] = &child;
    if (!query.recursive) {
      fill(child);
      level.ctes[cte.name] = &child;
    }
  }
  if (query.recursive) {
    for (Level* child : std::vector<Level*>(level.children)) fill(*child);
  }
  if (query.kind == QueryKind::kSetOperation) {
    for (const auto* leg : {query.left, query.right}) fill(add_level(*leg, &level, LevelRole::kLeg));
  }
  const bool writes = query.kind == QueryKind::kInsert || query.kind == QueryKind::kUpdate ||
                      query.kind == QueryKind::kDelete || query.kind == QueryKind::kMerge;
  if (writes) {
    add_relation(level, query.target, nullptr);
    level.sources.back()->is_write_target = true;
  }
  if (query.source != nullptr) fill(add_level(*query.source, &level, LevelRole::kLeg));
  for (const auto* item : query.from) add_from(level, *item);
  if (query.merge_source != nullptr) add_from(level, *query.merge_source);
  add_expressions(level);
}

void Scope::add_expressions(Level& level) {
  for (const sql::Expr* expr : expressions_of(*level.query)) add_sublinks(level, expr);
}

void Scope::add_sublinks(Level& level, const sql::Expr* expr) {
  walk(expr, [&](const sql::Expr& node) {
    if (node.subquery == nullptr) return;
    Level& child = add_level(*node.subquery, &level, LevelRole::kSublink);
    child.sublink = &node;
    fill(child);
  });
}

Level* Scope::find_cte(const Level& level, std::string_view name) const {
  for (const Level* at = &level; at != nullptr; at = at->parent) {
    const auto found = at->ctes.find(name);
    if (found != at->ctes.end()) return found->second;
  }
  return nullptr;
}

void Scope::name_columns(Source& source, const std::vector<std::string>& aliases) {
  if (!source.columns_known) return;
  for (size_t i = 0; i < aliases.size() && i < source.columns.size(); ++i) source.columns[i] = aliases[i];
}

void Scope::add_relation(Level& level, const sql::RelationRef& ref, const sql::FromItem* item) {
  Source& source = sources_.emplace_back();
  source.level = &level;
  source.item = item;
  source.ref = &ref;
  source.alias = ref.alias.empty() ? ref.name : ref.alias;
  level.sources.push_back(&source);
  if (item != nullptr) by_item_[item] = &source;
  Level* cte = ref.schema.empty() && item != nullptr ? find_cte(level, ref.name) : nullptr;
  if (cte != nullptr) {
    source.kind = Source::Kind::kDerived;
    // A CTE inside itself is known by its recursive reference: its level encloses this one.
    bool inside = false;
    for (const Level* at = &level; at != nullptr; at = at->parent) inside = inside || at == cte;
    ++cte->references;
    if (!inside) {
      source.derived = cte;
      cte->as_source = cte->references == 1 ? &source : nullptr;
      if (auto names = output_names(*cte)) {
        source.columns = std::move(*names);
        source.columns_known = true;
        for (const Level* at = &level; at != nullptr; at = at->parent) {
          if (!at->ctes.contains(ref.name)) continue;
          for (const auto& declared : at->query->ctes) {
            if (declared.name == ref.name) name_columns(source, declared.column_aliases);
            if (declared.name == ref.name && declared.search_or_cycle) source.columns_known = false;
          }
          break;
        }
      }
    }
  } else {
    const auto* temps = context_.temp_relations;
    const bool named_temp = temps != nullptr && std::ranges::find(*temps, ref.name) != temps->end();
    source.is_temp = ref.schema == "pg_temp" || (ref.schema.empty() && named_temp);
    if (!source.is_temp) source.relation = context_.catalog->find(ref.schema, ref.name, context_.search_path);
    if (source.relation != nullptr && !source.relation->columns.empty()) {
      for (const auto& column : source.relation->columns) source.columns.push_back(column.name);
      source.columns_known = true;
    }
  }
  name_columns(source, ref.column_aliases);
}

// Functions that yield one column are named after their alias or themselves.
void Scope::name_function_columns(Source& source, const sql::FromItem& item) {
  if (item.kind != FromKind::kFunction || item.functions.size() != 1) return;
  const sql::Expr& call = *item.functions[0];
  if (call.kind != ExprKind::kFunction || call.names.empty()) return;
  const std::string& name = call.names.back();
  static constexpr std::string_view kScalar[] = {"generate_series", "generate_subscripts",
                                                 "regexp_split_to_table", "string_to_table", "unnest"};
  if (std::ranges::find(kScalar, name) == std::end(kScalar) || (name == "unnest" && call.args.size() != 1))
    return;
  if (source.alias.empty()) source.alias = name;
  source.columns = {source.alias};
  if (item.ordinality) source.columns.emplace_back("ordinality");
  source.columns_known = true;
  name_columns(source, item.relation.column_aliases);
}

void Scope::add_from(Level& level, const sql::FromItem& item) {
  switch (item.kind) {
    case FromKind::kRelation:
      add_relation(level, item.relation, &item);
      return;
    case FromKind::kJoin:
      add_from(level, *item.left);
      add_from(level, *item.right);
      return;
    case FromKind::kSample:
      add_from(level, *item.left);
      return;
    case FromKind::kSubquery:
    case FromKind::kFunction:
    case FromKind::kTableFunction:
      break;
  }
  Source& source = sources_.emplace_back();
  source.level = &level;
  source.item = &item;
  source.alias = item.relation.alias;
  by_item_[&item] = &source;
  if (item.subquery == nullptr) {
    source.kind = Source::Kind::kFunction;
    name_function_columns(source, item);
    level.sources.push_back(&source);
    return;
  }
  source.kind = Source::Kind::kDerived;
  Level& child = add_level(*item.subquery, &level, LevelRole::kDerived);
  child.as_source = &source;
  source.derived = &child;
  fill(child);
  level.sources.push_back(&source);
  if (auto names = output_names(child)) {
    source.columns = std::move(*names);
    source.columns_known = true;
    name_columns(source, item.relation.column_aliases);
  }
}

std::optional<std::vector<Scope::Output>> Scope::outputs(const Level& level) const {
  const sql::Query& query = *level.query;
  const bool selects = query.kind == QueryKind::kSelect;
  const bool returns = query.kind == QueryKind::kInsert || query.kind == QueryKind::kUpdate ||
                       query.kind == QueryKind::kDelete;
  if (!selects && !returns) return std::nullopt;
  std::vector<Output> out;
  for (const auto& target : selects ? query.targets : query.returning) {
    const sql::Expr& expr = *target.expr;
    if (expr.kind == ExprKind::kColumn && expr.star) {
      auto expanded = expand_star(level, expr);
      if (!expanded) return std::nullopt;
      for (const auto& column : *expanded) out.push_back({column.column, nullptr, column.merged});
    } else if (expr.kind == ExprKind::kIndirection && expr.star) {
      return std::nullopt;
    } else {
      std::optional<ColumnId> column;
      if (expr.kind == ExprKind::kColumn) column = resolve(level, expr);
      out.push_back({column, &expr, false});
    }
  }
  return out;
}

std::optional<std::vector<std::string>> Scope::output_names(const Level& level) const {
  const sql::Query& query = *level.query;
  std::vector<std::string> names;
  if (query.kind == QueryKind::kValues) {
    for (size_t i = 0; i < query.rows[0].size(); ++i) names.push_back("column" + std::to_string(i + 1));
    return names;
  }
  if (query.kind == QueryKind::kSetOperation) {
    for (const Level* child : level.children) {
      if (child->role == LevelRole::kLeg) return output_names(*child);
    }
    return std::nullopt;
  }
  for (const auto& target : query.kind == QueryKind::kSelect ? query.targets : query.returning) {
    if (!target.name.empty()) {
      names.push_back(target.name);
    } else if (target.expr->star && target.expr->kind == ExprKind::kColumn) {
      auto expanded = expand_star(level, *target.expr);
      if (!expanded) return std::nullopt;
      for (const auto& column : *expanded) names.push_back(column.name);
    } else if (target.expr->star && target.expr->kind == ExprKind::kIndirection) {
      return std::nullopt;
    } else {
      names.push_back(default_name(*target.expr).first);
    }
  }
  return names;
}

const Source* Scope::source_of(const sql::FromItem& item) const {
  const auto found = by_item_.find(&item);
  return found == by_item_.end() ? nullptr : found->second;
}

const Source* Scope::find_source(const Level& level, const std::vector<std::string>& names) const {
  for (const Level* at = &level; at != nullptr; at = at->parent) {
    for (const Source* source : at->sources) {
      if (names.size() == 1 && source->alias == names[0]) return source;
      if (names.size() == 2 && source->kind == Source::Kind::kRelation && source->ref->alias.empty() &&
          source->ref->name == names[1] && source->relation != nullptr &&
          source->relation->schema == names[0])
        return source;
    }
  }
  return nullptr;
}

// The column that JOIN … USING (name) makes of two: it equals the left one except in a RIGHT or FULL join.
std::optional<ColumnId> Scope::merged_column(const Level& level, std::string_view name) const {
  std::optional<ColumnId> out;
  size_t matches = 0;
  for (const Source* source : level.sources) {
    const auto found = std::ranges::find(source->columns, name);
    if (found == source->columns.end()) continue;
    if (!out) out = ColumnId{source, static_cast<uint32_t>(found - source->columns.begin())};
    ++matches;
  }
  // Accepted only when all joins of this block are inner or left ones and each further match comes by USING.
  size_t merges = 0;
  bool safe = true;
  const auto visit = [&](const auto& self, const sql::FromItem& item) -> void {
    if (item.kind != FromKind::kJoin) return;
    const bool has = std::ranges::find(item.using_columns, name) != item.using_columns.end();
    if (has) ++merges;
    if (item.natural || item.join == sql::JoinType::kFull || item.join == sql::JoinType::kRight) safe = false;
    self(self, *item.left);
    self(self, *item.right);
  };
  for (const auto* item : level.query->from) visit(visit, *item);
  return safe && merges + 1 == matches ? out : std::nullopt;
}

std::optional<ColumnId> Scope::find_in_level(const Level& level, std::string_view name, bool& unknown) const {
  std::optional<ColumnId> out;
  size_t matches = 0;
  for (const Source* source : level.sources) {
    // INSERT … SELECT: the target's columns are not visible in the source, which is a level of its own.
    if (!source->columns_known) {
      unknown = true;
      continue;
    }
    for (size_t i = 0; i < source->columns.size(); ++i) {
      if (source->columns[i] != name) continue;
      out = ColumnId{source, static_cast<uint32_t>(i)};
      ++matches;
    }
  }
  if (matches > 1) {
    out = merged_column(level, name);
    unknown = unknown || !out;
  }
  return out;
}

std::optional<ColumnId> Scope::resolve(const Level& level, const sql::Expr& column) const {
  if (column.kind != ExprKind::kColumn || column.star || column.names.empty()) return std::nullopt;
  const std::string& name = column.names.back();
  if (column.names.size() > 1) {
    const std::vector<std::string> path(column.names.begin(), column.names.end() - 1);
    const Source* source = find_source(level, path);
    if (source == nullptr || !source->columns_known) return std::nullopt;
    const auto found = std::ranges::find(source->columns, name);
    if (found == source->columns.end()) return std::nullopt;
    if (std::ranges::count(source->columns, name) > 1) return std::nullopt;
    return ColumnId{source, static_cast<uint32_t>(found - source->columns.begin())};
  }
  for (const Level* at = &level; at != nullptr; at = at->parent) {
    // The source query of an INSERT does not see the INSERT's target.
    if (at != &level && at->query->kind == QueryKind::kInsert) return std::nullopt;
    bool unknown = false;
    auto found = find_in_level(*at, name, unknown);
    if (found) return found;
    if (unknown) return std::nullopt;
  }
  return std::nullopt;
}

bool Scope::is_whole_row(const Level& level, const sql::Expr& column) const {
  if (column.kind != ExprKind::kColumn || column.star || column.names.size() != 1) return false;
  if (resolve(level, column)) return false;
  return find_source(level, column.names) != nullptr;
}

// Columns of a FROM item as * shows them: those that a join merges come first.
std::optional<std::vector<Scope::StarColumn>> Scope::columns_of(const sql::FromItem& item) const {
  std::vector<StarColumn> out;
  if (item.kind == FromKind::kSample) return columns_of(*item.left);
  if (item.kind != FromKind::kJoin) {
    const Source* source = source_of(item);
    if (source == nullptr || !source->columns_known) return std::nullopt;
    for (uint32_t i = 0; i < source->columns.size(); ++i)
      out.push_back({source->columns[i], ColumnId{source, i}, false});
    return out;
  }
  if (!item.relation.alias.empty()) return std::nullopt;
  auto left = columns_of(*item.left);
  auto right = columns_of(*item.right);
  if (!left || !right) return std::nullopt;
  std::vector<std::string> merged = item.using_columns;
  if (item.natural) {
    for (const auto& column : *left) {
      if (std::ranges::find(*right, column.name, &StarColumn::name) != right->end())
        merged.push_back(column.name);
    }
  }
  const auto take = [](std::vector<StarColumn>& from, const std::string& name) -> std::optional<StarColumn> {
    const auto found = std::ranges::find(from, name, &StarColumn::name);
    if (found == from.end() || std::ranges::count(from, name, &StarColumn::name) != 1) return std::nullopt;
    StarColumn column = *found;
    from.erase(found);
    return column;
  };
  for (const std::string& name : merged) {
    const auto a = take(*left, name);
    const auto b = take(*right, name);
    if (!a || !b) return std::nullopt;
    StarColumn column{name, item.join == sql::JoinType::kRight ? b->column : a->column, true};
    if (item.join == sql::JoinType::kFull) column.column.reset();
    out.push_back(column);
  }
  out.insert(out.end(), left->begin(), left->end());
  out.insert(out.end(), right->begin(), right->end());
  return out;
}

std::optional<std::vector<Scope::StarColumn>> Scope::expand_star(const Level& level,
                                                                 const sql::Expr& star) const {
  std::vector<StarColumn> out;
  const auto add = [&out](const Source& source) {
    for (uint32_t i = 0; i < source.columns.size(); ++i)
      out.push_back({source.columns[i], ColumnId{&source, i}, false});
    return source.columns_known;
  };
  if (!star.names.empty()) {
    const Source* source = find_source(level, star.names);
    if (source == nullptr || !add(*source)) return std::nullopt;
    return out;
  }
  // The target of a write comes first in RETURNING *.
  for (const Source* source : level.sources) {
    if (source->is_write_target && !add(*source)) return std::nullopt;
  }
  for (const auto* item : level.query->from) {
    auto columns = columns_of(*item);
    if (!columns) return std::nullopt;
    out.insert(out.end(), columns->begin(), columns->end());
  }
  return out;
}

std::optional<ColumnId> Scope::origin(const ColumnId& id) const {
  if (id.source->kind != Source::Kind::kDerived || id.source->derived == nullptr) return std::nullopt;
  const auto columns = outputs(*id.source->derived);
  if (!columns || id.index >= columns->size()) return std::nullopt;
  return (*columns)[id.index].column;
}

// A column that seems to come from itself (a whole-row reference read as a column) has no base.
constexpr int kMaxOriginDepth = 256;

const catalog::Column* Scope::base_column(const ColumnId& id) const {
  std::optional<ColumnId> at = id;
  for (int depth = 0; at && depth < kMaxOriginDepth; ++depth) {
    if (at->source->kind == Source::Kind::kRelation) {
      if (at->source->relation == nullptr || at->index >= at->source->relation->columns.size())
        return nullptr;
      return &at->source->relation->columns[at->index];
    }
    at = origin(*at);
  }
  return nullptr;
}

}  // namespace decan::plan
