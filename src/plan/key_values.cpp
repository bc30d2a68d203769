// Constants and parameters as key values.
#include <algorithm>
#include <utility>

#include "catalog/type_oids.h"
#include "plan/key_facts.h"

namespace decan::plan {
namespace {

using sql::Expr;
using sql::ExprKind;
using sql::LiteralType;
namespace type = catalog::type;

constexpr Oid kUnknownType = 705;

constexpr std::pair<std::string_view, Oid> kTypeNames[] = {
    {"bool", type::kBool},           {"bytea", type::kBytea},
    {"date", type::kDate},           {"int2", type::kInt2},
    {"int4", type::kInt4},           {"int8", type::kInt8},
    {"numeric", type::kNumeric},     {"text", type::kText},
    {"timestamp", type::kTimestamp}, {"timestamptz", type::kTimestamptz},
    {"uuid", type::kUuid},           {"varchar", type::kVarchar},
    {"bpchar", type::kBpchar},       {"time", type::kTime},
    {"float8", type::kFloat8},       {"float4", type::kFloat4},
    {"name", type::kName},           {"oid", type::kOid},
};

// Array type OIDs of the key types (pg_type.dat).
constexpr std::pair<Oid, Oid> kArrayElements[] = {
    {1000, type::kBool}, {1001, type::kBytea},     {1005, type::kInt2},        {1007, type::kInt4},
    {1016, type::kInt8}, {1009, type::kText},      {1015, type::kVarchar},     {1014, type::kBpchar},
    {1182, type::kDate}, {1115, type::kTimestamp}, {1185, type::kTimestamptz}, {1231, type::kNumeric},
    {2951, type::kUuid},
};

Oid named_type(const sql::TypeRef& ref) {
  if (ref.has_modifier || (!ref.schema.empty() && ref.schema != "pg_catalog")) return 0;
  const auto* found = std::ranges::find(kTypeNames, ref.name, &std::pair<std::string_view, Oid>::first);
  return found == std::end(kTypeNames) ? 0 : found->second;
}

bool is_integer(Oid oid) {
  return type_family(oid) == type::kInt8;
}

}  // namespace

Oid type_family(Oid oid) {
  if (oid == type::kInt2 || oid == type::kInt4) return type::kInt8;
  if (oid == type::kVarchar) return type::kText;
  return oid;
}

Oid cast_type(const sql::TypeRef& ref) {
  return ref.is_array ? 0 : named_type(ref);
}

ValueReader::ValueReader(const SourceText& source, std::span<const Oid> parameter_types, const Scope& scope)
    : source_(source), parameter_types_(parameter_types), scope_(scope) {
  note_uses(scope);
}

Oid ValueReader::declared(int32_t number) const {
  const auto index = static_cast<size_t>(number) - 1;
  if (number < 1 || index >= parameter_types_.size()) return 0;
  return parameter_types_[index] == kUnknownType ? 0 : parameter_types_[index];
}

// Where a parameter has no declared type, PostgreSQL takes it from the parameter's first use. All uses are
// noted, so that a parameter with one kind of use has a certain type.
void ValueReader::note_uses(const Scope& scope) {
  for (const Level& level : scope.levels()) {
    std::map<const Expr*, Oid> assigned;
    note_assignments(level, assigned);
    for (const Expr* expr : expressions_of(*level.query)) {
      const auto known = assigned.find(expr);
      note_uses(level, *expr, known == assigned.end() ? 0 : known->second);
    }
  }
}

// What INSERT … VALUES and SET assign directly takes the column's type.
void ValueReader::note_assignments(const Level& level, std::map<const Expr*, Oid>& out) const {
  const auto column_type = [](const catalog::Relation& relation, const std::string& name) -> Oid {
    const catalog::Column* column = relation.column(name);
    return column == nullptr ? 0 : type_family(column->type);
  };
  const auto target_of = [](const Level& write) -> const catalog::Relation* {
    return write.sources.empty() || !write.sources[0]->is_write_target ? nullptr : write.sources[0]->relation;
  };
  if (const auto* relation = target_of(level)) {
    const auto& sets =
        level.query->kind == sql::QueryKind::kUpdate ? level.query->targets : level.query->conflict_set;
    for (const auto& target : sets) {
      if (target.expr != nullptr && !target.indirection)
        out[target.expr] = column_type(*relation, target.name);
    }
  }
  if (level.query->kind != sql::QueryKind::kValues || level.parent == nullptr ||
      level.parent->query->source != level.query)
    return;
  const auto* relation = target_of(*level.parent);
  if (relation == nullptr) return;
  const auto& columns = level.parent->query->columns;
  for (const auto& row : level.query->rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      if (!columns.empty() && i < columns.size()) out[row[i]] = column_type(*relation, columns[i].name);
      if (columns.empty() && i < relation->columns.size())
        out[row[i]] = type_family(relation->columns[i].type);
    }
  }
}

