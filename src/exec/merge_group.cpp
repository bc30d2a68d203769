// Grouping: hash table over all sources' partial groups; HAVING, ORDER BY, LIMIT after the last row.
#include <algorithm>
#include <numeric>
#include <unordered_map>

#include "exec/merge_group_plan.h"
#include "exec/merge_internal.h"

namespace decan::exec {
namespace {

using plan::HavingTerm;

struct Group {
  std::string row;  // body of the group's first row, when needed
  std::vector<AggregateState> states;
};

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
};

bool passes(HavingTerm::Op op, int order) {
  switch (op) {
    case HavingTerm::Op::kEq:
      return order == 0;
    case HavingTerm::Op::kNe:
      return order != 0;
    case HavingTerm::Op::kLt:
      return order < 0;
    case HavingTerm::Op::kLe:
      return order <= 0;
    case HavingTerm::Op::kGt:
      return order > 0;
    case HavingTerm::Op::kGe:
      return order >= 0;
  }
  return false;
}

class Grouping final : public Merge {
 public:
  Grouping(MergeInput input, wire::RowDescription description, GroupPlan plan)
      : description_(std::move(description)),
        plan_(std::move(plan)),
        limits_(std::move(input.limits)),
        open_(input.sources, true),
        open_count_(input.sources),
        window_(input.limit, input.offset, input.spec->with_ties) {
    // Without GROUP BY there is one group, even over no rows at all.
    if (plan_.keys.empty()) groups_.push_back({{}, std::vector<AggregateState>(plan_.aggregates.size())});
  }

  const wire::RowDescription& description() const override { return description_; }
  Wanted wanted() const override {
    if (open_count_ == 0 || (window_.done() && window_.emitted() == 0)) return {MergeNeed::kDone};
    return {MergeNeed::kRow, static_cast<size_t>(std::find(open_.begin(), open_.end(), true) - open_.begin()),
            true};
  }
  uint64_t rows_out() const override { return window_.emitted(); }
  size_t bytes_held() const override { return held_; }

  Status row(size_t source, std::string_view body, std::string&) override {
    if (source >= open_.size() || !open_[source]) return planner_error("a row of a source that has ended");
    if (auto status = split_row(body, plan_.columns, values_); !status) return status;
    auto group = find_group(body);
    if (!group) return std::unexpected(std::move(group.error()));
    return add_to(**group, body);
  }

  Status end_of(size_t source, std::string& out) override {
    if (source >= open_.size() || !open_[source]) return planner_error("a source ended twice");
    open_[source] = false;
    return --open_count_ == 0 ? finish(out) : Status{};
  }

 private:
  Result<Group*> find_group(std::string_view body) {
    if (plan_.keys.empty()) return &groups_.front();
    key_.clear();
    for (const GroupKey& key : plan_.keys) {
      const auto& value = values_[key.column];
      key_ += value ? '\1' : '\0';
      if (!value) continue;
      if (!key.identity.valid(*value)) return malformed_value(key.type);
      const size_t start = key_.size();
      key_.append(4, '\0');
      key.identity.append(*value, key_);
      const size_t bytes = key_.size() - start - 4;
      for (size_t i = 0; i < 4; ++i) key_[start + i] = static_cast<char>(bytes >> (8 * i) & 0xff);
    }
    if (const auto found = index_.find(std::string_view(key_)); found != index_.end())
      return &groups_[found->second];
    // What a group costs besides its strings: the hash table's node and bucket, the group and its states.
    constexpr size_t kNodeBytes = sizeof(std::string) + 5 * sizeof(void*);
    held_ += kNodeBytes + key_.size() + sizeof(Group) + plan_.aggregates.size() * sizeof(AggregateState) +
             (plan_.keeps_row ? body.size() : 0);
    if (held_ > limits_.max_bytes) return over_budget(limits_, "groups");
    index_.emplace(key_, groups_.size());
    groups_.push_back({{}, std::vector<AggregateState>(plan_.aggregates.size())});
    return &groups_.back();
  }

  Status add_to(Group& group, std::string_view body) {
    if (plan_.keeps_row && group.row.empty()) group.row.assign(body);
    for (size_t i = 0; i < plan_.aggregates.size(); ++i) {
      AggregateState& state = group.states[i];
      const size_t before = state.heap_bytes();
      if (auto status = plan_.aggregates[i].add(state, values_); !status) return status;
      held_ += state.heap_bytes() - before;
    }
    return held_ > limits_.max_bytes ? Status(over_budget(limits_, "groups")) : Status{};
  }

  bool passes_having(const Group& group) const {
    return std::all_of(plan_.having.begin(), plan_.having.end(), [&](const HavingFilter& filter) {
      const Aggregate& aggregate = plan_.aggregates[filter.aggregate];
      const AggregateState& state = group.states[filter.aggregate];
      if (!filter.value || aggregate.is_null(state)) return false;
      return passes(filter.op, aggregate.compare_with(state, *filter.value));
    });
  }

