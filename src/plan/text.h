// Building of the texts that units get, as edits of the statement's own text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/text_map.h"
#include "plan/plan.h"
#include "sql/layout.h"
#include "sql/template.h"

namespace decan::plan {

// The text being planned and how its bytes are counted in plans.
class SourceText {
 public:
  // `tpl` null: positions are counted in the text itself. `base`: where the counting starts.
  SourceText(std::string_view sql, const sql::Template* tpl, uint32_t base)
      : sql_(sql), tpl_(tpl), base_(base) {}
  std::string_view sql() const { return sql_; }
  const sql::Template* tpl() const { return tpl_; }
  uint32_t base() const { return base_; }
  TextPosition position(uint32_t offset) const;
  // Ordinal of the literal that starts at `offset`, or that a unary minus at `offset` belongs to.
  struct LiteralAt {
    uint32_t ordinal = 0;
    bool negated = false;
  };
  std::optional<LiteralAt> literal_at(int32_t location) const;
  std::string_view slice(sql::Range range) const { return sql_.substr(range.begin, range.bytes()); }

 private:
  std::string_view sql_;
  const sql::Template* tpl_;
  uint32_t base_;
};

// A call of the clock, and what stands for it in texts for several units: `before` + the time as a literal +
// `after`.
struct NowCall {
  sql::Range range;
  std::string before, after;
};

// Pieces in the order in which they are added; adjacent edits must not overlap.
class TextBuilder {
 public:
  // Edits [from, to) of the text. `now`: calls to be replaced wherever they are copied, in the order of the
  // text.
  TextBuilder(const SourceText& source, sql::Range whole, const std::vector<NowCall>* now = nullptr)
      : source_(source), now_(now), at_(whole.begin), end_(whole.end) {}
  // Copies up to `offset`, then continues with what is added.
  void copy_to(uint32_t offset);
  void skip_to(uint32_t offset) { at_ = offset; }
  void add(std::string_view text);
  void add_leaf(const catalog::Relation* relation);
  void add_copy(sql::Range range);  // a piece of the text from elsewhere
  Text finish();

 private:
  void add_plain_copy(sql::Range range);
  const SourceText& source_;
  const std::vector<NowCall>* now_;
  uint32_t at_, end_;
  Text pieces_;
};

// The text as it is for one execution. `leaf`: bucket whose leaves are named.
std::string render_text(const Text& text, std::string_view sql, const sql::Template* tpl,
                        std::optional<BucketId> leaf, std::string_view now = {});
// The same, as a map from that text to `sql`.
TextMap map_text(const Text& text, std::string_view sql, const sql::Template* tpl,
                 std::optional<BucketId> leaf, std::string_view now = {});
// Byte in the instance's text.
uint32_t instance_offset(const TextPosition& position, const sql::Template* tpl);

}  // namespace decan::plan
