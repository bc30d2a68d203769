#include "plan/now_calls.h"

#include <algorithm>

#include "catalog/type_oids.h"
#include "plan/functions.h"
#include "plan/key_facts.h"

namespace decan::plan {
namespace {

using sql::Expr;
using sql::ExprKind;
using sql::SqlValue;
namespace type = catalog::type;

constexpr std::string_view kCast = "::pg_catalog.timestamptz)";

class Finder {
 public:
  Finder(const Scope& scope, const SourceText& source, bool conforming)
      : scope_(scope), source_(source), conforming_(conforming) {}

  NowCalls run() {
    for (const Level& level : scope_.levels()) {
      for (const Expr* expr : expressions_of(*level.query)) visit(level, *expr, false);
    }
    std::ranges::sort(out_.calls, {}, [](const NowCall& call) { return call.range.begin; });
    const auto repeated =
        std::ranges::unique(out_.calls, {}, [](const NowCall& call) { return call.range.begin; });
    out_.calls.erase(repeated.begin(), repeated.end());
    return std::move(out_);
  }

 private:
  // `timeless`: a string here is compared with or assigned to something that is no date or time.
  void visit(const Level& level, const Expr& expr, bool timeless) {
    if (expr.kind == ExprKind::kFunction) {
      const FunctionClass kind = classify_function(expr.names);
      if (kind == FunctionClass::kNow) add_call(expr);
      if (expr.names.back() == "age" && expr.args.size() == 1) out_.obstacle = "age() with one argument";
      timeless = false;
    } else if (expr.kind == ExprKind::kSqlValue && expr.sql_value >= SqlValue::kCurrentDate &&
               expr.sql_value <= SqlValue::kLocalTimestampN) {
      add_sql_value(expr);
    } else if (expr.kind == ExprKind::kLiteral) {
      if (!timeless && expr.literal == sql::LiteralType::kString) add_literal(expr);
    } else if (expr.kind == ExprKind::kParameter) {
      if (!timeless) out_.parameters.push_back(static_cast<uint32_t>(expr.parameter));
    } else if (expr.kind == ExprKind::kCast) {
      timeless = !expr.type.name.starts_with("time") && expr.type.name != "date";
    } else if (expr.kind == ExprKind::kOperator) {
      timeless = expr.op == sql::OperatorKind::kLike || std::ranges::any_of(expr.args, [&](const Expr* arg) {
                   return is_timeless_column(level, arg);
                 });
    } else if (expr.kind != ExprKind::kArray && expr.kind != ExprKind::kRow) {
      timeless = false;
    }
    for (const Expr* arg : expr.args) {
      if (arg != nullptr) visit(level, *arg, timeless);
    }
    if (expr.filter != nullptr) visit(level, *expr.filter, false);
    for (const auto& item : expr.agg_order) visit(level, *item.expr, false);
    if (expr.window == nullptr) return;
    for (const Expr* item : expr.window->partition_by) visit(level, *item, false);
    for (const auto& item : expr.window->order_by) visit(level, *item.expr, false);
    for (const Expr* item : expr.window->bounds) visit(level, *item, false);
  }

  bool is_timeless_column(const Level& level, const Expr* arg) const {
    if (arg == nullptr || arg->kind != ExprKind::kColumn) return false;
    const auto id = scope_.resolve(level, *arg);
    const auto* column = id ? scope_.base_column(*id) : nullptr;
    if (column == nullptr) return false;
    switch (type_family(column->type)) {
      case type::kInt8:
      case type::kText:
      case type::kBpchar:
      case type::kNumeric:
      case type::kUuid:
      case type::kBool:
      case type::kBytea:
      case type::kFloat4:
      case type::kFloat8:
        return true;
      default:
        return false;
    }
  }

  void add_call(const Expr& expr) {
    const auto layout = sql::call_layout(source_.sql(), expr.location, conforming_);
    if (!layout || !expr.args.empty()) {
      out_.obstacle = expr.names.back() + "()";
      return;
    }
    out_.calls.push_back({layout->call, "(", std::string(kCast)});
  }

  void add_sql_value(const Expr& expr) {
    std::string cast;
    switch (expr.sql_value) {
      case SqlValue::kCurrentTimestamp:
        break;
      case SqlValue::kCurrentDate:
        cast = "::pg_catalog.date)";
        break;
      case SqlValue::kCurrentTime:
        cast = "::pg_catalog.timetz)";
        break;
      case SqlValue::kLocalTime:
        cast = "::pg_catalog.time)";
        break;
      case SqlValue::kLocalTimestamp:
        cast = "::pg_catalog.timestamp)";
        break;
      default:
        out_.obstacle = "CURRENT_TIMESTAMP with a precision";
        return;
    }
    const sql::Range word = sql::name_range(source_.sql(), expr.location, conforming_);
    if (word.empty()) {
      out_.obstacle = "CURRENT_TIMESTAMP";
      return;
    }
    out_.calls.push_back({word, cast.empty() ? "(" : "((", std::string(kCast) + cast});
  }

  void add_literal(const Expr& expr) {
    const auto at = source_.literal_at(expr.location);
    if (at) {
      out_.literals.push_back(at->ordinal);
    } else if (is_clock_word(expr.text)) {
      out_.obstacle = "'" + expr.text + "' as a date";
    }
  }

  const Scope& scope_;
  const SourceText& source_;
  bool conforming_;
  NowCalls out_;
};

}  // namespace

bool is_clock_word(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\n\r\f\v");
  if (first == std::string_view::npos) return false;
  text.remove_prefix(first);
  for (const std::string_view word : {"now", "today", "tomorrow", "yesterday"}) {
    if (text.size() < word.size()) continue;
    const bool same = std::ranges::equal(text.substr(0, word.size()), word, [](char a, char b) {
      return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + 32) : a) == b;
    });
    if (!same) continue;
    if (text.size() == word.size()) return true;
    const char next = text[word.size()];
    // Letters go on with another word; everything else may be a time, a zone, or white space.
    if (!((next >= 'a' && next <= 'z') || (next >= 'A' && next <= 'Z'))) return true;
  }
  // The word may also stand behind a time ("10:00 tomorrow").
  const size_t space = text.find_first_of(" \t\n\r\f\v,");
  return space != std::string_view::npos && text[0] >= '0' && text[0] <= '9' &&
         is_clock_word(text.substr(space + 1));
}

NowCalls find_now_calls(const Scope& scope, const SourceText& source, bool conforming_strings) {
  return Finder(scope, source, conforming_strings).run();
}

}  // namespace decan::plan
