#include "plan/survey.h"

#include <algorithm>

namespace decan::plan {
namespace {

using catalog::Placement;
using catalog::RelationKind;
using sql::Expr;
using sql::ExprKind;
using sql::QueryKind;

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names) out += (out.empty() ? "" : ".") + name;
  return out;
}

class Surveyor {
 public:
  explicit Surveyor(const Scope& scope) : scope_(scope), snapshot_(*scope.context().catalog) {}

  Survey run() {
    writes_ = std::ranges::any_of(scope_.sources(), &Source::is_write_target);
    for (const Source& source : scope_.sources()) visit_source(source);
    for (const Level& level : scope_.levels()) {
      visit_level(level);
      for (const Expr* expr : expressions_of(*level.query))
        walk(expr, [&](const Expr& node) { visit_expr(level, node); });
    }
    return std::move(out_);
  }

 private:
  void visit_source(const Source& source) {
    if (source.item != nullptr && source.item->kind == sql::FromKind::kRelation &&
        source.kind != Source::Kind::kRelation)
      return;
    if (source.kind != Source::Kind::kRelation) return;
    if (source.is_write_target) {
      if (source.level == &scope_.top()) {
        out_.write_target = &source;
      } else {
        out_.inner_writes.push_back(&source);
      }
    }
    visit_relation(source.relation, &source);
    const bool runs_code =
        source.is_write_target || (source.relation != nullptr && is_view(*source.relation));
    if (runs_code) note_code(source.relation);
    if (source.is_temp) out_.uses_temp = true;
    if (source.relation == nullptr && !source.is_temp) out_.reads_system = true;
  }

  // `source` null: named by a function's argument, as in nextval('s').
  void visit_relation(const catalog::Relation* relation, const Source* source) {
    if (relation == nullptr) {
      out_.units.insert(snapshot_.home);
      if (source != nullptr) out_.single_name = source->ref->name;
      return;
    }
    const bool in_writes_only = relation->use_hidden_in_writes_only && !writes_;
    if (source != nullptr && !relation->use_hidden.empty() && !in_writes_only) {
      out_.hidden_what = "a policy, or a cast or comparison of values, of \"" + relation->name + "\"";
      out_.hidden_table = relation->use_hidden;
      return;
    }
    const bool writes = source != nullptr && source->is_write_target;
    if (writes && !relation->calls_hidden.empty()) {
      out_.hidden_what = "a trigger, default or constraint of \"" + relation->name + "\"";
      out_.hidden_table = relation->calls_hidden;
      return;
    }
    if (!relation->hides_sharded.empty()) {
      out_.hidden_what = "view \"" + relation->name + "\"";
      out_.hidden_table = relation->hides_sharded;
      return;
    }
    switch (relation->placement) {
      case Placement::kSharded:
        if (source != nullptr) out_.sharded.push_back(source);
        return;
      case Placement::kBroadcast:
        if (source != nullptr) out_.broadcast.push_back(source);
        return;
      case Placement::kSingle:
        if (relation->kind == RelationKind::kView && relation->reads_only_broadcast) return;
        out_.units.insert(relation->unit);
        out_.single_name = relation->name;
        return;
    }
  }

  static bool is_view(const catalog::Relation& relation) { return relation.kind == RelationKind::kView; }

  // Defaults, triggers and the bodies of views.
  void note_code(const catalog::Relation* relation) {
    out_.uses_sequences |= relation == nullptr || relation->uses_sequences;
    out_.changes_session |= relation != nullptr && relation->changes_session;
  }

  void visit_level(const Level& level) {
    const sql::Query& query = *level.query;
    if (query.locking) {
      out_.locks_rows = true;
      for (const Source* source : level.sources) {
        const bool named =
            query.locked.empty() || std::ranges::find(query.locked, source->alias) != query.locked.end();
        // A derived table's rows are locked inside it.
        if (named && (source->kind == Source::Kind::kDerived || is_broadcast(*source)))
          out_.locks_broadcast |= any_broadcast(*source);
      }
    }
    for (const auto* item : query.from) note_samples(*item);
  }

  static bool is_broadcast(const Source& source) {
    return source.relation != nullptr && source.relation->placement == Placement::kBroadcast;
  }
  static bool any_broadcast(const Source& source) {
    if (is_broadcast(source)) return true;
    return source.derived != nullptr &&
           std::ranges::any_of(source.derived->sources, [](const Source* s) { return any_broadcast(*s); });
  }

  void note_samples(const sql::FromItem& item) {
    if (item.kind == sql::FromKind::kSample) out_.samples = true;
    if (item.left != nullptr) note_samples(*item.left);
    if (item.right != nullptr) note_samples(*item.right);
  }

