// PostgreSQL 15's partition hash (src/backend/partitioning/partbounds.c, compute_partition_hash_value, and
// the extended hash functions in access/hash), for every key type that Decan shards by. Pure; proven equal to
// the server's by a test against satisfies_hash_partition.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/ids.h"
#include "catalog/snapshot.h"

namespace decan::catalog {

// One key value in the type's binary (send/recv) format; nullopt is SQL NULL.
using KeyValue = std::optional<std::string_view>;

// True when a column of this type can be a sharding key for the algorithm.
bool can_shard_by(Oid type, Algorithm algorithm);

// Hash of a composite key. `types` are the key columns' own types, `values` their binary forms.
// Errors: 22P03 when a value has not the length of its type.
Result<uint64_t> partition_hash(std::span<const Oid> types, std::span<const KeyValue> values);

// The bucket that holds a key; nullopt when no bucket accepts it (range/list without default).
Result<std::optional<BucketId>> bucket_of(const ShardGroup& group, std::span<const KeyValue> values);

// Turns a value's text form into the binary form of `type` where that needs no session setting and no server:
// integers, text types, uuid, bool, bytea (hex and escape), numeric, ISO dates and timestamps (with explicit
// zone for timestamptz). nullopt: valid perhaps, but only the server can tell (e.g. 'yesterday'); an Error:
// the server would refuse it too (22P02, 22003, 22007). bpchar is returned with trailing spaces kept as
// typed.
Result<std::optional<std::string>> binary_from_text(Oid type, std::string_view text);

// Converts between binary forms of the types that compare as one family with the key (int2/int4/int8,
// text/varchar/bpchar/name). nullopt: not convertible without the server, or out of the key type's range.
std::optional<std::string> convert_binary(Oid from, Oid to, std::string_view value);

}  // namespace decan::catalog
