// Object ids of tables and of user-made types differ between storage units. UnitObjects says what those of
// one unit mean on the home unit, whose ids are the only ones that clients see. Filled in step by step with
// what the unit says about itself; entries only ever become more, since a server does not give an id twice.
// Pure; belongs to one loop.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "catalog/loader.h"
#include "catalog/snapshot.h"

namespace decan::catalog {

struct ColumnOrigin {
  Oid table = 0;
  int16_t attnum = 0;
  bool operator==(const ColumnOrigin&) const = default;
};

class UnitObjects {
 public:
  static constexpr size_t kMaxEntries = 300'000;  // beyond it everything is asked for again

  // `is_home`: ids of this unit are the home unit's own, except those of leaves.
  explicit UnitObjects(bool is_home) : is_home_(is_home) {}

  bool is_home() const { return is_home_; }
  // Nothing has to be translated at all.
  bool is_identity() const { return is_home_ && tables_.empty(); }

  // --- tables: learned by relation, with all its leaves on the unit ---
  bool knows(const Relation& relation) const {
    const auto found = relations_.find(relation.oid);
    return found != relations_.end() && found->second == relation.columns_hash;
  }
  // One SELECT for the unit; its rows go to learn_relations() with the same relations.
  static std::string relations_query(std::span<const Relation* const> relations);
  Status learn_relations(std::span<const Relation* const> relations, const TextTable& rows);
  // What a field of a RowDescription has to say; {0, 0} when the table is not known on the home unit.
  ColumnOrigin origin(Oid table, int16_t attnum) const;

  // --- user-made types: learned all at once; Snapshot::types are the home unit's ---
  uint64_t types_hash() const { return types_hash_; }
  Status learn_types(const Snapshot& snapshot, const TextTable& rows);
  // The same type on the other side; nullopt when it is not known. Built-in types are equal everywhere.
  std::optional<Oid> to_home(Oid type) const { return translated(to_home_, type); }
  std::optional<Oid> to_unit(Oid type) const { return translated(to_unit_, type); }
  // Of a type of the home unit: its structure, and whether binary values of it hold type ids.
  struct Shape {
    TypeKind kind = TypeKind::kPlain;
    Oid inner = 0;
    bool holds_ids = false;
  };
  Shape shape(Oid home_type) const;

 private:
  struct Table {
    Oid home = 0;
    std::vector<int16_t> attnums;  // index: attnum on the unit, less one; 0: no such column. Empty: as there
  };
  std::optional<Oid> translated(const std::unordered_map<Oid, Oid>& ids, Oid type) const {
    if (type < kFirstUserOid || is_home_) return type;
    const auto found = ids.find(type);
    return found == ids.end() ? std::nullopt : std::optional(found->second);
  }
  void limit();

  bool is_home_;
  std::unordered_map<Oid, Table> tables_;        // by id on the unit: tables and leaves
  std::unordered_map<Oid, uint64_t> relations_;  // by id on the home unit: Relation::columns_hash as learned
  std::unordered_map<Oid, Oid> to_home_, to_unit_;
  std::unordered_map<Oid, Shape> shapes_;  // by id on the home unit
  uint64_t types_hash_ = 0;
};

// SELECT of all user-made types, for any unit.
std::string types_query();
// Its rows; XX000 when they are others.
Result<std::vector<UserType>> read_types(const TextTable& rows);

}  // namespace decan::catalog
