#include "catalog/snapshot.h"

#include <algorithm>
#include <utility>

namespace decan::catalog {

const Column* Relation::column(std::string_view column_name) const {
  const auto found = std::ranges::find(columns, column_name, &Column::name);
  return found == columns.end() ? nullptr : &*found;
}

const Relation* Snapshot::find_exact(std::string_view schema, std::string_view name) const {
  const auto in_schema = by_schema_.find(schema);
  if (in_schema == by_schema_.end()) return nullptr;
  const auto found = in_schema->second.find(name);
  return found == in_schema->second.end() ? nullptr : found->second;
}

const Relation* Snapshot::find(std::string_view schema, std::string_view name,
                               const std::vector<std::string>& search_path) const {
  if (!schema.empty()) return find_exact(schema, name);
  constexpr std::string_view kSystem = "pg_catalog";
  bool past_system = std::ranges::find(search_path, kSystem) == search_path.end();
  for (const auto& candidate : search_path) {
    past_system = past_system || candidate == kSystem;
    const Relation* relation = find_exact(candidate, name);
    if (relation != nullptr) return past_system && relation->shadowed_by_catalog ? nullptr : relation;
  }
  return nullptr;
}

const Relation* Snapshot::find_by_oid(Oid oid) const {
  const auto found = by_oid_.find(oid);
  return found == by_oid_.end() ? nullptr : found->second;
}

const Relation* Snapshot::find_by_leaf(std::string_view leaf) const {
  const size_t split = leaf.rfind('_');
  if (split == std::string_view::npos || split + 1 == leaf.size()) return nullptr;
  if (leaf.find_first_not_of("0123456789", split + 1) != std::string_view::npos) return nullptr;
  const auto found = by_leaf_prefix_.find(std::string(leaf.substr(0, split)));
  return found == by_leaf_prefix_.end() ? nullptr : found->second;
}

const HiddenFunction* Snapshot::hidden_function(std::string_view schema, std::string_view name) const {
  const auto found = hidden_functions_.find(name);
  if (found == hidden_functions_.end()) return nullptr;
  for (const auto& function : found->second) {
    if (schema.empty() || function.schema == schema) return &function;
  }
  return nullptr;
}

std::string_view Snapshot::hidden_operator(std::string_view name) const {
  const auto [first, last] = hidden_spellings_.equal_range(name);
  for (auto at = first; at != last; ++at) {
    if (at->second.kind == HiddenSpelling::Kind::kOperator) return at->second.sharded_table;
  }
  return {};
}

std::string_view Snapshot::hidden_type(std::string_view schema, std::string_view name, bool literal) const {
  const auto [first, last] = hidden_spellings_.equal_range(name);
  for (auto at = first; at != last; ++at) {
    const HiddenSpelling& spelling = at->second;
    const bool runs = spelling.kind == HiddenSpelling::Kind::kType ||
                      (spelling.kind == HiddenSpelling::Kind::kCast && !literal);
    if (runs && (schema.empty() || spelling.schema == schema)) return spelling.sharded_table;
  }
  return {};
}

std::string_view Snapshot::hidden_type(Oid type) const {
  const auto found = hidden_types_.find(type);
  return found == hidden_types_.end() ? std::string_view() : found->second;
}

std::string_view Snapshot::hidden_attribute(std::string_view name) const {
  const auto [first, last] = hidden_spellings_.equal_range(name);
  for (auto at = first; at != last; ++at) {
    if (at->second.kind == HiddenSpelling::Kind::kAttribute) return at->second.sharded_table;
  }
  return {};
}

namespace {

template <class Schemas>
bool holds(const Schemas& functions, std::string_view schema, std::string_view name) {
  const auto found = functions.find(name);
  if (found == functions.end()) return false;
  return schema.empty() || std::ranges::find(found->second, schema) != found->second.end();
}

}  // namespace

bool Snapshot::is_volatile_function(std::string_view schema, std::string_view name) const {
  return holds(volatile_functions_, schema, name);
}

bool Snapshot::changes_session(std::string_view schema, std::string_view name) const {
  return holds(session_functions_, schema, name);
}

void Snapshot::add(std::unique_ptr<Relation> relation) {
  by_schema_[relation->schema][relation->name] = relation.get();
  if (relation->oid != 0) by_oid_[relation->oid] = relation.get();
  if (!relation->leaf_prefix.empty()) by_leaf_prefix_[relation->leaf_prefix] = relation.get();
  relations_.push_back(std::move(relation));
}

void Snapshot::add_hidden_function(HiddenFunction function) {
  hidden_functions_[function.name].push_back(std::move(function));
}

void Snapshot::add_hidden_spelling(HiddenSpelling spelling) {
  if (spelling.kind == HiddenSpelling::Kind::kType) hidden_types_[spelling.type] = spelling.sharded_table;
  std::string name = spelling.name;
  hidden_spellings_.emplace(std::move(name), std::move(spelling));
}

void Snapshot::add_volatile_function(std::string schema, std::string name) {
  volatile_functions_[std::move(name)].push_back(std::move(schema));
}

void Snapshot::add_routine(std::string schema, std::string name, bool is_pure) {
  routines_[std::move(name)].emplace_back(std::move(schema), is_pure);
}

bool Snapshot::is_pure_function(std::string_view schema, std::string_view name) const {
  const auto found = routines_.find(name);
  if (found == routines_.end()) return false;
  bool any = false;
  for (const auto& [in, pure] : found->second) {
    if (!schema.empty() && in != schema) continue;
    if (!pure) return false;
    any = true;
  }
  return any;
}

void Snapshot::add_session_function(std::string schema, std::string name) {
  session_functions_[std::move(name)].push_back(std::move(schema));
}

}  // namespace decan::catalog
