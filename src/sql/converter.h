// libpg_query's protobuf tree to the planner's ast.h. Private to src/sql.
#pragma once

#include <deque>

#include "pg_query.pb.h"
#include "sql/parse.h"

namespace decan::sql {

struct ParsedText::Storage {
  pg_query::ParseResult result;
  std::deque<Expr> exprs;
  std::deque<Query> queries;
  std::deque<FromItem> from_items;
  std::deque<Window> windows;
};

class Converter {
 public:
  explicit Converter(ParsedText::Storage& storage) : storage_(storage) {}

  // nullptr when the node is no query.
  const Query* query(const pg_query::Node& node);
  const Query* select(const pg_query::SelectStmt& stmt);

 private:
  const Query* insert(const pg_query::InsertStmt& stmt);
  const Query* update(const pg_query::UpdateStmt& stmt);
  const Query* remove(const pg_query::DeleteStmt& stmt);
  const Query* merge(const pg_query::MergeStmt& stmt);
  void select_clauses(const pg_query::SelectStmt& stmt, Query& out);
  void with(const pg_query::WithClause& clause, Query& out);
  void conflict(const pg_query::OnConflictClause& clause, Query& out);

  const FromItem* from(const pg_query::Node& node);
  const FromItem* join(const pg_query::JoinExpr& node);
  const FromItem* range_function(const pg_query::RangeFunction& node);
  RelationRef relation(const pg_query::RangeVar& var);

  const Expr* expr(const pg_query::Node& node);
  Expr& make(ExprKind kind, int32_t location, const pg_query::Node* node);
  void constant(const pg_query::A_Const& value, Expr& out);
  void operation(const pg_query::A_Expr& node, Expr& out);
  void function(const pg_query::FuncCall& node, Expr& out);
  void sublink(const pg_query::SubLink& node, Expr& out);
  void simple(const pg_query::Node& node, Expr& out);
  void gather(const google::protobuf::Message& message, std::vector<const Expr*>& out);
  const Window* window(const pg_query::WindowDef& node);
  SortItem sort_item(const pg_query::Node& node);
  Target target(const pg_query::Node& node);
  void group_item(const pg_query::Node& node, Query& out);
  template <class List>
  std::vector<const Expr*> exprs(const List& list);
  template <class List>
  std::vector<Target> targets(const List& list);

  ParsedText::Storage& storage_;
};

std::vector<std::string> string_list(const google::protobuf::RepeatedPtrField<pg_query::Node>& nodes);
TypeRef type_ref(const pg_query::TypeName& type);

}  // namespace decan::sql
