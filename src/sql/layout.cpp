#include "sql/layout.h"

#include <algorithm>
#include <array>
#include <span>

#include "sql/lexer.h"

namespace decan::sql {
namespace {

bool is_word(std::string_view text, std::string_view lower) {
  return text.size() == lower.size() && std::ranges::equal(text, lower, [](char a, char b) {
           return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + 32) : a) == b;
         });
}

struct Piece {
  Token token;
  uint32_t depth = 0;  // of parentheses and brackets; an opening one and its closing one have the outer depth
};

// The tokens of one statement with a cursor.
class Text {
 public:
  Text(std::string_view sql, Range range, bool conforming) : sql_(sql) {
    Lexer lexer(sql.substr(0, range.end), conforming, range.begin);
    uint32_t depth = 0;
    while (true) {
      const Token token = lexer.next();
      failed_ = token.kind == TokenKind::kFail;
      if (failed_ || token.kind == TokenKind::kEnd) break;
      const std::string_view text = sql.substr(token.begin, token.end - token.begin);
      if (text == ")" || text == "]") {
        if (depth == 0) failed_ = true;
        if (failed_) break;
        --depth;
      }
      pieces_.push_back({token, depth});
      if (text == "(" || text == "[") ++depth;
    }
  }
  bool failed() const { return failed_; }
  size_t size() const { return pieces_.size(); }
  std::string_view text(size_t i) const {
    return i < pieces_.size() ? sql_.substr(begin(i), end(i) - begin(i)) : std::string_view{};
  }
  uint32_t begin(size_t i) const { return pieces_[i].token.begin; }
  uint32_t end(size_t i) const { return pieces_[i].token.end; }
  uint32_t depth(size_t i) const { return pieces_[i].depth; }
  // Keyword at token i; never a quoted name, nor one behind "." or AS, which may be any word.
  bool word(size_t i, std::string_view lower) const {
    if (i >= pieces_.size() || pieces_[i].token.kind != TokenKind::kIdentifier || !is_word(text(i), lower))
      return false;
    return i == 0 || (text(i - 1) != "." && !(is_word(text(i - 1), "as") && lower != "select" &&
                                              lower != "with" && lower != "materialized" && lower != "not"));
  }
  // The token that closes the parenthesis at i.
  size_t closing(size_t i) const {
    for (size_t k = i + 1; k < size(); ++k) {
      if (depth(k) == depth(i)) return k;
    }
    return size();
  }
  Range range(size_t first, size_t past) const {
    return first < past ? Range{begin(first), end(past - 1)} : Range{};
  }

 private:
  std::string_view sql_;
  std::vector<Piece> pieces_;
  bool failed_ = false;
};

class Reader {
 public:
  Reader(const Text& text, QueryLayout& out) : text_(text), out_(out) {}

  bool statement(const Query& query) {
    size_t i = skip_with(0, query, 0);
    bool ok = false;
    switch (query.kind) {
      case QueryKind::kSelect:
      case QueryKind::kSetOperation:
      case QueryKind::kValues:
        ok = select(i, text_.size(), query, true);
        break;
      case QueryKind::kUpdate:
        ok = update(i, query);
        break;
      case QueryKind::kDelete:
        ok = remove(i, query);
        break;
      case QueryKind::kInsert:
        ok = insert(i, query);
        break;
      case QueryKind::kMerge:
        ok = false;
        break;
    }
    return ok;
  }

 private:
  enum Clause : uint8_t {
    kNone,
    kFrom,
    kWhere,
    kGroup,
    kHaving,
    kWindow,
    kSetOp,
    kOrder,
    kLimit,
    kOffset,
    kFetch,
    kLock,
    kInto
  };

