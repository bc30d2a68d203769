// Memory of coroutine frames and of other small things that come and go with every message: free lists by
// size, one set per thread, so that they cost no visit to the allocator. What was made on one thread may be
// freed on another.
#pragma once

#include <cstddef>

namespace decan::async {

void* allocate_frame(size_t bytes);
void free_frame(void* frame, size_t bytes) noexcept;
// Gives the calling thread's free frames back; whoever ends a loop's thread calls it.
void release_free_frames() noexcept;

// The same for containers.
template <class T>
struct Recycling {
  using value_type = T;
  Recycling() = default;
  template <class U>
  Recycling(const Recycling<U>&) noexcept {}  // as allocators are converted
  T* allocate(size_t count) { return static_cast<T*>(allocate_frame(count * sizeof(T))); }
  void deallocate(T* memory, size_t count) noexcept { free_frame(memory, count * sizeof(T)); }
  template <class U>
  bool operator==(const Recycling<U>&) const noexcept {
    return true;
  }
};

}  // namespace decan::async
