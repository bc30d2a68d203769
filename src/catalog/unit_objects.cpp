#include "catalog/unit_objects.h"

#include <charconv>
#include <string_view>

#include "catalog/type_oids.h"

namespace decan::catalog {
namespace {

std::unexpected<Error> malformed(std::string_view what) {
  return fail(sqlstate::kInternalError, "unexpected catalog rows: " + std::string(what));
}

template <class T>
bool read_number(std::string_view text, T& out) {
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), out);
  return status == std::errc() && end == text.data() + text.size();
}

std::string quoted_literal(std::string_view text) {
  const bool backslash = text.contains('\\');
  std::string out = backslash ? "E'" : "'";
  for (const char c : text) {
    if (c == '\'' || (backslash && c == '\\')) out += c;
    out += c;
  }
  return out + "'";
}

struct Attribute {
  int16_t attnum = 0;
  std::string_view name;
};

// "<attnum>:<bytes of the name>:<name>" one after another.
bool read_attributes(std::string_view text, std::vector<Attribute>& out) {
  out.clear();
  while (!text.empty()) {
    const size_t first = text.find(':');
    const size_t second = first == std::string_view::npos ? first : text.find(':', first + 1);
    if (second == std::string_view::npos) return false;
    Attribute attribute;
    size_t bytes = 0;
    if (!read_number(text.substr(0, first), attribute.attnum) || attribute.attnum <= 0 ||
        !read_number(text.substr(first + 1, second - first - 1), bytes) || bytes > text.size() - second - 1)
      return false;
    attribute.name = text.substr(second + 1, bytes);
    out.push_back(attribute);
    text.remove_prefix(second + 1 + bytes);
  }
  return true;
}

// By attnum on the unit, less one. Empty when all numbers are equal, or when the catalog does not list the
// columns (views: theirs are never dropped).
std::vector<int16_t> attnums_at_home(const Relation& relation, const std::vector<Attribute>& attributes) {
  std::vector<int16_t> out;
  if (relation.columns.empty()) return out;
  bool equal = true;
  for (const Attribute& attribute : attributes) {
    const Column* column = relation.column(attribute.name);
    const auto at = static_cast<size_t>(attribute.attnum);
    if (out.size() < at) out.resize(at, 0);
    out[at - 1] = column == nullptr ? int16_t{0} : column->attnum;
    equal = equal && out[at - 1] == attribute.attnum;
  }
  if (equal) out.clear();
  return out;
}

}  // namespace

std::string UnitObjects::relations_query(std::span<const Relation* const> relations) {
  std::string values;
  for (size_t i = 0; i < relations.size(); ++i) {
    values += (i == 0 ? "(" : ", (") + std::to_string(i) + ", " + quoted_literal(relations[i]->schema) +
              ", " + quoted_literal(relations[i]->name) + ")";
  }
  // Of a leaf the columns are told only where a dropped one may have moved their numbers.
  return "WITH RECURSIVE tree(place, oid, top) AS (SELECT w.place, c.oid, c.oid FROM (VALUES " + values +
         R"sql() w(place, schema, name)
  JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
UNION ALL
SELECT t.place, i.inhrelid, t.top FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid)
SELECT t.place, t.oid, t.oid = t.top,
       CASE WHEN t.oid = t.top OR EXISTS (SELECT FROM pg_catalog.pg_attribute d
                                           WHERE d.attrelid IN (t.oid, t.top) AND d.attnum > 0 AND d.attisdropped)
       THEN (SELECT pg_catalog.string_agg(pg_catalog.concat(a.attnum, ':',
                      pg_catalog.octet_length(a.attname::pg_catalog.text), ':', a.attname), '' ORDER BY a.attnum)
               FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped) END
  FROM tree t ORDER BY t.place, t.oid <> t.top)sql";
}

Status UnitObjects::learn_relations(std::span<const Relation* const> relations, const TextTable& rows) {
  limit();
  std::vector<Attribute> attributes;
  std::vector<int16_t> of_top;  // of the relation that the rows before this one told of
  for (const auto& row : rows) {
    size_t place = 0;
    Oid oid = 0;
    if (row.size() != 4 || !row[0] || !row[1] || !row[2] || !read_number(*row[0], place) ||
        place >= relations.size() || !read_number(*row[1], oid))
      return malformed("tables of a unit");
    const Relation& relation = *relations[place];
    Table table{relation.oid, {}};
    if (row[3] || row[2] == "t") {
      const std::string_view listed = row[3] ? std::string_view(*row[3]) : std::string_view();
      if (!read_attributes(listed, attributes)) return malformed("columns of a unit's table");
      table.attnums = attnums_at_home(relation, attributes);
      if (row[2] == "t") of_top = table.attnums;
    } else {
      table.attnums = of_top;
    }
    if (is_home_ && oid == relation.oid) continue;
    tables_.insert_or_assign(oid, std::move(table));
  }
  for (const Relation* relation : relations) relations_[relation->oid] = relation->columns_hash;
  return {};
}