  // Position after WITH …; `i` unchanged when there is none.
  size_t skip_with(size_t i, const Query& query, uint32_t depth) const {
    if (query.ctes.empty() || !text_.word(i, "with")) return i;
    for (size_t k = i + 1; k < text_.size(); ++k) {
      if (text_.depth(k) != depth) continue;
      for (const std::string_view start :
           {"select", "values", "table", "insert", "update", "delete", "merge"}) {
        if (text_.word(k, start) && !text_.word(k - 1, "with") && text_.text(k - 1) == ")") return k;
      }
      if (text_.text(k) == "(" && text_.text(k - 1) == ")") return k;
    }
    return text_.size();
  }

  Clause clause_at(size_t i) const {
    if (text_.word(i, "from")) {
      const bool distinct_from =
          i > 1 && text_.word(i - 1, "distinct") && (text_.word(i - 2, "is") || text_.word(i - 2, "not"));
      return distinct_from || text_.word(i - 1, "rows") ? kNone : kFrom;
    }
    if (text_.word(i, "where")) return kWhere;
    if (text_.word(i, "group") && text_.word(i + 1, "by")) return kGroup;
    if (text_.word(i, "having")) return kHaving;
    if (text_.word(i, "window")) return kWindow;
    if (text_.word(i, "union") || text_.word(i, "intersect") || text_.word(i, "except")) return kSetOp;
    if (text_.word(i, "order") && text_.word(i + 1, "by")) return kOrder;
    if (text_.word(i, "limit")) return kLimit;
    if (text_.word(i, "offset")) return kOffset;
    if (text_.word(i, "fetch")) return kFetch;
    if (text_.word(i, "for")) return kLock;
    if (text_.word(i, "into")) return kInto;
    return kNone;
  }

  // First clause border in [i, end) at `depth`, or end.
  size_t next_clause(size_t i, size_t end, uint32_t depth) const {
    while (i < end && (text_.depth(i) != depth || clause_at(i) == kNone)) ++i;
    return i;
  }

  std::vector<std::pair<size_t, size_t>> split(size_t first, size_t end, uint32_t depth) const {
    std::vector<std::pair<size_t, size_t>> out;
    size_t start = first;
    for (size_t k = first; k < end; ++k) {
      if (text_.depth(k) == depth && text_.text(k) == ",") {
        out.emplace_back(start, k);
        start = k + 1;
      }
    }
    if (first < end) out.emplace_back(start, end);
    return out;
  }

  // A query without WITH: legs, then ORDER BY, LIMIT, …
  bool select(size_t i, size_t end, const Query& query, bool outermost) {
    if (i >= end) return false;
    const uint32_t depth = text_.depth(i);
    // The whole query in parentheses.
    if (text_.text(i) == "(" && text_.closing(i) + 1 == end && query.kind != QueryKind::kSetOperation)
      return nested(i + 1, end - 1, query, outermost);
    if (text_.text(i) == "(" && text_.closing(i) + 1 == end && !is_set_operation_at(i, end, depth))
      return nested(i + 1, end - 1, query, outermost);
    size_t tail = end;
    if (query.kind == QueryKind::kSetOperation) {
      tail = legs(i, end, query, depth);
    } else if (text_.text(i) == "(") {
      // "(SELECT …) ORDER BY 1": both levels are one query in the tree.
      return false;
    } else if (query.kind == QueryKind::kValues) {
      tail = values(i, end, query, depth);
    } else {
      tail = one_select(i, end, query, depth);
    }
    if (tail > end) return false;
    return outermost ? trailer(tail, end, query, depth) : true;
  }

  bool nested(size_t i, size_t end, const Query& query, bool outermost) {
    if (i >= end) return false;
    return select(skip_with(i, query, text_.depth(i)), end, query, outermost);
  }

  bool is_set_operation_at(size_t i, size_t end, uint32_t depth) const {
    for (size_t k = i; k < end; ++k) {
      if (text_.depth(k) == depth && clause_at(k) == kSetOp) return true;
    }
    return false;
  }

