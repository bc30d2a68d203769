#include "async/frame_pool.h"

#include <cstdint>
#include <new>

namespace decan::async {
namespace {

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define DECAN_PLAIN_FRAMES 1  // a recycled frame would hide its use after the end
#endif
#endif

constexpr size_t kStep = 64;
constexpr size_t kLargest = 4096;    // larger frames are rare and go to the allocator
constexpr uint32_t kMaxKept = 1024;  // frames per size

struct Free {
  Free* next;
};
struct List {
  Free* first = nullptr;
  uint32_t count = 0;
};
constinit thread_local List lists[kLargest / kStep];

}  // namespace

void* allocate_frame(size_t bytes) {
#ifndef DECAN_PLAIN_FRAMES
  const size_t index = (bytes - 1) / kStep;
  if (index < kLargest / kStep) [[likely]] {
    List& list = lists[index];
    if (Free* frame = list.first; frame != nullptr) [[likely]] {
      list.first = frame->next;
      --list.count;
      return frame;
    }
    return ::operator new((index + 1) * kStep);
  }
#endif
  return ::operator new(bytes);
}

void free_frame(void* frame, size_t bytes) noexcept {
#ifndef DECAN_PLAIN_FRAMES
  const size_t index = (bytes - 1) / kStep;
  if (index < kLargest / kStep && lists[index].count < kMaxKept) [[likely]] {
    List& list = lists[index];
    list.first = new (frame) Free{list.first};
    ++list.count;
    return;
  }
#endif
  (void)bytes;
  ::operator delete(frame);
}

void release_free_frames() noexcept {
  for (List& list : lists) {
    while (Free* frame = list.first) {
      list.first = frame->next;
      ::operator delete(frame);
    }
    list.count = 0;
  }
}

}  // namespace decan::async
