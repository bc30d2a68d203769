// Finds the ends of COPY lines (text and CSV) as PostgreSQL 15's CopyReadLineText does: line-end style fixed
// by the first line, backslash escapes, quotes, the "\." marker. A state machine over bytes: resumes
// anywhere, never looks back. Bytes must be in an encoding whose multi-byte characters hold no ASCII bytes
// (every server encoding is).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace decan::exec {

struct LineFormat {
  bool csv = false;
  char quote = '"', escape = '"';
};

class LineScanner {
 public:
  explicit LineScanner(LineFormat format) : format_(format), has_escape_(format.escape != format.quote) {}

  enum class Found : uint8_t {
    kMore,    // the data ends within the line
    kLine,    // the line ends at `at`, its line end included
    kMarker,  // "\." ends at `at`; it took the last marker_bytes() bytes
  };
  // Reads data[at…] and moves `at`. Errors: 22P04.
  Result<Found> scan(std::string_view data, size_t& at);
  // End of data. kLine: a line without line end may be there. Errors: 22P04. in_quote() may hold afterwards.
  Result<Found> end();
  bool in_quote() const { return in_quote_; }  // CSV
  // Call after a line was taken.
  void start_line();

  size_t marker_bytes() const { return marker_bytes_; }
  // Bytes of the line end of the line that was found.
  size_t line_end_bytes() const { return style_ == Style::kCrLf ? 2 : 1; }
  // The style as text, for lines that are made here.
  std::string_view line_end() const;
  uint64_t embedded_lines() const {
    return embedded_lines_;
  }  // CSV: line ends within quotes, as PostgreSQL counts
  bool saw_special() const { return saw_special_; }  // a backslash (text) or a quote (CSV) in this line

 private:
  enum class State : uint8_t { kPlain, kBackslash, kCr, kMarker, kMarkerCr };
  enum class Style : uint8_t { kUnknown, kLf, kCr, kCrLf };
  enum class Step : uint8_t { kTaken, kLineEnd, kLineEndBefore, kMarkerEnd, kAgain };

  Result<Step> step(char c);
  Result<Step> plain(char c);
  Result<Step> carriage_return();
  Result<Step> line_feed();
  Result<Step> marker(char c);
  Result<Step> not_a_marker();
  Result<Step> follow_quotes(char c);
  const char* skip(const char* at, const char* end) const;
  std::unexpected<Error> literal(bool carriage_return) const;

  LineFormat format_;
  bool has_escape_;
  State state_ = State::kPlain;
  Style style_ = Style::kUnknown;
  bool in_quote_ = false, last_was_escape_ = false;
  bool first_in_line_ = true;
  bool saw_special_ = false;
  size_t marker_bytes_ = 0;
  uint64_t embedded_lines_ = 0;
};

// First of up to three bytes in [at, end), or end.
const char* find_any(const char* at, const char* end, char a, char b, char c);

}  // namespace decan::exec
