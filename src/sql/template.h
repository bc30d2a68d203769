// The template of a statement: its text with literals lifted out. One pass of a hand-written scanner that
// follows PostgreSQL's lexical rules (chapter 4.1), so that statements that differ only in literals share one
// plan.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace decan::sql {

enum class LiteralKind : uint8_t {
  kInteger,  // digits only; no sign (a sign is an operator)
  kNumeric,  // with point or exponent
  kString,   // '…' with standard_conforming_strings: only '' is an escape
  kEscape,   // E'…' (or '…' without standard_conforming_strings)
  kOther,    // B'…', X'…', U&'…': never used for routing
};

struct Literal {
  LiteralKind kind;
  uint32_t offset;  // byte offset of the whole token in the instance's text (quotes included)
  uint32_t bytes;
};

// Bounded: a statement with more than kMaxLiterals literals keeps its whole text as its template (`exact`),
// so bulk inserts do not flood the cache with literals.
inline constexpr size_t kMaxLiterals = 256;

struct Template {
  std::string text;               // literals replaced by one marker byte (0x01 + kind)
  std::vector<Literal> literals;  // in order of appearance
  uint64_t hash = 0;              // of `text`
  bool exact = false;             // no literal was lifted: too many, or the text can not be scanned
  void clear() { text.clear(), literals.clear(), hash = 0, exact = false; }
};

// Fills `out` (reused between calls: no allocation in steady state). Comments are kept as they are: hints are
// comments. Text that ends inside a quote or comment gives `exact`; the parser will report the error.
void scan_template(std::string_view sql, bool standard_conforming_strings, Template& out);

// The value a literal denotes: 'it''s' -> it's; nullopt for kOther.
std::optional<std::string> literal_value(std::string_view sql, const Literal& literal);

}  // namespace decan::sql
