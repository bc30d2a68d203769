// Descriptions, rows and values of units that hold object ids. The first byte chooses what the rest is.
#include <string>

#include "check.h"
#include "exec/map_oids.h"

using namespace decan;

namespace {

constexpr Oid kHomeFirst = 100'000, kUnitFirst = 50'000, kTypes = 7;

catalog::TextTable types_from(Oid first) {
  const auto id = [first](Oid offset) { return std::to_string(first + offset); };
  return {{id(0), "public", "mood", "e", "0"},     {id(1), "public", "_mood", "a", id(0)},
          {id(2), "public", "point", "c", "0"},    {id(3), "public", "_point", "a", id(2)},
          {id(4), "public", "points", "d", id(3)}, {id(5), "public", "rng", "r", id(2)},
          {id(6), "public", "mrng", "m", id(5)}};
}

const catalog::UnitObjects& objects() {
  static const catalog::UnitObjects known = [] {
    catalog::Snapshot snapshot;
    snapshot.types = *catalog::read_types(types_from(kHomeFirst));
    snapshot.types_hash = 1;
    catalog::UnitObjects made(false);
    fuzz::check(made.learn_types(snapshot, types_from(kUnitFirst)).has_value(), "the types are learned");
    return made;
  }();
  return known;
}

void value_survives(std::string_view input, Oid type) {
  std::string bytes(input);
  const auto home = exec::map_value(bytes, type, objects(), exec::MapTo::kHome);
  fuzz::check(bytes.size() == input.size(), "values keep their length");
  if (!home) {
    const std::string& state = home.error().sqlstate;
    fuzz::check(state == "08P01" || state == "55000" || state == "54001", "errors have a reason");
    return;
  }
  const auto back = exec::map_value(bytes, type, objects(), exec::MapTo::kUnit);
  fuzz::check(back && bytes == input, "there and back again gives the same bytes");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input = fuzz::view(data + 1, size - 1);
  const uint8_t choice = data[0];
  if (choice < 16) {
    static constexpr Oid kBuiltIn[] = {2249, 2287, 2277, 23};
    value_survives(input, choice < kTypes ? kHomeFirst + choice : kBuiltIn[choice % 4]);
    return 0;
  }
  std::string bytes(input);
  exec::IdColumns columns;
  if (choice < 32) {
    (void)exec::map_row_description(bytes, objects(), columns);
  } else if (choice < 48) {
    columns.columns = {{0, kHomeFirst + 1}, {1, kHomeFirst + 2}, {3, 2249}};
    (void)exec::map_data_row(bytes, objects(), columns);
  } else {
    const Oid types[] = {kHomeFirst + 3, 23, kHomeFirst + 5};
    (void)exec::map_copy_tuples(bytes, types, objects(), exec::MapTo::kUnit);
  }
  fuzz::check(bytes.size() == input.size(), "messages keep their length");
  return 0;
}
