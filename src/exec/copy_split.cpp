#include "exec/copy_split.h"

#include <algorithm>
#include <cstring>

namespace decan::exec {
namespace {

using Format = plan::CopySpec::Format;

constexpr size_t kKeptCapacity = 1 << 20;  // a long row's buffer is given back above this

LineFormat line_format(const plan::CopySpec& spec) {
  return {spec.format == Format::kCsv, spec.quote, spec.escape};
}

bool is_octal(char c) {
  return c >= '0' && c <= '7';
}
int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Reads what follows a backslash at text[at]; moves `at` behind it.
char escaped(std::string_view text, size_t& at) {
  const char c = text[at++];
  switch (c) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'v':
      return '\v';
    case 'x': {
      if (at >= text.size() || hex_value(text[at]) < 0) return c;
      int value = hex_value(text[at++]);
      if (at < text.size() && hex_value(text[at]) >= 0) value = value * 16 + hex_value(text[at++]);
      return static_cast<char>(value);
    }
    default:
      break;
  }
  if (!is_octal(c)) return c;
  int value = c - '0';
  for (int more = 0; more < 2 && at < text.size() && is_octal(text[at]); ++more)
    value = value * 8 + (text[at++] - '0');
  return static_cast<char>(value & 0377);
}

}  // namespace

CopySplitter::CopySplitter(const plan::CopySpec& spec, size_t max_row_bytes)
    : spec_(spec),
      max_row_bytes_(max_row_bytes),
      lines_(line_format(spec)),
      key_ranges_(spec.key_fields.size()) {
  for (size_t key = 0; key < spec.key_fields.size(); ++key) {
    const size_t field = spec.key_fields[key];
    if (key_of_field_.size() <= field) key_of_field_.resize(field + 1, -1);
    key_of_field_[field] = static_cast<int>(key);
  }
}

Status CopySplitter::feed(std::string_view data, const Sink& sink) {
  if (spec_.format == Format::kBinary) return feed_binary(data, sink);
  return feed_lines(data, sink);
}

std::unexpected<Error> CopySplitter::at_line(Error error) const {
  const std::string table = spec_.relation != nullptr ? spec_.relation->name : "table";
  if (error.detail.empty()) error.detail = "COPY " + table + ", line " + std::to_string(line_);
  return fail(std::move(error));
}

std::unexpected<Error> CopySplitter::too_long() const {
  return at_line({std::string(sqlstate::kProgramLimitExceeded),
                  "a row of COPY data is longer than " + std::to_string(max_row_bytes_) + " bytes"});
}

std::unexpected<Error> CopySplitter::unterminated(std::string_view line) const {
  auto failed = at_line({std::string(sqlstate::kBadCopyFormat), "unterminated CSV quoted field"});
  failed.error().detail += ": " + shown_copy_data(line);
  return failed;
}

std::string CopySplitter::column_name(size_t field) const {
  if (spec_.relation == nullptr || field >= spec_.attnums.size()) return "?";
  const auto& columns = spec_.relation->columns;
  const auto found = std::ranges::find(columns, spec_.attnums[field], &catalog::Column::attnum);
  return found == columns.end() ? "?" : found->name;
}

std::unexpected<Error> CopySplitter::missing(size_t fields, std::string_view line) const {
  const std::string column = column_name(fields);
  auto failed =
      at_line({std::string(sqlstate::kBadCopyFormat), "missing data for column \"" + column + "\""});
  failed.error().detail += ": " + shown_copy_data(line);
  return failed;
}

Status CopySplitter::keep(std::string_view bytes) {
  if (pending_.size() + bytes.size() > max_row_bytes_) return too_long();
  pending_ += bytes;
  return {};
}

void CopySplitter::set_key(size_t field, std::optional<std::string_view> value) {
  auto& slot = row_.key[static_cast<size_t>(key_of_field_[field])];
  if (!value) {
    slot.reset();
  } else if (slot) {
    slot->assign(*value);
  } else {
    slot.emplace(*value);
  }
}

// --- text and CSV ---

Status CopySplitter::feed_lines(std::string_view data, const Sink& sink) {
  if (trailer_seen_) return {};  // the server, too, ignores what comes after "\."
  size_t at = 0, start = 0;
  while (true) {
    const auto found = lines_.scan(data, at);
    if (!found) {
      count_line();
      return at_line(found.error());
    }
    if (*found == LineScanner::Found::kMore) return keep(data.substr(start));
    std::string_view line = data.substr(start, at - start);
    if (pending_.size() + line.size() > max_row_bytes_) return too_long();
    if (!pending_.empty()) {
      pending_ += line;
      line = pending_;
    }
    const bool marker = *found == LineScanner::Found::kMarker;
    if (auto status = marker ? take_marker(line, sink) : take_line(line, lines_.line_end_bytes(), sink);
        !status)
      return status;
    pending_.clear();
    if (pending_.capacity() > kKeptCapacity) pending_.shrink_to_fit();
    if (marker) return {};
    start = at;
  }
}

// A line more, and those within its quotes.
void CopySplitter::count_line() {
  line_ += 1 + lines_.embedded_lines() - embedded_seen_;
  embedded_seen_ = lines_.embedded_lines();
}

Status CopySplitter::take_line(std::string_view line, size_t line_end_bytes, const Sink& sink) {
  count_line();
  row_.bytes = line;
  row_.line = line_;
  row_.header = spec_.header && !header_done_;
  row_.trailer = false;
  header_done_ = true;
  if (row_.header) {
    row_.key.clear();
  } else if (!key_of_field_.empty()) {
    row_.key.resize(spec_.key_fields.size());
    line.remove_suffix(line_end_bytes);
    if (auto status = spec_.format == Format::kCsv ? find_csv_keys(line) : find_text_keys(line); !status)
      return status;
  }
  lines_.start_line();
  return sink(row_);
}

