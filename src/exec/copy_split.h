// Cuts a stream of COPY data (text, CSV or binary) into rows and finds each row's key fields, without
// decoding anything else. Sans-io, bounded memory: one incomplete row is buffered, up to the message limit.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "plan/plan.h"

namespace decan::exec {

class CopySplitter {
 public:
  explicit CopySplitter(const plan::CopySpec& spec);
  struct Row {
    std::string_view bytes;  // the row as it came, with its line end (text, CSV) or tuple bytes (binary)
    std::vector<std::optional<std::string>>
        key;               // unescaped field values (text, CSV) or raw field bytes (binary)
    uint64_t line = 0;     // from 1
    bool header = false;   // CSV/text header line or binary file header: every unit gets it
    bool trailer = false;  // binary trailer (-1) or "\." line: every unit gets it
  };
  using Sink = std::function<Status(const Row&)>;
  // Feeds CopyData bytes; calls `sink` once per complete row. Errors: 22P04 with the line number, 54000 for
  // an endless row.
  Status feed(std::string_view data, const Sink& sink);
  Status finish(const Sink& sink);  // CopyDone: a last line without line end is a row

 private:
  Status feed_text(const Sink& sink);
  Status feed_csv(const Sink& sink);
  Status feed_binary(const Sink& sink);
  plan::CopySpec spec_;
  std::string pending_;
  uint64_t line_ = 0;
  bool header_done_ = false;
  bool trailer_seen_ = false;
};

}  // namespace decan::exec
