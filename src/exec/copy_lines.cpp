#include "exec/copy_lines.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <bit>

namespace decan::exec {

const char* find_any(const char* at, const char* end, char a, char b, char c) {
#if defined(__SSE2__)
  const __m128i first = _mm_set1_epi8(a), second = _mm_set1_epi8(b), third = _mm_set1_epi8(c);
  for (; end - at >= 16; at += 16) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const __m128i hits =
        _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(block, first), _mm_cmpeq_epi8(block, second)),
                     _mm_cmpeq_epi8(block, third));
    const auto mask = static_cast<unsigned>(_mm_movemask_epi8(hits));
    if (mask != 0) return at + std::countr_zero(mask);
  }
#endif
  for (; at != end; ++at) {
    if (*at == a || *at == b || *at == c) break;
  }
  return at;
}

std::string_view LineScanner::line_end() const {
  switch (style_) {
    case Style::kUnknown:
    case Style::kLf:
      return "\n";
    case Style::kCr:
      return "\r";
    case Style::kCrLf:
      return "\r\n";
  }
  return "\n";
}

void LineScanner::start_line() {
  state_ = State::kPlain;
  in_quote_ = last_was_escape_ = false;
  first_in_line_ = true;
  saw_special_ = false;
}

std::unexpected<Error> LineScanner::literal(bool carriage_return) const {
  const std::string what = carriage_return ? "carriage return" : "newline";
  if (format_.csv) {
    return fail(sqlstate::kBadCopyFormat, "unquoted " + what + " found in data", {},
                "Use quoted CSV field to represent " + what + ".");
  }
  return fail(sqlstate::kBadCopyFormat, "literal " + what + " found in data", {},
              "Use \"" + std::string(carriage_return ? "\\r" : "\\n") + "\" to represent " + what + ".");
}

Result<LineScanner::Step> LineScanner::carriage_return() {
  switch (style_) {
    case Style::kLf:
      return literal(true);
    case Style::kCr:
      return Step::kLineEnd;
    case Style::kUnknown:
    case Style::kCrLf:
      break;
  }
  state_ = State::kCr;
  return Step::kTaken;
}

Result<LineScanner::Step> LineScanner::line_feed() {
  if (style_ == Style::kCr || style_ == Style::kCrLf) return literal(false);
  style_ = Style::kLf;
  return Step::kLineEnd;
}

// Quotes are toggled; an escape character counts only within quotes and only before a quote.
Result<LineScanner::Step> LineScanner::follow_quotes(char c) {
  const bool escape = has_escape_ && c == format_.escape;
  if (in_quote_ && escape) last_was_escape_ = !last_was_escape_;
  if (c == format_.quote && !last_was_escape_) in_quote_ = !in_quote_, saw_special_ = true;
  if (!escape) last_was_escape_ = false;
  if (in_quote_ && c == (style_ == Style::kLf ? '\n' : '\r')) ++embedded_lines_;
  return Step::kTaken;
}

Result<LineScanner::Step> LineScanner::plain(char c) {
  const bool first = first_in_line_;
  first_in_line_ = false;
  if (format_.csv) {
    if (auto done = follow_quotes(c); !done || in_quote_) return done;
  }
  if (c == '\r') return carriage_return();
  if (c == '\n') return line_feed();
  if (c == '\\' && (!format_.csv || first)) {
    state_ = State::kBackslash;
    saw_special_ = saw_special_ || !format_.csv;
  }
  return Step::kTaken;
}

// "\." at the start of a CSV line with more behind it is data: what was put aside is read again as such.
Result<LineScanner::Step> LineScanner::not_a_marker() {
  if (!format_.csv) return fail(sqlstate::kBadCopyFormat, "end-of-copy marker corrupt");
  const bool with_cr = state_ == State::kMarkerCr;
  state_ = State::kPlain;
  if (auto taken = plain('.'); !taken) return taken;
  if (with_cr) {
    if (auto taken = plain('\r'); !taken) return taken;
  }
  return Step::kAgain;
}

Result<LineScanner::Step> LineScanner::marker(char c) {
  const auto mismatch = [] {
    return fail(sqlstate::kBadCopyFormat, "end-of-copy marker does not match previous newline style");
  };
  if (style_ == Style::kCrLf && state_ == State::kMarker) {
    if (c == '\n' && !format_.csv) return mismatch();
    if (c != '\r') return not_a_marker();
    state_ = State::kMarkerCr;
    ++marker_bytes_;
    return Step::kTaken;
  }
  if (c != '\r' && c != '\n') return not_a_marker();
  if (style_ != Style::kUnknown && c != (style_ == Style::kCr ? '\r' : '\n')) return mismatch();
  ++marker_bytes_;
  return Step::kMarkerEnd;
}

Result<LineScanner::Step> LineScanner::step(char c) {
  switch (state_) {
    case State::kPlain:
      return plain(c);
    case State::kBackslash:
      state_ = State::kPlain;
      if (c == '.') {
        state_ = State::kMarker;
        marker_bytes_ = 2;
        return Step::kTaken;
      }
      // In text format the character behind a backslash is never special; in CSV the backslash was only data.
      return format_.csv ? Step::kAgain : Step::kTaken;
    case State::kCr:
      state_ = State::kPlain;
      if (c == '\n') {
        style_ = Style::kCrLf;
        return Step::kLineEnd;
      }
      if (style_ == Style::kCrLf) return literal(true);
      style_ = Style::kCr;
      return Step::kLineEndBefore;
    case State::kMarker:
    case State::kMarkerCr:
      return marker(c);
  }
  return Step::kTaken;
}

// Over bytes that change nothing.
const char* LineScanner::skip(const char* at, const char* end) const {
  if (state_ != State::kPlain || first_in_line_ || last_was_escape_) return at;
  if (!format_.csv) return find_any(at, end, '\n', '\r', '\\');
  if (!in_quote_) return find_any(at, end, '\n', '\r', format_.quote);
  return find_any(at, end, format_.quote, format_.escape, style_ == Style::kLf ? '\n' : '\r');
}

Result<LineScanner::Found> LineScanner::scan(std::string_view data, size_t& at) {
  const char* const begin = data.data();
  const char* const end = begin + data.size();
  const char* p = begin + at;
  while ((p = skip(p, end)) != end) {
    const auto taken = step(*p);
    if (!taken) return std::unexpected(taken.error());
    if (*taken != Step::kAgain && *taken != Step::kLineEndBefore) ++p;
    if (*taken == Step::kTaken || *taken == Step::kAgain) continue;
    at = static_cast<size_t>(p - begin);
    return *taken == Step::kMarkerEnd ? Found::kMarker : Found::kLine;
  }
  at = data.size();
  return Found::kMore;
}

Result<LineScanner::Found> LineScanner::end() {
  switch (state_) {
    case State::kPlain:
    case State::kBackslash:
      break;
    case State::kCr:
      if (style_ == Style::kCrLf) return literal(true);
      style_ = Style::kCr;
      return Found::kLine;
    case State::kMarker:
    case State::kMarkerCr:
      if (auto taken = not_a_marker(); !taken) return std::unexpected(taken.error());
      if (state_ == State::kCr) return literal(true);
      break;
  }
  return Found::kMore;
}

}  // namespace decan::exec
