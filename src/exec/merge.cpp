#include "exec/merge.h"

#include <algorithm>

#include "exec/merge_internal.h"
#include "exec/merge_row.h"

namespace decan::exec {
namespace {

using plan::OutputColumn;
using Kind = OutputColumn::Kind;

Status check_window(const MergeInput& input) {
  const bool no_count = input.spec->limit && !input.limit;
  if (input.limit && *input.limit < 0) return fail("2201W", "LIMIT must not be negative");
  if (input.offset && *input.offset < 0) return fail("2201X", "OFFSET must not be negative");
  if (input.spec->with_ties && no_count)
    return fail("2201W", "row count cannot be null in FETCH FIRST ... WITH TIES clause");
  if (input.spec->with_ties && input.spec->order_by.empty())
    return fail(sqlstate::kSyntaxError, "WITH TIES cannot be specified without ORDER BY clause");
  return {};
}

bool is_aggregate(Kind kind) {
  return kind != Kind::kColumn;
}
bool uses_key(Kind kind) {
  return kind == Kind::kMin || kind == Kind::kMax || kind == Kind::kAvg;
}

Status check_output(const MergeInput& input, const OutputColumn& output, int16_t format) {
  const size_t columns = input.fragment.fields.size();
  if (output.column >= columns || (uses_key(output.kind) && output.key >= columns))
    return planner_error("an output column is not in the fragment");
  if (is_aggregate(output.kind) && !input.spec->grouped)
    return planner_error("an aggregate stands in a merge without groups");
  const bool passes_bytes =
      output.kind == Kind::kColumn || output.kind == Kind::kMin || output.kind == Kind::kMax;
  if (passes_bytes && output.column >= input.spec->visible && format != 1)
    return planner_error("a hidden column can not be shown in text format");
  return {};
}

Status check_columns(MergeInput& input) {
  const plan::MergeSpec& spec = *input.spec;
  if (input.fragment.fields.size() != size_t{spec.visible} + spec.hidden)
    return planner_error("the fragment has another number of columns than planned");
  if (input.result_formats.empty()) input.result_formats.assign(spec.output.size(), 0);
  if (input.result_formats.size() == 1)
    input.result_formats.resize(spec.output.size(), input.result_formats[0]);
  if (input.result_formats.size() != spec.output.size())
    return planner_error("wrong number of result formats");
  if (input.having_values.size() != spec.having.size()) return planner_error("wrong number of HAVING values");
  for (size_t i = 0; i < spec.output.size(); ++i) {
    if (auto status = check_output(input, spec.output[i], input.result_formats[i]); !status) return status;
  }
  for (const uint32_t key : spec.group_keys) {
    if (key < spec.visible || key >= input.fragment.fields.size())
      return planner_error("a group key is not a hidden column");
  }
  for (const plan::SortKey& key : spec.order_by) {
    const bool valid = key.of_output
                           ? spec.grouped && key.column < spec.output.size()
                           : key.column >= spec.visible && key.column < input.fragment.fields.size();
    if (!valid) return planner_error("a sort key is not in the fragment");
  }
  if (!spec.grouped && !spec.having.empty()) return planner_error("HAVING without groups");
  return {};
}

// What the fragment tells about a column that PostgreSQL would show for the whole query.
wire::FieldDescription describe(const MergeInput& input, const OutputColumn& output, int16_t format) {
  wire::FieldDescription field = input.fragment.fields[output.column];
  if (!output.name.empty()) field.name = output.name;
  field.format = format;
  const auto computed = [&field](Oid type, int16_t bytes) {
    field.table = 0, field.attnum = 0, field.typmod = -1;
    field.type = type, field.type_bytes = bytes;
  };
  switch (output.kind) {
    case Kind::kColumn:
    case Kind::kMin:
    case Kind::kMax:
      break;
    case Kind::kCount:
      computed(types::kInt8, 8);
      break;
    case Kind::kSum:
      if ((output.sum_type != 0 ? output.sum_type : field.type) == types::kNumeric) {
        computed(types::kNumeric, -1);
      } else {
        computed(types::kInt8, 8);
      }
      break;
    case Kind::kAvg:
      computed(types::kNumeric, -1);
      break;
    case Kind::kBoolAnd:
    case Kind::kBoolOr:
      computed(types::kBool, 1);
      break;
  }
  return field;
}

}  // namespace

Result<std::unique_ptr<Merge>> make_merge(MergeInput input) {
  if (input.spec == nullptr) return planner_error("no specification");
  if (auto status = check_window(input); !status) return std::unexpected(status.error());
  if (auto status = check_columns(input); !status) return std::unexpected(status.error());
  wire::RowDescription description;
  for (size_t i = 0; i < input.spec->output.size(); ++i)
    description.fields.push_back(describe(input, input.spec->output[i], input.result_formats[i]));
  if (input.spec->grouped) return make_grouping(std::move(input), std::move(description));
  if (!input.spec->order_by.empty()) return make_ordered_merge(std::move(input), std::move(description));
  return make_concatenation(std::move(input), std::move(description));
}

}  // namespace decan::exec
