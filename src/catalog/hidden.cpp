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

constexpr std::array<std::string_view, 6> kWrites = {"insert", "update",   "delete",
                                                     "merge",  "truncate", "copy"};

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
  for (const std::string_view word : kWrites) names.emplace(word);
  for (const auto& dependency : dependencies) users_[dependency.to].push_back(dependency);
  bodies_.reserve(routines.size());  // mentions_ points into it
  for (const auto& routine : routines) {
    if (routine.body.empty()) continue;
    Body& body = bodies_.emplace_back(lower(routine.body), &routine);
    for (auto& word : words_in(body.text, names)) {
      body.writes = body.writes || std::ranges::find(kWrites, word) != kWrites.end();
      mentions_[std::move(word)].push_back(&body);
    }
  }
  for (const auto& relation : relations) {
    if (relation.sharded) pending_.push_back({{false, relation.oid}, relation.name, relation.name});
  }
  for (const ObjectId seed : seeds) {
    if (seed.is_routine)
      mark_routine(seed.oid, "session");
    else
      mark_relation(seed.oid, Reach::kReads, "session");
  }
  reach_all();
  for (const auto& routine : routines) {
    if (routine.builds_sql) mark_routine(routine.oid, kDynamicSql);
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

// Remembers that the routine reads `table`, and looks at its own users in turn.
void HiddenFinder::mark_routine(Oid routine, std::string_view table) {
  const auto known = known_routines_.find(routine);
  if (known != known_routines_.end() && routines_.try_emplace(routine, table).second)
    pending_.push_back({{true, routine}, known->second->name, table});
}

void HiddenFinder::mark_relation(Oid relation, Reach reach, std::string_view table) {
  const auto known = known_relations_.find(relation);
  if (known == known_relations_.end() || (known->second.sharded && reach == Reach::kReads)) return;
  if (relations_[static_cast<size_t>(reach)].try_emplace(relation, table).second)
    pending_.push_back({{false, relation}, known->second.name, table, reach});
}

void HiddenFinder::reach(const Item& item) {
  if (const auto users = users_.find(item.id); users != users_.end()) {
    for (const Dependency& user : users->second) {
      if (user.from.is_routine) {
        mark_routine(user.from.oid, item.table);
        continue;
      }
      switch (user.use) {
        case Use::kAlways:
          mark_relation(user.from.oid, item.reach, item.table);
          break;
        case Use::kWhenUsed:
          mark_relation(user.from.oid, Reach::kUsed, item.table);
          break;
        case Use::kWhenWritten:
          mark_relation(user.from.oid, Reach::kWritten, item.table);
          break;
        case Use::kWrites:
          if (item.reach != Reach::kReads) mark_relation(user.from.oid, Reach::kWritten, item.table);
          break;
      }
    }
  }
  reach_by_name(item.name, item);
  if (!item.id.is_routine) return;
  const auto [first, last] = spellings_.equal_range(item.id.oid);
  for (auto spelling = first; spelling != last; ++spelling) reach_by_name(spelling->second, item);
}

void HiddenFinder::reach_by_name(std::string_view called, const Item& item) {
  const auto mark = [&](const Body& body) {
    if (item.reach != Reach::kWritten || body.writes) mark_routine(body.routine->oid, item.table);
  };
  const std::string name = lower(called);
  if (is_word(name)) {
    const auto found = mentions_.find(name);
    if (found == mentions_.end()) return;
    for (const Body* body : found->second) mark(*body);
    return;
  }
  for (const Body& body : bodies_) {
    if (body.text.find(name) != std::string::npos) mark(body);
  }
}

std::string_view HiddenFinder::marked(Reach reach, Oid oid) const {
  const auto& relations = relations_[static_cast<size_t>(reach)];
  const auto found = relations.find(oid);
  return found == relations.end() ? std::string_view() : found->second;
}

std::string_view HiddenFinder::routine(Oid oid) const {
  const auto found = routines_.find(oid);
  return found == routines_.end() ? std::string_view() : found->second;
}

}  // namespace decan::catalog
