// Tier 1, session statements, and the texts that single units get.
#include "plan/planner.h"

#include <gtest/gtest.h>

#include "plan/test_run.h"

namespace decan::plan {
namespace {

using testing::context_of;
using testing::kGuard;
using testing::shop;
using Outcome = testing::RunResult;

template <class... Arguments>
Outcome run(Arguments... arguments) {
  return testing::plan_and_run(arguments...);
}

ParameterValue text_value(std::string_view bytes, Oid type = 0) {
  return {false, false, type, bytes};
}

// The bucket is taken from the plan: where a key hashes to is the catalog's test.
std::string leaf(const Outcome& r, const std::string& table) {
  return "decan_shard." + table + "_" + std::to_string(r.targets.at(0).bucket.value().value);
}

struct LeafCase {
  std::string sql, table, expected;  // expected with % for the leaf's name
};

TEST(Route, PointStatementsNameTheLeaf) {
  const std::vector<LeafCase> cases = {
      {"select * from orders where customer_id = 5", "orders",
       "select * from % AS \"orders\" where customer_id = 5"},
      {"SELECT o.total FROM public.orders o WHERE 5 = o.customer_id AND total > 1.5", "orders",
       "SELECT o.total FROM % o WHERE 5 = o.customer_id AND total > 1.5"},
      {"select count(*), max(total) from orders where customer_id = 5 /* it's */ group by note -- x",
       "orders",
       "select count(*), max(total) from % AS \"orders\" where customer_id = 5 /* it's */ group by note -- "
       "x"},
      {"select 1 from orders where customer_id='5'", "orders",
       "select 1 from % AS \"orders\" where customer_id='5'"},
      {"select 1 from orders where customer_id = '5'::bigint and note = 'a'", "orders",
       "select 1 from % AS \"orders\" where customer_id = '5'::bigint and note = 'a'"},
      {"select 1 from orders where customer_id = -7", "orders",
       "select 1 from % AS \"orders\" where customer_id = -7"},
      {"select 1 from orders where customer_id in (5)", "orders",
       "select 1 from % AS \"orders\" where customer_id in (5)"},
      {"select 1 from orders where customer_id = any('{5}')", "orders",
       "select 1 from % AS \"orders\" where customer_id = any('{5}')"},
      {"select 1 from orders where customer_id = any(array[5])", "orders",
       "select 1 from % AS \"orders\" where customer_id = any(array[5])"},
      {"update orders set total = total + 1 where customer_id = 5 and order_id = 3", "orders",
       "update % AS \"orders\" set total = total + 1 where customer_id = 5 and order_id = 3"},
      {"delete from orders where customer_id = 5 returning *", "orders",
       "delete from % AS \"orders\" where customer_id = 5 returning *"},
      {"insert into orders values (1, 5, 2.5, 'x', now())", "orders",
       "insert into % AS \"orders\" values (1, 5, 2.5, 'x', now())"},
      {"insert into orders as o (customer_id, total) values (5, 1) on conflict do nothing", "orders",
       "insert into % as o (customer_id, total) values (5, 1) on conflict do nothing"},
      {"select * from orders where customer_id = 5 for update", "orders",
       "select * from % AS \"orders\" where customer_id = 5 for update"},
      {"select * from orders where (customer_id, order_id) = (5, 6)", "orders",
       "select * from % AS \"orders\" where (customer_id, order_id) = (5, 6)"},
      {"select row_number() over (order by total) from orders where customer_id = 5 limit 3 offset 1",
       "orders",
       "select row_number() over (order by total) from % AS \"orders\" where customer_id = 5 limit 3 offset "
       "1"},
      {"with o as (select * from orders where customer_id = 5) select sum(total) from o", "orders",
       "with o as (select * from % AS \"orders\" where customer_id = 5) select sum(total) from o"},
      {"select * from (select * from orders) q where customer_id = 5", "orders",
       "select * from (select * from % AS \"orders\") q where customer_id = 5"},
      {"select * from events where id = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "events",
       "select * from % AS \"events\" where id = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"},
      {"select * from pairs where a = 1 and b = 'x'", "pairs",
       "select * from % AS \"pairs\" where a = 1 and b = 'x'"},
      {"select * from daily where day = '2024-02-29'", "daily",
       "select * from % AS \"daily\" where day = '2024-02-29'"},
      {"select * from orders o join countries c on c.code = o.note where o.customer_id = 5", "orders",
       "select * from % o join countries c on c.code = o.note where o.customer_id = 5"},
  };
  for (const auto& c : cases) {
    const Outcome r = run(c.sql);
    ASSERT_EQ(r.error, "") << c.sql;
    ASSERT_EQ(r.targets.size(), 1u) << c.sql;
    ASSERT_TRUE(r.targets[0].bucket) << c.sql;
    EXPECT_FALSE(r.plan->exact_text) << c.sql;
    std::string expected = c.expected;
    expected.replace(expected.find('%'), 1, leaf(r, c.table));
    EXPECT_EQ(r.texts.at(0), expected);
  }
}

TEST(Route, JoinsOnTheKeyNameEveryLeaf) {
  const Outcome r =
      run("select * from customers c join orders o on o.customer_id = c.customer_id left join items i using "
          "(order_id) "
          "where c.customer_id = 9");
  // items is not tied to the key, so it is not on the bucket's unit alone.
  EXPECT_NE(r.error, "");
  const Outcome tied =
      run("select * from customers c join orders o on o.customer_id = c.customer_id "
          "left join items i on i.customer_id = c.customer_id and i.order_id = o.order_id where "
          "c.customer_id = 9");
  ASSERT_EQ(tied.error, "");
  ASSERT_EQ(tied.targets.size(), 1u);
  const std::string bucket = std::to_string(tied.targets[0].bucket.value().value);
  EXPECT_EQ(tied.texts[0],
            "select * from decan_shard.customers_" + bucket + " c join decan_shard.orders_" + bucket +
                " o on o.customer_id = c.customer_id left join decan_shard.items_" + bucket +
                " i on i.customer_id = c.customer_id and i.order_id = o.order_id where c.customer_id = 9");
}

TEST(Route, FallsBackToTheParentWithTheEpochCheck) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"select * from guarded where id = 5", "select * from guarded where " + kGuard + " AND (id = 5)"},
      {"select public.orders.total from orders where customer_id = 5",
       "select public.orders.total from orders where " + kGuard + " AND (customer_id = 5)"},
      {"select a.total from orders a, orders b where a.customer_id = 5 and b.customer_id = 5",
       "select a.total from orders a, orders b where " + kGuard +
           " AND (a.customer_id = 5 and b.customer_id = 5)"},
      {"select o from orders o where customer_id = 5 order by 1 limit 1",
       "select o from orders o where " + kGuard + " AND (customer_id = 5) order by 1 limit 1"},
      {"update guarded set v = 1 where id = 5 or id = 5 returning v",
       "update guarded set v = 1 where " + kGuard + " AND (id = 5 or id = 5) returning v"},
      {"select * from (select * from guarded where id = 5) q",
       "select * from (select * from guarded where id = 5) q WHERE " + kGuard},
      {"select v from guarded where id = 5 union all select 1",
       "select v from guarded where " + kGuard + " AND (id = 5) union all select 1 WHERE " + kGuard},
  };
  for (const auto& [sql, expected] : cases) {
    const Outcome r = run(sql);
    ASSERT_EQ(r.error, "") << sql;
    ASSERT_EQ(r.targets.size(), 1u) << sql;
    EXPECT_EQ(r.texts.at(0), expected);
  }
}

