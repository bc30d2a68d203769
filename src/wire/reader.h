// Bounds-checked cursor over the body of one message. After the first read past the end everything reads as
// empty and ok() stays false, so a decoder checks once at its end (and before it allocates for a count).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "base/error.h"

namespace decan::wire {

inline uint16_t load_u16(const char* p) {
  const auto* u = reinterpret_cast<const unsigned char*>(p);
  return static_cast<uint16_t>(u[0] << 8 | u[1]);
}
inline uint32_t load_u32(const char* p) {
  const auto* u = reinterpret_cast<const unsigned char*>(p);
  return uint32_t{u[0]} << 24 | uint32_t{u[1]} << 16 | uint32_t{u[2]} << 8 | uint32_t{u[3]};
}

class Reader {
 public:
  explicit Reader(std::string_view in) : at_(in.data()), end_(in.data() + in.size()) {}

  bool ok() const { return ok_; }
  size_t remaining() const { return static_cast<size_t>(end_ - at_); }
  // Whether `count` items of at least `least_bytes` each can still follow: asked before memory is reserved.
  bool can_hold(size_t count, size_t least_bytes) {
    ok_ = ok_ && count <= remaining() / least_bytes;
    return ok_;
  }
  bool finished() const { return ok_ && at_ == end_; }

  uint8_t u8() { return take(1) ? static_cast<uint8_t>(at_[-1]) : uint8_t{0}; }
  uint16_t u16() { return take(2) ? load_u16(at_ - 2) : uint16_t{0}; }
  uint32_t u32() { return take(4) ? load_u32(at_ - 4) : 0; }
  int16_t i16() { return static_cast<int16_t>(u16()); }
  int32_t i32() { return static_cast<int32_t>(u32()); }
  std::string_view bytes(size_t n) { return take(n) ? std::string_view(at_ - n, n) : std::string_view{}; }
  std::string_view rest() { return bytes(remaining()); }
  // A string that ends with NUL inside the message; the NUL is consumed and not part of the view.
  std::string_view cstring() {
    const void* nul = ok_ && at_ != end_ ? std::memchr(at_, 0, remaining()) : nullptr;
    if (nul == nullptr) {
      ok_ = false;
      return {};
    }
    const std::string_view text(at_, static_cast<size_t>(static_cast<const char*>(nul) - at_));
    at_ += text.size() + 1;
    return text;
  }

 private:
  bool take(size_t n) {
    if (!ok_ || n > remaining()) {
      ok_ = false;
      return false;
    }
    at_ += n;
    return true;
  }

  const char* at_;
  const char* end_;
  bool ok_ = true;
};

// 08P01 "malformed <message> message". Cold: kept out of line so that the decoders stay small.
std::unexpected<Error> malformed(std::string_view message, std::string detail = {});

}  // namespace decan::wire
