// The fragment as edits of the statement's text.
#include "plan/query_planner.h"
#include "plan/scatter_planner.h"

namespace decan::plan {

void ScatterPlanner::write_snippet(TextBuilder& builder, const Snippet& snippet) {
  for (const auto& part : snippet) {
    if (const auto* text = std::get_if<std::string>(&part)) {
      builder.add(*text);
    } else {
      builder.add_copy(std::get<sql::Range>(part));
    }
  }
}

void ScatterPlanner::write_columns(TextBuilder& builder, const std::vector<Snippet>& columns,
                                   bool comma_first) {
  for (const Snippet& column : columns) {
    if (comma_first) builder.add(", ");
    comma_first = true;
    write_snippet(builder, column);
  }
}

// Hidden columns have names of their own, so that no name in ORDER BY comes to mean them.
void ScatterPlanner::write_hidden(TextBuilder& builder, bool comma_first) const {
  for (size_t i = 0; i < hidden_.size(); ++i) {
    if (comma_first || i > 0) builder.add(", ");
    write_snippet(builder, hidden_[i]);
    builder.add(" AS \"decan:" + std::to_string(i) + "\"");
  }
}

void ScatterPlanner::write_guard(TextBuilder& builder, const sql::SelectLayout& select) const {
  const std::string guard = guard_conjunct(in_.scope.context().catalog->epoch);
  if (select.where) {
    builder.copy_to(select.where->begin);
    builder.add(guard + " AND (");
    builder.copy_to(select.where->end);
    builder.add(")");
  } else {
    builder.copy_to(select.where_place);
    builder.add(" WHERE " + guard);
  }
}

// Every unit gives the first LIMIT + OFFSET rows; the merge skips and counts.
void ScatterPlanner::write_limit(TextBuilder& builder) const {
  if (!merge_.limit) return;
  const sql::Range limit = in_.layout.limit;
  const auto count = [&] {
    builder.add("(");
    if (limit.empty()) {
      builder.add("1");  // FETCH FIRST ROW ONLY
    } else {
      builder.add_copy(limit);
    }
    builder.add(")::pg_catalog.int8");
  };
  builder.add(merge_.with_ties ? "FETCH FIRST (" : "LIMIT (");
  if (merge_.offset) {
    // A sum beyond bigint is no limit at all.
    builder.add("CASE WHEN ");
    count();
    builder.add(" OPERATOR(pg_catalog.<) 4611686018427387904 AND coalesce((");
    builder.add_copy(in_.layout.offset);
    builder.add(")::pg_catalog.int8, 0) OPERATOR(pg_catalog.<) 4611686018427387904 THEN ");
    count();
    builder.add(" OPERATOR(pg_catalog.+) coalesce((");
    builder.add_copy(in_.layout.offset);
    builder.add(")::pg_catalog.int8, 0) END");
  } else {
    count();
  }
  builder.add(merge_.with_ties ? ") ROWS WITH TIES" : ")");
}

void ScatterPlanner::write(Plan& out, bool replace_targets, bool keep_order) {
  TextBuilder builder(in_.source, {in_.source.base(), in_.statement.end}, &in_.now.calls);
  const sql::QueryLayout& layout = in_.layout;
  const bool single = layout.selects.size() == 1;
  for (const sql::SelectLayout& select : layout.selects) {
    if (!select.table_keyword.empty()) {
      builder.copy_to(select.table_keyword.begin);
      builder.add("SELECT *");
      if (single) write_hidden(builder, true);
      builder.add(" FROM");
      builder.skip_to(select.table_keyword.end);
    } else if (single && !select.whole_targets.empty()) {
      if (replace_targets) {
        builder.copy_to(select.whole_targets.front().begin);
        write_columns(builder, shown_, false);
        write_hidden(builder, !shown_.empty());
        builder.skip_to(select.whole_targets.back().end);
      } else if (!hidden_.empty()) {
        builder.copy_to(select.whole_targets.back().end);
        write_hidden(builder, true);
      }
    }
    write_guard(builder, select);
    if (!replace_targets) continue;
    if (!select.group_clause.empty()) {
      builder.copy_to(select.group_clause.begin);
      builder.add("GROUP BY ");
      for (size_t i = 0; i < groups_.size(); ++i) {
        builder.add(i == 0 ? "(" : ", (");
        write_snippet(builder, group_text(groups_[i]));
        builder.add(")");
      }
      builder.skip_to(select.group_clause.end);
    }
    if (!select.having_clause.empty() && !having_stays_) {
      builder.copy_to(select.having_clause.begin);
      builder.skip_to(select.having_clause.end);
    }
  }
  if (!keep_order && !layout.order_clause.empty()) {
    builder.copy_to(layout.order_clause.begin);
    builder.skip_to(layout.order_clause.end);
  }
  if (!layout.limit_clauses.empty()) {
    builder.copy_to(layout.limit_clauses.begin);
    if (keep_order) write_limit(builder);
    builder.skip_to(layout.limit_clauses.end);
  }
  out.fragment_text = builder.finish();
}

}  // namespace decan::plan
