#include "sql/converter.h"

namespace decan::sql {

extern template std::vector<const Expr*> Converter::exprs(
    const google::protobuf::RepeatedPtrField<pg_query::Node>&);

RelationRef Converter::relation(const pg_query::RangeVar& var) {
  RelationRef out;
  out.catalog = var.catalogname();
  out.schema = var.schemaname();
  out.name = var.relname();
  out.alias = var.alias().aliasname();
  out.column_aliases = string_list(var.alias().colnames());
  out.only = !var.inh();
  out.location = var.location();
  return out;
}

const FromItem* Converter::join(const pg_query::JoinExpr& node) {
  FromItem& out = storage_.from_items.emplace_back();
  out.kind = FromKind::kJoin;
  out.left = from(node.larg());
  out.right = from(node.rarg());
  switch (node.jointype()) {
    case pg_query::JOIN_LEFT:
      out.join = JoinType::kLeft;
      break;
    case pg_query::JOIN_RIGHT:
      out.join = JoinType::kRight;
      break;
    case pg_query::JOIN_FULL:
      out.join = JoinType::kFull;
      break;
    default:
      out.join = JoinType::kInner;
      break;
  }
  out.natural = node.is_natural();
  out.using_columns = string_list(node.using_clause());
  if (node.has_quals()) out.on = expr(node.quals());
  if (node.has_alias()) {
    out.relation.alias = node.alias().aliasname();
    out.relation.column_aliases = string_list(node.alias().colnames());
  } else if (node.has_join_using_alias()) {
    out.relation.alias = node.join_using_alias().aliasname();
  }
  return &out;
}

const FromItem* Converter::range_function(const pg_query::RangeFunction& node) {
  FromItem& out = storage_.from_items.emplace_back();
  out.kind = FromKind::kFunction;
  out.lateral = node.lateral();
  out.ordinality = node.ordinality();
  out.relation.alias = node.alias().aliasname();
  out.relation.column_aliases = string_list(node.alias().colnames());
  // Each function is a list of the call and its column definitions.
  for (const auto& function : node.functions()) {
    if (function.has_list() && function.list().items_size() > 0)
      out.functions.push_back(expr(function.list().items(0)));
  }
  return &out;
}

const FromItem* Converter::from(const pg_query::Node& node) {
  if (node.has_join_expr()) return join(node.join_expr());
  if (node.has_range_function()) return range_function(node.range_function());
  FromItem& out = storage_.from_items.emplace_back();
  if (node.has_range_var()) {
    out.relation = relation(node.range_var());
  } else if (node.has_range_subselect()) {
    const auto& sub = node.range_subselect();
    out.kind = FromKind::kSubquery;
    out.lateral = sub.lateral();
    out.subquery = query(sub.subquery());
    out.relation.alias = sub.alias().aliasname();
    out.relation.column_aliases = string_list(sub.alias().colnames());
  } else if (node.has_range_table_sample()) {
    out.kind = FromKind::kSample;
    out.left = from(node.range_table_sample().relation());
    gather(node.range_table_sample(), out.functions);
  } else {
    out.kind = FromKind::kTableFunction;
    gather(node, out.functions);
    out.relation.alias = node.range_table_func().alias().aliasname();
  }
  return &out;
}

Target Converter::target(const pg_query::Node& node) {
  Target out;
  const auto& item = node.res_target();
  out.name = item.name();
  out.location = item.location();
  out.indirection = item.indirection_size() > 0;
  if (item.has_val()) out.expr = expr(item.val());
  return out;
}

template <class List>
std::vector<Target> Converter::targets(const List& list) {
  std::vector<Target> out;
  for (const auto& node : list) out.push_back(target(node));
  return out;
}

void Converter::with(const pg_query::WithClause& clause, Query& out) {
  out.recursive = clause.recursive();
  for (const auto& node : clause.ctes()) {
    const auto& cte = node.common_table_expr();
    out.ctes.push_back({cte.ctename(), string_list(cte.aliascolnames()), query(cte.ctequery()),
                        cte.has_search_clause() || cte.has_cycle_clause()});
  }
}

void Converter::group_item(const pg_query::Node& node, Query& out) {
  if (node.has_grouping_set()) {
    out.grouping_sets = true;
    gather(node.grouping_set(), out.group_by);
  } else if (node.has_row_expr() && node.row_expr().row_format() == pg_query::COERCE_IMPLICIT_CAST) {
    for (const auto& item : node.row_expr().args()) group_item(item, out);
  } else {
    out.group_by.push_back(expr(node));
  }
}

void Converter::select_clauses(const pg_query::SelectStmt& stmt, Query& out) {
  out.targets = targets(stmt.target_list());
  // DISTINCT without ON is a list of one empty node.
  for (const auto& node : stmt.distinct_clause()) {
    if (node.node_case() == pg_query::Node::NODE_NOT_SET) {
      out.distinct = true;
    } else {
      out.distinct_on.push_back(expr(node));
    }
  }
  out.into = stmt.has_into_clause();
  for (const auto& item : stmt.from_clause()) out.from.push_back(from(item));
  if (stmt.has_where_clause()) out.where = expr(stmt.where_clause());
  for (const auto& item : stmt.group_clause()) group_item(item, out);
  out.group_distinct = stmt.group_distinct();
  if (stmt.has_having_clause()) out.having = expr(stmt.having_clause());
  for (const auto& item : stmt.window_clause()) out.windows.push_back(window(item.window_def()));
  for (const auto& row : stmt.values_lists()) out.rows.push_back(exprs(row.list().items()));
}

const Query* Converter::select(const pg_query::SelectStmt& stmt) {
  Query& out = storage_.queries.emplace_back();
  if (stmt.has_with_clause()) with(stmt.with_clause(), out);
  if (stmt.op() != pg_query::SETOP_NONE && stmt.op() != pg_query::SET_OPERATION_UNDEFINED) {
    out.kind = QueryKind::kSetOperation;
    out.set_operation = stmt.op() == pg_query::SETOP_UNION       ? SetOperation::kUnion
                        : stmt.op() == pg_query::SETOP_INTERSECT ? SetOperation::kIntersect
                                                                 : SetOperation::kExcept;
    out.set_all = stmt.all();
    out.left = select(stmt.larg());
    out.right = select(stmt.rarg());
  } else {
    out.kind = stmt.values_lists_size() > 0 ? QueryKind::kValues : QueryKind::kSelect;
    select_clauses(stmt, out);
  }
  for (const auto& item : stmt.sort_clause()) out.order_by.push_back(sort_item(item));
  if (stmt.has_limit_count()) out.limit = expr(stmt.limit_count());
  if (stmt.has_limit_offset()) out.offset = expr(stmt.limit_offset());
  out.with_ties = stmt.limit_option() == pg_query::LIMIT_OPTION_WITH_TIES;
  out.locking = stmt.locking_clause_size() > 0;
  bool all = false;
  for (const auto& item : stmt.locking_clause()) {
    all = all || item.locking_clause().locked_rels_size() == 0;
    for (const auto& rel : item.locking_clause().locked_rels())
      out.locked.push_back(rel.range_var().relname());
  }
  if (all) out.locked.clear();
  return &out;
}

void Converter::conflict(const pg_query::OnConflictClause& clause, Query& out) {
  out.on_conflict = true;
  out.conflict_on_constraint = !clause.infer().conname().empty();
  out.conflict_set = targets(clause.target_list());
  if (clause.has_where_clause()) out.conflict_exprs.push_back(expr(clause.where_clause()));
  gather(clause.infer(), out.conflict_exprs);
}

const Query* Converter::insert(const pg_query::InsertStmt& stmt) {
  Query& out = storage_.queries.emplace_back();
  out.kind = QueryKind::kInsert;
  if (stmt.has_with_clause()) with(stmt.with_clause(), out);
  out.target = relation(stmt.relation());
  out.columns = targets(stmt.cols());
  if (stmt.has_select_stmt()) out.source = query(stmt.select_stmt());
  if (stmt.has_on_conflict_clause()) conflict(stmt.on_conflict_clause(), out);
  out.overriding = stmt.override() == pg_query::OVERRIDING_USER_VALUE ||
                   stmt.override() == pg_query::OVERRIDING_SYSTEM_VALUE;
  out.returning = targets(stmt.returning_list());
  return &out;
}

const Query* Converter::update(const pg_query::UpdateStmt& stmt) {
  Query& out = storage_.queries.emplace_back();
  out.kind = QueryKind::kUpdate;
  if (stmt.has_with_clause()) with(stmt.with_clause(), out);
  out.target = relation(stmt.relation());
  out.targets = targets(stmt.target_list());
  for (const auto& item : stmt.from_clause()) out.from.push_back(from(item));
  if (stmt.has_where_clause()) out.where = expr(stmt.where_clause());
  out.returning = targets(stmt.returning_list());
  return &out;
}

const Query* Converter::remove(const pg_query::DeleteStmt& stmt) {
  Query& out = storage_.queries.emplace_back();
  out.kind = QueryKind::kDelete;
  if (stmt.has_with_clause()) with(stmt.with_clause(), out);
  out.target = relation(stmt.relation());
  for (const auto& item : stmt.using_clause()) out.from.push_back(from(item));
  if (stmt.has_where_clause()) out.where = expr(stmt.where_clause());
  out.returning = targets(stmt.returning_list());
  return &out;
}

const Query* Converter::merge(const pg_query::MergeStmt& stmt) {
  Query& out = storage_.queries.emplace_back();
  out.kind = QueryKind::kMerge;
  if (stmt.has_with_clause()) with(stmt.with_clause(), out);
  out.target = relation(stmt.relation());
  out.merge_source = from(stmt.source_relation());
  if (stmt.has_join_condition()) out.merge_exprs.push_back(expr(stmt.join_condition()));
  for (const auto& clause : stmt.merge_when_clauses()) gather(clause, out.merge_exprs);
  return &out;
}

const Query* Converter::query(const pg_query::Node& node) {
  if (node.has_select_stmt()) return select(node.select_stmt());
  if (node.has_insert_stmt()) return insert(node.insert_stmt());
  if (node.has_update_stmt()) return update(node.update_stmt());
  if (node.has_delete_stmt()) return remove(node.delete_stmt());
  if (node.has_merge_stmt()) return merge(node.merge_stmt());
  return nullptr;
}

}  // namespace decan::sql