ColumnOrigin UnitObjects::origin(Oid table, int16_t attnum) const {
  if (table < kFirstUserOid) return {table, attnum};
  const auto found = tables_.find(table);
  if (found == tables_.end()) return is_home_ ? ColumnOrigin{table, attnum} : ColumnOrigin{};
  const Table& known = found->second;
  if (attnum <= 0 || known.attnums.empty()) return {known.home, attnum};
  const auto at = static_cast<size_t>(attnum);
  if (at > known.attnums.size() || known.attnums[at - 1] == 0) return {};
  return {known.home, known.attnums[at - 1]};
}

Status UnitObjects::learn_types(const Snapshot& snapshot, const TextTable& rows) {
  limit();
  auto types = read_types(rows);
  if (!types) return fail(std::move(types.error()));
  std::unordered_map<std::string_view, Oid> home;
  for (const UserType& type : snapshot.types) {
    home.emplace(type.key, type.oid);
    shapes_[type.oid] = {type.kind, type.inner, type.holds_ids};
  }
  for (const UserType& type : *types) {
    const auto found = home.find(type.key);
    if (found == home.end()) continue;
    to_home_[type.oid] = found->second;
    to_unit_[found->second] = type.oid;
  }
  types_hash_ = snapshot.types_hash;
  return {};
}

UnitObjects::Shape UnitObjects::shape(Oid home_type) const {
  switch (home_type) {
    case type::kRecord:
      return {TypeKind::kComposite, 0, true};
    case type::kRecordArray:
    case type::kAnyArray:
      return {TypeKind::kArray, type::kRecord, true};
    default:
      break;
  }
  const auto found = home_type < kFirstUserOid ? shapes_.end() : shapes_.find(home_type);
  return found == shapes_.end() ? Shape{} : found->second;
}

void UnitObjects::limit() {
  if (tables_.size() + to_home_.size() < kMaxEntries) return;
  tables_.clear();
  relations_.clear();
  to_home_.clear();
  to_unit_.clear();
  shapes_.clear();
  types_hash_ = 0;
}

// --- types ---

std::string types_query() {
  return R"sql(
SELECT t.oid, n.nspname, t.typname, CASE WHEN e.oid IS NOT NULL THEN 'a' ELSE t.typtype::pg_catalog.text END,
       coalesce(e.oid, r.rngsubtype, m.rngtypid, t.typbasetype)
  FROM pg_catalog.pg_type t
  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND e.typarray = t.oid
  LEFT JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid
  LEFT JOIN pg_catalog.pg_range m ON m.rngmultitypid = t.oid
 WHERE t.oid >= 16384 AND n.nspname NOT IN ('decan', 'decan_shard', 'pg_toast') AND n.nspname NOT LIKE 'pg\_temp\_%'
   AND n.nspname NOT LIKE 'pg\_toast\_temp\_%' ORDER BY t.oid)sql";
}

namespace {

TypeKind kind_of(std::string_view kind) {
  if (kind == "a") return TypeKind::kArray;
  if (kind == "c") return TypeKind::kComposite;
  if (kind == "r") return TypeKind::kRange;
  if (kind == "m") return TypeKind::kMultirange;
  if (kind == "d") return TypeKind::kDomain;
  return TypeKind::kPlain;
}

constexpr size_t kMaxTypeDepth = 64;

// An array's own name is made up by its server: it is known by its element's. Elements may come later in the
// list than their arrays.
void complete(std::vector<UserType>& types) {
  std::unordered_map<Oid, UserType*> by_oid;
  for (UserType& type : types) by_oid[type.oid] = &type;
  const auto inner_of = [&](const UserType& type) -> UserType* {
    const auto found = by_oid.find(type.inner);
    return found == by_oid.end() ? nullptr : found->second;
  };
  for (UserType& type : types) {
    const UserType* element = type.kind == TypeKind::kArray ? inner_of(type) : nullptr;
    if (element != nullptr && element->kind != TypeKind::kArray) type.key = element->key + "[]";
  }
  for (UserType& type : types) {
    const UserType* at = &type;
    for (size_t depth = 0; at != nullptr && depth < kMaxTypeDepth; ++depth) {
      if (at->kind == TypeKind::kArray || at->kind == TypeKind::kComposite || at->inner == type::kRecord) {
        type.holds_ids = true;
        break;
      }
      at = at->kind == TypeKind::kPlain ? nullptr : inner_of(*at);
    }
  }
}

}  // namespace

Result<std::vector<UserType>> read_types(const TextTable& rows) {
  std::vector<UserType> types;
  types.reserve(rows.size());
  for (const auto& row : rows) {
    UserType type;
    if (row.size() != 5 || !row[0] || !row[1] || !row[2] || !row[3] || !row[4] ||
        !read_number(*row[0], type.oid) || !read_number(*row[4], type.inner))
      return malformed("pg_type");
    type.key = *row[1] + '\0' + *row[2];
    type.kind = kind_of(*row[3]);
    types.push_back(std::move(type));
  }
  complete(types);
  return types;
}

}  // namespace decan::catalog
