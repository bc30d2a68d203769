#include "catalog/loader.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/quote.h"
#include "catalog/code_uses.h"
#include "catalog/hidden.h"
#include "catalog/loader_fields.h"
#include "catalog/type_words.h"
#include "catalog/unit_objects.h"

namespace decan::catalog {
namespace {

enum Query : size_t {
  kDatabase,
  kGroups,
  kBuckets,
  kRelations,
  kTriggers,
  kColumns,
  kIndexes,
  kForeignKeyCopies,
  kRoutines,
  kDependencies,
  kUses,
  kSystemReaders,
  kWaiting,
  kSpellings,
  kCode,
  kTypes,
  kQueryCount,
};
constexpr size_t kWidths[kQueryCount] = {4, 3, 10, 11, 4, 13, 5, 3, 8, 5, 5, 1, 2, 5, 3, 5};
constexpr size_t kMaxBuckets = 65'536;  // of one group

std::unexpected<Error> malformed(std::string_view what) {
  return fail(sqlstate::kInternalError, "unexpected catalog rows: " + std::string(what));
}
std::unexpected<Error> corrupted(std::string_view what) {
  return fail(sqlstate::kDataCorrupted,
              "the placement in schema decan is not consistent: " + std::string(what));
}

// Of a sequence of names with numbers.
uint64_t mixed(uint64_t hash, std::string_view name, uint64_t number) {
  constexpr uint64_t kGolden = 0x9E3779B97F4A7C15ULL;
  hash = (hash ^ std::hash<std::string_view>{}(name)) * kGolden;
  return ((hash ^ (hash >> 32)) + number + 1) * kGolden;
}

// A leaf prefix of plain lower-case letters can be spelled without quotes: shorter statements on the hot
// path.
std::string leaf_name(std::string_view prefix, size_t bucket) {
  const std::string name = std::string(prefix) + "_" + std::to_string(bucket);
  const bool plain =
      prefix.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string_view::npos &&
      !(prefix[0] >= '0' && prefix[0] <= '9');
  return "decan_shard." + (plain ? name : quote_identifier(name));
}

class Builder {
 public:
  Builder(const CatalogRows& rows, std::shared_ptr<Snapshot> out) : rows_(rows), out_(std::move(out)) {}

  Result<SnapshotPtr> build() {
    if (rows_.results.size() != kQueryCount) return malformed("number of results");
    for (size_t i = 0; i < kQueryCount; ++i) {
      for (const auto& row : rows_.results[i]) {
        if (row.size() != kWidths[i]) return malformed("columns of result " + std::to_string(i));
      }
    }
    Status (Builder::* const steps[])() = {
        &Builder::database,           &Builder::groups,   &Builder::buckets,      &Builder::check_groups,
        &Builder::relations,          &Builder::triggers, &Builder::columns,      &Builder::indexes,
        &Builder::foreign_key_copies, &Builder::routines, &Builder::code_uses,    &Builder::hidden,
        &Builder::broadcast_views,    &Builder::waiting,  &Builder::session_code, &Builder::types};
    for (const auto step : steps) {
      if (Status done = (this->*step)(); !done) return fail(std::move(done.error()));
    }
    for (auto& relation : relations_) out_->add(std::move(relation));
    return SnapshotPtr(std::move(out_));
  }

 private:
  const TextTable& table(Query query) const { return rows_.results[query]; }
  Relation* find(Oid oid) {
    const auto found = by_oid_.find(oid);
    return found == by_oid_.end() ? nullptr : found->second;
  }

  Status database();
  Status groups();
  Status buckets();
  Status check_groups();
  Status relations();
  Result<std::unique_ptr<Relation>> relation(Fields& row);
  Status triggers();
  Status columns();
  Status indexes();
  Status foreign_key_copies();
  Status routines();
  std::string_view seen_there(const Relation& relation, std::string_view hidden_table) const;
  Status code_uses();
  Status hidden();
  void hidden_relations(const HiddenFinder& finder);
  void hidden_spellings(const HiddenFinder& finder);
  bool names_single_table(const Routine& routine) const;
  Status broadcast_views();
  Status types();
  Status waiting();
  Status session_code();

