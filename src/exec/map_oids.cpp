#include "exec/map_oids.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <string>

#include "catalog/type_oids.h"
#include "wire/reader.h"

namespace decan::exec {
namespace {

using catalog::TypeKind;
using catalog::UnitObjects;

constexpr size_t kMaxDepth = 64;  // of values within values
constexpr uint32_t kMaxDimensions = 6;

std::unexpected<Error> malformed(std::string_view what) {
  return fail(sqlstate::kProtocolViolation, "malformed binary value of a " + std::string(what));
}

std::unexpected<Error> unknown_type(Oid type) {
  Error error{std::string(sqlstate::kObjectNotInPrerequisiteState),
              "type with OID " + std::to_string(type) + " of a storage unit is not known on the home unit",
              {},
              "Types have changed meanwhile: run the statement again."};
  error.retry = Retry::kAfterCatalogRefresh;
  return fail(std::move(error));
}

void store_u32(char* at, uint32_t value) {
  for (int i = 3; i >= 0; --i, value >>= 8) at[i] = static_cast<char>(value & 0xff);
}
void store_u16(char* at, uint16_t value) {
  at[0] = static_cast<char>(value >> 8);
  at[1] = static_cast<char>(value & 0xff);
}

// Bounds-checked cursor over bytes that are changed in place.
class Cursor {
 public:
  explicit Cursor(std::span<char> bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}
  bool ok() const { return ok_; }
  size_t left() const { return static_cast<size_t>(end_ - at_); }
  bool finished() const { return ok_ && at_ == end_; }
  // Null past the end.
  char* take(size_t bytes) {
    if (!ok_ || bytes > left()) {
      ok_ = false;
      return nullptr;
    }
    at_ += bytes;
    return at_ - bytes;
  }
  uint32_t u32() {
    const char* at = take(4);
    return at == nullptr ? 0 : wire::load_u32(at);
  }
  // A value behind its length; nullopt for NULL.
  std::optional<std::span<char>> value() {
    const auto length = static_cast<int32_t>(u32());
    if (length == -1 && ok_) return std::nullopt;
    if (length < 0) ok_ = false;
    const auto bytes = ok_ ? static_cast<size_t>(length) : 0;
    char* at = take(bytes);
    return at == nullptr ? std::span<char>{} : std::span<char>{at, bytes};
  }

 private:
  char* at_;
  char* end_;
  bool ok_ = true;
};

class ValueMapper {
 public:
  ValueMapper(const UnitObjects& objects, MapTo to) : objects_(objects), to_(to) {}

  Status map(std::span<char> value, Oid home_type, size_t depth) {
    const UnitObjects::Shape shape = objects_.shape(home_type);
    if (!shape.holds_ids) return {};
    if (depth > kMaxDepth) return fail("54001", "a binary value is nested too deeply");
    switch (shape.kind) {
      case TypeKind::kPlain:
        return {};
      case TypeKind::kArray:
        return array(value, depth);
      case TypeKind::kComposite:
        return composite(value, depth);
      case TypeKind::kRange:
        return range(value, shape.inner, depth);
      case TypeKind::kMultirange:
        return multirange(value, shape.inner, depth);
      case TypeKind::kDomain:
        return map(value, shape.inner, depth + 1);
    }
    return {};
  }

 private:
  // Changes the id at `at`; what it is on the home unit.
  Result<Oid> id(char* at) {
    const Oid here = wire::load_u32(at);
    const auto there = to_ == MapTo::kHome ? objects_.to_home(here) : objects_.to_unit(here);
    if (!there) return unknown_type(here);
    store_u32(at, *there);
    return to_ == MapTo::kHome ? *there : here;
  }

  // array_send: dimensions, flags, element type, (length, lower bound) per dimension, elements.
  Status array(std::span<char> value, size_t depth) {
    Cursor in(value);
    const uint32_t dimensions = in.u32();
    in.take(4);
    char* at = in.take(4);
    if (at == nullptr || dimensions > kMaxDimensions) return malformed("array");
    const auto element = id(at);
    if (!element) return fail(element.error());
    in.take(size_t{8} * dimensions);
    if (!in.ok()) return malformed("array");
    if (!objects_.shape(*element).holds_ids) return {};
    while (in.ok() && !in.finished()) {
      const auto item = in.value();
      if (!item || !in.ok()) continue;
      if (auto mapped = map(*item, *element, depth + 1); !mapped) return mapped;
    }
    return in.ok() ? Status{} : malformed("array");
  }

