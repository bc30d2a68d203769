// Order and equality of values in PostgreSQL's binary format, for the types where both are provably the
// server's: no locale, no setting, no catalog is involved. Pure functions, any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "base/ids.h"

namespace decan::exec {

struct ValueOrder {
  // Whether the bytes have the shape of the type; compare needs two that do.
  bool (*valid)(std::string_view bytes);
  int (*compare)(std::string_view a, std::string_view b);
};

struct ValueIdentity {
  bool (*valid)(std::string_view bytes);
  // Appends bytes that are equal exactly when the values are equal by the type's = operator.
  void (*append)(std::string_view bytes, std::string& out);
};

// What the caller does with the values; it words the refusal.
enum class ValueUse { kOrderBy, kGroupBy, kMinMax };

// The btree order of the type. Text types only with `c_ordered`. Error 0A000 names the type.
Result<ValueOrder> order_of(Oid type, bool c_ordered, ValueUse use);
// Error 0A000 names the type. Text types: the collation has to be deterministic, which the planner checks.
Result<ValueIdentity> identity_of(Oid type);

// Name as in format_type(); "type with OID n" for types that are not built in.
std::string type_name(Oid type);

namespace types {
inline constexpr Oid kBool = 16, kBytea = 17, kChar = 18, kName = 19, kInt8 = 20, kInt2 = 21, kInt4 = 23,
                     kText = 25, kOid = 26, kFloat4 = 700, kFloat8 = 701, kMoney = 790, kMacaddr = 829,
                     kBpchar = 1042, kVarchar = 1043, kDate = 1082, kTime = 1083, kTimestamp = 1114,
                     kTimestamptz = 1184, kInterval = 1186, kTimetz = 1266, kNumeric = 1700, kUuid = 2950,
                     kPgLsn = 3220, kXid8 = 5069, kMacaddr8 = 774;
}

// Big-endian integers of the wire; the caller knows that the bytes are there.
int64_t read_signed(std::string_view bytes);     // 1 to 8 bytes
uint64_t read_unsigned(std::string_view bytes);  // 1 to 8 bytes
double read_float(std::string_view bytes);       // 4 or 8 bytes

// float8_cmp_internal: NaN equals NaN and is the greatest; -0 equals 0.
int compare_floats(double a, double b);

}  // namespace decan::exec
