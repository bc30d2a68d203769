// A growing read buffer: bytes are appended at the end and consumed at the front. Idle buffers can be shrunk,
// since thousands of sessions hold one.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>

namespace decan {

class ByteBuffer {
 public:
  explicit ByteBuffer(size_t initial_bytes = 2048)
      : capacity_(initial_bytes), data_(new char[initial_bytes]) {}

  std::string_view readable() const { return {data_.get() + begin_, end_ - begin_}; }
  size_t size() const { return end_ - begin_; }
  bool empty() const { return begin_ == end_; }
  size_t capacity() const { return capacity_; }

  void consume(size_t bytes) {
    begin_ += bytes;
    if (begin_ == end_) begin_ = end_ = 0;
  }

  // Free space at the end, at least `least` bytes: moves what is unread to the front or grows.
  char* space(size_t least) {
    if (capacity_ - end_ < least) {
      const size_t used = size();
      if (capacity_ - used >= least && used <= capacity_ / 2) {
        std::memmove(data_.get(), data_.get() + begin_, used);
      } else {
        size_t grown = capacity_;
        while (grown - used < least) grown *= 2;
        std::unique_ptr<char[]> bigger(new char[grown]);
        std::memcpy(bigger.get(), data_.get() + begin_, used);
        data_ = std::move(bigger);
        capacity_ = grown;
      }
      begin_ = 0;
      end_ = used;
    }
    return data_.get() + end_;
  }
  size_t space_bytes() const { return capacity_ - end_; }
  void produced(size_t bytes) { end_ += bytes; }

  // Gives memory back when nothing is unread.
  void shrink(size_t to_bytes) {
    if (empty() && capacity_ > to_bytes) {
      data_.reset(new char[to_bytes]);
      capacity_ = to_bytes;
      begin_ = end_ = 0;
    }
  }

 private:
  size_t capacity_;
  std::unique_ptr<char[]> data_;
  size_t begin_ = 0, end_ = 0;
};

}  // namespace decan
