// Translates object ids in what goes between a unit and the client: RowDescription, and the type ids that
// binary values of arrays and composites hold. Ids have a fixed width, so everything is done in place.
// Sans-io.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text_map.h"
#include "catalog/unit_objects.h"
#include "wire/message.h"

namespace decan::exec {

// Columns of a result whose values hold ids, with their types on the home unit. Mostly none.
struct IdColumns {
  std::vector<std::pair<uint16_t, Oid>> columns;
  bool empty() const { return columns.empty(); }
};

// `body` of a RowDescription from the unit: table ids, attribute numbers and type ids become the home unit's.
// Error: 08P01 for malformed bytes; 55000 with kAfterCatalogRefresh for a type that the home unit is not
// known to have.
Status map_row_description(std::span<char> body, const catalog::UnitObjects& objects, IdColumns& columns);

// `body` of a DataRow of such a result.
Status map_data_row(std::span<char> body, const catalog::UnitObjects& objects, const IdColumns& columns);

enum class MapTo : uint8_t { kHome, kUnit };
// One binary value of a type of the home unit. Bytes that are not of that type: 08P01, partly translated.
Status map_value(std::span<char> value, Oid home_type, const catalog::UnitObjects& objects, MapTo to);

// Tuples of COPY BINARY, one after another, with columns of these types of the home unit; the trailer may be
// among them.
Status map_copy_tuples(std::span<char> tuples, std::span<const Oid> home_types,
                       const catalog::UnitObjects& objects, MapTo to);

// Whether a parameter of this type (the home unit's) may need translation on another unit.
bool may_hold_ids(Oid home_type);

// Types as the unit knows them. Unknown ones stay as they are: the unit refuses them.
std::vector<Oid> unit_types(std::span<const Oid> home_types, const catalog::UnitObjects& objects);

// The other way round, in place. Error: as map_row_description.
Status types_to_home(std::span<Oid> types, const catalog::UnitObjects& objects);

// The position of an error in the client's own text.
void tell_position(wire::ErrorFields& fields, const TextMap& client_text);

// The parameters of a Bind as a unit takes them: copies where ids differ, else views. Values that are not of
// their type are left to the unit to refuse. The arguments outlive it.
class UnitParameters {
 public:
  using Value = std::optional<std::string_view>;
  // `formats`: none, one, or one per value. `home_types` may be shorter than `values`. `objects` null: home.
  UnitParameters(std::span<const Value> values, std::span<const int16_t> formats,
                 std::span<const Oid> home_types, const catalog::UnitObjects* objects);
  UnitParameters(const UnitParameters&) = delete;
  UnitParameters& operator=(const UnitParameters&) = delete;
  std::span<const Value> values() const { return values_; }
  std::span<const Oid> types() const { return types_; }

 private:
  std::span<const Value> values_;
  std::span<const Oid> types_;
  std::vector<Value> own_values_;
  std::vector<Oid> own_types_;
  std::list<std::string> bytes_;  // which stay where they are; empty in most cases
};

}  // namespace decan::exec
