// What a compute node knows of one logical database: relations, their placement, and what functions and
// views hide sharded tables. A Snapshot is immutable; a new one is built after every change of the catalog
// and swapped by pointer, so a statement sees one state from planning to execution. Any thread may read it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "catalog/session_code.h"

namespace decan::catalog {

enum class Placement { kSharded, kBroadcast, kSingle };
enum class Algorithm { kHash, kRange, kList };

// What a name in FROM stands for.
enum class RelationKind {
  kTable,
  kView,
  kMaterializedView,
  kSequence,
  kForeignTable,
  kCompositeType,
  kIndex
};

struct Column {
  std::string name;  // as in pg_attribute, unquoted
  int16_t attnum = 0;
  Oid type = 0;
  int32_t typmod = -1;
  Oid collation = 0;       // 0 when the type has none
  bool c_ordered = false;  // text-like column whose collation orders as memcmp on UTF-8 (C, POSIX, C.UTF-8)
  bool not_null = false;
  bool has_default = false;  // DEFAULT, GENERATED or identity
  bool is_identity = false;
  bool is_generated = false;
  bool default_is_volatile = false;  // the default has to be evaluated once for broadcast tables
  std::string default_sql;           // pg_get_expr text; empty without default
};

// One leaf of the partition tree; `group` tables share the bucket numbering and the bucket's unit.
struct Bucket {
  UnitId unit;
  // kHash: key belongs here when partition_hash(key) % modulus == remainder.
  uint32_t modulus = 0;
  uint32_t remainder = 0;
  // kRange: [lower, upper) per key column, in the column type's binary (send) format; nullopt = MINVALUE /
  // MAXVALUE.
  std::vector<std::optional<std::string>> lower, upper;
  // kList: values in binary format; accepts_null for a list that names NULL.
  std::vector<std::string> values;
  bool accepts_null = false;
  bool is_default = false;
};

struct ShardGroup {
  GroupId id;
  Algorithm algorithm = Algorithm::kHash;
  std::vector<Oid> key_types;   // types of the key columns, in key order
  std::vector<Bucket> buckets;  // index = BucketId
};

struct Relation {
  Oid oid = 0;               // on the home unit
  std::string schema, name;  // unquoted
  RelationKind kind = RelationKind::kTable;
  Placement placement = Placement::kSingle;
  UnitId unit;                        // kSingle: where it lives; home has the definition in any case
  const ShardGroup* group = nullptr;  // kSharded
  std::vector<int16_t> key_attnums;   // kSharded: attnums of the key columns, in key order
  std::vector<Column> columns;        // filled for kSharded and kBroadcast; empty for single tables
  std::vector<std::vector<int16_t>> unique_keys;  // attnums of primary key and unique constraints/indexes
  // Leaves may be addressed by name only where nothing that lives on the parent matters: no row security,
  // no statement triggers (docs/architecture.md, placement).
  bool leaf_addressable = false;
  bool has_row_triggers = false;
  bool has_row_security = false;
  // What its defaults, triggers or (views) body may do to the session: advance a sequence; change settings,
  // take advisory locks, make temporary objects.
  bool uses_sequences = false, changes_session = false;
  // A single table with a foreign key to this sharded table: it must stay empty until it is distributed
  // itself.
  std::string waits_for;
  // A view (or materialized view) that reads a sharded table, directly or through other views: its body would
  // see only one unit's rows. Empty when harmless, else the name of a sharded table it reads.
  std::string hides_sharded;
  // A trigger, default, constraint, policy, index, rule or the domain of a column of it calls a function that
  // hides a sharded table: that table, or kDynamicSql. Empty when there is none.
  std::string calls_hidden;
  // So does any use of its rows: a policy, or a comparison or an implicit or assignment cast of the type of
  // its rows or a column.
  std::string use_hidden;
  bool use_hidden_in_writes_only = false;  // assignment casts: only a statement that writes can run them
  // A view over single or broadcast tables: the unit that can answer it (home), or any when only broadcast.
  bool reads_only_broadcast = false;