  // Legs from left to right as the text has them; the tree's leaves come in the same order.
  size_t legs(size_t i, size_t end, const Query& query, uint32_t depth) {
    std::vector<const Query*> leaves;
    collect_leaves(query, leaves);
    for (size_t leg = 0;; ++leg) {
      size_t stop = i;
      if (text_.text(i) == "(") {
        stop = text_.closing(i) + 1;
      } else {
        stop = i;
        while (stop < end) {
          stop = next_clause(stop, end, depth);
          if (stop >= end) break;
          const Clause clause = clause_at(stop);
          if (clause == kSetOp || clause == kOrder || clause == kLimit || clause == kOffset ||
              clause == kFetch || clause == kLock)
            break;
          ++stop;
        }
      }
      if (leg >= leaves.size() || !leg_of(i, stop, *leaves[leg])) return end + 1;
      if (stop >= end || clause_at(stop) != kSetOp) {
        return leg + 1 == leaves.size() ? stop : end + 1;
      }
      i = stop + 1;
      if (text_.word(i, "all") || text_.word(i, "distinct")) ++i;
      if (i >= end) return end + 1;
    }
  }

  bool leg_of(size_t i, size_t end, const Query& leaf) {
    if (text_.text(i) == "(") {
      // Nested set operations in parentheses are leaves of the same tree only if the tree is read in depth;
      // refused.
      if (text_.closing(i) + 1 != end) return false;
      return nested(i + 1, end - 1, leaf, false);
    }
    return select(i, end, leaf, false);
  }

  static void collect_leaves(const Query& query, std::vector<const Query*>& out) {
    if (query.kind != QueryKind::kSetOperation) {
      out.push_back(&query);
      return;
    }
    collect_leaves(*query.left, out);
    collect_leaves(*query.right, out);
  }

  size_t values(size_t i, size_t end, const Query& query, uint32_t depth) {
    if (!text_.word(i, "values")) return end + 1;
    size_t k = i + 1;
    while (k < end && text_.text(k) == "(" && text_.depth(k) == depth) {
      const size_t close = text_.closing(k);
      if (close >= end) return end + 1;
      out_.value_rows.push_back(text_.range(k, close + 1));
      k = close + 1;
      if (k < end && text_.text(k) == ",") {
        ++k;
      } else {
        break;
      }
    }
    return out_.value_rows.size() == query.rows.size() ? k : end + 1;
  }

  size_t one_select(size_t i, size_t end, const Query& query, uint32_t depth) {
    SelectLayout& out = out_.selects.emplace_back();
    if (text_.word(i, "table")) {
      out.table_keyword = text_.range(i, i + 1);
      const size_t stop = next_clause(i + 1, end, depth);
      out.where_place = text_.end(stop - 1);
      return stop;
    }
    if (!text_.word(i, "select")) return end + 1;
    size_t k = i + 1;
    if (text_.word(k, "all")) ++k;
    if (text_.word(k, "distinct")) {
      const size_t first = k++;
      if (text_.word(k, "on") && text_.text(k + 1) == "(") k = text_.closing(k + 1) + 1;
      out.distinct = text_.range(first, k);
    }
    size_t stop = next_clause(k, end, depth);
    if (!targets(k, stop, query.targets, depth, out)) return end + 1;
    out.where_place = text_.end(stop - 1);
    return select_clauses(stop, end, query, depth, out);
  }

  size_t select_clauses(size_t i, size_t end, const Query& query, uint32_t depth, SelectLayout& out) {
    while (i < end) {
      const Clause clause = clause_at(i);
      if (clause == kSetOp || clause == kOrder || clause == kLimit || clause == kOffset || clause == kFetch ||
          clause == kLock || clause == kNone)
        break;
      const size_t keywords = clause == kGroup ? 2 : 1;
      const size_t stop = next_clause(i + keywords, end, depth);
      const size_t first = i + keywords;
      if (first >= stop) return end + 1;
      if (clause == kFrom || clause == kInto) out.where_place = text_.end(stop - 1);
      if (clause == kWhere) out.where = text_.range(first, stop);
      if (clause == kGroup) {
        out.group_clause = text_.range(i, stop);
        const size_t skip = text_.word(first, "all") || text_.word(first, "distinct") ? 1 : 0;
        for (const auto& [a, b] : split(first + skip, stop, depth)) out.group_by.push_back(text_.range(a, b));
      }
      if (clause == kHaving) out.having_clause = text_.range(i, stop), out.having = text_.range(first, stop);
      i = stop;
    }
    if (out.where.has_value() != (query.where != nullptr)) return end + 1;
    if (out.having.has_value() != (query.having != nullptr)) return end + 1;
    return i;
  }

