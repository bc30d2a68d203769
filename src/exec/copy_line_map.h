// Which line of the client's COPY data each line was that one unit got: units count lines of their own, and
// clients want theirs. Bounded: only what was sent lately is kept, and a unit complains about nothing older.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

namespace decan::exec {

class CopyLineMap {
 public:
  static constexpr size_t kMaxBytes = 4u << 20;  // some 3 million rows

  explicit CopyLineMap(size_t max_bytes = kMaxBytes) : max_bytes_(max_bytes) {}
  // The next row for the unit ends in `client_line` and has `lines` lines.
  void sent(uint64_t client_line, uint64_t lines);
  // nullopt: not sent, or too long ago.
  std::optional<uint64_t> client_line(uint64_t unit_line) const;

 private:
  static constexpr size_t kBlockBytes = 16 * 1024;
  // Per row: lines since the unit's row before, as the client counts them, shifted by one; the lowest bit
  // says that the number of its own lines follows, which else is one. Seven bits a byte, the last without the
  // highest bit.
  struct Block {
    uint64_t unit_before, client_before;
    std::string rows;
  };
  std::deque<Block> blocks_;
  size_t bytes_ = 0, max_bytes_;
  uint64_t unit_ = 0, client_ = 0;  // the last lines sent
};

// "COPY t, line 2, column v: …" in the context of a unit's error, with the client's line instead.
// `table`: the relation that was copied into.
std::string with_client_line(std::string_view context, std::string_view table, const CopyLineMap& lines);

}  // namespace decan::exec
