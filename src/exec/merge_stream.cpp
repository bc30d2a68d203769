// Concatenation and k-way merge: rows stream through, at most one row per source is held.
#include <algorithm>

#include "exec/merge_internal.h"
#include "exec/merge_row.h"

namespace decan::exec {
namespace {

class Concatenation final : public Merge {
 public:
  Concatenation(MergeInput input, wire::RowDescription description)
      : description_(std::move(description)),
        columns_(input.fragment.fields.size()),
        open_(input.sources, true),
        open_count_(input.sources),
        copier_(*input.spec, columns_),
        window_(input.limit, input.offset, false) {}

  const wire::RowDescription& description() const override { return description_; }
  Wanted wanted() const override {
    if (open_count_ == 0 || window_.done()) return {MergeNeed::kDone};
    return {MergeNeed::kRow, static_cast<size_t>(std::find(open_.begin(), open_.end(), true) - open_.begin()),
            true};
  }

  Status row(size_t source, std::string_view body, std::string& out) override {
    if (source >= open_.size() || !open_[source]) return planner_error("a row of a source that has ended");
    if (window_.next() != Window::Verdict::kEmit) return {};
    if (copier_.copies_whole()) return copier_.whole(body, out);
    if (auto status = split_row(body, columns_, values_); !status) return status;
    return copier_.copy(body, values_, out);
  }

  Status end_of(size_t source, std::string&) override {
    if (source >= open_.size() || !open_[source]) return planner_error("a source ended twice");
    open_[source] = false;
    --open_count_;
    return {};
  }

  uint64_t rows_out() const override { return window_.emitted(); }
  size_t bytes_held() const override { return 0; }

 private:
  wire::RowDescription description_;
  size_t columns_;
  std::vector<bool> open_;
  size_t open_count_;
  RowCopier copier_;
  Window window_;
  RowValues values_;
};

// A row that is kept, with its values.
struct HeldRow {
  std::string body;
  RowValues values;  // point into body
};

class OrderedMerge final : public Merge {
 public:
  OrderedMerge(MergeInput input, wire::RowDescription description, std::vector<OrderKey> keys)
      : description_(std::move(description)),
        keys_(std::move(keys)),
        limits_(std::move(input.limits)),
        columns_(input.fragment.fields.size()),
        heads_(input.sources),
        state_(input.sources, State::kEmpty),
        missing_(input.sources),
        copier_(*input.spec, columns_),
        window_(input.limit, input.offset, input.spec->with_ties) {}

  const wire::RowDescription& description() const override { return description_; }

  Wanted wanted() const override {
    if (finished_ || window_.done() || (missing_ == 0 && heap_.empty())) return {MergeNeed::kDone};
    const auto empty = std::find(state_.begin(), state_.end(), State::kEmpty);
    return {MergeNeed::kRow, static_cast<size_t>(empty - state_.begin())};
  }

  Status row(size_t source, std::string_view body, std::string& out) override {
    if (source >= state_.size() || state_[source] != State::kEmpty)
      return planner_error("a row of a source that was not asked for");
    if (finished_ || window_.done()) return {};
    HeldRow& head = heads_[source];
    held_ += body.size();
    if (held_ > limits_.max_bytes) return over_budget(limits_, "rows");
    head.body.assign(body);
    if (auto status = split_row(head.body, columns_, head.values); !status) return status;
    for (const OrderKey& key : keys_) {
      if (auto status = check_key(key, head.values[key.column]); !status) return status;
    }
    state_[source] = State::kHead;
    --missing_;
    push(source);
    return advance(out);
  }

  Status end_of(size_t source, std::string& out) override {
    if (source >= state_.size() || state_[source] != State::kEmpty)
      return planner_error("the end of a source that was not asked for");
    state_[source] = State::kEnded;
    --missing_;
    return advance(out);
  }

  uint64_t rows_out() const override { return window_.emitted(); }
  size_t bytes_held() const override { return held_ + last_.body.size(); }

 private:
  enum class State : uint8_t { kEmpty, kHead, kEnded };

  int compare(const RowValues& a, const RowValues& b) const {
    for (const OrderKey& key : keys_) {
      if (const int order = compare_nullable(key, a[key.column], b[key.column]); order != 0) return order;
    }
    return 0;
  }
  // Rows that compare equal leave in the order of their sources, so an answer can be repeated.
  bool after(size_t a, size_t b) const {
    const int order = compare(heads_[a].values, heads_[b].values);
    return order != 0 ? order > 0 : a > b;
  }
  void push(size_t source) {
    heap_.push_back(source);
    std::push_heap(heap_.begin(), heap_.end(), [this](size_t a, size_t b) { return after(a, b); });
  }

  // Emits while every open source has shown its next row.
  Status advance(std::string& out) {
    while (missing_ == 0 && !heap_.empty() && !finished_ && !window_.done()) {
      std::pop_heap(heap_.begin(), heap_.end(), [this](size_t a, size_t b) { return after(a, b); });
      const size_t source = heap_.back();
      heap_.pop_back();
      if (auto status = emit(heads_[source], out); !status) return status;
      held_ -= heads_[source].body.size();
      state_[source] = State::kEmpty;
      ++missing_;
    }
    return {};
  }

  Status emit(const HeldRow& row, std::string& out) {
    switch (window_.next()) {
      case Window::Verdict::kSkip:
        return {};
      case Window::Verdict::kEmit:
        if (window_.with_ties() && window_.reached_limit()) remember(row);
        return copier_.copy(row.body, row.values, out);
      case Window::Verdict::kFull:
        if (compare(row.values, last_.values) != 0) {
          finished_ = true;
          return {};
        }
        window_.count_tie();
        return copier_.copy(row.body, row.values, out);
    }
    return {};
  }

  void remember(const HeldRow& row) {
    last_.body = row.body;
    last_.values = row.values;
    for (auto& value : last_.values) {
      if (value)
        value = std::string_view(last_.body)
                    .substr(static_cast<size_t>(value->data() - row.body.data()), value->size());
    }
  }

  wire::RowDescription description_;
  std::vector<OrderKey> keys_;
  MergeLimits limits_;
  size_t columns_;
  std::vector<HeldRow> heads_;
  std::vector<State> state_;
  std::vector<size_t> heap_;  // sources with a row, least on top
  size_t missing_;            // open sources without a row
  size_t held_ = 0;
  HeldRow last_;  // WITH TIES: the row that reached the limit
  bool finished_ = false;
  RowCopier copier_;
  Window window_;
};

}  // namespace

Result<std::unique_ptr<Merge>> make_concatenation(MergeInput input, wire::RowDescription description) {
  return std::make_unique<Concatenation>(std::move(input), std::move(description));
}

Result<std::unique_ptr<Merge>> make_ordered_merge(MergeInput input, wire::RowDescription description) {
  std::vector<OrderKey> keys;
  for (const plan::SortKey& sort_key : input.spec->order_by) {
    auto key = compile_key(sort_key, input);
    if (!key) return std::unexpected(std::move(key.error()));
    keys.push_back(*key);
  }
  return std::make_unique<OrderedMerge>(std::move(input), std::move(description), std::move(keys));
}

}  // namespace decan::exec