  bool targets(size_t first, size_t stop, const std::vector<Target>& list, uint32_t depth,
               SelectLayout& out) {
    const auto parts = split(first, stop, depth);
    if (parts.size() != list.size()) return false;
    for (size_t n = 0; n < parts.size(); ++n) {
      auto [a, b] = parts[n];
      if (a >= b) return false;
      out.whole_targets.push_back(text_.range(a, b));
      if (!list[n].name.empty()) {
        if (text_.text(b - 1).back() == '\'') return false;  // U&"…" UESCAPE '…'
        --b;
        if (b > a && is_word(text_.text(b - 1), "as")) --b;
      }
      if (a >= b) return false;
      out.targets.push_back(text_.range(a, b));
    }
    return true;
  }

  bool order_items(size_t first, size_t stop, const std::vector<SortItem>& items, uint32_t depth) {
    const auto parts = split(first, stop, depth);
    if (parts.size() != items.size()) return false;
    for (size_t n = 0; n < parts.size(); ++n) {
      auto [a, b] = parts[n];
      if (items[n].by_operator) return false;
      if (items[n].explicit_nulls) {
        if (b < a + 3 || !is_word(text_.text(b - 2), "nulls")) return false;
        b -= 2;
      }
      if (items[n].explicit_direction) {
        if (b < a + 2 || !(text_.word(b - 1, "asc") || text_.word(b - 1, "desc"))) return false;
        --b;
      }
      if (a >= b) return false;
      out_.order_by.push_back(text_.range(a, b));
    }
    return true;
  }

  // ORDER BY, LIMIT, OFFSET, FETCH, FOR of the outermost query.
  bool trailer(size_t i, size_t end, const Query& query, uint32_t depth) {
    size_t limit_first = end;
    size_t limit_past = i;
    while (i < end) {
      const Clause clause = clause_at(i);
      size_t stop = next_clause(i + 1, end, depth);
      if (clause == kOrder) {
        out_.order_clause = text_.range(i, stop);
        if (!order_items(i + 2, stop, query.order_by, depth)) return false;
      } else if (clause == kLimit || clause == kOffset || clause == kFetch) {
        if (limit_first != end && limit_past != i) return false;
        limit_first = std::min(limit_first, i);
        limit_past = stop;
        if (!limit_expression(i, stop, clause)) return false;
      } else if (clause != kLock) {
        return false;
      }
      i = stop;
    }
    if (limit_first != end) out_.limit_clauses = text_.range(limit_first, limit_past);
    return out_.order_clause.empty() == query.order_by.empty() &&
           (limit_first == end) == (!query.limit && !query.offset);
  }

  bool limit_expression(size_t i, size_t stop, Clause clause) {
    size_t first = i + 1;
    size_t past = stop;
    if (clause == kFetch) {
      // FETCH FIRST|NEXT [count] ROW|ROWS ONLY|WITH TIES
      first = i + 2;
      past = first;
      while (past < stop && !text_.word(past, "row") && !text_.word(past, "rows")) ++past;
      out_.limit = text_.range(first, past);
    } else if (clause == kOffset) {
      if (text_.word(past - 1, "row") || text_.word(past - 1, "rows")) --past;
      out_.offset = text_.range(first, past);
    } else {
      for (size_t k = first; k < past; ++k) {
        if (text_.text(k) == "," && text_.depth(k) == text_.depth(i)) return false;
      }
      out_.limit = text_.range(first, past);
    }
    return first < past || clause == kFetch;
  }