void ValueReader::note_uses(const Level& level, const Expr& expr, Oid context) {
  if (expr.kind == ExprKind::kParameter) {
    uses_[expr.parameter].push_back(context);
    return;
  }
  const auto column_type = [&](const Expr* arg) -> Oid {
    if (arg == nullptr || arg->kind != ExprKind::kColumn) return 0;
    const auto id = scope_.resolve(level, *arg);
    const auto* column = id ? scope_.base_column(*id) : nullptr;
    return column == nullptr ? 0 : type_family(column->type);
  };
  for (size_t i = 0; i < expr.args.size(); ++i) {
    if (expr.args[i] == nullptr) continue;
    Oid inner = 0;
    if (expr.kind == ExprKind::kCast) {
      inner = type_family(cast_type(expr.type));
    } else if (expr.kind == ExprKind::kOperator && expr.names.size() == 1 && expr.names[0] == "=") {
      // = and IN: the type of the column on the other side; = ANY($1) is told apart by the parameter being an
      // array.
      inner = i == 0 ? (expr.args.size() == 2 ? column_type(expr.args[1]) : 0) : column_type(expr.args[0]);
    } else if (expr.kind == ExprKind::kRow) {
      inner = context;
    }
    note_uses(level, *expr.args[i], inner);
  }
  if (expr.filter != nullptr) note_uses(level, *expr.filter, 0);
  for (const auto& item : expr.agg_order) note_uses(level, *item.expr, 0);
}

ValueRef ValueReader::literal_ref(const Expr& expr) const {
  ValueRef ref;
  if (const auto literal = source_.literal_at(expr.location)) {
    ref.kind = ValueRef::Kind::kLiteral;
    ref.index = literal->ordinal;
    ref.negated = literal->negated;
  } else {
    ref.constant = expr.text;
  }
  return ref;
}

std::optional<ValueRef> ValueReader::constant(const Expr& expr, Oid type, Oid cast) const {
  ValueRef ref;
  switch (expr.literal) {
    case LiteralType::kNull:
      ref.is_null = true;
      return ref;
    case LiteralType::kString:
      // A template's string may be of a kind whose value is not read here.
      ref = literal_ref(expr);
      ref.type = cast;
      return ref;
    case LiteralType::kInteger:
      if (is_integer(type) && (cast == 0 || is_integer(cast))) {
        ref = literal_ref(expr);
        ref.type = type::kInt8;
        return ref;
      }
      if (type != type::kNumeric || (cast != 0 && cast != type::kNumeric)) return std::nullopt;
      ref = literal_ref(expr);
      ref.type = type::kNumeric;
      return ref;
    case LiteralType::kNumeric:
      if (type != type::kNumeric || (cast != 0 && cast != type::kNumeric)) return std::nullopt;
      ref = literal_ref(expr);
      ref.type = type::kNumeric;
      return ref;
    case LiteralType::kBool:
      if (type != type::kBool || cast != 0) return std::nullopt;
      ref.constant = expr.text;
      return ref;
    case LiteralType::kBits:
      return std::nullopt;
  }
  return std::nullopt;
}

