#include "exec/value_order.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "exec/numeric.h"

namespace decan::exec {
namespace {

constexpr int64_t kMicrosecondsPerSecond = 1'000'000;
constexpr int64_t kMicrosecondsPerDay = 86'400 * kMicrosecondsPerSecond;
constexpr int kDaysPerMonth = 30;

template <class T>
int three_way(T a, T b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

template <size_t n>
bool has_bytes(std::string_view bytes) {
  return bytes.size() == n;
}
bool any_bytes(std::string_view) {
  return true;
}

int compare_signed(std::string_view a, std::string_view b) {
  return three_way(read_signed(a), read_signed(b));
}
int compare_bytes(std::string_view a, std::string_view b) {
  return three_way(a.compare(b), 0);
}
int compare_float_bytes(std::string_view a, std::string_view b) {
  return compare_floats(read_float(a), read_float(b));
}

// char(n) compares and is equal without its trailing blanks (bpchartruelen).
std::string_view without_blanks(std::string_view text) {
  return text.substr(0, text.find_last_not_of(' ') + 1);
}
int compare_blank_padded(std::string_view a, std::string_view b) {
  return compare_bytes(without_blanks(a), without_blanks(b));
}

// interval_cmp_value: a month counts 30 days, a day 24 hours.
int128 interval_value(std::string_view bytes) {
  const int64_t time = read_signed(bytes.substr(0, 8));
  const int64_t days = read_signed(bytes.substr(8, 4)) + read_signed(bytes.substr(12, 4)) * kDaysPerMonth;
  return int128{time} + int128{days} * kMicrosecondsPerDay;
}
int compare_intervals(std::string_view a, std::string_view b) {
  return three_way(interval_value(a), interval_value(b));
}

// timetz_cmp_internal: first the instant in UTC, then the zone.
int compare_timetz(std::string_view a, std::string_view b) {
  const auto zone = [](std::string_view v) { return read_signed(v.substr(8, 4)); };
  const auto utc = [&](std::string_view v) {
    return read_signed(v.substr(0, 8)) + zone(v) * kMicrosecondsPerSecond;
  };
  const int by_instant = three_way(utc(a), utc(b));
  return by_instant != 0 ? by_instant : three_way(zone(a), zone(b));
}

void append_same(std::string_view bytes, std::string& out) {
  out += bytes;
}
void append_blank_padded(std::string_view bytes, std::string& out) {
  out += without_blanks(bytes);
}
void append_float(std::string_view bytes, std::string& out) {
  double value = read_float(bytes);
  if (std::isnan(value)) value = std::numeric_limits<double>::quiet_NaN();
  if (value == 0) value = 0;
  const auto bits = std::bit_cast<uint64_t>(value);
  out.append(reinterpret_cast<const char*>(&bits), sizeof bits);
}
void append_interval(std::string_view bytes, std::string& out) {
  const int128 value = interval_value(bytes);
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

struct Known {
  Oid type;
  const char* name;
  ValueOrder order;
  void (*identity)(std::string_view bytes, std::string& out);
  bool collated = false;
};

using namespace types;
constexpr Known kKnown[] = {
    {kBool, "boolean", {has_bytes<1>, compare_bytes}, append_same},
    {kBytea, "bytea", {any_bytes, compare_bytes}, append_same},
    {kChar, "\"char\"", {has_bytes<1>, compare_bytes}, append_same},
    {kName, "name", {any_bytes, compare_bytes}, append_same, true},
    {kInt8, "bigint", {has_bytes<8>, compare_signed}, append_same},
    {kInt2, "smallint", {has_bytes<2>, compare_signed}, append_same},
    {kInt4, "integer", {has_bytes<4>, compare_signed}, append_same},
    {kText, "text", {any_bytes, compare_bytes}, append_same, true},
    {kOid, "oid", {has_bytes<4>, compare_bytes}, append_same},
    {kFloat4, "real", {has_bytes<4>, compare_float_bytes}, append_float},
    {kFloat8, "double precision", {has_bytes<8>, compare_float_bytes}, append_float},
    {kMacaddr8, "macaddr8", {has_bytes<8>, compare_bytes}, append_same},
    {kMoney, "money", {has_bytes<8>, compare_signed}, append_same},
    {kMacaddr, "macaddr", {has_bytes<6>, compare_bytes}, append_same},
    {kBpchar, "character", {any_bytes, compare_blank_padded}, append_blank_padded, true},
    {kVarchar, "character varying", {any_bytes, compare_bytes}, append_same, true},
    {kDate, "date", {has_bytes<4>, compare_signed}, append_same},
    {kTime, "time without time zone", {has_bytes<8>, compare_signed}, append_same},
    {kTimestamp, "timestamp without time zone", {has_bytes<8>, compare_signed}, append_same},
    {kTimestamptz, "timestamp with time zone", {has_bytes<8>, compare_signed}, append_same},
    {kInterval, "interval", {has_bytes<16>, compare_intervals}, append_interval},
    {kTimetz, "time with time zone", {has_bytes<12>, compare_timetz}, append_same},
    {kNumeric, "numeric", {valid_numeric, compare_numeric}, append_numeric_identity},
    {kUuid, "uuid", {has_bytes<16>, compare_bytes}, append_same},
    {kPgLsn, "pg_lsn", {has_bytes<8>, compare_bytes}, append_same},
    {kXid8, "xid8", {has_bytes<8>, compare_bytes}, append_same},
};

struct TypeName {
  Oid type;
  const char* name;
};
// Types that are refused, so that the refusal can name them.
constexpr TypeName kOtherNames[] = {
    {27, "tid"},
    {28, "xid"},
    {29, "cid"},
    {114, "json"},
    {142, "xml"},
    {600, "point"},
    {601, "lseg"},
    {602, "path"},
    {603, "box"},
    {604, "polygon"},
    {628, "line"},
    {650, "cidr"},
    {705, "unknown"},
    {718, "circle"},
    {869, "inet"},
    {1000, "boolean[]"},
    {1007, "integer[]"},
    {1009, "text[]"},
    {1015, "character varying[]"},
    {1016, "bigint[]"},
    {1021, "real[]"},
    {1022, "double precision[]"},
    {1231, "numeric[]"},
    {1560, "bit"},
    {1562, "bit varying"},
    {2249, "record"},
    {2951, "uuid[]"},
    {3614, "tsvector"},
    {3615, "tsquery"},
    {3802, "jsonb"},
    {3904, "int4range"},
    {3906, "numrange"},
    {3908, "tsrange"},
    {3910, "tstzrange"},
    {3912, "daterange"},
    {3926, "int8range"},
    {4072, "jsonpath"},
};

const Known* find(Oid type) {
  const auto* found =
      std::find_if(std::begin(kKnown), std::end(kKnown), [&](const Known& k) { return k.type == type; });
  return found == std::end(kKnown) ? nullptr : found;
}

std::string clause(ValueUse use) {
  switch (use) {
    case ValueUse::kOrderBy:
      return "ORDER BY";
    case ValueUse::kGroupBy:
      return "GROUP BY or DISTINCT";
    case ValueUse::kMinMax:
      return "min() or max()";
  }
  return "ORDER BY";
}

}  // namespace

int64_t read_signed(std::string_view bytes) {
  const unsigned shift = static_cast<unsigned>(64 - 8 * bytes.size());
  return static_cast<int64_t>(read_unsigned(bytes) << shift) >> shift;
}

uint64_t read_unsigned(std::string_view bytes) {
  uint64_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

double read_float(std::string_view bytes) {
  const uint64_t bits = read_unsigned(bytes);
  if (bytes.size() == 4) return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits)));
  return std::bit_cast<double>(bits);
}

int compare_floats(double a, double b) {
  if (std::isnan(a) || std::isnan(b))
    return static_cast<int>(std::isnan(a)) - static_cast<int>(std::isnan(b));
  return three_way(a, b);
}

std::string type_name(Oid type) {
  if (const Known* known = find(type)) return known->name;
  for (const TypeName& other : kOtherNames) {
    if (other.type == type) return other.name;
  }
  return "type with OID " + std::to_string(type);
}

Result<ValueOrder> order_of(Oid type, bool c_ordered, ValueUse use) {
  const Known* known = find(type);
  if (known == nullptr) {
    return fail(
        sqlstate::kFeatureNotSupported,
        clause(use) + " on " + type_name(type) + " is not supported over several storage units",
        "The order of this type is not known to be the same as the server's.",
        "Restrict the query to one value of the sharding key, or order by an expression of a basic type.");
  }
  if (known->collated && !c_ordered) {
    return fail(
        sqlstate::kFeatureNotSupported,
        clause(use) + " on " + known->name + " is not supported over several storage units in this collation",
        "Only byte order (collations \"C\", \"POSIX\") can be merged exactly.",
        "Add COLLATE \"C\" to the expression, or restrict the query to one value of the sharding key.");
  }
  return known->order;
}

Result<ValueIdentity> identity_of(Oid type) {
  const Known* known = find(type);
  if (known == nullptr) {
    return fail(
        sqlstate::kFeatureNotSupported,
        clause(ValueUse::kGroupBy) + " on " + type_name(type) +
            " is not supported over several storage units",
        "Equality of this type is not known to be the same as the server's.",
        "Restrict the query to one value of the sharding key, or group by an expression of a basic type.");
  }
  return ValueIdentity{known->order.valid, known->identity};
}

}  // namespace decan::exec