  size_t find_word(size_t i, std::string_view word, uint32_t depth) const {
    while (i < text_.size() && !(text_.depth(i) == depth && text_.word(i, word))) ++i;
    return i;
  }

  bool update(size_t i, const Query& query) { return text_.word(i, "update") && where_of_write(i, query); }
  bool remove(size_t i, const Query& query) { return text_.word(i, "delete") && where_of_write(i, query); }
  bool where_of_write(size_t i, const Query& query) {
    SelectLayout& out = out_.selects.emplace_back();
    const size_t returning = query.returning.empty() ? text_.size() : find_word(i, "returning", 0);
    const size_t where = find_word(i, "where", 0);
    if (returning == text_.size() && !query.returning.empty()) return false;
    if ((where < returning) != (query.where != nullptr)) return false;
    if (where < returning) {
      if (where + 1 >= returning) return false;
      out.where = text_.range(where + 1, returning);
    }
    out.where_place = text_.end(std::min(where, returning) - 1);
    return true;
  }

  bool insert(size_t i, const Query& query) {
    if (!text_.word(i, "insert") || query.source == nullptr) return text_.word(i, "insert");
    size_t k = i + 1;
    // The source starts behind the name and the column list.
    bool in_columns = !query.columns.empty();
    for (; k < text_.size(); ++k) {
      if (text_.depth(k) != 0) continue;
      if (text_.text(k) == "(") {
        if (!in_columns) break;
        in_columns = false;
        k = text_.closing(k);
      } else if (!in_columns && (text_.word(k, "values") || text_.word(k, "select") ||
                                 text_.word(k, "with") || text_.word(k, "table"))) {
        break;
      }
    }
    size_t end = query.returning.empty() ? text_.size() : find_word(k, "returning", 0);
    if (query.on_conflict) {
      for (end = k; end < text_.size(); ++end) {
        if (text_.depth(end) == 0 && text_.word(end, "on") && text_.word(end + 1, "conflict")) break;
      }
    }
    if (k >= end) return false;
    return select(skip_with(k, *query.source, 0), end, *query.source, true);
  }

  const Text& text_;
  QueryLayout& out_;
};

}  // namespace

std::optional<QueryLayout> layout_of(std::string_view sql, Range statement, const Query& query,
                                     bool standard_conforming_strings) {
  const Text text(sql, statement, standard_conforming_strings);
  if (text.failed() || text.size() == 0) return std::nullopt;
  QueryLayout out;
  Reader reader(text, out);
  if (!reader.statement(query)) return std::nullopt;
  return out;
}

Range name_range(std::string_view sql, int32_t location, bool standard_conforming_strings) {
  if (location < 0) return {};
  Lexer lexer(sql, standard_conforming_strings, static_cast<size_t>(location));
  Range out{static_cast<uint32_t>(location), static_cast<uint32_t>(location)};
  while (true) {
    const Token name = lexer.next();
    if (name.kind != TokenKind::kIdentifier && name.kind != TokenKind::kQuotedIdentifier) return out;
    out.end = name.end;
    const Token dot = lexer.next();
    if (sql.substr(dot.begin, dot.end - dot.begin) != ".") return out;
  }
}

std::optional<CallLayout> call_layout(std::string_view sql, int32_t location,
                                      bool standard_conforming_strings) {
  const Range name = name_range(sql, location, standard_conforming_strings);
  if (name.empty()) return std::nullopt;
  const Text text(sql, {name.end, static_cast<uint32_t>(sql.size())}, standard_conforming_strings);
  if (text.text(0) != "(") return std::nullopt;
  const size_t close = text.closing(0);
  if (close >= text.size()) return std::nullopt;
  CallLayout out;
  out.call = {name.begin, text.end(close)};
  out.arguments = text.range(1, close);
  if (text.word(close + 1, "filter") && text.text(close + 2) == "(") {
    const size_t filter_close = text.closing(close + 2);
    if (filter_close >= text.size()) return std::nullopt;
    out.filter = text.range(close + 1, filter_close + 1);
  }
  return out;
}

}  // namespace decan::sql