  const CatalogRows& rows_;
  std::shared_ptr<Snapshot> out_;
  std::vector<std::unique_ptr<Relation>> relations_;
  std::unordered_map<Oid, Relation*> by_oid_;
  std::unordered_map<uint32_t, ShardGroup*> groups_;
  std::vector<Routine> routines_;
  std::vector<Dependency> dependencies_, triggers_;
  std::unordered_set<std::string_view>
      far_tables_;  // on other units, with no more than their definition on home
  CodeUses code_;
  std::unordered_set<Oid> immutable_;   // plain functions, neither aggregates nor procedures
  std::unordered_set<Oid> pure_;        // of these: read no tables
  std::vector<ObjectId> session_code_;  // changes settings, takes advisory locks, makes temporary objects
};

Status Builder::database() {
  if (table(kDatabase).size() != 1) return malformed("decan.map");
  Fields row(table(kDatabase).front());
  out_->database_oid = row.number<Oid>(0);
  if (row.text(1) != out_->database) return malformed("database");
  out_->database_c_ordered = row.flag(2);
  out_->epoch = row.number<int64_t>(3);
  return row.ok() ? Status{} : malformed("decan.map");
}

Status Builder::groups() {
  for (const auto& fields : table(kGroups)) {
    Fields row(fields);
    auto group = std::make_unique<ShardGroup>();
    group->id = GroupId{row.number<uint32_t>(0)};
    const std::string_view algorithm = row.text(1);
    group->algorithm = algorithm == "range"  ? Algorithm::kRange
                       : algorithm == "list" ? Algorithm::kList
                                             : Algorithm::kHash;
    group->key_types = row.numbers<Oid>(2);
    if (!row.ok() || group->key_types.empty()) return malformed("decan.shard_group");
    groups_[group->id.value] = group.get();
    out_->groups.push_back(std::move(group));
  }
  return {};
}

Status Builder::buckets() {
  for (const auto& fields : table(kBuckets)) {
    Fields row(fields);
    const auto found = groups_.find(row.number<uint32_t>(0));
    if (found == groups_.end()) return malformed("decan.bucket");
    ShardGroup& group = *found->second;
    // Ordered by bucket: a gap shows as a number that is not the next one.
    if (row.number<uint32_t>(1) != group.buckets.size() || group.buckets.size() == kMaxBuckets) {
      return corrupted("bucket numbers of group " + std::to_string(group.id.value));
    }
    Bucket bucket;
    bucket.unit = UnitId{row.number<uint32_t>(2)};
    bucket.modulus = row.number<uint32_t>(3);
    bucket.remainder = row.number<uint32_t>(4);
    bucket.lower = row.values(5);
    bucket.upper = row.values(6);
    for (auto& value : row.values(7)) {
      if (value) bucket.values.push_back(std::move(*value));
    }
    bucket.accepts_null = row.flag(8);
    bucket.is_default = row.flag(9);
    if (!row.ok()) return malformed("decan.bucket");
    group.buckets.push_back(std::move(bucket));
  }
  return {};
}

Status Builder::check_groups() {
  for (const auto& group : out_->groups) {
    const std::string name = "group " + std::to_string(group->id.value);
    if (group->buckets.empty()) return corrupted(name + " has no buckets");
    for (const Bucket& bucket : group->buckets) {
      if (!std::ranges::binary_search(out_->units, bucket.unit))
        return corrupted(name + " names an unknown storage unit");
      const bool bounds =
          bucket.lower.size() == group->key_types.size() && bucket.upper.size() == group->key_types.size();
      switch (group->algorithm) {
        case Algorithm::kHash:
          if (bucket.modulus == 0 || bucket.remainder >= bucket.modulus)
            return corrupted(name + " has a wrong modulus");
          break;
        case Algorithm::kRange:
          if (!bucket.is_default && !bounds) return corrupted(name + " has wrong bounds");
          break;
        case Algorithm::kList:
          if (group->key_types.size() != 1) return corrupted(name + " has several list keys");
          break;
      }
    }
  }
  return {};
}

RelationKind kind_of(char relkind) {
  switch (relkind) {
    case 'v':
      return RelationKind::kView;
    case 'm':
      return RelationKind::kMaterializedView;
    case 'S':
      return RelationKind::kSequence;
    case 'f':
      return RelationKind::kForeignTable;
    case 'c':
      return RelationKind::kCompositeType;
    case 'i':
    case 'I':
      return RelationKind::kIndex;
    default:
      return RelationKind::kTable;
  }
}

Result<std::unique_ptr<Relation>> Builder::relation(Fields& row) {
  auto made = std::make_unique<Relation>();
  made->oid = row.number<Oid>(0);
  made->schema = row.text(1);
  made->name = row.text(2);
  made->kind = kind_of(row.text(3).empty() ? 'r' : row.text(3)[0]);
  const std::string_view placement = row.text(4);
  made->placement = placement == "sharded"     ? Placement::kSharded
                    : placement == "broadcast" ? Placement::kBroadcast
                                               : Placement::kSingle;
  made->unit = row.is_null(6) ? out_->home : UnitId{row.number<uint32_t>(6)};
  made->shadowed_by_catalog = row.flag(10);
  if (made->kind == RelationKind::kTable && made->placement == Placement::kSharded) {
    const auto found = groups_.find(row.number<uint32_t>(5));
    if (found == groups_.end()) return corrupted("table " + made->name + " has no shard group");
    made->group = found->second;
    made->leaf_prefix = row.text(7);
    made->key_attnums = row.numbers<int16_t>(9);
    if (made->leaf_prefix.empty() || made->key_attnums.size() != made->group->key_types.size()) {
      return corrupted("the sharding key of table " + made->name);
    }
    for (size_t i = 0; i < made->group->buckets.size(); ++i)
      made->leaf_names.push_back(leaf_name(made->leaf_prefix, i));
    made->has_row_security = row.flag(8);
    made->leaf_addressable = !made->has_row_security;
  } else if (made->placement == Placement::kBroadcast) {
    made->has_row_security = row.flag(8);
  }
  if (!std::ranges::binary_search(out_->units, made->unit))
    return corrupted("table " + made->name + " lives on an unknown storage unit");
  if (!row.ok()) return malformed("pg_class");
  return made;
}

Status Builder::relations() {
  relations_.reserve(table(kRelations).size());
  for (const auto& fields : table(kRelations)) {
    Fields row(fields);
    auto made = relation(row);
    if (!made) return fail(std::move(made.error()));
    by_oid_[(*made)->oid] = made->get();
    relations_.push_back(std::move(*made));
  }
  return {};
}

Status Builder::triggers() {
  for (const auto& fields : table(kTriggers)) {
    Fields row(fields);
    Relation* relation = find(row.number<Oid>(0));
    if (relation == nullptr) continue;
    relation->has_row_triggers = row.flag(1);
    if (row.flag(2)) relation->leaf_addressable = false;
    relation->uses_sequences = true;
    for (const Oid function : row.numbers<Oid>(3))
      triggers_.push_back({{false, relation->oid}, {true, function}});
    if (!row.ok()) return malformed("pg_trigger");
  }
  return {};
}

Status Builder::columns() {
  for (const auto& fields : table(kColumns)) {
    Fields row(fields);
    Relation* relation = find(row.number<Oid>(0));
    if (relation == nullptr) return malformed("pg_attribute");
    Column column;
    column.name = row.text(1);
    column.attnum = row.number<int16_t>(2);
    column.type = row.number<Oid>(3);
    column.typmod = row.number<int32_t>(4);
    column.collation = row.number<Oid>(5);
    column.c_ordered = row.flag(6);
    column.not_null = row.flag(7);
    column.has_default = row.flag(8);
    column.is_identity = row.flag(9);
    column.is_generated = row.flag(10);
    column.default_sql = row.text(11);
    column.default_is_volatile = row.flag(12);
    if (!row.ok()) return malformed("pg_attribute");
    relation->columns.push_back(std::move(column));
  }
  for (const auto& relation : relations_) {
    for (const Column& column : relation->columns)
      relation->columns_hash = mixed(relation->columns_hash, column.name, column.attnum);
  }
  return {};
}

Status Builder::indexes() {
  for (const auto& fields : table(kIndexes)) {
    Fields row(fields);
    Relation* relation = find(row.number<Oid>(0));
    if (relation == nullptr) return malformed("pg_index");
    relation->index_keys.emplace_back(row.text(2), row.text(1));
    if (row.flag(3)) relation->unique_keys.push_back(row.numbers<int16_t>(4));
    if (!row.ok()) return malformed("pg_index");
  }
  return {};
}

Status Builder::foreign_key_copies() {
  for (const auto& fields : table(kForeignKeyCopies)) {
    Fields row(fields);
    Relation* relation = find(row.number<Oid>(0));
    if (relation == nullptr) return malformed("pg_constraint");
    relation->foreign_key_copies.emplace_back(row.text(1), row.text(2));
  }
  return {};
}

Status Builder::routines() {
  for (const auto& fields : table(kRoutines)) {
    Fields row(fields);
    Routine routine{row.number<Oid>(0), std::string(row.text(1)), std::string(row.text(2)), row.text(4)};
    if (row.flag(3)) out_->add_volatile_function(routine.schema, routine.name);
    routine.builds_sql = row.flag(5);
    if (row.flag(6)) immutable_.insert(routine.oid);
    if (row.flag(7)) session_code_.push_back({true, routine.oid});
    if (!row.ok()) return malformed("pg_proc");
    routines_.push_back(std::move(routine));
  }
  return {};
}

bool is_view(const Relation& relation) {
  return relation.kind == RelationKind::kView || relation.kind == RelationKind::kMaterializedView;
}

bool has_rows(const Relation& relation) {
  return relation.kind == RelationKind::kTable || relation.kind == RelationKind::kForeignTable ||
         is_view(relation);
}

Status Builder::code_uses() {
  if (Status done = code_.read(table(kUses), table(kSpellings), table(kTypes)); !done) return done;
  if (code_.has_types()) {
    for (const auto& relation : relations_) {
      const bool stored = has_rows(*relation);
      if (stored || relation->kind == RelationKind::kCompositeType)
        code_.add_row_type(relation->oid, relation->schema, relation->name, stored);
    }
    code_.close();
  }
  for (const auto& fields : table(kDependencies)) {
    Fields row(fields);
    const ObjectId from{row.text(0) == "f", row.number<Oid>(1)};
    const Use when = row.flag(2) ? Use::kWhenWritten : Use::kAlways;
    const char kind = row.text(3).empty() ? 'r' : row.text(3)[0];
    for (const ObjectId& to : code_.code_of(kind, row.number<Oid>(4)))
      dependencies_.push_back({from, to, when});
    if (!row.ok()) return malformed("pg_depend");
  }
  return {};
}

// What code of a relation on another unit reads there is not hidden from it.
std::string_view Builder::seen_there(const Relation& relation, std::string_view hidden_table) const {
  if (relation.unit == out_->home || !far_tables_.contains(hidden_table)) return hidden_table;
  return {};
}

Status Builder::hidden() {
  std::vector<Dependency> uses = dependencies_;
  std::unordered_set<Oid> runs_code;
  for (const Dependency& use : code_.of_relations()) {
    if (find(use.from.oid) == nullptr) continue;  // a leaf
    uses.push_back(use);
    runs_code.insert(use.from.oid);
  }
  for (const Dependency& use : dependencies_) {
    if (!use.from.is_routine) runs_code.insert(use.from.oid);  // a table's rules
  }
  std::vector<NamedRelation> named;
  for (const auto& relation : relations_) {
    const bool far =
        relation->unit != out_->home && relation->placement == Placement::kSingle && !is_view(*relation);
    if (far) far_tables_.insert(relation->name), out_->has_far_tables = true;
    const bool sharded = relation->group != nullptr || far;
    if (sharded || is_view(*relation) || runs_code.contains(relation->oid))
      named.push_back({relation->oid, relation->name, sharded});
  }
  std::vector<Spelling> spelled;
  for (const NamedSpelling& spelling : code_.spellings()) {
    // An attribute is spelled by the function's own name.
    if (spelling.kind == NamedSpelling::Kind::kAttribute) continue;
    spelled.push_back({spelling.routine, spelling.name});
    if (spelling.kind != NamedSpelling::Kind::kCast) continue;
    for (const auto& [word, type] : kTypeWords) {
      if (type == spelling.name) spelled.push_back({spelling.routine, word});
    }
  }
  const HiddenFinder finder(named, routines_, uses, spelled);
  for (const auto& routine : routines_) {
    const std::string_view table_name = finder.routine(routine.oid);
    if (!table_name.empty())
      out_->add_hidden_function({routine.schema, routine.name, std::string(table_name)});
    const bool pure = immutable_.contains(routine.oid) && table_name.empty() && !names_single_table(routine);
    if (pure) pure_.insert(routine.oid);
    out_->add_routine(routine.schema, routine.name, pure);
  }
  hidden_relations(finder);
  hidden_spellings(finder);
  return {};
}

void Builder::hidden_relations(const HiddenFinder& finder) {
  for (const auto& relation : relations_) {
    const auto hidden = [&](std::string_view table_name) { return seen_there(*relation, table_name); };
    if (is_view(*relation)) relation->hides_sharded = hidden(finder.relation(relation->oid));
    relation->use_hidden = hidden(finder.used(relation->oid));
    const std::string_view written = hidden(finder.written(relation->oid));
    relation->calls_hidden = written.empty() ? relation->use_hidden : written;
  }
  for (const Dependency& assignment : code_.assignments()) {
    Relation* relation = find(assignment.from.oid);
    if (relation == nullptr || !relation->use_hidden.empty()) continue;
    const std::string_view table_name = seen_there(*relation, finder.routine(assignment.to.oid));
    if (table_name.empty()) continue;
    relation->use_hidden = table_name;
    relation->use_hidden_in_writes_only = true;
  }
}

void Builder::hidden_spellings(const HiddenFinder& finder) {
  for (const Oid cast : code_.any_casts()) {
    if (out_->casts_hidden.empty()) out_->casts_hidden = finder.routine(cast);
  }
  for (const NamedSpelling& spelling : code_.spellings()) {
    const std::string_view table_name = finder.routine(spelling.routine);
    if (table_name.empty()) continue;
    out_->add_hidden_spelling({spelling.kind, std::string(spelling.schema), std::string(spelling.name),
                               spelling.type, std::string(table_name)});
  }
}

// Such a function is made on the home unit only (plan/ddl_objects.cpp).
bool Builder::names_single_table(const Routine& routine) const {
  if (routine.body.empty()) return false;
  for (const auto& relation : relations_) {
    if (relation->placement == Placement::kSingle && relation->is_named() &&
        routine.body.find(relation->name) != std::string_view::npos)
      return true;
  }
  return false;
}

// A view can be answered by any unit when all it reads, through other views too, is broadcast. Views can not
// be recursive: each pass settles one level more, and the rest stays with the home unit.
Status Builder::broadcast_views() {
  std::unordered_set<Oid> other;  // reads something that is not broadcast
  for (const auto& fields : table(kSystemReaders)) {
    Fields row(fields);
    other.insert(row.number<Oid>(0));
    if (!row.ok()) return malformed("pg_rewrite");
  }
  std::unordered_map<Oid, std::vector<const Relation*>> reads;
  for (const Dependency& dependency : dependencies_) {
    if (dependency.from.is_routine) continue;
    if (dependency.to.is_routine) {
      if (!pure_.contains(dependency.to.oid)) other.insert(dependency.from.oid);  // it may read anything
      continue;
    }
    const Relation* read = find(dependency.to.oid);
    if (read == nullptr) {
      other.insert(dependency.from.oid);
    } else {
      reads[dependency.from.oid].push_back(read);
    }
  }
  for (bool changed = true; changed;) {
    changed = false;
    for (const auto& [oid, read] : reads) {
      Relation* view = find(oid);
      if (view == nullptr || view->reads_only_broadcast || other.contains(oid) ||
          view->kind != RelationKind::kView)
        continue;
      bool all = true;
      for (const Relation* relation : read) {
        all = all && (relation->reads_only_broadcast || (relation->kind == RelationKind::kTable &&
                                                         relation->placement == Placement::kBroadcast));
      }
      view->reads_only_broadcast = all;
      changed = changed || all;
    }
  }
  return {};
}

Status Builder::waiting() {
  for (const auto& fields : table(kWaiting)) {
    Fields row(fields);
    Relation* relation = find(row.number<Oid>(0));
    if (!row.ok()) return malformed("pg_constraint");
    if (relation != nullptr) relation->waits_for = row.text(1);  // else a leaf
  }
  return {};
}

// What runs when a table is written or a view is read, and what it may do to the session.
Status Builder::session_code() {
  for (const auto& fields : table(kCode)) {
    Fields row(fields);
    Relation* relation = find(row.number<Oid>(0));
    if (!row.ok()) return malformed("pg_attrdef");
    if (relation == nullptr) continue;
    relation->uses_sequences |= row.flag(1);
    if (row.flag(2)) session_code_.push_back({false, relation->oid});
  }
  if (session_code_.empty()) return {};
  std::vector<NamedRelation> named;
  for (const auto& relation : relations_) {
    if (relation->kind == RelationKind::kTable || is_view(*relation))
      named.push_back({relation->oid, relation->name, false});
  }
  std::vector<Dependency> uses = dependencies_;
  uses.insert(uses.end(), triggers_.begin(), triggers_.end());
  std::vector<Routine> routines = routines_;
  for (Routine& routine : routines) routine.builds_sql = false;  // judged by its text above
  const HiddenFinder finder(named, routines, uses, {}, session_code_);
  for (const auto& relation : relations_) {
    relation->changes_session =
        !finder.relation(relation->oid).empty() || !finder.written(relation->oid).empty();
  }
  for (const auto& routine : routines_) {
    if (finder.routine(routine.oid).empty()) continue;
    out_->add_session_function(routine.schema, routine.name);
    find_custom_settings(routine.body, out_->code_settings);
  }
  out_->code_settings.unknown |= std::exchange(out_->code_settings.by_parameter, false);
  return {};
}

Status Builder::types() {
  auto types = read_types(table(kTypes));
  if (!types) return fail(std::move(types.error()));
  out_->types = std::move(*types);
  for (const UserType& type : out_->types) out_->types_hash = mixed(out_->types_hash, type.key, type.oid);
  return {};
}

}  // namespace

Result<SnapshotPtr> build_snapshot(const CatalogRows& rows, uint64_t version, std::string database,
                                   std::vector<UnitId> units, UnitId home) {
  auto out = std::make_shared<Snapshot>();
  out->version = version;
  out->database = std::move(database);
  out->units = std::move(units);
  out->home = home;
  return Builder(rows, std::move(out)).build();
}

}  // namespace decan::catalog
