// Which routines run where no function is named: by operators, operator classes, types and their casts, and
// by what the catalog attaches to a relation (triggers, defaults, constraints, policies, indexes, column
// types). Reads the rows of snapshot_query(); pure.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "catalog/hidden.h"
#include "catalog/loader.h"
#include "catalog/snapshot.h"

namespace decan::catalog {

// When the use of a type runs a routine.
enum class TypeCode : uint8_t {
  kChecks,   // values are made: checks and defaults of domains, in other types too
  kValues,   // values are at hand: implicit casts, comparisons, hashing
  kAssigns,  // values are at hand where something is written: assignment casts
  kCast,     // a cast to the type is written
};

// Another way to call a routine, as it is written in SQL.
struct NamedSpelling {
  using Kind = SpellingKind;
  Kind kind = Kind::kOperator;
  std::string_view schema, name;
  Oid type = 0;  // kType
  Oid routine = 0;
};

class CodeUses {
 public:
  // All views into the tables must outlive this object. `types`: rows of types_query().
  Status read(const TextTable& uses, const TextTable& spellings, const TextTable& types);

  // The type of a relation's rows: where has_types(), to be told of all relations before close(). `stored`:
  // not just a composite type.
  bool has_types() const { return !direct_.empty(); }
  void add_row_type(Oid relation, std::string_view schema, std::string_view name, bool stored);
  void close();

  // What the use of an object runs or reads; `kind` as in the rows: 'r' relation, 'f' function, 'o' operator,
  // 't' type, 'c' operator class.
  std::vector<ObjectId> code_of(char kind, Oid oid) const;
  // By what is attached to relations and by the types of their columns.
  std::vector<Dependency> of_relations() const;
  // By assignment casts of their values only.
  std::vector<Dependency> assignments() const;
  std::vector<NamedSpelling> spellings() const;
  const std::vector<Oid>& any_casts() const { return any_casts_; }

 private:
  struct Code {
    Oid routine = 0;
    TypeCode when = TypeCode::kChecks;
    auto operator<=>(const Code&) const = default;
  };
  struct RelationUse {
    Oid relation = 0;
    Use when = Use::kWhenWritten;
    char kind = 'f';
    Oid used = 0;
  };
  struct TypeName {
    std::string_view schema, name;
    char kind = 'b';  // pg_type.typtype, 'a' for arrays
    Oid inner = 0;
  };
  Status read_types(const TextTable& rows);
  Status read_spellings(const TextTable& rows);
  Status read_uses(const TextTable& rows);
  void add_type_code(Oid type, Oid routine, TypeCode when);
  void add_type_part(Oid type, char kind, Oid used);

  std::unordered_map<Oid, TypeName> types_;  // empty unless has_types()
  std::vector<std::pair<Oid, Code>> direct_;
  std::map<Oid, std::set<Code>> type_code_;       // and by way of other types
  std::unordered_multimap<Oid, Oid> type_users_;  // used type, type
  std::unordered_multimap<Oid, Oid> columns_;     // relation, type of a column
  std::unordered_multimap<Oid, Oid> code_;        // operator or operator class, routine
  std::map<std::pair<std::string_view, std::string_view>, Oid> composites_;
  std::vector<std::pair<Oid, Oid>> row_types_;  // relation, type
  std::vector<RelationUse> relation_uses_;
  std::vector<NamedSpelling> named_;
  std::vector<Oid> any_casts_;
};

}  // namespace decan::catalog