  // record_send: number of fields, then type and value of each.
  Status composite(std::span<char> value, size_t depth) {
    Cursor in(value);
    const uint32_t fields = in.u32();
    constexpr size_t kLeastFieldBytes = 8;
    if (!in.ok() || fields > in.left() / kLeastFieldBytes) return malformed("composite type");
    for (uint32_t i = 0; i < fields; ++i) {
      char* at = in.take(4);
      if (at == nullptr) return malformed("composite type");
      const auto type = id(at);
      if (!type) return fail(type.error());
      const auto field = in.value();
      if (!in.ok()) return malformed("composite type");
      if (!field) continue;
      if (auto mapped = map(*field, *type, depth + 1); !mapped) return mapped;
    }
    return in.finished() ? Status{} : malformed("composite type");
  }

  // range_send: flags, then the bounds that they promise.
  Status range(std::span<char> value, Oid subtype, size_t depth) {
    constexpr uint8_t kEmpty = 0x01, kNoLower = 0x08 | 0x20, kNoUpper = 0x10 | 0x40;
    Cursor in(value);
    const char* at = in.take(1);
    if (at == nullptr) return malformed("range");
    const auto flags = static_cast<uint8_t>(*at);
    for (const uint8_t absent : {kNoLower, kNoUpper}) {
      if ((flags & (kEmpty | absent)) != 0) continue;
      const auto bound = in.value();
      if (!in.ok() || !bound) return malformed("range");
      if (auto mapped = map(*bound, subtype, depth + 1); !mapped) return mapped;
    }
    return in.finished() ? Status{} : malformed("range");
  }

  // multirange_send: number of ranges, then each behind its length.
  Status multirange(std::span<char> value, Oid range_type, size_t depth) {
    Cursor in(value);
    in.take(4);
    while (in.ok() && !in.finished()) {
      const auto item = in.value();
      if (!in.ok() || !item) return malformed("multirange");
      if (auto mapped = map(*item, range_type, depth + 1); !mapped) return mapped;
    }
    return in.ok() ? Status{} : malformed("multirange");
  }