TEST(Route, TemplatesServeOtherLiterals) {
  static const Context context = context_of(shop());
  const std::string planned_sql = "select 'abc', total from orders where customer_id = 5 and note = 'x'";
  sql::Template tpl;
  sql::scan_template(planned_sql, true, tpl);
  const auto plan = plan_statements(planned_sql, &tpl, {}, context, nullptr)->front().plan;
  const std::string other =
      "select 'a', total from orders where customer_id = 123456 and note = 'a longer one'";
  sql::Template other_tpl;
  sql::scan_template(other, true, other_tpl);
  ASSERT_EQ(tpl.text, other_tpl.text);
  const auto targets = resolve(*plan, {other, &other_tpl, {}});
  ASSERT_TRUE(targets && targets->size() == 1);
  const Outcome direct = run(other);
  EXPECT_EQ(targets->front().unit, direct.targets.at(0).unit);
  EXPECT_EQ(render(*plan, {other, &other_tpl, {}}, targets->front(), 1), direct.texts.at(0));
}

TEST(Route, ParametersInTextAndBinary) {
  const std::string sql = "select * from orders where customer_id = $1 and note = $2";
  const Outcome literal = run("select * from orders where customer_id = 5 and note = 'x'");
  const std::string binary("\0\0\0\0\0\0\0\5", 8);
  const std::string binary4("\0\0\0\5", 4);
  for (const auto& [value, types] :
       std::vector<std::pair<ParameterValue, std::vector<Oid>>>{{text_value("5"), {}},
                                                                {{false, true, 0, binary}, {}},
                                                                {{false, true, 20, binary}, {20}},
                                                                {{false, true, 23, binary4}, {23}},
                                                                {text_value(" 5 ", 23), {}}}) {
    const Outcome r = run(sql, std::vector<ParameterValue>{value, text_value("x")}, types);
    ASSERT_EQ(r.error, "");
    ASSERT_EQ(r.targets.size(), 1u);
    EXPECT_EQ(r.targets[0].bucket, literal.targets[0].bucket);
  }
  EXPECT_TRUE(run(sql, std::vector<ParameterValue>{{true, false, 0, {}}, text_value("x")}).targets.empty());
  EXPECT_TRUE(run("select * from orders where customer_id = null").targets.empty());
  EXPECT_TRUE(run("select * from orders where customer_id = 99999999999999999999").targets.empty());
}