Status CopySplitter::take_marker(std::string_view line, const Sink& sink) {
  trailer_seen_ = true;
  line.remove_suffix(lines_.marker_bytes());
  if (!line.empty()) {
    if (auto status = take_line(line, 0, sink); !status) return status;
  }
  const std::string marker = "\\." + std::string(lines_.line_end());
  row_ = Row{};
  row_.bytes = marker;
  row_.line = line_ + 1;
  row_.trailer = true;
  return sink(row_);
}

Status CopySplitter::find_text_keys(std::string_view line) {
  size_t at = 0;
  for (size_t field = 0; field < key_of_field_.size(); ++field) {
    if (field > 0 && at == line.size() + 1) return missing(field, line);
    const size_t start = at;
    size_t end = 0;
    if (!lines_.saw_special()) {
      const void* delimiter = std::memchr(line.data() + at, spec_.delimiter, line.size() - at);
      end = delimiter ? static_cast<size_t>(static_cast<const char*>(delimiter) - line.data()) : line.size();
      if (key_of_field_[field] >= 0) {
        const std::string_view raw = line.substr(start, end - start);
        set_key(field, raw == spec_.null_text ? std::nullopt : std::optional(raw));
      }
    } else {
      unescaped_.clear();
      size_t raw_end = std::string_view::npos;
      for (end = start; end < line.size() && line[end] != spec_.delimiter;) {
        if (line[end] != '\\') {
          unescaped_ += line[end++];
        } else if (++end < line.size()) {
          unescaped_ += escaped(line, end);
        } else {
          raw_end =
              end - 1;  // a backslash that ends the line is dropped before the null marker is looked for
        }
      }
      if (key_of_field_[field] >= 0) {
        const bool is_null = line.substr(start, std::min(raw_end, end) - start) == spec_.null_text;
        set_key(field, is_null ? std::nullopt : std::optional<std::string_view>(unescaped_));
      }
    }
    at = end + 1;
  }
  return {};
}

Status CopySplitter::find_csv_keys(std::string_view line) {
  size_t at = 0;
  for (size_t field = 0; field < key_of_field_.size(); ++field) {
    if (field > 0 && at == line.size() + 1) return missing(field, line);
    const size_t start = at;
    bool quoted = false, in_quote = false;
    unescaped_.clear();
    for (; at < line.size(); ++at) {
      const char c = line[at];
      if (!in_quote) {
        if (c == spec_.delimiter) break;
        if (c == spec_.quote) {
          quoted = in_quote = true;
        } else {
          unescaped_ += c;
        }
        continue;
      }
      const char next = at + 1 < line.size() ? line[at + 1] : '\0';
      if (c == spec_.escape && at + 1 < line.size() && (next == spec_.escape || next == spec_.quote)) {
        unescaped_ += next;
        ++at;
      } else if (c == spec_.quote) {
        in_quote = false;
      } else {
        unescaped_ += c;
      }
    }
    if (in_quote) return unterminated(line);
    if (key_of_field_[field] >= 0) {
      const bool is_null = !quoted && line.substr(start, at - start) == spec_.null_text;
      set_key(field, is_null ? std::nullopt : std::optional<std::string_view>(unescaped_));
    }
    ++at;
  }
  return {};
}

Status CopySplitter::finish(const Sink& sink) {
  if (spec_.format == Format::kBinary) {
    if (auto status = check_binary_header(); !status) return status;
    // A single byte where a tuple could start is the end for the server, too.
    if (pending_.size() < 2) return {};
    auto failed = at_line({std::string(sqlstate::kBadCopyFormat), "unexpected EOF in COPY data"});
    if (field_open_) {
      // needed_ ends behind the bytes of one field and, but for the last one, the length of the next.
      const bool in_length = fields_done_ < spec_.attnums.size() && pending_.size() + 4 >= needed_;
      failed.error().detail += ", column " + column_name(in_length ? fields_done_ : fields_done_ - 1);
    }
    return failed;
  }
  if (trailer_seen_) return {};
  const auto found = lines_.end();
  if (!found) {
    count_line();
    return at_line(found.error());
  }
  const bool header = spec_.header && !header_done_;  // the server skips it without a look at its quotes
  if (lines_.in_quote() && !header) {
    count_line();
    return unterminated(pending_);
  }
  if (pending_.empty()) return {};
  const std::string last = std::move(pending_);
  pending_.clear();
  return take_line(last, *found == LineScanner::Found::kLine ? 1 : 0, sink);
}

std::string shown_copy_data(std::string_view data) {
  constexpr size_t kShownBytes = 100;  // the server's MAX_COPY_DATA_DISPLAY
  const auto continues = [&](size_t at) { return (static_cast<unsigned char>(data[at]) & 0xC0) == 0x80; };
  if (data.size() <= kShownBytes) return "\"" + std::string(data) + "\"";
  size_t end = kShownBytes;
  while (end > 0 && continues(end)) --end;
  return "\"" + std::string(data.substr(0, end)) + "...\"";
}

bool copy_encoding_can_be_split(std::string_view client_encoding, std::string_view server_encoding) {
  const auto same = [](std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
      const auto upper = [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - ('a' - 'A')) : c; };
      return upper(x) == upper(y);
    });
  };
  return same(client_encoding, server_encoding) || same(client_encoding, "SQL_ASCII") ||
         same(server_encoding, "SQL_ASCII");
}

}  // namespace decan::exec
