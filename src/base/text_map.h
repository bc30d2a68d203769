// Says where the characters of a text that was made of another one come from, so that an error's position can
// be told in the text that the client knows. Positions count characters from 1, as PostgreSQL's do.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace decan {

// Characters of UTF-8.
inline uint32_t count_characters(std::string_view text) {
  uint32_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
  return count;
}

class TextMap {
 public:
  // The next characters of the made text are these of the original, from its character `from` (from 0) on.
  void copied(uint32_t from, uint32_t characters) {
    if (characters == 0) return;
    spans_.push_back({written_, from, characters});
    written_ += characters;
  }
  void added(uint32_t characters) { written_ += characters; }

  // What was put in stands for what follows the piece before it.
  uint32_t original(uint32_t position) const {
    if (spans_.empty() || position == 0) return position;
    const uint32_t at = position - 1;
    uint32_t out = spans_.front().from;
    for (const Span& span : spans_) {
      if (span.begin > at) break;
      const uint32_t into = at - span.begin;
      out = span.from + (into < span.characters ? into : span.characters);
    }
    return out + 1;
  }
  bool empty() const { return spans_.empty(); }

  // Of two texts that differ in one place.
  static TextMap between(std::string_view made, std::string_view original) {
    const size_t least = made.size() < original.size() ? made.size() : original.size();
    size_t head = 0, tail = 0;
    while (head < least && made[head] == original[head]) ++head;
    while (tail < least - head && made[made.size() - 1 - tail] == original[original.size() - 1 - tail])
      ++tail;
    TextMap out;
    out.copied(0, count_characters(made.substr(0, head)));
    out.added(count_characters(made.substr(head, made.size() - head - tail)));
    out.copied(count_characters(original.substr(0, original.size() - tail)),
               count_characters(made.substr(made.size() - tail)));
    return out;
  }

 private:
  struct Span {
    uint32_t begin, from, characters;
  };
  std::vector<Span> spans_;  // in the order of the made text
  uint32_t written_ = 0;
};

}  // namespace decan
