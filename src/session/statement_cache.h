// Plans and prepared statements that the sessions of one loop share. Bounded by bytes; least recently used
// entries go first, and what a session still holds lives on until it lets go.
#pragma once

#include <algorithm>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "backend/unit_connection.h"
#include "exec/map_oids.h"
#include "plan/planner.h"
#include "sql/template.h"

namespace decan::session {

// What a string of statements was planned to, in one context (catalog version, search_path, …).
struct PlannedText {
  std::vector<plan::PlannedStatement> statements;
  bool uses_template = false;  // literals are reached through the template
};
using PlannedTextPtr = std::shared_ptr<const PlannedText>;

// A prepared statement's text with all that units and clients have been told of it.
struct SharedStatement {
  std::string sql;
  std::vector<Oid> declared_types;
  uint64_t context = 0;  // context hash it was planned in
  plan::PlanPtr plan;
  bool validated = false;  // a unit has accepted the text
  bool described = false;
  std::vector<Oid> parameter_types;             // as the unit inferred them; valid when described
  std::optional<wire::RowDescription> columns;  // in the home unit's ids
  // A parameter's type is one whose id, or whose binary values, differ between units.
  bool has_unit_types() const { return std::ranges::any_of(types(), exec::may_hold_ids); }
  const std::vector<Oid>& types() const { return described ? parameter_types : declared_types; }
  backend::UnitStatementPtr whole;  // the text itself
  backend::UnitStatementPtr guarded;
  std::vector<backend::UnitStatementPtr> by_bucket;
  size_t bytes() const { return sizeof *this + 4 * sql.size() + by_bucket.size() * (sql.size() + 96); }
};
using SharedStatementPtr = std::shared_ptr<SharedStatement>;

// `Value` by text and context, least recently used first out.
template <class Value>
class TextCache {
 public:
  explicit TextCache(size_t max_bytes) : max_bytes_(max_bytes) {}
  Value* find(std::string_view text, uint64_t hash, uint64_t context) {
    const auto found = entries_.find(mix(hash, context));
    if (found == entries_.end() || found->second->text != text || found->second->context != context)
      return nullptr;
    order_.splice(order_.end(), order_, found->second);
    return &found->second->value;
  }
  Value& insert(std::string text, uint64_t hash, uint64_t context, Value value, size_t bytes) {
    const uint64_t key = mix(hash, context);
    if (const auto old = entries_.find(key); old != entries_.end()) erase(old->second);
    bytes += text.size() + sizeof(Entry) + 64;
    while (!order_.empty() && bytes_ + bytes > max_bytes_) erase(order_.begin());
    order_.push_back(Entry{std::move(text), key, context, bytes, std::move(value)});
    entries_[key] = std::prev(order_.end());
    bytes_ += bytes;
    return order_.back().value;
  }
  size_t bytes() const { return bytes_; }
  size_t size() const { return order_.size(); }
  void clear() { order_.clear(), entries_.clear(), bytes_ = 0; }

 private:
  struct Entry {
    std::string text;
    uint64_t key, context;
    size_t bytes;
    Value value;
  };
  static uint64_t mix(uint64_t hash, uint64_t context) {
    return hash ^ (context * 0x9E3779B97F4A7C15ULL + (hash << 6));
  }
  void erase(typename std::list<Entry>::iterator at) {
    bytes_ -= at->bytes;
    entries_.erase(at->key);
    order_.erase(at);
  }
  size_t max_bytes_, bytes_ = 0;
  std::list<Entry> order_;
  std::unordered_map<uint64_t, typename std::list<Entry>::iterator> entries_;
};

class StatementCache {
 public:
  explicit StatementCache(size_t max_bytes) : plans_(max_bytes / 2), prepared_(max_bytes / 2) {}
  TextCache<PlannedTextPtr>& plans() { return plans_; }
  TextCache<SharedStatementPtr>& prepared() { return prepared_; }
  backend::UnitStatementPtr make_unit_statement(std::string sql, std::vector<Oid> types,
                                                TextMap client_text = {}) {
    return std::make_shared<backend::UnitStatement>(
        backend::UnitStatement{++last_id_, std::move(sql), std::move(types), std::move(client_text)});
  }

 private:
  TextCache<PlannedTextPtr> plans_;
  TextCache<SharedStatementPtr> prepared_;
  uint64_t last_id_ = 0;
};

}  // namespace decan::session
