#include "exec/merged_cursor.h"

#include <algorithm>

#include "exec/scatter.h"
#include "wire/message.h"

namespace decan::exec {
namespace {

// A portion grows while it is small in bytes: short rows should not cost a round trip each.
constexpr size_t kMostRows = 1024;
constexpr size_t kSmallBytes = 32u << 10;
constexpr size_t kLargeBytes = 512u << 10;

size_t message_bytes(std::string_view messages) {
  const auto header = wire::decode_header(messages, wire::kMaxMessageBytes);
  return wire::kHeaderBytes + (*header)->body_bytes;  // framed by us or checked when it was read
}

}  // namespace

MergedCursor::MergedCursor(Options options) : options_(std::move(options)), sources_(options_.units.size()) {}

MergeInput MergedCursor::input(const std::vector<int16_t>& formats) const {
  MergeInput out;
  out.spec = &*options_.plan->merge;
  out.fragment = options_.fragment;
  const auto fragment = fragment_formats(out.spec, formats);
  for (size_t i = 0; i < out.fragment.fields.size() && i < fragment.size(); ++i)
    out.fragment.fields[i].format = fragment[i];
  for (size_t i = 0; i < out.spec->output.size(); ++i) {
    out.result_formats.push_back(formats.empty()       ? int16_t{0}
                                 : formats.size() == 1 ? formats[0]
                                 : i < formats.size()  ? formats[i]
                                                       : int16_t{0});
  }
  out.sources = sources_.size();
  out.limit = options_.limit;
  out.offset = options_.offset;
  out.having_values = options_.having_values;
  out.limits = options_.limits;
  return out;
}

Result<wire::RowDescription> MergedCursor::description(const std::vector<int16_t>& formats) const {
  auto merge = make_merge(input(formats));
  if (!merge) return fail(merge.error());
  return (*merge)->description();
}

Status MergedCursor::open(const std::vector<int16_t>& formats) {
  MergeInput asked = input(formats);
  if (merge_) {
    if (asked.result_formats == formats_) return {};
    return fail(sqlstate::kFeatureNotSupported,
                "a cursor over several storage units gives all its rows in one format", {},
                "Fetch in the format of the first FETCH.");
  }
  formats_ = asked.result_formats;
  auto merge = make_merge(std::move(asked));
  if (!merge) return fail(merge.error());
  merge_ = std::move(*merge);
  return {};
}

std::vector<int16_t> MergedCursor::portion_formats() const {
  return fragment_formats(&*options_.plan->merge, formats_);
}

size_t MergedCursor::take(uint64_t most, std::string& out) {
  size_t rows = 0;
  const size_t first = ready_at_;
  while (rows < most && ready_at_ < ready_.size()) {
    ready_at_ += message_bytes(std::string_view(ready_).substr(ready_at_));
    ++rows;
  }
  out.append(ready_, first, ready_at_ - first);
  if (ready_at_ == ready_.size()) ready_.clear(), ready_at_ = 0;
  return rows;
}

Result<std::optional<size_t>> MergedCursor::advance() {
  started_ = true;
  while (!has_rows()) {
    const auto wanted = merge_->wanted();
    if (wanted.need == MergeNeed::kDone) return std::nullopt;
    size_t index = wanted.source;
    if (wanted.any) {
      const auto open = std::ranges::find(sources_, false, &Source::ended);
      if (open == sources_.end()) return std::nullopt;
      index = static_cast<size_t>(open - sources_.begin());
    }
    Source& source = sources_[index];
    if (source.at < source.rows.size()) {
      const auto rest = std::string_view(source.rows).substr(source.at);
      const size_t bytes = message_bytes(rest);
      auto merged = merge_->row(index, rest.substr(wire::kHeaderBytes, bytes - wire::kHeaderBytes), ready_);
      if (!merged) return fail(merged.error());
      source.at += bytes;
    } else if (source.last) {
      source.ended = true;
      if (auto ended = merge_->end_of(index, ready_); !ended) return fail(ended.error());
    } else {
      source.rows.clear(), source.at = 0;
      return index;
    }
  }
  return std::nullopt;
}

void MergedCursor::end_portion(size_t index, size_t rows) {
  Source& source = sources_[index];
  source.fetched = true;
  source.last = rows < source.portion;
  if (source.rows.size() < kSmallBytes) {
    source.portion = std::min(2 * source.portion, kMostRows);
  } else if (source.rows.size() > kLargeBytes) {
    source.portion = std::max<size_t>(source.portion / 2, 1);
  }
}

}  // namespace decan::exec
