// Finds which views and functions read sharded tables without saying so: they would see one unit's rows only.
// Pure.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ids.h"

namespace decan::catalog {

struct Routine {
  Oid oid = 0;
  std::string schema, name;
  std::string_view body;    // source text; empty for C functions and SQL-standard bodies
  bool builds_sql = false;  // runs SQL that it puts together, and does not say that this is harmless
};

// A relation or a routine: their OIDs come from different catalogs and may be equal.
struct ObjectId {
  bool is_routine = false;
  Oid oid = 0;
  auto operator<=>(const ObjectId&) const = default;
};

// When `from`, a relation, runs `to` or reads it. A routine's and a view's dependencies are always at work.
enum class Use : uint8_t {
  kAlways,
  kWhenUsed,     // by any use of the relation's rows: a policy, an implicit cast
  kWhenWritten,  // a trigger, a default, a rule
  kWrites,       // a write of `from` writes `to`: a foreign key's cascade, a partition
};

// `from` uses `to`, as pg_depend says.
struct Dependency {
  ObjectId from, to;
  Use use = Use::kAlways;
};

struct NamedRelation {
  Oid oid = 0;
  std::string_view name;
  bool sharded = false;
};

// Another way to call a routine: an operator, a type whose use runs it.
struct Spelling {
  Oid routine = 0;
  std::string_view name;
};

// For every view and routine that reads a sharded table, directly or through others, the name of one such
// table. Bodies count as reading whatever they name, in comments and strings too, at the price of false
// alarms. SQL that a routine puts together from data may read anything.
class HiddenFinder {
 public:
  // `relations`: sharded tables, views and relations that run code. All views into the arguments must outlive
  // the finder. `seeds` count as sharded tables do: what uses them is found too.
  HiddenFinder(const std::vector<NamedRelation>& relations, const std::vector<Routine>& routines,
               const std::vector<Dependency>& dependencies, const std::vector<Spelling>& spellings,
               const std::vector<ObjectId>& seeds = {});
  // Empty when it reads none.
  std::string_view relation(Oid oid) const { return marked(Reach::kReads, oid); }
  std::string_view routine(Oid oid) const;
  // What any use of its rows runs besides, and what a write of it runs.
  std::string_view used(Oid oid) const { return marked(Reach::kUsed, oid); }
  std::string_view written(Oid oid) const { return marked(Reach::kWritten, oid); }

 private:
  // By what a relation leads to a sharded table: concerns all that names it, or what may write it.
  enum class Reach : uint8_t { kReads, kUsed, kWritten };
  struct Item {
    ObjectId id;
    std::string_view name;
    std::string_view table;  // the sharded table it leads to
    Reach reach = Reach::kReads;
  };
  struct Body {
    std::string text;  // lower case
    const Routine* routine = nullptr;
    bool writes = false;  // has a word that begins a write
  };
  void reach_all();
  void reach(const Item& item);
  void mark_routine(Oid routine, std::string_view table);
  void mark_relation(Oid relation, Reach reach, std::string_view table);
  void reach_by_name(std::string_view called, const Item& item);
  std::string_view marked(Reach reach, Oid oid) const;
  std::array<std::unordered_map<Oid, std::string_view>, 3> relations_;  // by Reach
  std::unordered_map<Oid, std::string_view> routines_;
  std::map<ObjectId, std::vector<Dependency>> users_;
  std::unordered_map<Oid, NamedRelation> known_relations_;
  std::unordered_map<Oid, const Routine*> known_routines_;
  std::vector<Body> bodies_;
  std::unordered_map<std::string, std::vector<const Body*>> mentions_;  // by a word of theirs
  std::unordered_multimap<Oid, std::string_view> spellings_;
  std::vector<Item> pending_;
};

}  // namespace decan::catalog
