// Strong ids: a UnitId can not be passed where a BucketId is asked for.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace decan {

template <class Tag>
struct Id {
  uint32_t value = 0;
  auto operator<=>(const Id&) const = default;
};

using UnitId = Id<struct UnitTag>;      // a storage unit; dense from 0 within a catalog snapshot
using BucketId = Id<struct BucketTag>;  // a slice of a shard group's key space; dense from 0 within the group
using GroupId = Id<struct GroupTag>;    // a shard group
using Oid = uint32_t;                   // a PostgreSQL object id

inline constexpr Oid kFirstUserOid = 16384;  // FirstNormalObjectId: below it, OIDs are equal on all servers

}  // namespace decan

template <class Tag>
struct std::hash<decan::Id<Tag>> {
  size_t operator()(decan::Id<Tag> id) const noexcept { return std::hash<uint32_t>{}(id.value); }
};