struct Plain {
  std::string sql;
  RouteTo to;
  uint32_t unit;
};

TEST(Route, StatementsWithoutShardedTables) {
  const std::vector<Plain> cases = {
      {"select 1", RouteTo::kAnyUnit, 0},
      {"select 'settings'::regclass::oid", RouteTo::kHome, 0},
      {"select now(), upper('x')", RouteTo::kAnyUnit, 0},
      {"select * from countries", RouteTo::kAnyUnit, 0},
      {"select * from country_names", RouteTo::kAnyUnit, 0},
      {"values (1), (2)", RouteTo::kAnyUnit, 0},
      {"select * from countries for update", RouteTo::kHome, 0},
      {"select * from settings", RouteTo::kHome, 0},
      {"select * from archive", RouteTo::kUnit, 1},
      {"select * from archive a join countries c on true", RouteTo::kUnit, 1},
      {"insert into archive select * from countries", RouteTo::kUnit, 1},
      {"update settings set v = 1", RouteTo::kHome, 0},
      {"select * from pg_catalog.pg_class", RouteTo::kHome, 0},
      {"select relname from pg_class c join pg_namespace n on n.oid = c.relnamespace", RouteTo::kHome, 0},
      {"select * from no_such_table", RouteTo::kHome, 0},
      {"select nextval('order_seq')", RouteTo::kHome, 0},
      {"select pg_advisory_lock(1)", RouteTo::kHome, 0},
      {"select touch()", RouteTo::kHome, 0},
      {"notify x, 'y'", RouteTo::kHome, 0},
      {"do $$ begin null; end $$", RouteTo::kHome, 0},
      {"call proc(1)", RouteTo::kHome, 0},
  };
  for (const Plain& c : cases) {
    const Outcome r = run(c.sql);
    ASSERT_EQ(r.error, "") << c.sql;
    EXPECT_EQ(r.plan->action, Action::kRoute) << c.sql;
    EXPECT_EQ(r.plan->routing.to, c.to) << c.sql;
    if (c.to == RouteTo::kUnit) EXPECT_EQ(r.plan->routing.unit, UnitId{c.unit}) << c.sql;
    const bool catalog =
        c.sql.find("pg_class") != std::string::npos;  // read through a view: catalog_views_test.cpp
    for (const std::string& text : r.texts) EXPECT_EQ(text == c.sql, !catalog) << text;
  }
  EXPECT_TRUE(run("select pg_advisory_lock(1)").plan->effects.session_advisory_lock);
  EXPECT_TRUE(run("update settings set v = 1").plan->effects.writes);
  EXPECT_FALSE(run("select * from settings").plan->effects.writes);
}

