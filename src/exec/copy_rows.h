// Rows of a merged query as the data of COPY … TO STDOUT, byte for byte what PostgreSQL 15 writes
// (CopyOneRowTo, CopyAttributeOutText and CopyAttributeOutCSV in its copyto.c). Sans-io.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "plan/plan.h"
#include "wire/message.h"

namespace decan::exec {

class CopyRows {
 public:
  // `head`: messages that go out before the first row. The client's encoding has no ASCII bytes inside of
  // other characters. The specification must outlive this.
  CopyRows(const plan::CopySpec& spec, std::string head) : spec_(spec), out_(std::move(head)) {}

  // Of the rows that follow: names for FORCE_QUOTE.
  void columns(const wire::RowDescription& columns);
  // DataRow messages, whole ones: text values, or binary ones for the binary format.
  Status add(std::string_view messages);
  // CopyData messages that are ready.
  std::string take() { return std::exchange(out_, {}); }

 private:
  void add_row(const std::vector<std::optional<std::string_view>>& values);
  void add_text(std::string_view value);
  void add_csv(std::string_view value, bool quoted, bool alone);

  const plan::CopySpec& spec_;
  std::vector<bool> quoted_;  // per column
  std::string out_, line_;
};

}  // namespace decan::exec