std::optional<ValueRef> ValueReader::parameter(const Expr& expr, Oid key_type, Oid cast) const {
  ValueRef ref;
  ref.kind = ValueRef::Kind::kParameter;
  ref.index = static_cast<uint32_t>(expr.parameter);
  const Oid given = declared(expr.parameter);
  if (given != 0) {
    // A cast of a value of the same family changes nothing but the range, which the server checks.
    if (type_family(given) != type_family(key_type)) return std::nullopt;
    ref.type = given;
    return ref;
  }
  ref.type = cast;
  const auto uses = uses_.find(expr.parameter);
  const Oid family = type_family(key_type);
  ref.uncertain =
      uses == uses_.end() || uses->second.empty() ||
      (uses->second.size() > 1 && std::ranges::any_of(uses->second, [&](Oid use) { return use != family; }));
  return ref;
}

std::optional<ValueRef> ValueReader::comparand(const Expr& expr, Oid type) const {
  const Expr* inner = &expr;
  Oid cast = 0;
  if (expr.kind == ExprKind::kCast) {
    cast = cast_type(expr.type);
    if (cast == 0 || type_family(cast) != type_family(type) || expr.args[0] == nullptr) return std::nullopt;
    inner = expr.args[0];
  }
  if (inner->kind == ExprKind::kLiteral) return constant(*inner, type, cast);
  if (inner->kind == ExprKind::kParameter) return parameter(*inner, type, cast);
  return std::nullopt;
}

std::optional<ValueRef> ValueReader::assigned(const Expr& expr, const catalog::Column& column) const {
  auto value = comparand(expr, column.type);
  if (!value || value->is_null) return value;
  // varchar(n), numeric(p,s), timestamp(p) may change the value: resolve() compares it with what the modifier
  // allows.
  return value;
}

std::optional<ValueRef> ValueReader::plain(const Expr& expr) const {
  if (expr.kind == ExprKind::kParameter) {
    ValueRef ref;
    ref.kind = ValueRef::Kind::kParameter;
    ref.index = static_cast<uint32_t>(expr.parameter);
    return ref;
  }
  if (expr.kind != ExprKind::kLiteral) return std::nullopt;
  ValueRef ref;
  if (expr.literal == LiteralType::kNull) {
    ref.is_null = true;
    return ref;
  }
  if (expr.literal != LiteralType::kInteger && expr.literal != LiteralType::kNumeric) return std::nullopt;
  return literal_ref(expr);
}

std::optional<KeyCondition> ValueReader::any_array(const Expr& expr, Oid type) const {
  const Expr* inner = &expr;
  KeyCondition out;
  if (expr.kind == ExprKind::kCast) {
    if (!expr.type.is_array || expr.args[0] == nullptr) return std::nullopt;
    out.declared_type = named_type(expr.type);
    if (out.declared_type == 0 || type_family(out.declared_type) != type_family(type)) return std::nullopt;
    inner = expr.args[0];
  }
  if (inner->kind == ExprKind::kArray) {
    for (const Expr* element : inner->args) {
      auto value = element == nullptr ? std::nullopt : comparand(*element, type);
      // Elements without a cast give the array a type of their own: strings alone make it text[].
      if (!value) return std::nullopt;
      const bool text = element->kind == ExprKind::kLiteral && element->literal == LiteralType::kString;
      if (text && out.declared_type == 0 && type_family(type) != type::kText) return std::nullopt;
      out.any_of.push_back(*value);
    }
    return out;
  }
  if (inner->kind == ExprKind::kLiteral && inner->literal == LiteralType::kString) {
    out.any_array_literal = literal_ref(*inner);
    return out;
  }
  if (inner->kind == ExprKind::kParameter) {
    const Oid given = declared(inner->parameter);
    if (given != 0) {
      const auto* found = std::ranges::find(kArrayElements, given, &std::pair<Oid, Oid>::first);
      if (found == std::end(kArrayElements) || type_family(found->second) != type_family(type))
        return std::nullopt;
      out.declared_type = found->second;
    } else {
      // Without a type it must have this one use, which gives it the key's array type.
      const auto uses = uses_.find(inner->parameter);
      if (uses == uses_.end() || uses->second.size() != 1) return std::nullopt;
    }
    out.any_array_parameter = static_cast<uint32_t>(inner->parameter);
    return out;
  }
  return std::nullopt;
}

}  // namespace decan::plan