  const Column* column(std::string_view column_name) const;
  // Quoted, schema-qualified name of the leaf of a bucket, e.g. decan_shard.orders_16402_7.
  const std::string& leaf(BucketId bucket) const { return leaf_names[bucket.value]; }
  std::vector<std::string> leaf_names;  // index = BucketId; empty unless kSharded
  // A relation of this name in pg_catalog hides it from unqualified references, unless search_path says
  // otherwise.
  bool shadowed_by_catalog = false;
  std::string leaf_prefix;  // kSharded: a leaf is called <leaf_prefix>_<bucket>
  // How names made up by units are told in errors (catalog/error_names.h): a leaf's index ends in the key of
  // the parent's, a foreign key's copy begins with the first and belongs to the second.
  std::vector<std::pair<std::string, std::string>> index_keys, foreign_key_copies;
  uint64_t columns_hash = 0;  // of names and numbers of `columns`: changes with them
  // Whether statements name it as a relation, so that `unit` says where it can be used.
  bool is_named() const { return kind != RelationKind::kIndex && kind != RelationKind::kCompositeType; }
};

enum class TypeKind : uint8_t { kPlain, kArray, kComposite, kRange, kMultirange, kDomain };

// A type that is not built in, rows of tables included.
struct UserType {
  Oid oid = 0;
  std::string key;  // the same on all units; an array's is made of its element's
  TypeKind kind = TypeKind::kPlain;
  Oid inner = 0;           // element, subtype, range of a multirange, base type of a domain
  bool holds_ids = false;  // binary values hold type ids
};

// Stands for the table of a routine that runs SQL which only it knows.
inline constexpr std::string_view kDynamicSql = "(dynamic SQL)";

// A function whose body touches a sharded table (found by its text), or that can not be analysed.
struct HiddenFunction {
  std::string schema, name;
  std::string sharded_table;
};

// What calls a hidden function without its name.
enum class SpellingKind : uint8_t {
  kOperator,
  kType,       // its values are checked, made, compared or cast by the function
  kCast,       // only casts to the type run it, not its literals
  kAttribute,  // row.f means f(row)
};
struct HiddenSpelling {
  using Kind = SpellingKind;
  Kind kind = Kind::kOperator;
  std::string schema, name;
  Oid type = 0;  // kType
  std::string sharded_table;
};

class Snapshot {
 public:
  uint64_t version = 0;  // grows by one with every reload that changed something; unique in the process
  int64_t epoch = 0;     // decan.map.epoch of this database: placement's own version, checked by units
  std::string database;
  std::vector<UnitId> units;  // in ascending order
  UnitId home;
  Oid database_oid = 0;
  bool database_c_ordered = false;  // the database's default collation orders as memcmp on UTF-8
  std::vector<std::unique_ptr<ShardGroup>> groups;
  std::vector<UserType> types;   // of the home unit
  uint64_t types_hash = 0;       // of their names and ids; 0 without any
  CustomSettings code_settings;  // that functions may set
  std::string casts_hidden;  // an implicit or assignment cast between built-in types does: may be anywhere

  // `schema` empty: looks along `search_path` (already expanded: no "$user"; pg_catalog is searched first
  // unless listed). Returns nullptr for system relations and unknown names: they go to the home unit.
  const Relation* find(std::string_view schema, std::string_view name,
                       const std::vector<std::string>& search_path) const;
  const Relation* find_exact(std::string_view schema, std::string_view name) const;
  const Relation* find_by_oid(Oid oid) const;
  // The table that a leaf (unquoted, without schema) belongs to; nullptr when it is not a leaf.
  const Relation* find_by_leaf(std::string_view leaf) const;
  // nullptr when no function of that name (in that schema, or in any when empty) hides a sharded table.
  const HiddenFunction* hidden_function(std::string_view schema, std::string_view name) const;
  // The sharded table that an operator, a type or an attribute of this name leads to, in any schema where
  // none is given; empty when harmless. `literal`: a string or NULL is converted, which runs no cast.
  std::string_view hidden_operator(std::string_view name) const;
  std::string_view hidden_type(std::string_view schema, std::string_view name, bool literal) const;
  std::string_view hidden_type(Oid type) const;  // of a value that comes from outside
  std::string_view hidden_attribute(std::string_view name) const;
  bool has_hidden_spellings() const { return !hidden_spellings_.empty() || !casts_hidden.empty(); }
  // Marked volatile in pg_proc: user functions by name (any overload), for broadcast writes.
  bool is_volatile_function(std::string_view schema, std::string_view name) const;
  // Every function of that name (in that schema, or in any when empty) is immutable, no aggregate, and on all
  // units.
  bool is_pure_function(std::string_view schema, std::string_view name) const;
  // User functions by name (any overload) that may change settings, take advisory locks, make temporary
  // objects.
  bool changes_session(std::string_view schema, std::string_view name) const;
  bool has_sharded() const { return !groups.empty(); }
  // Code that runs on the home unit may miss rows: tables are sharded, or single ones live on another unit.
  bool may_miss_rows() const { return has_sharded() || has_far_tables; }
  bool has_far_tables = false;
  const std::vector<std::unique_ptr<Relation>>& relations() const { return relations_; }

  void add(std::unique_ptr<Relation> relation);
  void add_hidden_function(HiddenFunction function);
  void add_hidden_spelling(HiddenSpelling spelling);
  void add_volatile_function(std::string schema, std::string name);
  void add_routine(std::string schema, std::string name, bool is_pure);
  void add_session_function(std::string schema, std::string name);

 private:
  using Schemas = std::map<std::string, std::vector<std::string>, std::less<>>;  // of functions, by name
  std::vector<std::unique_ptr<Relation>> relations_;
  std::map<std::string, std::map<std::string, const Relation*, std::less<>>, std::less<>> by_schema_;
  std::unordered_map<Oid, const Relation*> by_oid_;
  std::unordered_map<std::string, const Relation*> by_leaf_prefix_;
  std::map<std::string, std::vector<HiddenFunction>, std::less<>> hidden_functions_;
  std::multimap<std::string, HiddenSpelling, std::less<>> hidden_spellings_;
  std::unordered_map<Oid, std::string> hidden_types_;
  Schemas volatile_functions_, session_functions_;
  std::map<std::string, std::vector<std::pair<std::string, bool>>, std::less<>> routines_;  // schema, pure
};

using SnapshotPtr = std::shared_ptr<const Snapshot>;

}  // namespace decan::catalog
