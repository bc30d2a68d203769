#include "sql/parse.h"

#include <google/protobuf/io/coded_stream.h>
#include <pg_query.h>

#include <limits>

#include "sql/converter.h"

namespace decan::sql {
namespace {

// Levels of protobuf nesting; an operator takes two. Bounds the stack of decoding and of every walk over the
// tree.
constexpr int kMaxDepth = 3000;

Error parse_error(const PgQueryError& error, uint32_t* position_out) {
  if (position_out != nullptr)
    *position_out = error.cursorpos > 0 ? static_cast<uint32_t>(error.cursorpos) : 0;
  const std::string message = error.message == nullptr ? "syntax error" : error.message;
  if (message.contains("stack depth limit"))
    return Error{"54001", message, {}, "Split the statement into smaller ones."};
  return Error{std::string(sqlstate::kSyntaxError), message};
}

Status decode(std::string_view sql, pg_query::ParseResult& out, uint32_t* position_out) {
  if (sql.find('\0') != std::string_view::npos)
    return fail("22021", "invalid byte sequence for encoding \"UTF8\": 0x00");
  PgQueryProtobufParseResult result = pg_query_parse_protobuf(std::string(sql).c_str());
  Status status;
  if (result.error != nullptr) {
    status = fail(parse_error(*result.error, position_out));
  } else {
    google::protobuf::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(result.parse_tree.data),
                                              static_cast<int>(result.parse_tree.len));
    in.SetRecursionLimit(kMaxDepth);
    if (!out.ParseFromCodedStream(&in) || !in.ConsumedEntireMessage()) {
      status = fail("54001", "statement is nested too deeply", {}, "Split the statement into smaller ones.");
    }
  }
  pg_query_free_protobuf_parse_result(result);
  return status;
}

const pg_query::Node* inner_query(const pg_query::Node& node) {
  if (node.has_create_table_as_stmt()) return &node.create_table_as_stmt().query();
  if (node.has_view_stmt()) return &node.view_stmt().query();
  if (node.has_copy_stmt() && node.copy_stmt().has_query()) return &node.copy_stmt().query();
  if (node.has_explain_stmt()) return &node.explain_stmt().query();
  if (node.has_declare_cursor_stmt()) return &node.declare_cursor_stmt().query();
  if (node.has_prepare_stmt()) return &node.prepare_stmt().query();
  return nullptr;
}

// --- comparison of trees ---

void clear_locations(google::protobuf::Message& message) {
  const auto* reflection = message.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const auto* field : fields) {
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) {
      const std::string& name = field->name();
      if (name == "location" || name == "stmt_location" || name == "stmt_len")
        reflection->ClearField(&message, field);
    } else if (field->is_repeated()) {
      for (int i = 0; i < reflection->FieldSize(message, field); ++i)
        clear_locations(*reflection->MutableRepeatedMessage(&message, field, i));
    } else {
      clear_locations(*reflection->MutableMessage(&message, field));
    }
  }
}

std::string canonical(google::protobuf::Message& message) {
  clear_locations(message);
  std::string out;
  google::protobuf::io::StringOutputStream stream(&out);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
  coded.Trim();
  return out;
}

bool is_guard(const pg_query::Node& node) {
  if (!node.has_sub_link() || !node.sub_link().subselect().has_select_stmt()) return false;
  const auto& select = node.sub_link().subselect().select_stmt();
  return select.from_clause_size() == 1 && select.from_clause(0).range_var().schemaname() == "decan" &&
         select.from_clause(0).range_var().relname() == "map";
}

// Takes a guard out of a WHERE clause; true when there was one.
template <class Stmt>
bool take_guard(Stmt& stmt) {
  if (!stmt.has_where_clause()) return false;
  pg_query::Node& where = *stmt.mutable_where_clause();
  if (is_guard(where)) {
    stmt.clear_where_clause();
    return true;
  }
  if (!where.has_bool_expr() || where.bool_expr().boolop() != pg_query::AND_EXPR) return false;
  if (where.bool_expr().args_size() != 2 || !is_guard(where.bool_expr().args(0))) return false;
  pg_query::Node rest = where.bool_expr().args(1);
  where.Swap(&rest);
  return true;
}

