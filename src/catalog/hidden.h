// Finds which views and functions read sharded tables without saying so: they would see one unit's rows only.
// Pure.
#pragma once

#include <compare>
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

// `from` uses `to`, as pg_depend says.
struct Dependency {
  ObjectId from, to;
};

struct NamedRelation {
  Oid oid = 0;
  std::string_view name;
  bool sharded = false;
  // A table whose own triggers, defaults and such may be hidden: readers are not concerned, but a routine
  // that names it may write it.
  bool runs_code = false;
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
  // `relations`: sharded tables, views and tables that run code. All views into the arguments must outlive
  // the finder. `seeds` count as sharded tables do: what uses them is found too.
  HiddenFinder(const std::vector<NamedRelation>& relations, const std::vector<Routine>& routines,
               const std::vector<Dependency>& dependencies, const std::vector<Spelling>& spellings,
               const std::vector<ObjectId>& seeds = {});
  // Empty when it reads none.
  std::string_view relation(Oid oid) const;
  std::string_view routine(Oid oid) const;

 private:
  struct Item {
    ObjectId id;
    std::string_view name;
    std::string_view table;  // the sharded table it leads to
  };
  void reach_all();
  void reach(const Item& item);
  void mark(ObjectId user, std::string_view table);
  void reach_by_name(std::string_view called, std::string_view table);
  std::unordered_map<Oid, std::string_view> relations_, routines_;
  std::map<ObjectId, std::vector<ObjectId>> users_;
  std::unordered_map<Oid, NamedRelation> known_relations_;
  std::unordered_map<Oid, const Routine*> known_routines_;
  std::unordered_map<std::string, std::vector<const Routine*>> mentions_;  // routines by a word of their body
  std::vector<std::pair<std::string, const Routine*>> bodies_;  // lower case, for names that are not words
  std::unordered_multimap<Oid, std::string_view> spellings_;
  std::vector<Item> pending_;
};

}  // namespace decan::catalog
