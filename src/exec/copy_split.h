// Cuts a stream of COPY data (text, CSV or binary) into rows and finds each row's key fields, without
// decoding anything else. Sans-io, single-threaded, bounded memory: one incomplete row is buffered, up to the
// row limit. The data has to be in the server's encoding (copy_encoding_can_be_split); FORCE_NULL and
// FORCE_NOT_NULL may not name key columns.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "exec/copy_lines.h"
#include "plan/plan.h"

namespace decan::exec {

// PostgreSQL builds a line in one allocation, so it ends below 1 GB.
inline constexpr size_t kMaxCopyRowBytes = 0x3fffffff;

class CopySplitter {
 public:
  explicit CopySplitter(const plan::CopySpec& spec, size_t max_row_bytes = kMaxCopyRowBytes);
  struct Row {
    // The row as it came, with its line end (text, CSV) or its tuple bytes (binary).
    std::string_view bytes;
    // One per key field. Unescaped values (text, CSV) or raw field bytes (binary); nullopt is NULL.
    std::vector<std::optional<std::string>> key;
    uint64_t line = 0;     // as PostgreSQL counts: from 1, header included; binary: number of the tuple
    bool header = false;   // CSV/text header line or binary file header: every unit gets it
    bool trailer = false;  // binary trailer (-1) or "\." line: every unit gets it
  };
  using Sink = std::function<Status(const Row&)>;
  // Feeds CopyData bytes of any size; calls `sink` once per complete row, whose views die when it returns. An
  // error of the sink ends the feed. Errors: 22P04 with the line number, 54000 for an endless row.
  Status feed(std::string_view data, const Sink& sink);
  // CopyDone: a last line without line end is a row.
  Status finish(const Sink& sink);
  size_t bytes_held() const { return pending_.size(); }

 private:
  struct FieldRange {
    size_t offset = 0;
    int32_t bytes = 0;  // -1: NULL
  };
  Status feed_lines(std::string_view data, const Sink& sink);
  Status take_line(std::string_view line, size_t line_end_bytes, const Sink& sink);
  Status take_marker(std::string_view line, const Sink& sink);
  void count_line();
  Status find_text_keys(std::string_view line);
  Status find_csv_keys(std::string_view line);
  Status feed_binary(std::string_view data, const Sink& sink);
  Status take_binary_header(std::string_view& data, const Sink& sink);
  Status check_binary_header() const;
  Result<bool> parse_tuple(std::string_view bytes);
  Status take_tuple(std::string_view tuple, const Sink& sink);
  Status keep(std::string_view bytes);
  void set_key(size_t field, std::optional<std::string_view> value);
  std::string column_name(size_t field) const;
  std::unexpected<Error> missing(size_t fields, std::string_view line) const;
  std::unexpected<Error> unterminated(std::string_view line) const;
  std::unexpected<Error> at_line(Error error) const;
  std::unexpected<Error> too_long() const;

  plan::CopySpec spec_;
  size_t max_row_bytes_;
  std::vector<int> key_of_field_;  // by field, up to the last key field; -1: not a key
  std::string pending_;            // the incomplete row
  Row row_;                        // reused, so that its strings are
  std::string unescaped_;
  LineScanner lines_;
  uint64_t line_ = 0;
  uint64_t embedded_seen_ = 0;  // of lines_.embedded_lines(), already in line_
  bool header_done_ = false;
  bool trailer_seen_ = false;
  // binary
  uint32_t extension_left_ = 0;  // bytes of the header extension still to be skipped
  size_t needed_ = 0;            // bytes of the tuple that must be there before the next parsing step
  size_t fields_done_ = 0;
  bool field_open_ = false;             // the length of the current field is known
  std::vector<FieldRange> key_ranges_;  // one per key field
};

// Data as the server quotes it in the context of an error: at most 100 bytes, cut between characters.
std::string shown_copy_data(std::string_view data);

// False for client encodings whose multi-byte characters contain ASCII bytes (SJIS, BIG5, GBK, UHC, GB18030,
// JOHAB …) and for all others than the server's: rows can not be cut, or keys not be read, without
// conversion.
bool copy_encoding_can_be_split(std::string_view client_encoding, std::string_view server_encoding);

}  // namespace decan::exec