  void visit_expr(const Level& level, const Expr& expr) {
    switch (expr.kind) {
      case ExprKind::kColumn:
        return visit_column(level, expr);
      case ExprKind::kFunction:
        return visit_function(expr);
      case ExprKind::kCurrentOf:
        out_.current_of = true;
        return;
      case ExprKind::kCast:
        if (expr.type.name.starts_with("reg")) out_.regclass_cast = expr.type.name;
        return;
      default:
        return;
    }
  }

  void visit_column(const Level& level, const Expr& expr) {
    if (expr.names.size() > 2) out_.qualified_by_schema = true;
    if (!expr.star && !expr.names.empty() && is_system_column(expr.names.back()) &&
        !scope_.resolve(level, expr)) {
      out_.system_column = expr.names.back();
    } else if (scope_.is_whole_row(level, expr)) {
      out_.whole_row = true;
    }
  }

  void visit_function(const Expr& expr) {
    const std::string& name = expr.names.back();
    const std::string schema = expr.names.size() > 1 ? expr.names[expr.names.size() - 2] : "";
    if (const auto* hidden = schema == "pg_catalog" ? nullptr : snapshot_.hidden_function(schema, name)) {
      out_.hidden_what = "function " + joined(expr.names) + "()";
      out_.hidden_table = hidden->sharded_table;
    }
    if (snapshot_.may_miss_rows() && runs_text(expr.names, expr.args.size())) {
      out_.hidden_what = "function " + joined(expr.names) + "()";
      out_.hidden_table = catalog::kDynamicSql;
    }
    const FunctionClass kind = classify_function(expr.names, snapshot_);
    if (expr.has_window || kind == FunctionClass::kAggregate || kind == FunctionClass::kWindow || expr.star ||
        expr.distinct || expr.within_group || expr.filter != nullptr || !expr.agg_order.empty())
      out_.aggregate_or_window = joined(expr.names);
    switch (kind) {
      case FunctionClass::kUnknown:
        visit_unknown(schema, name, expr);
        break;
      case FunctionClass::kNow:
        break;
      case FunctionClass::kVolatile:
        out_.volatile_name = joined(expr.names) + "()";
        break;
      case FunctionClass::kPure:
      case FunctionClass::kAggregate:
      case FunctionClass::kWindow:
      case FunctionClass::kSetReturning:
        break;
    }
  }

  void visit_unknown(const std::string& schema, const std::string& name, const Expr& expr) {
    out_.unknown_function = joined(expr.names);
    out_.volatile_name = joined(expr.names) + "()";
    if (snapshot_.is_volatile_function(schema, name)) out_.calls_volatile_user_function = true;
    const bool far = is_sequence_function(name) && !expr.args.empty() && visit_sequence(expr.args[0]);
    if (must_run_on_home(name) && !far) out_.home_function = name;
    if (is_sequence_function(name)) out_.advances_sequence = true;
    if (is_session_advisory_lock(name)) out_.session_advisory_lock = true;
    if (reads_sequences(name))
      out_.reads_sequences = true;
    else if (is_sequence_function(name) ||
             (schema != "pg_catalog" && !name.starts_with("pg_") && name != "set_config"))
      out_.uses_sequences = true;
    if (schema != "pg_catalog" && snapshot_.changes_session(schema, name)) out_.changes_session = true;
    if (reads_session_value(name)) out_.reads_session_value = true;
    if (name == "set_config") out_.sets_config = true;
  }

  // Whether it lives on another unit than home.
  bool visit_sequence(const Expr* arg) {
    if (arg != nullptr && arg->kind == ExprKind::kCast && !arg->args.empty()) arg = arg->args[0];
    if (arg == nullptr || arg->kind != ExprKind::kLiteral || arg->literal != sql::LiteralType::kString)
      return false;
    const size_t dot = arg->text.find('.');
    const std::string schema = dot == std::string::npos ? "" : arg->text.substr(0, dot);
    const std::string name = dot == std::string::npos ? arg->text : arg->text.substr(dot + 1);
    const auto* relation = snapshot_.find(schema, name, scope_.context().search_path);
    if (relation == nullptr) return false;
    visit_relation(relation, nullptr);
    return relation->unit != snapshot_.home;
  }

  const Scope& scope_;
  const catalog::Snapshot& snapshot_;
  Survey out_;
  bool writes_ = false;
};

}  // namespace

Survey survey_of(const Scope& scope) {
  return Surveyor(scope).run();
}

}  // namespace decan::plan
