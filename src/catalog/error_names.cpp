#include "catalog/error_names.h"

#include <algorithm>
#include <optional>
#include <string_view>

namespace decan::catalog {
namespace {

constexpr size_t kIndexKeyBytes = 8;
constexpr std::string_view kShardSchema = "decan_shard.";

bool is_word_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

std::string* field(std::vector<std::pair<char, std::string>>& fields, char code) {
  const auto found = std::ranges::find(fields, code, &std::pair<char, std::string>::first);
  return found == fields.end() ? nullptr : &found->second;
}

// The parent's index that a leaf's index belongs to: <leaf>_<key>.
std::optional<std::string> logical_index(const Snapshot& snapshot, std::string_view name) {
  if (name.size() < kIndexKeyBytes + 2 || name[name.size() - kIndexKeyBytes - 1] != '_') return std::nullopt;
  const Relation* relation = snapshot.find_by_leaf(name.substr(0, name.size() - kIndexKeyBytes - 1));
  if (relation == nullptr) return std::nullopt;
  const std::string_view key = name.substr(name.size() - kIndexKeyBytes);
  for (const auto& [index_key, index] : relation->index_keys) {
    if (index_key == key) return index;
  }
  return std::nullopt;
}

// A foreign key's copy is called like its first copy, with a number; nullopt when that does not tell one key.
std::optional<std::string> logical_foreign_key(const Snapshot& snapshot, std::string_view name) {
  const std::string_view base = name.substr(0, name.find_last_not_of("0123456789") + 1);
  std::optional<std::string> found;
  for (const auto& relation : snapshot.relations()) {
    for (const auto& [copy, original] : relation->foreign_key_copies) {
      if (original == name) return std::nullopt;
      if (copy != base) continue;
      if (found && *found != original) return std::nullopt;
      found = original;
    }
  }
  return found;
}

std::optional<std::string> logical_name(const Snapshot& snapshot, std::string_view name) {
  if (name.starts_with(kShardSchema)) name.remove_prefix(kShardSchema.size());
  if (const Relation* relation = snapshot.find_by_leaf(name)) return relation->name;
  return logical_index(snapshot, name);
}

// Replaces quoted names in a message; `text` holds names only, no data.
bool map_quoted(const Snapshot& snapshot, std::string& text, bool foreign_keys) {
  std::string out;
  bool changed = false;
  for (size_t at = 0; at < text.size();) {
    const size_t open = text.find('"', at);
    const size_t close = open == std::string::npos ? open : text.find('"', open + 1);
    if (close == std::string::npos) {
      out += text.substr(at);
      break;
    }
    const std::string_view name = std::string_view(text).substr(open + 1, close - open - 1);
    auto logical = logical_name(snapshot, name);
    if (!logical && foreign_keys) logical = logical_foreign_key(snapshot, name);
    out.append(text, at, open + 1 - at);
    out += logical ? *logical : std::string(name);
    out += '"';
    changed = changed || logical;
    at = close + 1;
  }
  if (changed) text = std::move(out);
  return changed;
}

// "permission denied for table orders_5_7"
bool map_last_word(const Snapshot& snapshot, std::string& text) {
  const size_t space = text.rfind(' ');
  if (space == std::string::npos) return false;
  const auto logical = logical_name(snapshot, std::string_view(text).substr(space + 1));
  if (logical) text.replace(space + 1, std::string::npos, *logical);
  return logical.has_value();
}

// The quoted name at the end of a text whose earlier part may hold data: `… in relation "x"`, `… in table
// "x".`
bool map_last_quoted(const Snapshot& snapshot, std::string& text) {
  const size_t end = text.ends_with("\".") ? text.size() - 2
                     : text.ends_with('"') ? text.size() - 1
                                           : std::string::npos;
  if (end == std::string::npos || end == 0) return false;
  const size_t open = text.rfind('"', end - 1);
  if (open == std::string::npos) return false;
  const std::string_view before = std::string_view(text).substr(0, open);
  if (!before.ends_with(" table ") && !before.ends_with(" relation ")) return false;
  const auto logical = logical_name(snapshot, std::string_view(text).substr(open + 1, end - open - 1));
  if (logical) text.replace(open + 1, end - open - 1, *logical);
  return logical.has_value();
}

// "decan_shard"."orders_5_7" and decan_shard.orders_5_7 within SQL: the table in its own schema.
bool map_qualified(const Snapshot& snapshot, std::string& text) {
  bool changed = false;
  for (const bool quoted : {true, false}) {
    const std::string_view schema = quoted ? "\"decan_shard\".\"" : kShardSchema;
    for (size_t at = text.find(schema); at != std::string::npos; at = text.find(schema, at + 1)) {
      const size_t begin = at + schema.size();
      size_t end = begin;
      while (end < text.size() && (quoted ? text[end] != '"' : is_word_byte(text[end]))) ++end;
      const Relation* relation = snapshot.find_by_leaf(std::string_view(text).substr(begin, end - begin));
      if (relation == nullptr) continue;
      text.replace(at, end + (quoted && end < text.size() ? 1 : 0) - at,
                   quoted ? "\"" + relation->schema + "\".\"" + relation->name + "\""
                          : relation->schema + "." + relation->name);
      changed = true;
    }
  }
  return changed;
}

// Lines of a context that tell of functions which nobody but Decan called.
bool drop_own_lines(std::string& context) {
  std::string kept;
  bool changed = false;
  for (size_t at = 0; at < context.size();) {
    const size_t end = std::min(context.find('\n', at), context.size());
    const std::string_view line = std::string_view(context).substr(at, end - at);
    const bool own = line.starts_with("PL/pgSQL function decan.") ||
                     line.starts_with("SQL function \"decan.") ||
                     line.starts_with("SQL statement \"SELECT decan.");
    if (own)
      changed = true;
    else
      kept.append(kept.empty() ? "" : "\n").append(line);
    at = end + 1;
  }
  if (changed) context = std::move(kept);
  return changed;
}

}  // namespace

bool map_error_names(const Snapshot& snapshot, std::vector<std::pair<char, std::string>>& fields) {
  if (!snapshot.has_sharded()) return false;
  const std::string* state = field(fields, 'C');
  const std::string sqlstate = state == nullptr ? std::string() : *state;
  bool changed = false;
  std::string* table = field(fields, 't');
  if (table != nullptr) {
    if (const Relation* relation = snapshot.find_by_leaf(*table)) {
      *table = relation->name;
      if (std::string* schema = field(fields, 's')) *schema = relation->schema;
      changed = true;
    }
  }
  const bool foreign_keys = sqlstate == "23503";
  if (std::string* constraint = field(fields, 'n')) {
    auto logical = logical_index(snapshot, *constraint);
    if (!logical && foreign_keys) logical = logical_foreign_key(snapshot, *constraint);
    if (logical) *constraint = *logical;
    changed = changed || logical;
  }
  // Messages of data exceptions and of RAISE quote values, not names.
  const bool quotes_names =
      !sqlstate.starts_with("22") && !sqlstate.starts_with("P0") && !sqlstate.starts_with("00");
  if (std::string* message = field(fields, 'M'); message != nullptr && quotes_names) {
    changed = map_quoted(snapshot, *message, foreign_keys) || changed;
    if (sqlstate == "42501") changed = map_last_word(snapshot, *message) || changed;
  }
  for (const char code : {'q', 'W'}) {
    if (std::string* text = field(fields, code)) changed = map_qualified(snapshot, *text) || changed;
  }
  if (std::string* context = field(fields, 'W'); context != nullptr && drop_own_lines(*context)) {
    changed = true;
    if (context->empty()) std::erase_if(fields, [](const auto& entry) { return entry.first == 'W'; });
  }
  for (const char code : {'D', 'W'}) {
    if (std::string* text = field(fields, code)) changed = map_last_quoted(snapshot, *text) || changed;
  }
  return changed;
}

bool repeats_for_leaf(const Snapshot& snapshot, const std::vector<std::pair<char, std::string>>& fields) {
  constexpr std::string_view kCascades = "truncate cascades to table \"";
  const auto message = std::ranges::find(fields, 'M', &std::pair<char, std::string>::first);
  if (message == fields.end() || !message->second.starts_with(kCascades) || !message->second.ends_with('"'))
    return false;
  std::string_view table = message->second;
  table.remove_prefix(kCascades.size());
  table.remove_suffix(1);
  return snapshot.find_by_leaf(table) != nullptr;
}

}  // namespace decan::catalog
