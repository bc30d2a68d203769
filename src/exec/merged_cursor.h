// A cursor over several units: each unit has a cursor of the same name over its fragment, whose rows are
// fetched in portions and merged as those of a SELECT are (merge.h). Forwards only. Holds one portion per
// unit, and what the merge holds. Sans-io, single-threaded.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "exec/merge.h"
#include "plan/plan.h"

namespace decan::exec {

class MergedCursor {
 public:
  struct Options {
    std::string name;
    plan::PlanPtr plan;  // its merge is what is run
    std::vector<UnitId> units;
    wire::RowDescription fragment;  // as a unit described it
    std::optional<int64_t> limit, offset;
    std::vector<std::optional<std::string>> having_values;
    MergeLimits limits;
    bool no_scroll = false;
    bool with_hold = false;
  };
  explicit MergedCursor(Options options);

  const std::string& name() const { return options_.name; }
  const std::vector<UnitId>& units() const { return options_.units; }
  bool no_scroll() const { return options_.no_scroll; }
  bool with_hold() const { return options_.with_hold; }
  // Its transaction has committed: the units have kept what was left of their rows.
  bool held() const { return held_; }
  void hold() { held_ = true; }
  // Columns of its rows in these formats. Errors: 0A000 from the merge.
  Result<wire::RowDescription> description(const std::vector<int16_t>& formats) const;

  // Before the first row is fetched; later fetches must ask for the same formats (0A000).
  Status open(const std::vector<int16_t>& formats);
  const std::vector<int16_t>& formats() const { return formats_; }
  // Formats of what a unit's portion is fetched with, and how many rows it should have.
  std::vector<int16_t> portion_formats() const;
  size_t portion_rows(size_t source) const { return sources_[source].portion; }

  // Rows that are at hand, at most `most`, as DataRow messages. Returns their number.
  size_t take(uint64_t most, std::string& out);
  // Merges what was fetched until a row is at hand. The source whose next portion is needed first; nullopt
  // when none is: a row is at hand, or there are no more.
  Result<std::optional<size_t>> advance();
  bool has_rows() const { return ready_at_ < ready_.size(); }
  // A row of the portion, as a whole message; then the end of the portion.
  void add(size_t source, std::string_view message) { sources_[source].rows += message; }
  void end_portion(size_t source, size_t rows);

  // Where the last fetch has left it: before its first row, on a row, or behind its last one.
  enum class Place : uint8_t { kBefore, kOn, kBehind };
  Place place() const { return place_; }
  void note_fetch(uint64_t rows, bool at_end) {
    if (at_end)
      place_ = Place::kBehind;
    else if (rows > 0)
      place_ = Place::kOn;
  }

  // A fetch has failed: PostgreSQL does not run such a portal again.
  bool failed() const { return failed_; }
  void fail_for_good() { failed_ = true; }
  bool started() const { return started_; }
  bool started_fetching(size_t source) const { return sources_[source].fetched; }

 private:
  struct Source {
    std::string rows;  // fetched, not merged yet
    size_t at = 0;
    size_t portion = 16;
    bool fetched = false;
    bool last = false;   // the unit has no more
    bool ended = false;  // the merge knows
  };
  MergeInput input(const std::vector<int16_t>& formats) const;

  Options options_;
  std::vector<int16_t> formats_;
  std::unique_ptr<Merge> merge_;
  std::vector<Source> sources_;
  std::string ready_;
  size_t ready_at_ = 0;
  Place place_ = Place::kBefore;
  bool failed_ = false;
  bool started_ = false;
  bool held_ = false;
};

}  // namespace decan::exec
