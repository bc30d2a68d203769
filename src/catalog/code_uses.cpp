#include "catalog/code_uses.h"

#include "catalog/loader_fields.h"

namespace decan::catalog {
namespace {

std::unexpected<Error> malformed(std::string_view what) {
  return fail(sqlstate::kInternalError, "unexpected catalog rows: " + std::string(what));
}

}  // namespace

Status CodeUses::read(const TextTable& uses, const TextTable& spellings, const TextTable& types) {
  if (Status done = read_spellings(spellings); !done) return done;
  if (Status done = read_uses(uses); !done) return done;
  return has_types() ? read_types(types) : Status{};
}

Status CodeUses::read_spellings(const TextTable& rows) {
  using Kind = NamedSpelling::Kind;
  for (const auto& fields : rows) {
    Fields row(fields);
    const std::string_view kind = row.text(0);
    const auto oid = row.number<Oid>(3);
    const auto routine = row.number<Oid>(4);
    if (!row.ok()) return malformed("pg_operator");
    if (kind == "operator" || kind == "class") {
      code_.emplace(oid, routine);
      if (kind == "operator") named_.push_back({Kind::kOperator, row.text(1), row.text(2), 0, routine});
    } else if (kind == "attribute") {
      named_.push_back({Kind::kAttribute, row.text(1), row.text(2), 0, routine});
    } else if (kind == "cast") {
      add_type_code(oid, routine, TypeCode::kCast);
      named_.push_back({Kind::kCast, row.text(1), row.text(2), 0, routine});
    } else if (kind == "any cast") {
      any_casts_.push_back(routine);
    } else {
      add_type_code(oid, routine, kind == "assignment" ? TypeCode::kAssigns : TypeCode::kValues);
    }
  }
  return {};
}

Status CodeUses::read_uses(const TextTable& rows) {
  for (const auto& fields : rows) {
    Fields row(fields);
    const bool of_type = row.text(0) == "t";
    const auto owner = row.number<Oid>(1);
    const std::string_view how = row.text(2);
    const char kind = row.text(3).empty() ? 'f' : row.text(3)[0];
    const auto used = row.number<Oid>(4);
    if (!row.ok()) return malformed("pg_depend");
    if (of_type) {
      add_type_part(owner, kind, used);
    } else if (how == "column") {
      columns_.emplace(owner, used);
    } else {
      const Use when = how == "policy" ? Use::kWhenUsed : how == "cascade" ? Use::kWrites : Use::kWhenWritten;
      relation_uses_.push_back({owner, kind == 'c' ? Use::kWhenUsed : when, kind, used});
    }
  }
  return {};
}

Status CodeUses::read_types(const TextTable& rows) {
  for (const auto& fields : rows) {
    Fields row(fields);
    const auto oid = row.number<Oid>(0);
    const TypeName type{row.text(1), row.text(2), row.text(3).empty() ? 'b' : row.text(3)[0],
                        row.number<Oid>(4)};
    if (!row.ok()) return malformed("pg_type");
    if (type.kind == 'c') composites_[{type.schema, type.name}] = oid;
    if (type.inner != 0) type_users_.emplace(type.inner, oid);
    types_[oid] = type;
  }
  // A cast to an array, or of one, is written with the element's name.
  for (size_t i = 0, count = direct_.size(); i < count; ++i) {
    const auto [oid, code] = direct_[i];
    const auto type = types_.find(oid);
    if (type != types_.end() && type->second.kind == 'a') direct_.emplace_back(type->second.inner, code);
  }
  return {};
}

void CodeUses::add_type_code(Oid type, Oid routine, TypeCode when) {
  direct_.push_back({type, {routine, when}});
}

void CodeUses::add_type_part(Oid type, char kind, Oid used) {
  if (kind == 't') {
    if (used != type) type_users_.emplace(used, type);
    return;
  }
  for (const ObjectId& code : code_of(kind, used)) add_type_code(type, code.oid, TypeCode::kChecks);
}

void CodeUses::add_row_type(Oid relation, std::string_view schema, std::string_view name, bool stored) {
  const auto type = composites_.find({schema, name});
  if (type == composites_.end()) return;
  const auto [first, last] = columns_.equal_range(relation);
  for (auto column = first; column != last; ++column) type_users_.emplace(column->second, type->second);
  if (stored) row_types_.emplace_back(relation, type->second);
}

void CodeUses::close() {
  std::vector<std::pair<Oid, Code>> pending = direct_;
  while (!pending.empty()) {
    const auto [type, code] = pending.back();
    pending.pop_back();
    if (!type_code_[type].insert(code).second) continue;
    const auto [first, last] = type_users_.equal_range(type);
    for (auto user = first; user != last; ++user) pending.emplace_back(user->second, code);
  }
}

std::vector<ObjectId> CodeUses::code_of(char kind, Oid oid) const {
  if (kind == 'r' || kind == 'f') return {{kind == 'f', oid}};
  std::vector<ObjectId> out;
  if (kind == 't') {
    const auto found = type_code_.find(oid);
    if (found == type_code_.end()) return out;
    for (const Code& code : found->second) {
      if (code.when != TypeCode::kCast) out.push_back({true, code.routine});
    }
    return out;
  }
  const auto [first, last] = code_.equal_range(oid);
  for (auto code = first; code != last; ++code) out.push_back({true, code->second});
  return out;
}

std::vector<Dependency> CodeUses::of_relations() const {
  std::vector<Dependency> out;
  for (const RelationUse& use : relation_uses_) {
    for (const ObjectId& code : code_of(use.kind, use.used))
      out.push_back({{false, use.relation}, code, use.when});
  }
  for (const auto& [relation, type] : row_types_) {
    const auto found = type_code_.find(type);
    if (found == type_code_.end()) continue;
    for (const Code& code : found->second) {
      if (code.when == TypeCode::kCast) continue;
      const Use when = code.when == TypeCode::kValues ? Use::kWhenUsed : Use::kWhenWritten;
      out.push_back({{false, relation}, {true, code.routine}, when});
    }
  }
  return out;
}

std::vector<Dependency> CodeUses::assignments() const {
  std::vector<Dependency> out;
  for (const auto& [relation, type] : row_types_) {
    const auto found = type_code_.find(type);
    if (found == type_code_.end()) continue;
    for (const Code& code : found->second) {
      if (code.when == TypeCode::kAssigns) out.push_back({{false, relation}, {true, code.routine}});
    }
  }
  return out;
}

std::vector<NamedSpelling> CodeUses::spellings() const {
  using Kind = NamedSpelling::Kind;
  std::vector<NamedSpelling> out = named_;
  for (const auto& [oid, codes] : type_code_) {
    const auto type = types_.find(oid);
    if (type == types_.end()) continue;
    for (const Code& code : codes) {
      const bool cast = code.when == TypeCode::kCast;
      out.push_back({cast ? Kind::kCast : Kind::kType, type->second.schema, type->second.name,
                     cast ? Oid{0} : oid, code.routine});
    }
  }
  return out;
}

}  // namespace decan::catalog
