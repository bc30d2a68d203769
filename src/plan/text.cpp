#include "plan/text.h"

#include <algorithm>

namespace decan::plan {

TextPosition SourceText::position(uint32_t offset) const {
  TextPosition out;
  out.offset = offset - base_;
  if (tpl_ == nullptr) return out;
  const auto& literals = tpl_->literals;
  const auto after = std::ranges::lower_bound(literals, offset, {}, &sql::Literal::offset);
  out.literals = static_cast<uint32_t>(after - literals.begin());
  uint32_t saved = 0;
  for (auto literal = literals.begin(); literal != after; ++literal) saved += literal->bytes - 1;
  out.offset = offset - saved;
  if (out.literals > 0) {
    const sql::Literal& last = literals[out.literals - 1];
    out.after_last = last.offset + last.bytes - saved;
  }
  return out;
}

std::optional<SourceText::LiteralAt> SourceText::literal_at(int32_t location) const {
  if (tpl_ == nullptr || location < 0) return std::nullopt;
  const auto offset = static_cast<uint32_t>(location);
  const auto& literals = tpl_->literals;
  const auto found = std::ranges::lower_bound(literals, offset, {}, &sql::Literal::offset);
  if (found == literals.end()) return std::nullopt;
  LiteralAt out{static_cast<uint32_t>(found - literals.begin()), false};
  if (found->offset == offset) return out;
  // The grammar folds "- 5" into one constant that starts at the sign.
  for (const char c : sql_.substr(offset, found->offset - offset)) {
    if (c == '-') {
      out.negated = !out.negated;
    } else if (c != ' ' && c != '\t' && c != '\n' && c != '\r') {
      return std::nullopt;
    }
  }
  return out;
}

void TextBuilder::copy_to(uint32_t offset) {
  if (offset > at_) add_copy({at_, offset});
  at_ = offset;
}

void TextBuilder::add_plain_copy(sql::Range range) {
  if (range.empty()) return;
  pieces_.push_back({source_.position(range.begin), source_.position(range.end), {}, nullptr, false});
}

void TextBuilder::add_copy(sql::Range range) {
  if (now_ != nullptr) {
    for (const NowCall& call : *now_) {
      if (call.range.begin < range.begin || call.range.end > range.end) continue;
      add_plain_copy({range.begin, call.range.begin});
      add(call.before);
      pieces_.push_back({{}, {}, {}, nullptr, true});
      add(call.after);
      range.begin = call.range.end;
    }
  }
  add_plain_copy(range);
}

void TextBuilder::add(std::string_view text) {
  if (!pieces_.empty() && !pieces_.back().text.empty()) {
    pieces_.back().text += text;
  } else {
    pieces_.push_back({{}, {}, std::string(text), nullptr, false});
  }
}

void TextBuilder::add_leaf(const catalog::Relation* relation) {
  pieces_.push_back({{}, {}, {}, relation, false});
}

Text TextBuilder::finish() {
  copy_to(end_);
  return std::move(pieces_);
}

uint32_t instance_offset(const TextPosition& position, const sql::Template* tpl) {
  if (position.literals == 0 || tpl == nullptr) return position.offset;
  const sql::Literal& last = tpl->literals[position.literals - 1];
  return last.offset + last.bytes + (position.offset - position.after_last);
}

std::string render_text(const Text& text, std::string_view sql, const sql::Template* tpl,
                        std::optional<BucketId> leaf, std::string_view now) {
  std::string out;
  constexpr size_t kLeafNameBytes = 64;
  out.reserve(sql.size() + kLeafNameBytes);
  for (const TextPiece& piece : text) {
    if (piece.leaf_of != nullptr) {
      if (leaf) out += piece.leaf_of->leaf(*leaf);
    } else if (piece.now) {
      out += '\'';
      out += now;
      out += '\'';
    } else if (!piece.text.empty()) {
      out += piece.text;
    } else {
      const uint32_t begin = instance_offset(piece.begin, tpl);
      const uint32_t end = instance_offset(piece.end, tpl);
      if (begin <= end && end <= sql.size()) out += sql.substr(begin, end - begin);
    }
  }
  return out;
}

TextMap map_text(const Text& text, std::string_view sql, const sql::Template* tpl,
                 std::optional<BucketId> leaf, std::string_view now) {
  TextMap out;
  for (const TextPiece& piece : text) {
    const bool copied = piece.leaf_of == nullptr && !piece.now && piece.text.empty();
    if (!copied) {
      out.added(count_characters(render_text({piece}, sql, tpl, leaf, now)));
      continue;
    }
    const uint32_t begin = instance_offset(piece.begin, tpl);
    const uint32_t end = instance_offset(piece.end, tpl);
    if (begin > end || end > sql.size()) continue;
    out.copied(count_characters(sql.substr(0, begin)), count_characters(sql.substr(begin, end - begin)));
  }
  return out;
}

}  // namespace decan::plan
