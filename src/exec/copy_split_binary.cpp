// The binary half of CopySplitter (documentation of COPY, "Binary Format").
#include "exec/copy_split.h"

#include <algorithm>

#include "exec/value_order.h"

namespace decan::exec {
namespace {

constexpr std::string_view kSignature("PGCOPY\n\377\r\n\0", 11);
constexpr size_t kFlagsEnd = kSignature.size() + 4;
constexpr size_t kHeaderBytes = kFlagsEnd + 4;
constexpr uint32_t kFlagOids = 1u << 16;
constexpr size_t kCountBytes = 2, kLengthBytes = 4;

Error bad(std::string message) {
  return {std::string(sqlstate::kBadCopyFormat), std::move(message)};
}

}  // namespace

Status CopySplitter::check_binary_header() const {
  if (header_done_) {
    if (extension_left_ > 0) return fail(bad("invalid COPY file header (wrong length)"));
    return {};
  }
  if (pending_.size() < kSignature.size()) return fail(bad("COPY file signature not recognized"));
  if (pending_.size() < kFlagsEnd) return fail(bad("invalid COPY file header (missing flags)"));
  return fail(bad("invalid COPY file header (missing length)"));
}

// Units get the header without its extension, which has no meaning to them.
Status CopySplitter::take_binary_header(std::string_view& data, const Sink& sink) {
  const size_t taken = std::min(kHeaderBytes - pending_.size(), data.size());
  pending_ += data.substr(0, taken);
  data.remove_prefix(taken);
  const size_t shared = std::min(pending_.size(), kSignature.size());
  if (pending_.substr(0, shared) != kSignature.substr(0, shared))
    return fail(bad("COPY file signature not recognized"));
  if (pending_.size() < kFlagsEnd) return {};
  const std::string_view header = pending_;
  const auto flags = static_cast<uint32_t>(read_unsigned(header.substr(kSignature.size(), 4)));
  if ((flags & kFlagOids) != 0) return fail(bad("invalid COPY file header (WITH OIDS)"));
  if (flags >> 16 != 0) return fail(bad("unrecognized critical flags in COPY file header"));
  if (pending_.size() < kHeaderBytes) return {};
  const int64_t extension = read_signed(header.substr(kFlagsEnd, 4));
  if (extension < 0) return fail(bad("invalid COPY file header (missing length)"));
  extension_left_ = static_cast<uint32_t>(extension);
  header_done_ = true;
  const std::string plain = pending_.substr(0, kFlagsEnd) + std::string(4, '\0');
  pending_.clear();
  needed_ = kCountBytes;
  row_ = Row{};
  row_.bytes = plain;
  row_.header = true;
  return sink(row_);
}

Status CopySplitter::feed_binary(std::string_view data, const Sink& sink) {
  if (!header_done_) {
    if (auto status = take_binary_header(data, sink); !status) return status;
    if (!header_done_) return {};
  }
  const size_t skipped = std::min<size_t>(extension_left_, data.size());
  extension_left_ -= static_cast<uint32_t>(skipped);
  data.remove_prefix(skipped);
  while (!data.empty()) {
    if (trailer_seen_) return at_line(bad("received copy data after EOF marker"));
    if (pending_.empty()) {
      const auto whole = parse_tuple(data);
      if (!whole) return at_line(whole.error());
      if (!*whole) return keep(data);
      const std::string_view tuple = data.substr(0, needed_);
      data.remove_prefix(needed_);
      if (auto status = take_tuple(tuple, sink); !status) return status;
      continue;
    }
    const size_t taken = std::min(needed_ - pending_.size(), data.size());
    if (auto status = keep(data.substr(0, taken)); !status) return status;
    data.remove_prefix(taken);
    const auto whole = parse_tuple(pending_);
    if (!whole) return at_line(whole.error());
    if (!*whole) continue;
    if (auto status = take_tuple(pending_, sink); !status) return status;
    pending_.clear();
    if (pending_.capacity() > (size_t{1} << 20)) pending_.shrink_to_fit();
  }
  return {};
}

// Goes on where it stopped; true when bytes[0, needed_) is a tuple or the trailer. `bytes` starts with the
// tuple.
Result<bool> CopySplitter::parse_tuple(std::string_view bytes) {
  while (bytes.size() >= needed_) {
    if (needed_ == kCountBytes && fields_done_ == 0 && !field_open_) {
      ++line_;
      const int64_t count = read_signed(bytes.substr(0, kCountBytes));
      if (count == -1) {
        trailer_seen_ = true;
        return true;
      }
      if (count != static_cast<int64_t>(spec_.attnums.size())) {
        return fail(bad("row field count is " + std::to_string(count) + ", expected " +
                        std::to_string(spec_.attnums.size())));
      }
      if (count == 0) return true;
      needed_ += kLengthBytes;
      field_open_ = true;
      continue;
    }
    // needed_ ends behind the length of field fields_done_, or behind the bytes of the last field.
    if (fields_done_ == spec_.attnums.size()) return true;
    const int64_t length = read_signed(bytes.substr(needed_ - kLengthBytes, kLengthBytes));
    if (length < -1) {
      auto failed = at_line(bad("invalid field size"));
      failed.error().detail += ", column " + column_name(fields_done_);
      return failed;
    }
    if (fields_done_ < key_of_field_.size() && key_of_field_[fields_done_] >= 0)
      key_ranges_[static_cast<size_t>(key_of_field_[fields_done_])] = {needed_, static_cast<int32_t>(length)};
    ++fields_done_;
    needed_ += static_cast<size_t>(std::max<int64_t>(length, 0));
    if (fields_done_ < spec_.attnums.size()) needed_ += kLengthBytes;
    if (needed_ > max_row_bytes_) return too_long();
  }
  return false;
}

Status CopySplitter::take_tuple(std::string_view tuple, const Sink& sink) {
  needed_ = kCountBytes;
  fields_done_ = 0;
  field_open_ = false;
  row_.bytes = tuple;
  row_.line = line_;
  row_.header = false;
  row_.trailer = trailer_seen_;
  row_.key.resize(trailer_seen_ ? 0 : key_ranges_.size());
  for (size_t key = 0; key < row_.key.size(); ++key) {
    const FieldRange& range = key_ranges_[key];
    if (range.bytes < 0) {
      row_.key[key].reset();
    } else {
      row_.key[key].emplace(tuple.substr(range.offset, static_cast<size_t>(range.bytes)));
    }
  }
  return sink(row_);
}

}  // namespace decan::exec
