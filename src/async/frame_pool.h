// Memory of coroutine frames: free lists by size, one set per thread, so that calling a coroutine costs no
// visit to the allocator. A frame may be freed on another thread than the one that made it.
#pragma once

#include <cstddef>

namespace decan::async {

void* allocate_frame(size_t bytes);
void free_frame(void* frame, size_t bytes) noexcept;
// Gives the calling thread's free frames back; whoever ends a loop's thread calls it.
void release_free_frames() noexcept;

}  // namespace decan::async
