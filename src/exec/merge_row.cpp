#include "exec/merge_row.h"

#include <algorithm>

namespace decan::exec {

std::unexpected<Error> malformed_value(Oid type) {
  return fail(sqlstate::kProtocolViolation,
              "a storage unit sent a malformed value of type " + type_name(type));
}

std::unexpected<Error> planner_error(std::string what) {
  return fail(sqlstate::kInternalError, "merge of storage units: " + std::move(what));
}

std::unexpected<Error> over_budget(const MergeLimits& limits, std::string_view what) {
  return fail(sqlstate::kOutOfMemory,
              "merging the " + std::string(what) + " of several storage units needs more than " +
                  std::to_string(limits.max_bytes) + " bytes",
              {}, "Raise " + limits.setting + ", or make the answer smaller.");
}

Status split_row(std::string_view body, size_t columns, RowValues& out) {
  if (auto status = wire::decode_data_row(body, out); !status) return status;
  if (out.size() != columns) {
    return fail(sqlstate::kProtocolViolation, "a storage unit sent a row of " + std::to_string(out.size()) +
                                                  " columns, described were " + std::to_string(columns));
  }
  return {};
}

Status append_row(std::string& out, const RowValues& values) {
  wire::Writer writer(out);
  writer.data_row(values);
  return writer.status();
}

RowCopier::RowCopier(const plan::MergeSpec& spec, size_t fragment_columns) {
  prefix_ = true;
  for (size_t i = 0; i < spec.output.size(); ++i) {
    columns_.push_back(spec.output[i].column);
    prefix_ = prefix_ && spec.output[i].column == i;
  }
  whole_ = prefix_ && columns_.size() == fragment_columns;
}

Status RowCopier::whole(std::string_view body, std::string& out) const {
  wire::Writer writer(out);
  writer.raw('D', body);
  return writer.status();
}

Status RowCopier::copy(std::string_view body, const RowValues& values, std::string& out) {
  if (whole_) return whole(body, out);
  if (!prefix_) {
    scratch_.clear();
    for (const uint32_t column : columns_) scratch_.push_back(values[column]);
    return append_row(out, scratch_);
  }
  size_t bytes = 2;
  for (size_t i = 0; i < columns_.size(); ++i) bytes += 4 + (values[i] ? values[i]->size() : 0);
  const size_t message_bytes = bytes + 4;
  out += 'D';
  for (const int shift : {24, 16, 8, 0}) out += static_cast<char>(message_bytes >> shift & 0xff);
  out += static_cast<char>(columns_.size() >> 8 & 0xff);
  out += static_cast<char>(columns_.size() & 0xff);
  out += body.substr(2, bytes - 2);
  return {};
}

Window::Window(std::optional<int64_t> limit, std::optional<int64_t> offset, bool with_ties)
    : to_skip_(static_cast<uint64_t>(offset.value_or(0))), with_ties_(with_ties) {
  if (limit) limit_ = static_cast<uint64_t>(*limit);
}

Window::Verdict Window::next() {
  if (reached_limit()) return Verdict::kFull;
  if (to_skip_ > 0) {
    --to_skip_;
    return Verdict::kSkip;
  }
  ++emitted_;
  return Verdict::kEmit;
}

Result<OrderKey> compile_key(const plan::SortKey& key, const MergeInput& input) {
  if (key.column < input.spec->visible || key.column >= input.fragment.fields.size())
    return planner_error("a sort key is not a hidden column");
  const Oid type = input.fragment.fields[key.column].type;
  auto order = order_of(type, key.c_ordered, ValueUse::kOrderBy);
  if (!order) return std::unexpected(order.error());
  return OrderKey{key.column, *order, type, key.descending, key.nulls_first};
}

int compare_nullable(const OrderKey& key, const std::optional<std::string_view>& a,
                     const std::optional<std::string_view>& b) {
  if (!a || !b) {
    if (!a && !b) return 0;
    return !a == key.nulls_first ? -1 : 1;
  }
  const int order = key.order.compare(*a, *b);
  return key.descending ? -order : order;
}

Status check_key(const OrderKey& key, const std::optional<std::string_view>& value) {
  if (value && !key.order.valid(*value)) return malformed_value(key.type);
  return {};
}

}  // namespace decan::exec
