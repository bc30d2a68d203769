#include "catalog/hash_bytes.h"

#include <bit>
#include <cstring>

namespace decan::catalog {
namespace {

static_assert(std::endian::native == std::endian::little, "PostgreSQL's hash differs by byte order");

struct State {
  uint32_t a, b, c;

  State(uint32_t length, uint64_t seed) : a(0x9e3779b9U + length + 3923095U), b(a), c(a) {
    if (seed == 0) return;
    a += static_cast<uint32_t>(seed >> 32);
    b += static_cast<uint32_t>(seed);
    mix();
  }

  void mix() {
    a -= c, a ^= std::rotl(c, 4), c += b;
    b -= a, b ^= std::rotl(a, 6), a += c;
    c -= b, c ^= std::rotl(b, 8), b += a;
    a -= c, a ^= std::rotl(c, 16), c += b;
    b -= a, b ^= std::rotl(a, 19), a += c;
    c -= b, c ^= std::rotl(b, 4), b += a;
  }

  uint64_t finish() {
    c ^= b, c -= std::rotl(b, 14);
    a ^= c, a -= std::rotl(c, 11);
    b ^= a, b -= std::rotl(a, 25);
    c ^= b, c -= std::rotl(b, 16);
    a ^= c, a -= std::rotl(c, 4);
    b ^= a, b -= std::rotl(a, 14);
    c ^= b, c -= std::rotl(b, 24);
    return (static_cast<uint64_t>(b) << 32) | c;
  }
};

uint32_t word(const char* bytes) {
  uint32_t value = 0;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

}  // namespace

uint64_t hash_bytes_extended(std::string_view bytes, uint64_t seed) {
  State state(static_cast<uint32_t>(bytes.size()), seed);
  const char* at = bytes.data();
  size_t left = bytes.size();
  for (; left >= 12; at += 12, left -= 12) {
    state.a += word(at);
    state.b += word(at + 4);
    state.c += word(at + 8);
    state.mix();
  }
  // The lowest byte of c is reserved for the length, so the last three bytes go one byte higher.
  char tail[12] = {};
  const size_t low = left < 8 ? left : 8;
  if (low > 0) std::memcpy(tail, at, low);
  if (left > 8) std::memcpy(tail + 9, at + 8, left - 8);
  state.a += word(tail);
  state.b += word(tail + 4);
  state.c += word(tail + 8);
  return state.finish();
}

uint64_t hash_uint32_extended(uint32_t value, uint64_t seed) {
  State state(sizeof value, seed);
  state.a += value;
  return state.finish();
}

uint64_t hash_int64_extended(int64_t value, uint64_t seed) {
  const auto bits = static_cast<uint64_t>(value);
  const auto high = static_cast<uint32_t>(bits >> 32);
  return hash_uint32_extended(static_cast<uint32_t>(bits) ^ (value >= 0 ? high : ~high), seed);
}

}  // namespace decan::catalog