TEST(Route, KnowsWhatAStatementDoesToTheSession) {
  struct Case {
    const char* sql;
    bool uses_sequences, reads_sequences, changes_settings;
  };
  const Case cases[] = {
      {"select nextval('order_seq')", true, false, false},
      {"select setval('order_seq', 5)", true, false, false},
      {"select currval('order_seq'), lastval()", false, true, false},
      {"select touch()", true, false, false},
      {"select tenant()", true, false, true},
      {"select pg_get_viewdef(1)", false, false, false},
      {"select set_config(k, v, false) from settings", false, false, true},
      {"insert into settings values (1)", false, false, false},
      {"insert into watched values (1)", true, false, true},
      {"select * from watched", false, false, false},
      {"copy watched from stdin", true, false, true},
      {"do $$ begin null; end $$", true, false, true},
      {"call proc(1)", true, false, true},
  };
  for (const Case& c : cases) {
    const plan::Effects effects = run(c.sql).plan->effects;
    EXPECT_EQ(effects.uses_sequences, c.uses_sequences) << c.sql;
    EXPECT_EQ(effects.reads_sequences, c.reads_sequences) << c.sql;
    EXPECT_EQ(effects.changes_settings, c.changes_settings) << c.sql;
  }
}

TEST(Copy, LeavesOutWhatPartitionedTablesDoNotTake) {
  const auto unit_sql = [](const char* sql) { return std::get<CopySpec>(run(sql).plan->detail).unit_sql; };
  EXPECT_EQ(unit_sql("copy orders from stdin with (freeze on)"),
            "copy orders from stdin with (freeze false)");
  EXPECT_EQ(unit_sql("copy orders from stdin (format csv, FREEZE, header)"),
            "copy orders from stdin (format csv, freeze false, header)");
  EXPECT_EQ(unit_sql("copy orders from stdin freeze csv"), "copy orders from stdin  csv");
  EXPECT_EQ(unit_sql("copy orders from stdin (freeze off)"), "");
  EXPECT_EQ(unit_sql("copy countries from stdin (freeze)"), "");
}

TEST(Route, AllBucketsOnOneUnit) {
  const Outcome r = run("select percentile_cont(0.5) within group (order by v) from tiny");
  ASSERT_EQ(r.error, "");
  EXPECT_EQ(r.plan->routing.to, RouteTo::kUnit);
  EXPECT_EQ(r.texts.at(0), "select percentile_cont(0.5) within group (order by v) from tiny WHERE " + kGuard);
  EXPECT_EQ(run("select * from tiny t join settings s on true where v > 1").error, "");
  EXPECT_NE(run("select * from tiny t join archive s on true where v > 1").error, "");
}