size_t take_guards(pg_query::SelectStmt& stmt) {
  if (stmt.has_larg()) return take_guards(*stmt.mutable_larg()) + take_guards(*stmt.mutable_rarg());
  return take_guard(stmt) ? 1 : 0;
}

size_t take_guards(pg_query::Node& node) {
  if (node.has_select_stmt()) return take_guards(*node.mutable_select_stmt());
  if (node.has_update_stmt()) return take_guard(*node.mutable_update_stmt()) ? 1 : 0;
  if (node.has_delete_stmt()) return take_guard(*node.mutable_delete_stmt()) ? 1 : 0;
  if (node.has_insert_stmt() && node.insert_stmt().has_select_stmt())
    return take_guards(*node.mutable_insert_stmt()->mutable_select_stmt());
  if (node.has_copy_stmt() && node.copy_stmt().has_query())
    return take_guards(*node.mutable_copy_stmt()->mutable_query());
  if (node.has_declare_cursor_stmt())
    return take_guards(*node.mutable_declare_cursor_stmt()->mutable_query());
  return 0;
}

// Calls `visit` for every message directly below this one until it returns true; whether it did.
template <class Visit>
bool any_child(google::protobuf::Message& message, const Visit& visit) {
  const auto* reflection = message.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const auto* field : fields) {
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    const int count = field->is_repeated() ? reflection->FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      if (visit(field->is_repeated() ? *reflection->MutableRepeatedMessage(&message, field, i)
                                     : *reflection->MutableMessage(&message, field)))
        return true;
    }
  }
  return false;
}

// The only relation reference with that name, or nullptr.
pg_query::RangeVar* find_relation(google::protobuf::Message& message, std::string_view schema,
                                  std::string_view name) {
  if (message.GetDescriptor() == pg_query::RangeVar::descriptor()) {
    auto& var = static_cast<pg_query::RangeVar&>(message);
    return var.schemaname() == schema && var.relname() == name ? &var : nullptr;
  }
  pg_query::RangeVar* found = nullptr;
  any_child(message, [&](google::protobuf::Message& child) {
    found = find_relation(child, schema, name);
    return found != nullptr;
  });
  return found;
}

// Calls `visit` for every node of the tree, from the outside in.
template <class Visit>
void each_node(google::protobuf::Message& message, const Visit& visit) {
  if (message.GetDescriptor() == pg_query::Node::descriptor()) visit(static_cast<pg_query::Node&>(message));
  any_child(message, [&](google::protobuf::Message& child) {
    each_node(child, visit);
    return false;
  });
}

// Puts a plain reference in place of a sub-select that was made for it.
bool take_view(pg_query::Node& node, const std::string& alias, const RelationRef& relation) {
  if (!node.has_range_subselect()) return false;
  const pg_query::RangeSubselect& view = node.range_subselect();
  const auto& from = view.subquery().select_stmt().from_clause();
  if (from.size() != 1 || from[0].range_var().alias().aliasname() != alias) return false;
  if (view.alias().aliasname() != (relation.alias.empty() ? relation.name : relation.alias)) return false;
  pg_query::RangeVar var = from[0].range_var();
  var.set_schemaname(relation.schema);
  if (relation.alias.empty())
    var.clear_alias();
  else
    *var.mutable_alias() = view.alias();
  *node.mutable_range_var() = std::move(var);
  return true;
}

}  // namespace

ParsedText::ParsedText() : storage_(std::make_unique<Storage>()) {}
ParsedText::~ParsedText() = default;
ParsedText::ParsedText(ParsedText&&) noexcept = default;
ParsedText& ParsedText::operator=(ParsedText&&) noexcept = default;

