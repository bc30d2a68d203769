#include "catalog/partition_hash.h"

#include <cmath>
#include <limits>

#include "catalog/hash_bytes.h"
#include "catalog/type_oids.h"
#include "catalog/value_binary.h"

namespace decan::catalog {
namespace {

constexpr uint64_t kPartitionSeed = 0x7A5B22367996DCFDULL;  // HASH_PARTITION_SEED

uint64_t hash_float(double value, uint64_t seed) {
  if (value == 0) return seed;  // 0 and -0
  if (std::isnan(value)) value = std::numeric_limits<double>::quiet_NaN();
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  return hash_bytes_extended(std::string_view(bytes, sizeof bytes), seed);
}

uint64_t hash_numeric(const Numeric& value, uint64_t seed) {
  if (value.kind != Numeric::Kind::kFinite) return seed;
  if (value.digits.empty()) return seed - 1;
  const std::string_view digits(reinterpret_cast<const char*>(value.digits.data()),
                                value.digits.size() * sizeof(int16_t));
  return hash_bytes_extended(digits, seed) ^ static_cast<uint64_t>(static_cast<int64_t>(value.weight));
}

uint32_t sign_extended(int32_t value) {
  return static_cast<uint32_t>(value);
}

// The type's extended hash function. `value` passed check_binary.
uint64_t hash_value(Oid type, std::string_view value) {
  constexpr uint64_t kSeed = kPartitionSeed;
  switch (type) {
    case type::kInt2:
      return hash_uint32_extended(sign_extended(read_be<int16_t>(value)), kSeed);
    case type::kInt4:
    case type::kOid:
    case type::kDate:
      return hash_uint32_extended(read_be<uint32_t>(value), kSeed);
    case type::kInt8:
    case type::kTime:
    case type::kTimestamp:
    case type::kTimestamptz:
      return hash_int64_extended(read_be<int64_t>(value), kSeed);
    case type::kChar:
      return hash_uint32_extended(sign_extended(static_cast<signed char>(value[0])), kSeed);
    case type::kBool:
      return hash_uint32_extended(value[0] != 0 ? 1 : 0, kSeed);
    case type::kFloat4:
      return hash_float(static_cast<double>(std::bit_cast<float>(read_be<uint32_t>(value))), kSeed);
    case type::kFloat8:
      return hash_float(std::bit_cast<double>(read_be<uint64_t>(value)), kSeed);
    case type::kNumeric:
      return hash_numeric(*decode_numeric(value), kSeed);
    case type::kBpchar:
      return hash_bytes_extended(trim_blanks(value), kSeed);
    default:
      return hash_bytes_extended(value, kSeed);  // text, varchar, name, bytea, uuid
  }
}

BucketId bucket_id(size_t index) {
  return BucketId{static_cast<uint32_t>(index)};
}

std::optional<BucketId> hash_bucket(const ShardGroup& group, uint64_t hash) {
  const size_t count = group.buckets.size();
  if (count == 0) return std::nullopt;
  const size_t guess = hash % count;  // right unless buckets were split
  if (group.buckets[guess].modulus == count && group.buckets[guess].remainder == guess)
    return bucket_id(guess);
  for (size_t i = 0; i < count; ++i) {
    const Bucket& bucket = group.buckets[i];
    if (bucket.modulus != 0 && hash % bucket.modulus == bucket.remainder) return bucket_id(i);
  }
  return std::nullopt;
}

// Key against a bound, column by column; an absent bound value stands for `open` (below or above every key).
std::weak_ordering compare_bound(const ShardGroup& group, std::span<const KeyValue> values,
                                 const std::vector<std::optional<std::string>>& bound,
                                 std::weak_ordering open) {
  for (size_t i = 0; i < values.size() && i < bound.size(); ++i) {
    if (!bound[i]) return open;
    const auto order = compare_binary(group.key_types[i], *values[i], *bound[i]);
    if (order != 0) return order;
  }
  return std::weak_ordering::equivalent;
}

bool range_accepts(const ShardGroup& group, const Bucket& bucket, std::span<const KeyValue> values) {
  return compare_bound(group, values, bucket.lower, std::weak_ordering::greater) >= 0 &&
         compare_bound(group, values, bucket.upper, std::weak_ordering::less) < 0;
}

bool list_accepts(const ShardGroup& group, const Bucket& bucket, std::span<const KeyValue> values) {
  if (!values[0]) return bucket.accepts_null;
  for (const auto& listed : bucket.values) {
    if (compare_binary(group.key_types[0], *values[0], listed) == 0) return true;
  }
  return false;
}

Status check_key(std::span<const Oid> types, std::span<const KeyValue> values) {
  if (types.size() != values.size() || types.empty()) {
    return fail(sqlstate::kInternalError, "a sharding key of " + std::to_string(types.size()) +
                                              " columns got " + std::to_string(values.size()) + " values");
  }
  for (size_t i = 0; i < types.size(); ++i) {
    if (!values[i]) continue;
    if (auto checked = check_binary(types[i], *values[i]); !checked) return checked;
  }
  return {};
}

}  // namespace

bool can_shard_by(Oid type, Algorithm algorithm) {
  switch (algorithm) {
    case Algorithm::kHash:
    case Algorithm::kRange:
    case Algorithm::kList:
      break;
  }
  switch (type) {
    case type::kBool:
    case type::kBytea:
    case type::kChar:
    case type::kName:
    case type::kInt8:
    case type::kInt2:
    case type::kInt4:
    case type::kText:
    case type::kOid:
    case type::kFloat4:
    case type::kFloat8:
    case type::kBpchar:
    case type::kVarchar:
    case type::kDate:
    case type::kTime:
    case type::kTimestamp:
    case type::kTimestamptz:
    case type::kNumeric:
    case type::kUuid:
      return true;
    default:
      return false;
  }
}

Result<uint64_t> partition_hash(std::span<const Oid> types, std::span<const KeyValue> values) {
  if (auto checked = check_key(types, values); !checked) return fail(std::move(checked.error()));
  uint64_t hash = 0;
  for (size_t i = 0; i < types.size(); ++i) {
    if (values[i]) hash = hash_combine64(hash, hash_value(types[i], *values[i]));
  }
  return hash;
}

Result<std::optional<BucketId>> bucket_of(const ShardGroup& group, std::span<const KeyValue> values) {
  if (group.algorithm == Algorithm::kHash) {
    const auto hash = partition_hash(group.key_types, values);
    if (!hash) return fail(hash.error());
    return hash_bucket(group, *hash);
  }
  if (auto checked = check_key(group.key_types, values); !checked) return fail(std::move(checked.error()));
  bool any_null = false;
  for (const auto& value : values) any_null = any_null || !value;
  std::optional<BucketId> fallback;
  for (size_t i = 0; i < group.buckets.size(); ++i) {
    const Bucket& bucket = group.buckets[i];
    if (bucket.is_default) {
      fallback = bucket_id(i);
    } else if (group.algorithm == Algorithm::kList ? list_accepts(group, bucket, values)
                                                   : !any_null && range_accepts(group, bucket, values)) {
      return bucket_id(i);
    }
  }
  return fallback;
}

}  // namespace decan::catalog