TEST(Insert, RowsAreSplitByBucket) {
  const std::string sql =
      "insert into orders (customer_id, total) values (1, 10), (2, 20), (3, 30), (4, 40) returning order_id";
  const Outcome r = run(sql);
  ASSERT_EQ(r.error, "");
  EXPECT_EQ(r.plan->action, Action::kInsertRows);
  std::vector<bool> seen(4);
  for (size_t i = 0; i < r.targets.size(); ++i) {
    std::string rows;
    for (const uint32_t row : r.targets[i].insert_rows) {
      EXPECT_FALSE(seen[row]);
      seen[row] = true;
      rows += (rows.empty() ? "(" : ", (") + std::to_string(row + 1) + ", " + std::to_string((row + 1) * 10) +
              ")";
    }
    if (r.targets.size() > 1)
      EXPECT_EQ(r.texts[i], "insert into orders (customer_id, total) values " + rows + " returning order_id");
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), true), 4);
}

TEST(Insert, NeedsAKnownKey) {
  EXPECT_NE(run("insert into auto (v) values (1)").error, "");
  EXPECT_NE(run("insert into auto values (default, 1)").error, "");
  EXPECT_NE(run("insert into orders (customer_id) values (nextval('order_seq'))").error, "");
  EXPECT_NE(run("insert into orders (customer_id) values (1.5)").error, "");
  EXPECT_NE(run("insert into orders default values").error, "");
  EXPECT_EQ(run("insert into orders (total) values (1)").targets.size(), 1u);  // the key is NULL
}

TEST(Session, Statements) {
  struct Case {
    std::string sql;
    Action action;
    std::string tag;
  };
  const std::vector<Case> cases = {
      {"begin", Action::kBegin, "BEGIN"},
      {"start transaction isolation level repeatable read, read only", Action::kBegin, "START TRANSACTION"},
      {"commit", Action::kCommit, "COMMIT"},
      {"end", Action::kCommit, "COMMIT"},
      {"abort", Action::kRollback, "ROLLBACK"},
      {"rollback and chain", Action::kRollback, "ROLLBACK"},
      {"savepoint a", Action::kSavepoint, "SAVEPOINT"},
      {"release savepoint a", Action::kRelease, "RELEASE"},
      {"rollback to a", Action::kRollbackTo, "ROLLBACK"},
      {"prepare transaction 'x'", Action::kPrepareTransaction, "PREPARE TRANSACTION"},
      {"commit prepared 'x'", Action::kCommitPrepared, "COMMIT PREPARED"},
      {"rollback prepared 'x'", Action::kRollbackPrepared, "ROLLBACK PREPARED"},
      {"set search_path = a, b", Action::kSet, "SET"},
      {"set local statement_timeout = 5", Action::kSet, "SET"},
      {"set transaction isolation level serializable", Action::kSetTransaction, "SET"},
      {"set session characteristics as transaction read only", Action::kSet, "SET"},
      {"set constraints all deferred", Action::kSet, "SET CONSTRAINTS"},
      {"select set_config('search_path', 'a', false)", Action::kSet, "SELECT"},
      {"reset all", Action::kReset, "RESET"},
      {"reset work_mem", Action::kReset, "RESET"},
      {"show server_version", Action::kShow, "SHOW"},
      {"discard all", Action::kDiscard, "DISCARD ALL"},
      {"prepare p (int, varchar(10)) as select $1", Action::kPrepare, "PREPARE"},
      {"execute p (1, 'x', null, -2)", Action::kExecute, "EXECUTE"},
      {"deallocate p", Action::kDeallocate, "DEALLOCATE"},
      {"deallocate all", Action::kDeallocate, "DEALLOCATE ALL"},
      {"declare c cursor with hold for select * from settings", Action::kDeclareCursor, "DECLARE CURSOR"},
      {"fetch 5 from c", Action::kFetch, "FETCH"},
      {"move all in c", Action::kFetch, "MOVE"},
      {"close c", Action::kCloseCursor, "CLOSE CURSOR"},
      {"listen x", Action::kListen, "LISTEN"},
      {"unlisten *", Action::kUnlisten, "UNLISTEN"},
      {"copy orders from stdin", Action::kCopyIn, "COPY"},
      {"copy orders to stdout csv header", Action::kCopyOut, "COPY"},
      {"explain select * from orders where customer_id = 5", Action::kExplain, "EXPLAIN"},
      {"select create_distributed_table('orders', 'customer_id', shard_count => 32)", Action::kAdmin,
       "SELECT"},
  };
  for (const Case& c : cases) {
    const Outcome r = run(c.sql);
    ASSERT_EQ(r.error, "") << c.sql;
    EXPECT_EQ(r.plan->action, c.action) << c.sql;
    EXPECT_EQ(r.plan->tag, c.tag) << c.sql;
  }
}

