#include "wire/frame_scan.h"

#include "wire/reader.h"

namespace decan::wire {

FrameScan scan_frames(std::string_view buffer, const FrameMask& pass, uint32_t max_body_bytes) {
  FrameScan out;
  while (out.bytes != buffer.size()) {
    const size_t left = buffer.size() - out.bytes;
    const char* at = buffer.data() + out.bytes;
    if (left < kHeaderBytes) {
      // The type alone may already need attention, but nothing can be done with it before its length is here.
      out.stop = FrameScan::Stop::kIncomplete;
      return out;
    }
    const uint32_t length = load_u32(at + 1);
    if (length < 4 || length - 4 > max_body_bytes) [[unlikely]] {
      out.stop = FrameScan::Stop::kMalformed;
      return out;
    }
    if (!pass.passes(*at)) {
      out.next = {*at, length - 4};
      out.stop = FrameScan::Stop::kAttention;
      return out;
    }
    if (left - 1 < length) {
      out.next = {*at, length - 4};
      out.stop = FrameScan::Stop::kIncomplete;
      return out;
    }
    out.bytes += size_t{length} + 1;
    ++out.frames;
  }
  return out;
}

}  // namespace decan::wire