  const UnitObjects& objects_;
  const MapTo to_;
};

}  // namespace

Status map_row_description(std::span<char> body, const UnitObjects& objects, IdColumns& columns) {
  columns.columns.clear();
  constexpr size_t kNumbers = 18;  // table, attnum, type, size, modifier, format
  Cursor in(body);
  const char* head = in.take(2);
  const uint16_t count = head == nullptr ? uint16_t{0} : wire::load_u16(head);
  for (uint16_t i = 0; i < count && in.ok(); ++i) {
    char* name = in.take(0);
    const void* nul = name == nullptr ? nullptr : std::memchr(name, 0, in.left());
    if (nul == nullptr) return wire::malformed("RowDescription");
    in.take(static_cast<size_t>(static_cast<const char*>(nul) - name) + 1);
    char* at = in.take(kNumbers);
    if (at == nullptr) break;
    if (const Oid table = wire::load_u32(at); table >= kFirstUserOid) {
      const auto origin = objects.origin(table, static_cast<int16_t>(wire::load_u16(at + 4)));
      store_u32(at, origin.table);
      store_u16(at + 4, static_cast<uint16_t>(origin.attnum));
    }
    if (objects.is_home()) continue;
    const Oid type = wire::load_u32(at + 6);
    if (type < kFirstUserOid && !may_hold_ids(type)) continue;
    const auto mapped = objects.to_home(type);
    if (!mapped) return unknown_type(type);
    store_u32(at + 6, *mapped);
    if (wire::load_u16(at + 16) == 1 && objects.shape(*mapped).holds_ids)
      columns.columns.emplace_back(i, *mapped);
  }
  return in.finished() ? Status{} : wire::malformed("RowDescription");
}

Status map_data_row(std::span<char> body, const UnitObjects& objects, const IdColumns& columns) {
  Cursor in(body);
  const char* head = in.take(2);
  const uint16_t count = head == nullptr ? uint16_t{0} : wire::load_u16(head);
  ValueMapper mapper(objects, MapTo::kHome);
  auto next = columns.columns.begin();
  for (uint16_t i = 0; i < count && next != columns.columns.end(); ++i) {
    const auto value = in.value();
    if (!in.ok()) return wire::malformed("DataRow");
    if (next->first != i) continue;
    if (value) {
      if (auto mapped = mapper.map(*value, next->second, 0); !mapped) return mapped;
    }
    ++next;
  }
  return next == columns.columns.end() ? Status{} : wire::malformed("DataRow");
}

Status map_value(std::span<char> value, Oid home_type, const UnitObjects& objects, MapTo to) {
  return ValueMapper(objects, to).map(value, home_type, 0);
}

Status map_copy_tuples(std::span<char> tuples, std::span<const Oid> home_types, const UnitObjects& objects,
                       MapTo to) {
  constexpr uint16_t kTrailer = 0xffff;
  Cursor in(tuples);
  ValueMapper mapper(objects, to);
  while (in.ok() && !in.finished()) {
    const char* head = in.take(2);
    if (head == nullptr) break;
    const uint16_t count = wire::load_u16(head);
    if (count == kTrailer) return {};
    for (uint16_t i = 0; i < count && in.ok(); ++i) {
      const auto value = in.value();
      if (!in.ok()) break;
      if (!value || i >= home_types.size()) continue;
      if (auto mapped = mapper.map(*value, home_types[i], 0); !mapped) return mapped;
    }
  }
  return in.ok() ? Status{} : fail(sqlstate::kProtocolViolation, "malformed tuple of COPY BINARY");
}

bool may_hold_ids(Oid home_type) {
  return home_type >= kFirstUserOid || home_type == catalog::type::kRecord ||
         home_type == catalog::type::kRecordArray || home_type == catalog::type::kAnyArray;
}

Status types_to_home(std::span<Oid> types, const UnitObjects& objects) {
  for (Oid& type : types) {
    const auto mapped = objects.to_home(type);
    if (!mapped) return unknown_type(type);
    type = *mapped;
  }
  return {};
}

std::vector<Oid> unit_types(std::span<const Oid> home_types, const UnitObjects& objects) {
  std::vector<Oid> types(home_types.begin(), home_types.end());
  for (Oid& type : types) type = objects.to_unit(type).value_or(type);
  return types;
}

void tell_position(wire::ErrorFields& fields, const TextMap& client_text) {
  uint32_t position = 0;
  const std::string_view text = fields.get('P');
  if (client_text.empty() || text.empty()) return;
  std::from_chars(text.data(), text.data() + text.size(), position);
  if (position > 0) fields.set('P', std::to_string(client_text.original(position)));
}

UnitParameters::UnitParameters(std::span<const Value> values, std::span<const int16_t> formats,
                               std::span<const Oid> home_types, const UnitObjects* objects)
    : values_(values), types_(home_types) {
  if (objects == nullptr || objects->is_home() || std::ranges::none_of(home_types, may_hold_ids)) return;
  own_types_ = unit_types(home_types, *objects);
  types_ = own_types_;
  for (size_t i = 0; i < std::min(values.size(), home_types.size()); ++i) {
    const int16_t format = formats.empty()       ? int16_t{0}
                           : formats.size() == 1 ? formats[0]
                           : i < formats.size()  ? formats[i]
                                                 : int16_t{0};
    if (format != 1 || !values[i] || !objects->shape(home_types[i]).holds_ids) continue;
    if (own_values_.empty()) own_values_.assign(values.begin(), values.end());
    std::string& bytes = bytes_.emplace_back(*values[i]);
    (void)map_value(bytes, home_types[i], *objects, MapTo::kUnit);
    own_values_[i] = bytes;
  }
  if (!own_values_.empty()) values_ = own_values_;
}

}  // namespace decan::exec
