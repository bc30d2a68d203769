// The relay's hot path: how much of a buffer of unit messages can be passed on untouched.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "wire/message.h"

namespace decan::wire {

// Which message types the relay passes on without looking inside.
class FrameMask {
 public:
  constexpr FrameMask(std::initializer_list<char> types) {
    for (const char type : types) pass_[static_cast<unsigned char>(type)] = true;
  }
  constexpr bool passes(char type) const { return pass_[static_cast<unsigned char>(type)]; }
  constexpr FrameMask with(char type) const {
    FrameMask out = *this;
    out.pass_[static_cast<unsigned char>(type)] = true;
    return out;
  }

 private:
  std::array<bool, 256> pass_{};
};

inline constexpr FrameMask kRowsOnly{'D', 'd'};

struct FrameScan {
  enum class Stop : uint8_t {
    kEnd,         // the buffer ended with a whole frame (or was empty)
    kIncomplete,  // `next` is only partly here; its header may be too (then next.type is 0)
    kAttention,   // `next` is not in the mask; its body may be incomplete
    kMalformed,   // an impossible length: the connection is of no use any more
  };
  size_t bytes = 0;   // whole frames from the start of the buffer that may be passed on
  size_t frames = 0;  // how many these are
  Stop stop = Stop::kEnd;
  Header next;  // header of the frame that stopped the scan, if its five bytes are here
};

// Looks at headers only and allocates nothing.
FrameScan scan_frames(std::string_view buffer, const FrameMask& pass = kRowsOnly,
                      uint32_t max_body_bytes = kMaxMessageBytes);

}  // namespace decan::wire
