#include "exec/merge_group_plan.h"

namespace decan::exec {
namespace {

using plan::HavingTerm;
using plan::OutputColumn;

// Hidden columns are binary; a visible column has the format of the output column that shows it.
std::vector<int16_t> column_formats(const MergeInput& input) {
  std::vector<int16_t> formats(input.fragment.fields.size(), 1);
  for (size_t column = 0; column < input.spec->visible; ++column) {
    formats[column] = input.fragment.fields[column].format;
    for (size_t i = 0; i < input.spec->output.size(); ++i) {
      if (input.spec->output[i].column == column) formats[column] = input.result_formats[i];
    }
  }
  return formats;
}

Status compile_keys(const MergeInput& input, GroupPlan& plan) {
  for (const uint32_t column : input.spec->group_keys) {
    const Oid type = input.fragment.fields[column].type;
    auto identity = identity_of(type);
    if (!identity) return std::unexpected(std::move(identity.error()));
    plan.keys.push_back({column, type, *identity});
  }
  return {};
}

Status compile_outputs(const MergeInput& input, const std::vector<int16_t>& formats, GroupPlan& plan) {
  for (const OutputColumn& output : input.spec->output) {
    plan.output_column.push_back(output.column);
    plan.output_aggregate.emplace_back();
    if (output.kind == OutputColumn::Kind::kColumn) {
      plan.keeps_row = true;
      continue;
    }
    auto aggregate = Aggregate::compile(output, input, formats);
    if (!aggregate) return std::unexpected(std::move(aggregate.error()));
    plan.output_aggregate.back() = plan.aggregates.size();
    plan.aggregates.push_back(std::move(*aggregate));
  }
  return {};
}

Status compile_having(const MergeInput& input, const std::vector<int16_t>& formats, GroupPlan& plan) {
  for (size_t i = 0; i < input.spec->having.size(); ++i) {
    const HavingTerm& term = input.spec->having[i];
    auto aggregate = Aggregate::compile(term.aggregate, input, formats);
    if (!aggregate) return std::unexpected(std::move(aggregate.error()));
    HavingFilter filter{plan.aggregates.size(), term.op, std::nullopt};
    if (const auto& text = input.having_values[i]) {
      auto value = aggregate->comparand(*text);
      if (!value) return std::unexpected(std::move(value.error()));
      filter.value = std::move(*value);
    }
    plan.aggregates.push_back(std::move(*aggregate));
    plan.having.push_back(std::move(filter));
  }
  return {};
}

Status compile_order(const MergeInput& input, GroupPlan& plan) {
  for (const plan::SortKey& key : input.spec->order_by) {
    GroupOrder order{std::nullopt, 0, key.descending, key.nulls_first};
    if (!key.of_output) {
      auto compiled = compile_key(key, input);
      if (!compiled) return std::unexpected(std::move(compiled.error()));
      order.column = *compiled;
      plan.keeps_row = true;
    } else if (const auto aggregate = plan.output_aggregate[key.column]) {
      order.aggregate = *aggregate;
    } else {
      return planner_error("ORDER BY of an output column that is no aggregate");
    }
    plan.order.push_back(order);
  }
  return {};
}

}  // namespace

Result<GroupPlan> compile_grouping(const MergeInput& input) {
  GroupPlan plan;
  plan.columns = input.fragment.fields.size();
  plan.formats = input.result_formats;
  const std::vector<int16_t> formats = column_formats(input);
  if (auto status = compile_keys(input, plan); !status) return std::unexpected(status.error());
  if (auto status = compile_outputs(input, formats, plan); !status) return std::unexpected(status.error());
  if (auto status = compile_having(input, formats, plan); !status) return std::unexpected(status.error());
  if (auto status = compile_order(input, plan); !status) return std::unexpected(status.error());
  return plan;
}

}  // namespace decan::exec