TEST(Session, Details) {
  EXPECT_EQ(run("start transaction isolation level repeatable read, read only").plan->transaction_options,
            "isolation level repeatable read, read only");
  EXPECT_EQ(run("begin work").plan->transaction_options, "");
  EXPECT_TRUE(run("commit and chain").plan->chain);
  EXPECT_EQ(std::get<SetSpec>(run("set time zone 'UTC'").plan->detail).name, "timezone");
  EXPECT_EQ(std::get<SetSpec>(run("SET SESSION AUTHORIZATION bob").plan->detail).name,
            "session authorization");
  EXPECT_TRUE(std::get<SetSpec>(run("set work_mem to default").plan->detail).is_reset);
  const auto prepared =
      std::get<PreparedSpec>(run("prepare p (int, varchar(10)) as select $1, $2").plan->detail);
  EXPECT_EQ(prepared.type_names, (std::vector<std::string>{"int", "varchar(10)"}));
  EXPECT_EQ(prepared.body, "select $1, $2");
  const auto executed = std::get<PreparedSpec>(run("execute p (1, 'it''s', null, -2)").plan->detail);
  ASSERT_TRUE(executed.constant_arguments && executed.arguments.size() == 4);
  EXPECT_EQ(executed.arguments[1].constant, "it's");
  EXPECT_TRUE(executed.arguments[2].is_null);
  EXPECT_EQ(executed.arguments[3].constant, "-2");
  const auto explain = std::get<ExplainSpec>(run("explain (analyze, costs off) select 1").plan->detail);
  EXPECT_TRUE(explain.analyze);
  EXPECT_EQ(explain.options, "(analyze, costs off)");
  EXPECT_EQ(explain.inner_sql, "select 1");
  const auto admin = std::get<AdminCall>(
      run("select create_distributed_table('orders', 'customer_id', colocate_with => 'customers')")
          .plan->detail);
  EXPECT_EQ(admin.arguments[2].first, "colocate_with");
  EXPECT_EQ(admin.arguments[2].second.constant, "customers");
}

TEST(Statements, AreSplitWithTheirOffsets) {
  static const Context context = context_of(shop());
  const std::string sql = "begin; select * from orders where customer_id = 5;\n commit;";
  const auto planned = plan_statements(sql, nullptr, {}, context, nullptr);
  ASSERT_TRUE(planned);
  ASSERT_EQ(planned->size(), 3u);
  const auto text = [&](size_t i) { return sql.substr((*planned)[i].offset, (*planned)[i].bytes); };
  EXPECT_EQ(text(0), "begin");
  EXPECT_EQ(text(1), " select * from orders where customer_id = 5");
  const std::string own = text(1);
  const Plan& plan = *(*planned)[1].plan;
  const auto targets = resolve(plan, {own, nullptr, {}});
  ASSERT_TRUE(targets && targets->size() == 1);
  EXPECT_NE(render(plan, {own, nullptr, {}}, targets->front(), 1).find(" select * from decan_shard.orders_"),
            std::string::npos);
  uint32_t position = 0;
  const auto wrong = plan_statements("select 1 frm t x", nullptr, {}, context, &position);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().sqlstate, "42601");
  EXPECT_GT(position, 0u);
  EXPECT_TRUE(plan_statements("", nullptr, {}, context, nullptr)->empty());
}

}  // namespace
}  // namespace decan::plan
