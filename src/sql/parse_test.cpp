#include "sql/parse.h"

#include <gtest/gtest.h>

#include "sql/layout.h"

namespace decan::sql {
namespace {

const Query& only_query(const ParsedText& parsed) {
  return *parsed.statements().at(0).query;
}

TEST(Parse, SplitsStatementsAndTellsErrors) {
  uint32_t position = 7;
  const auto parsed = parse("select 1; begin ;; update t set a = 1 -- end", &position);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(position, 0u);
  ASSERT_EQ(parsed->statements().size(), 3u);
  EXPECT_EQ(parsed->statements()[1].tree.kind(), "TransactionStmt");
  EXPECT_FALSE(parsed->statements()[1].is_query);
  EXPECT_TRUE(parsed->statements()[2].is_query);
  const auto wrong = parse("select é frm x y", &position);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().sqlstate, "42601");
  EXPECT_EQ(position, 14u);  // characters, not bytes
  EXPECT_EQ(parse(std::string_view("select 1\0", 9), nullptr).error().sqlstate, "22021");
}

TEST(Parse, ConvertsTheClausesOfASelect) {
  const auto parsed = parse(
      "with c as (select 1) select distinct on (a) a x, count(*) filter (where b) over w from s.t as q (k), "
      "c left join d using (k) "
      "where a = -5 and b in (1, 2) group by (a, b), 2 having true window w as (partition by a) order by 1 "
      "desc nulls last "
      "limit all offset $2 for update of q",
      nullptr);
  ASSERT_TRUE(parsed);
  const Query& query = only_query(*parsed);
  EXPECT_EQ(query.ctes.at(0).name, "c");
  EXPECT_EQ(query.distinct_on.size(), 1u);
  EXPECT_FALSE(query.distinct);
  EXPECT_EQ(query.targets.at(0).name, "x");
  const Expr& call = *query.targets.at(1).expr;
  EXPECT_TRUE(call.star && call.has_window && call.filter != nullptr);
  ASSERT_EQ(query.from.size(), 2u);
  EXPECT_EQ(query.from[0]->relation.schema, "s");
  EXPECT_EQ(query.from[0]->relation.column_aliases, std::vector<std::string>{"k"});
  EXPECT_EQ(query.from[1]->join, JoinType::kLeft);
  EXPECT_EQ(query.from[1]->using_columns, std::vector<std::string>{"k"});
  ASSERT_EQ(query.where->kind, ExprKind::kAnd);
  EXPECT_EQ(query.where->args[0]->args[1]->text, "-5");
  EXPECT_EQ(query.where->args[1]->op, OperatorKind::kIn);
  EXPECT_EQ(query.where->args[1]->args.size(), 3u);
  EXPECT_EQ(query.group_by.size(), 3u);  // the row is spread
  EXPECT_EQ(query.windows.at(0)->name, "w");
  EXPECT_TRUE(query.order_by.at(0).descending);
  EXPECT_FALSE(query.order_by.at(0).nulls_first);
  EXPECT_EQ(query.limit->literal, LiteralType::kNull);
  EXPECT_EQ(query.offset->parameter, 2);
  EXPECT_EQ(query.locked, std::vector<std::string>{"q"});
}

TEST(Parse, FindsExpressionsInsideEveryKindOfExpression) {
  const auto parsed = parse(
      "select case when a then b else c end, coalesce(d, e), greatest(f, g), array[h], row(i), (j).k, "
      "l::int, m collate \"C\", "
      "n is null, o is true, xmlelement(name x, p), (select q), s between t and u, v is distinct from w, "
      "f2(named => y), z[1]",
      nullptr);
  ASSERT_TRUE(parsed);
  std::string names;
  const auto visit = [&](const auto& self, const Expr* expr) -> void {
    if (expr == nullptr) return;
    if (expr->kind == ExprKind::kColumn) names += expr->names.at(0);
    for (const Expr* arg : expr->args) self(self, arg);
    if (expr->subquery != nullptr) {
      for (const auto& target : expr->subquery->targets) self(self, target.expr);
    }
  };
  for (const auto& target : only_query(*parsed).targets) visit(visit, target.expr);
  EXPECT_EQ(names, "abcdefghijlmnopqstuvwyz");
}

TEST(Parse, ComparesExpressionsWithoutTheirPlace) {
  const auto parsed = parse("select a + 1, a  +  1, a + 2, A + 1, \"A\" + 1", nullptr);
  const auto& targets = only_query(*parsed).targets;
  EXPECT_TRUE(same_expression(*targets[0].expr, *targets[1].expr));
  EXPECT_FALSE(same_expression(*targets[0].expr, *targets[2].expr));
  EXPECT_TRUE(same_expression(*targets[0].expr, *targets[3].expr));
  EXPECT_FALSE(same_expression(*targets[0].expr, *targets[4].expr));
}

TEST(Tree, ReadsFieldsAndReportsUnknownOnes) {
  const auto parsed = parse("alter table only s.t add column c int", nullptr);
  const Tree tree = parsed->statements().at(0).tree;
  (void)take_unknown_field_used();
  EXPECT_EQ(tree.child("relation").str("relname"), "t");
  EXPECT_FALSE(tree.child("relation").flag("inh"));
  EXPECT_EQ(tree.name_of("objtype"), "OBJECT_TABLE");
  EXPECT_EQ(tree.list("cmds").at(0).child("def").str("colname"), "c");
  EXPECT_EQ(tree.all("ColumnDef").size(), 1u);
  EXPECT_FALSE(take_unknown_field_used());
  EXPECT_EQ(tree.str("no_such_field"), "");
  EXPECT_TRUE(take_unknown_field_used());
  EXPECT_FALSE(take_unknown_field_used());
}

constexpr std::string_view kGuard = "(SELECT 1 FROM decan.map m)";

TEST(RewriteProof, AcceptsGuardsAndNothingElse) {
  const std::string original = "select a from t where b or c order by a";
  const auto parsed = parse(original, nullptr);
  RewriteProof proof(parsed->statements().at(0).tree);
  const std::string guard(kGuard);
  EXPECT_TRUE(proof.equal_but_guards("select a from t where " + guard + " AND (b or c) order by a", 1));
  EXPECT_FALSE(proof.equal_but_guards("select a from t where " + guard + " AND b or c order by a", 1));
  EXPECT_FALSE(proof.equal_but_guards("select a from t where " + guard + " AND (b or c) order by a", 2));
  EXPECT_FALSE(proof.equal_but_guards("select a from t where " + guard + " AND (b or c) order by a desc", 1));
  EXPECT_FALSE(proof.equal_but_guards("select a from t where " + guard + " AND (b or d) order by a", 1));
  EXPECT_FALSE(
      proof.equal_but_guards("select a from t where " + guard + " AND (b or c) order by a; select 1", 1));
  EXPECT_FALSE(proof.equal_but_guards("select a from t where", 0));
}

TEST(RewriteProof, AcceptsLeavesAndNothingElse) {
  const auto parsed = parse("update s.t set a = 1 where t.b = 2", nullptr);
  RewriteProof proof(parsed->statements().at(0).tree);
  const std::vector<RewriteProof::LeafName> leaves = {{&only_query(*parsed).target, "decan_shard", "t_1"}};
  EXPECT_TRUE(proof.equal_but_leaves("update decan_shard.t_1 as \"t\" set a = 1 where t.b = 2", leaves));
  EXPECT_FALSE(proof.equal_but_leaves("update decan_shard.t_1 as \"x\" set a = 1 where t.b = 2", leaves));
  EXPECT_FALSE(proof.equal_but_leaves("update decan_shard.t_2 as \"t\" set a = 1 where t.b = 2", leaves));
  EXPECT_FALSE(proof.equal_but_leaves("update decan_shard.t_1 as \"t\" set a = 1", leaves));
}

// --- layout ---

std::string text_of(std::string_view sql, Range range) {
  return std::string(sql.substr(range.begin, range.bytes()));
}

std::optional<QueryLayout> lay_out(std::string_view sql) {
  const auto parsed = parse(sql, nullptr);
  EXPECT_TRUE(parsed) << sql;
  if (!parsed) return std::nullopt;
  const Statement& statement = parsed->statements().at(0);
  return layout_of(sql, {statement.offset, statement.offset + statement.bytes}, *statement.query, true);
}

TEST(Layout, FindsClausesAmongLookAlikes) {
  struct Case {
    std::string sql, where;
    std::vector<std::string> targets;
  };
  const std::vector<Case> cases = {
      {"select a from t where b", "b", {"a"}},
      {"select a is distinct from b, extract(year from c) as \"where\" from t where d",
       "d",
       {"a is distinct from b", "extract(year from c)"}},
      {"select t.from, 1 as where, 'where' from t where x /* where y */ -- z",
       "x",
       {"t.from", "1", "'where'"}},
      {"select count(*) filter (where a), percentile_cont(1) within group (order by b) p from t where c "
       "group by d",
       "c",
       {"count(*) filter (where a)", "percentile_cont(1) within group (order by b)"}},
      {"select $$ where $$, (select 1 where true) x from rows from (f(1)) where y for update",
       "y",
       {"$$ where $$", "(select 1 where true)"}},
      {"with a as (select 1 where b), c (d) as materialized (select 2) select e from f where g limit 1",
       "g",
       {"e"}},
      {"select a from t order by b", "", {"a"}},
      {"(select a from t where b)", "b", {"a"}},
      {"select all a, b [1 : 2] c from t where d fetch first row only", "d", {"a", "b [1 : 2]"}},
  };
  for (const Case& c : cases) {
    const auto layout = lay_out(c.sql);
    ASSERT_TRUE(layout && layout->selects.size() == 1) << c.sql;
    const SelectLayout& select = layout->selects[0];
    EXPECT_EQ(select.where ? text_of(c.sql, *select.where) : "", c.where) << c.sql;
    ASSERT_EQ(select.targets.size(), c.targets.size()) << c.sql;
    for (size_t i = 0; i < c.targets.size(); ++i)
      EXPECT_EQ(text_of(c.sql, select.targets[i]), c.targets[i]) << c.sql;
  }
}

TEST(Layout, CutsOrderByAndLimit) {
  const std::string sql =
      "select a from t group by all x, (y, z) having h order by a desc nulls last, f(b, c) asc, d limit 5 "
      "offset 6 for share";
  const auto layout = lay_out(sql);
  ASSERT_TRUE(layout);
  std::vector<std::string> items;
  for (const Range range : layout->order_by) items.push_back(text_of(sql, range));
  EXPECT_EQ(items, (std::vector<std::string>{"a", "f(b, c)", "d"}));
  EXPECT_EQ(text_of(sql, layout->limit), "5");
  EXPECT_EQ(text_of(sql, layout->offset), "6");
  EXPECT_EQ(text_of(sql, layout->limit_clauses), "limit 5 offset 6");
  EXPECT_EQ(text_of(sql, layout->selects[0].group_clause), "group by all x, (y, z)");
  EXPECT_EQ(text_of(sql, layout->selects[0].having_clause), "having h");
}

TEST(Layout, CutsSetOperationsAndWrites) {
  const std::string sets =
      "select a where b union all (select c from d) union all select e from f where g order by 1";
  const auto layout = lay_out(sets);
  ASSERT_TRUE(layout);
  ASSERT_EQ(layout->selects.size(), 3u);
  EXPECT_EQ(text_of(sets, *layout->selects[0].where), "b");
  EXPECT_FALSE(layout->selects[1].where);
  EXPECT_EQ(text_of(sets, *layout->selects[2].where), "g");
  const std::string update =
      "update t set a = (select 1 where x), b = c is distinct from d from u where e returning f";
  EXPECT_EQ(text_of(update, *lay_out(update)->selects.at(0).where), "e");
  const std::string insert =
      "insert into t as x (a, b) overriding system value values (1, (2)), ($1, ')') on conflict do nothing "
      "returning a";
  const auto rows = lay_out(insert);
  ASSERT_TRUE(rows && rows->value_rows.size() == 2);
  EXPECT_EQ(text_of(insert, rows->value_rows[1]), "($1, ')')");
  const std::string select =
      "insert into t select a from b join c on d where e on conflict (f) do update set g = 1 where h";
  EXPECT_EQ(text_of(select, *lay_out(select)->selects.at(0).where), "e");
}

TEST(Layout, FindsCallsAndNames) {
  const std::string sql =
      "select pg_catalog . \"sum\" ( distinct a, ')' ) filter (where b) over () from \"S\" . t";
  const auto call = call_layout(sql, 7, true);
  ASSERT_TRUE(call);
  EXPECT_EQ(text_of(sql, call->arguments), "distinct a, ')'");
  EXPECT_EQ(text_of(sql, call->filter), "filter (where b)");
  EXPECT_EQ(text_of(sql, name_range(sql, static_cast<int32_t>(sql.find("\"S\"")), true)), "\"S\" . t");
  EXPECT_FALSE(call_layout("current_date", 0, true));
}

}  // namespace
}  // namespace decan::sql