Result<ParsedText> parse(std::string_view sql, uint32_t* position_out) {
  if (position_out != nullptr) *position_out = 0;
  if (sql.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max()))
    return fail(sqlstate::kProgramLimitExceeded, "statement is too long");
  ParsedText out;
  if (auto status = decode(sql, out.storage_->result, position_out); !status) return fail(status.error());
  Converter converter(*out.storage_);
  for (const auto& raw : out.storage_->result.stmts()) {
    Statement statement;
    statement.offset = static_cast<uint32_t>(raw.stmt_location());
    statement.bytes = raw.stmt_len() > 0 ? static_cast<uint32_t>(raw.stmt_len())
                                         : static_cast<uint32_t>(sql.size()) - statement.offset;
    statement.tree = Tree(&raw.stmt());
    statement.query = converter.query(raw.stmt());
    statement.is_query = statement.query != nullptr;
    if (const auto* inner = inner_query(raw.stmt())) statement.query = converter.query(*inner);
    out.statements_.push_back(statement);
  }
  return out;
}

bool same_expression(const Expr& a, const Expr& b) {
  if (&a == &b) return true;
  if (a.node == nullptr || b.node == nullptr) return false;
  pg_query::Node left = *static_cast<const pg_query::Node*>(a.node);
  pg_query::Node right = *static_cast<const pg_query::Node*>(b.node);
  return canonical(left) == canonical(right);
}

bool RewriteProof::equal(google::protobuf::Message& rewritten) {
  if (canonical_.empty()) {
    const std::unique_ptr<google::protobuf::Message> copy(original_.message()->New());
    copy->CopyFrom(*original_.message());
    canonical_ = canonical(*copy);
  }
  // The original's Node wrapper was seen through; its content tells the kind by its descriptor.
  const Tree inner(&rewritten);
  if (!inner || inner.message()->GetDescriptor() != original_.message()->GetDescriptor()) return false;
  return canonical(*const_cast<google::protobuf::Message*>(inner.message())) == canonical_;
}

bool RewriteProof::equal_but_guards(std::string_view rewritten, size_t guards) {
  pg_query::ParseResult parsed;
  if (!decode(rewritten, parsed, nullptr) || parsed.stmts_size() != 1) return false;
  pg_query::Node& stmt = *parsed.mutable_stmts(0)->mutable_stmt();
  return take_guards(stmt) == guards && equal(stmt);
}

bool RewriteProof::equal_but_leaves(std::string_view rewritten, const std::vector<LeafName>& leaves) {
  pg_query::ParseResult parsed;
  if (!decode(rewritten, parsed, nullptr) || parsed.stmts_size() != 1) return false;
  for (const LeafName& leaf : leaves) {
    pg_query::RangeVar* var = find_relation(parsed, leaf.schema, leaf.name);
    const RelationRef& relation = *leaf.relation;
    if (var == nullptr ||
        var->alias().aliasname() != (relation.alias.empty() ? relation.name : relation.alias))
      return false;
    var->set_schemaname(relation.schema);
    var->set_relname(relation.name);
    if (relation.alias.empty()) var->clear_alias();
  }
  return equal(*parsed.mutable_stmts(0)->mutable_stmt());
}

bool RewriteProof::equal_but_views(std::string_view rewritten,
                                   const std::vector<const RelationRef*>& relations) {
  pg_query::ParseResult parsed;
  if (!decode(rewritten, parsed, nullptr) || parsed.stmts_size() != 1) return false;
  size_t taken = 0;
  each_node(parsed, [&](pg_query::Node& node) {
    for (size_t i = 0; i < relations.size(); ++i) {
      if (take_view(node, view_alias(i), *relations[i])) return void(++taken);
    }
  });
  return taken == relations.size() && equal(*parsed.mutable_stmts(0)->mutable_stmt());
}

}  // namespace decan::sql