  Status finish(std::string& out) {
    index_.clear();
    std::erase_if(groups_, [this](Group& group) {
      for (size_t i = 0; i < plan_.aggregates.size(); ++i) plan_.aggregates[i].finish(group.states[i]);
      return !passes_having(group);
    });
    std::vector<size_t> sequence(groups_.size());
    std::iota(sequence.begin(), sequence.end(), size_t{0});
    if (auto status = sort(sequence); !status) return status;
    size_t last = 0;
    for (const size_t group : sequence) {
      const Window::Verdict verdict = window_.next();
      if (verdict == Window::Verdict::kSkip) continue;
      if (verdict == Window::Verdict::kFull) {
        if (window_.done() || compare(group, last) != 0) break;
        window_.count_tie();
      } else {
        last = group;
      }
      if (auto status = emit(groups_[group], out); !status) return status;
    }
    sort_values_.clear();
    groups_.clear();
    held_ = 0;
    return {};
  }

  Status sort(std::vector<size_t>& sequence) {
    if (plan_.order.empty()) return {};
    const bool by_columns =
        std::any_of(plan_.order.begin(), plan_.order.end(), [](auto& o) { return o.column.has_value(); });
    if (by_columns) {
      held_ += groups_.size() * plan_.order.size() * sizeof(sort_values_[0]);
      if (held_ > limits_.max_bytes) return over_budget(limits_, "groups");
      for (const Group& group : groups_) {
        if (auto status = split_group(group); !status) return status;
        for (const GroupOrder& order : plan_.order) {
          sort_values_.push_back(order.column ? values_[order.column->column] : std::nullopt);
          if (!order.column) continue;
          if (auto status = check_key(*order.column, sort_values_.back()); !status) return status;
        }
      }
    }
    std::sort(sequence.begin(), sequence.end(), [this](size_t a, size_t b) {
      const int order = compare(a, b);
      return order != 0 ? order < 0 : a < b;
    });
    return {};
  }

  int compare(size_t a, size_t b) const {
    for (size_t i = 0; i < plan_.order.size(); ++i) {
      const GroupOrder& key = plan_.order[i];
      const size_t width = plan_.order.size();
      const int order =
          key.column ? compare_nullable(*key.column, sort_values_[a * width + i], sort_values_[b * width + i])
                     : compare_aggregates(key, groups_[a], groups_[b]);
      if (order != 0) return order;
    }
    return 0;
  }

  int compare_aggregates(const GroupOrder& key, const Group& a, const Group& b) const {
    const Aggregate& aggregate = plan_.aggregates[key.aggregate];
    const AggregateState& x = a.states[key.aggregate];
    const AggregateState& y = b.states[key.aggregate];
    if (aggregate.is_null(x) || aggregate.is_null(y)) {
      if (aggregate.is_null(x) && aggregate.is_null(y)) return 0;
      return aggregate.is_null(x) == key.nulls_first ? -1 : 1;
    }
    return key.descending ? aggregate.compare(y, x) : aggregate.compare(x, y);
  }

  // The values of the group's first row, all NULL for the group over no rows.
  Status split_group(const Group& group) {
    if (!group.row.empty()) return split_row(group.row, plan_.columns, values_);
    values_.assign(plan_.columns, std::nullopt);
    return {};
  }

  Status emit(const Group& group, std::string& out) {
    if (plan_.keeps_row) {
      if (auto status = split_group(group); !status) return status;
    }
    made_.resize(plan_.formats.size());
    shown_.clear();
    for (size_t i = 0; i < plan_.formats.size(); ++i) {
      const auto aggregate = plan_.output_aggregate[i];
      if (!aggregate) {
        shown_.push_back(values_[plan_.output_column[i]]);
        continue;
      }
      auto value =
          plan_.aggregates[*aggregate].value(group.states[*aggregate], plan_.formats[i] == 1, made_[i]);
      if (!value) return std::unexpected(std::move(value.error()));
      shown_.push_back(*value);
    }
    return append_row(out, shown_);
  }

  wire::RowDescription description_;
  GroupPlan plan_;
  MergeLimits limits_;
  std::vector<bool> open_;
  size_t open_count_;
  Window window_;
  std::unordered_map<std::string, size_t, StringHash, std::equal_to<>> index_;
  std::vector<Group> groups_;
  std::vector<std::optional<std::string_view>>
      sort_values_;  // ORDER BY columns of each group, in order of groups_
  size_t held_ = 0;
  RowValues values_;
  std::string key_;
  std::vector<std::string> made_;  // bytes of computed values of the row in work
  RowValues shown_;
};

}  // namespace

Result<std::unique_ptr<Merge>> make_grouping(MergeInput input, wire::RowDescription description) {
  auto plan = compile_grouping(input);
  if (!plan) return std::unexpected(std::move(plan.error()));
  return std::make_unique<Grouping>(std::move(input), std::move(description), std::move(*plan));
}

}  // namespace decan::exec
