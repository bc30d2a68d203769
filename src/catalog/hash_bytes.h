// PostgreSQL's hash of bytes: Bob Jenkins' lookup3 (2006) with a 64-bit seed and result, as
// src/common/hashfn.c uses it on little-endian machines. Pure.
#pragma once

#include <cstdint>
#include <string_view>

namespace decan::catalog {

uint64_t hash_bytes_extended(std::string_view bytes, uint64_t seed);
uint64_t hash_uint32_extended(uint32_t value, uint64_t seed);
uint64_t hash_int64_extended(int64_t value, uint64_t seed);  // equal to the 32-bit hash where the value fits

constexpr uint64_t hash_combine64(uint64_t a, uint64_t b) {
  return a ^ (b + 0x49a0f4dd15e5a8e3ULL + (a << 54) + (a >> 7));
}

}  // namespace decan::catalog
