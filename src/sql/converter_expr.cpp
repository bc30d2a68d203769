#include "sql/converter.h"

namespace decan::sql {

std::vector<std::string> string_list(const google::protobuf::RepeatedPtrField<pg_query::Node>& nodes) {
  std::vector<std::string> out;
  for (const auto& node : nodes) {
    if (node.has_string()) out.push_back(node.string().sval());
  }
  return out;
}

TypeRef type_ref(const pg_query::TypeName& type) {
  TypeRef out;
  const auto names = string_list(type.names());
  if (!names.empty()) out.name = names.back();
  if (names.size() > 1) out.schema = names[names.size() - 2];
  out.is_array = type.array_bounds_size() > 0;
  out.has_modifier = type.typmods_size() > 0 || type.pct_type() || type.setof();
  return out;
}

Expr& Converter::make(ExprKind kind, int32_t location, const pg_query::Node* node) {
  Expr& out = storage_.exprs.emplace_back();
  out.kind = kind;
  out.location = location;
  out.node = node;
  return out;
}

template <class List>
std::vector<const Expr*> Converter::exprs(const List& list) {
  std::vector<const Expr*> out;
  for (const auto& node : list) out.push_back(expr(node));
  return out;
}

void Converter::constant(const pg_query::A_Const& value, Expr& out) {
  out.kind = ExprKind::kLiteral;
  out.location = value.location();
  if (value.has_ival()) {
    out.literal = LiteralType::kInteger;
    out.text = std::to_string(value.ival().ival());
  } else if (value.has_fval()) {
    // Integers beyond 32 bits come as Float too.
    out.text = value.fval().fval();
    const bool digits = out.text.find_first_not_of("-0123456789") == std::string::npos;
    out.literal = digits ? LiteralType::kInteger : LiteralType::kNumeric;
  } else if (value.has_boolval()) {
    out.literal = LiteralType::kBool;
    out.text = value.boolval().boolval() ? "true" : "false";
  } else if (value.has_sval()) {
    out.literal = LiteralType::kString;
    out.text = value.sval().sval();
  } else if (value.has_bsval()) {
    out.literal = LiteralType::kBits;
    out.text = value.bsval().bsval();
  }
}

void Converter::operation(const pg_query::A_Expr& node, Expr& out) {
  out.kind = ExprKind::kOperator;
  out.location = node.location();
  out.names = string_list(node.name());
  switch (node.kind()) {
    case pg_query::AEXPR_OP_ANY:
      out.op = OperatorKind::kAny;
      break;
    case pg_query::AEXPR_OP_ALL:
      out.op = OperatorKind::kAll;
      break;
    case pg_query::AEXPR_DISTINCT:
      out.op = OperatorKind::kDistinct;
      break;
    case pg_query::AEXPR_NOT_DISTINCT:
      out.op = OperatorKind::kNotDistinct;
      break;
    case pg_query::AEXPR_NULLIF:
      out.op = OperatorKind::kNullIf;
      break;
    case pg_query::AEXPR_IN:
      out.op = !out.names.empty() && out.names.back() == "=" ? OperatorKind::kIn : OperatorKind::kNotIn;
      break;
    case pg_query::AEXPR_LIKE:
    case pg_query::AEXPR_ILIKE:
    case pg_query::AEXPR_SIMILAR:
      out.op = OperatorKind::kLike;
      break;
    case pg_query::AEXPR_BETWEEN:
    case pg_query::AEXPR_NOT_BETWEEN:
    case pg_query::AEXPR_BETWEEN_SYM:
    case pg_query::AEXPR_NOT_BETWEEN_SYM:
      out.op = OperatorKind::kBetween;
      break;
    default:
      out.op = OperatorKind::kPlain;
      break;
  }
  out.args.push_back(node.has_lexpr() ? expr(node.lexpr()) : nullptr);
  if (node.has_rexpr() && node.rexpr().has_list()) {
    for (const auto& item : node.rexpr().list().items()) out.args.push_back(expr(item));
  } else if (node.has_rexpr()) {
    out.args.push_back(expr(node.rexpr()));
  }
}

SortItem Converter::sort_item(const pg_query::Node& node) {
  SortItem out;
  const auto& sort = node.sort_by();
  out.expr = expr(sort.node());
  out.descending = sort.sortby_dir() == pg_query::SORTBY_DESC;
  out.explicit_direction = out.descending || sort.sortby_dir() == pg_query::SORTBY_ASC;
  out.by_operator = sort.sortby_dir() == pg_query::SORTBY_USING;
  out.explicit_nulls = sort.sortby_nulls() != pg_query::SORTBY_NULLS_DEFAULT;
  out.nulls_first = out.explicit_nulls ? sort.sortby_nulls() == pg_query::SORTBY_NULLS_FIRST : out.descending;
  return out;
}

const Window* Converter::window(const pg_query::WindowDef& node) {
  Window& out = storage_.windows.emplace_back();
  out.name = node.name();
  out.base = node.refname();
  out.partition_by = exprs(node.partition_clause());
  for (const auto& item : node.order_clause()) out.order_by.push_back(sort_item(item));
  if (node.has_start_offset()) out.bounds.push_back(expr(node.start_offset()));
  if (node.has_end_offset()) out.bounds.push_back(expr(node.end_offset()));
  return &out;
}

void Converter::function(const pg_query::FuncCall& node, Expr& out) {
  out.kind = ExprKind::kFunction;
  out.location = node.location();
  out.names = string_list(node.funcname());
  out.args = exprs(node.args());
  out.star = node.agg_star();
  out.distinct = node.agg_distinct();
  out.within_group = node.agg_within_group();
  for (const auto& item : node.agg_order()) out.agg_order.push_back(sort_item(item));
  if (node.has_agg_filter()) out.filter = expr(node.agg_filter());
  if (node.has_over()) {
    out.has_window = true;
    out.window = window(node.over());
  }
}

void Converter::sublink(const pg_query::SubLink& node, Expr& out) {
  out.kind = ExprKind::kSubquery;
  out.location = node.location();
  out.names = string_list(node.oper_name());
  switch (node.sub_link_type()) {
    case pg_query::EXISTS_SUBLINK:
      out.subquery_kind = SubqueryKind::kExists;
      break;
    case pg_query::ANY_SUBLINK:
      out.subquery_kind = SubqueryKind::kAny;
      break;
    case pg_query::ALL_SUBLINK:
      out.subquery_kind = SubqueryKind::kAll;
      break;
    case pg_query::ARRAY_SUBLINK:
      out.subquery_kind = SubqueryKind::kArray;
      break;
    case pg_query::ROWCOMPARE_SUBLINK:
      out.subquery_kind = SubqueryKind::kRowCompare;
      break;
    default:
      out.subquery_kind = SubqueryKind::kScalar;
      break;
  }
  if (node.has_testexpr()) out.args.push_back(expr(node.testexpr()));
  out.subquery = query(node.subselect());
}

// Kinds that need little more than their arguments.
void Converter::simple(const pg_query::Node& node, Expr& out) {
  using enum ExprKind;
  if (node.has_bool_expr()) {
    const auto op = node.bool_expr().boolop();
    out.kind = op == pg_query::AND_EXPR ? kAnd : op == pg_query::OR_EXPR ? kOr : kNot;
    out.location = node.bool_expr().location();
    out.args = exprs(node.bool_expr().args());
  } else if (node.has_null_test()) {
    out.kind = kNullTest;
    out.location = node.null_test().location();
    out.negated = node.null_test().nulltesttype() == pg_query::IS_NOT_NULL;
    out.args.push_back(expr(node.null_test().arg()));
  } else if (node.has_row_expr()) {
    out.kind = kRow;
    out.location = node.row_expr().location();
    out.args = exprs(node.row_expr().args());
  } else if (node.has_a_array_expr()) {
    out.kind = kArray;
    out.location = node.a_array_expr().location();
    out.args = exprs(node.a_array_expr().elements());
  } else if (node.has_a_indirection()) {
    out.kind = kIndirection;
    gather(node.a_indirection(), out.args);
    if (!out.args.empty() && out.args[0] != nullptr) out.location = out.args[0]->location;
    for (const auto& item : node.a_indirection().indirection()) {
      if (item.has_string()) out.names.push_back(item.string().sval());
      out.star = out.star || item.has_a_star();
    }
  } else if (node.has_collate_clause()) {
    out.kind = kCollate;
    out.location = node.collate_clause().location();
    out.names = string_list(node.collate_clause().collname());
    out.args.push_back(expr(node.collate_clause().arg()));
  } else if (node.has_sqlvalue_function()) {
    out.kind = kSqlValue;
    out.location = node.sqlvalue_function().location();
    out.sql_value = static_cast<SqlValue>(node.sqlvalue_function().op());
  } else if (node.has_set_to_default()) {
    out.kind = kDefault;
    out.location = node.set_to_default().location();
  } else if (node.has_current_of_expr()) {
    out.kind = kCurrentOf;
  } else {
    if (node.has_case_expr()) out.kind = kCase, out.location = node.case_expr().location();
    if (node.has_coalesce_expr()) out.kind = kCoalesce, out.location = node.coalesce_expr().location();
    if (node.has_min_max_expr()) out.kind = kMinMax, out.location = node.min_max_expr().location();
    gather(node, out.args);
  }
}

const Expr* Converter::expr(const pg_query::Node& node) {
  Expr& out = make(ExprKind::kOther, -1, &node);
  if (node.has_column_ref()) {
    out.kind = ExprKind::kColumn;
    out.location = node.column_ref().location();
    out.names = string_list(node.column_ref().fields());
    out.star = !node.column_ref().fields().empty() && node.column_ref().fields().rbegin()->has_a_star();
  } else if (node.has_a_const()) {
    constant(node.a_const(), out);
  } else if (node.has_param_ref()) {
    out.kind = ExprKind::kParameter;
    out.location = node.param_ref().location();
    out.parameter = node.param_ref().number();
  } else if (node.has_type_cast()) {
    out.kind = ExprKind::kCast;
    out.location = node.type_cast().location();
    out.type = type_ref(node.type_cast().type_name());
    out.args.push_back(expr(node.type_cast().arg()));
  } else if (node.has_a_expr()) {
    operation(node.a_expr(), out);
  } else if (node.has_func_call()) {
    function(node.func_call(), out);
  } else if (node.has_sub_link()) {
    sublink(node.sub_link(), out);
  } else if (node.has_select_stmt()) {
    out.kind = ExprKind::kSubquery;
    out.subquery = query(node);
  } else {
    simple(node, out);
  }
  return &out;
}

// Every expression below a message, whatever the message is.
void Converter::gather(const google::protobuf::Message& message, std::vector<const Expr*>& out) {
  const auto* reflection = message.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  const auto visit = [&](const google::protobuf::Message& child) {
    // The node inside a Node wrapper is visited as an expression; a String or TypeName is none.
    if (child.GetDescriptor() == pg_query::Node::descriptor()) {
      const auto& node = static_cast<const pg_query::Node&>(child);
      if (node.has_string() || node.has_type_name() || node.has_a_star()) return;
      if (node.has_list() || node.has_case_when() || node.has_named_arg_expr() || node.has_res_target() ||
          node.has_sort_by()) {
        gather(node, out);
      } else {
        out.push_back(expr(node));
      }
    } else {
      gather(child, out);
    }
  };
  for (const auto* field : fields) {
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (field->is_repeated()) {
      for (int i = 0; i < reflection->FieldSize(message, field); ++i)
        visit(reflection->GetRepeatedMessage(message, field, i));
    } else {
      visit(reflection->GetMessage(message, field));
    }
  }
}

template std::vector<const Expr*> Converter::exprs(const google::protobuf::RepeatedPtrField<pg_query::Node>&);

}  // namespace decan::sql
