#include "catalog/hidden.h"

#include <algorithm>
#include <unordered_set>

#include "catalog/snapshot.h"

namespace decan::catalog {
namespace {

bool is_word_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' ||
         static_cast<unsigned char>(c) >= 0x80;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

bool is_word(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, is_word_byte);
}

// Words of `body` (lower case) that are in `wanted`, each once.
std::vector<std::string> words_in(std::string_view body, const std::unordered_set<std::string>& wanted) {
  std::vector<std::string> out;
  for (size_t i = 0; i < body.size();) {
    if (!is_word_byte(body[i])) {
      ++i;
      continue;
    }
    const size_t start = i;
    while (i < body.size() && is_word_byte(body[i])) ++i;
    std::string word(body.substr(start, i - start));
    if (wanted.contains(word)) out.push_back(std::move(word));
  }
  std::ranges::sort(out);
  out.erase(std::ranges::unique(out).begin(), out.end());
  return out;
}

}  // namespace

HiddenFinder::HiddenFinder(const std::vector<NamedRelation>& relations, const std::vector<Routine>& routines,
                           const std::vector<Dependency>& dependencies,
                           const std::vector<Spelling>& spellings, const std::vector<ObjectId>& seeds) {
  if (std::ranges::none_of(relations, &NamedRelation::sharded) && seeds.empty()) return;
  std::unordered_set<std::string> names;
  for (const auto& relation : relations) {
    known_relations_[relation.oid] = relation;
    names.insert(lower(relation.name));
  }
  for (const auto& routine : routines) {
    known_routines_[routine.oid] = &routine;
    names.insert(lower(routine.name));
  }
  for (const auto& spelling : spellings) {
    spellings_.emplace(spelling.routine, spelling.name);
    names.insert(lower(spelling.name));
  }
  for (const auto& dependency : dependencies) users_[dependency.to].push_back(dependency.from);
  for (const auto& routine : routines) {
    if (routine.body.empty()) continue;
    auto& [body, owner] = bodies_.emplace_back(lower(routine.body), &routine);
    for (auto& word : words_in(body, names)) mentions_[std::move(word)].push_back(owner);
  }
  for (const auto& relation : relations) {
    if (relation.sharded) pending_.push_back({{false, relation.oid}, relation.name, relation.name});
  }
  for (const ObjectId seed : seeds) mark(seed, "session");
  reach_all();
  for (const auto& routine : routines) {
    if (routine.builds_sql) mark({true, routine.oid}, kDynamicSql);
  }
  reach_all();
}

void HiddenFinder::reach_all() {
  while (!pending_.empty()) {
    const Item item = pending_.back();
    pending_.pop_back();
    reach(item);
  }
}

// Remembers that `user` reads `table`, and looks at its own users in turn.
void HiddenFinder::mark(ObjectId user, std::string_view table) {
  if (user.is_routine) {
    const auto routine = known_routines_.find(user.oid);
    if (routine != known_routines_.end() && routines_.try_emplace(user.oid, table).second) {
      pending_.push_back({user, routine->second->name, table});
    }
    return;
  }
  const auto view = known_relations_.find(user.oid);
  if (view != known_relations_.end() && !view->second.sharded &&
      relations_.try_emplace(user.oid, table).second) {
    pending_.push_back({user, view->second.name, table});
  }
}

void HiddenFinder::reach(const Item& item) {
  const auto known = item.id.is_routine ? known_relations_.end() : known_relations_.find(item.id.oid);
  const bool only_writers = known != known_relations_.end() && known->second.runs_code;
  if (const auto users = users_.find(item.id); users != users_.end()) {
    for (const ObjectId user : users->second) {
      if (user.is_routine || !only_writers) mark(user, item.table);
    }
  }
  reach_by_name(item.name, item.table);
  if (!item.id.is_routine) return;
  const auto [first, last] = spellings_.equal_range(item.id.oid);
  for (auto spelling = first; spelling != last; ++spelling) reach_by_name(spelling->second, item.table);
}

void HiddenFinder::reach_by_name(std::string_view called, std::string_view table) {
  const std::string name = lower(called);
  if (is_word(name)) {
    const auto found = mentions_.find(name);
    if (found == mentions_.end()) return;
    for (const Routine* routine : found->second) mark({true, routine->oid}, table);
    return;
  }
  for (const auto& [body, routine] : bodies_) {
    if (body.find(name) != std::string::npos) mark({true, routine->oid}, table);
  }
}

std::string_view HiddenFinder::relation(Oid oid) const {
  const auto found = relations_.find(oid);
  return found == relations_.end() ? std::string_view() : found->second;
}

std::string_view HiddenFinder::routine(Oid oid) const {
  const auto found = routines_.find(oid);
  return found == routines_.end() ? std::string_view() : found->second;
}

}  // namespace decan::catalog
