// Tier 2: fragments, merges, and writes on several units. The differential test (tools of the whole) proves
// the answers; here the shape is fixed.
#include <gtest/gtest.h>

#include <algorithm>

#include "plan/test_run.h"

namespace decan::plan {
namespace {

using testing::describe;
using testing::plan_and_run;
using testing::RunResult;
using testing::shortened;

struct Case {
  std::string sql, fragment, merge;
};

void check(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    const RunResult r = plan_and_run(c.sql);
    ASSERT_EQ(r.error, "") << c.sql;
    EXPECT_EQ(r.plan->action, Action::kScatter) << c.sql;
    ASSERT_EQ(r.targets.size(), 2u) << c.sql;
    EXPECT_EQ(shortened(r.texts[0]), c.fragment);
    ASSERT_TRUE(r.plan->merge) << c.sql;
    EXPECT_EQ(describe(*r.plan->merge), c.merge) << c.sql;
  }
}

TEST(Scatter, Rows) {
  check({
      {"select * from orders", "select * from orders WHERE «G»", "5+0 0 1 2 3 4"},
      {"select total t from orders where total > 5 -- why\n",
       "select total t from orders where «G» AND (total > 5) -- why\n", "1+0 0"},
      {"table orders", "SELECT * FROM orders WHERE «G»", "5+0 0 1 2 3 4"},
      {"(select order_id from orders)", "(select order_id from orders WHERE «G»)", "1+0 0"},
      {"select o.*, c.label from orders o join countries c on c.code = o.note",
       "select o.*, c.label from orders o join countries c on c.code = o.note WHERE «G»", "6+0 0 1 2 3 4 5"},
      {"select * from orders join customers using (customer_id)",
       "select * from orders join customers using (customer_id) WHERE «G»", "7+0 0 1 2 3 4 5 6"},
      {"select * from orders for update", "select * from orders WHERE «G» for update", "5+0 0 1 2 3 4"},
      {"select order_id from orders union all select order_id from items",
       "select order_id from orders WHERE «G» union all select order_id from items WHERE «G»", "1+0 0"},
      {"select random(), unnest(array[1,2]) from orders",
       "select random(), unnest(array[1,2]) from orders WHERE «G»", "2+0 0 1"},
  });
}

TEST(Scatter, OrderAndLimit) {
  check({
      {"select order_id, total from orders order by total desc, order_id limit 10",
       "select order_id, total, total AS \"decan:0\", order_id AS \"decan:1\" from orders WHERE «G» order by "
       "total desc, order_id LIMIT ((10)::pg_catalog.int8)",
       "2+2 0 1 order 2dn,3 limit lit0"},
      {"select order_id as total, total as x from orders order by total",  // the output's name comes first
       "select order_id as total, total as x, order_id AS \"decan:0\" from orders WHERE «G» order by total",
       "2+1 0 1 order 2"},
      {"select total from orders order by 1",
       "select total, total AS \"decan:0\" from orders WHERE «G» order by 1", "1+1 0 order 1"},
      {"select * from orders order by 3 nulls first",
       "select *, \"orders\".\"total\" AS \"decan:0\" from orders WHERE «G» order by 3 nulls first",
       "5+1 0 1 2 3 4 order 5n"},
      {"select note from orders order by note collate \"C\" desc nulls last",
       "select note, note collate \"C\" AS \"decan:0\" from orders WHERE «G» order by note collate \"C\" "
       "desc nulls last",
       "1+1 0 order 1dC"},
      {"select note from orders order by lower(note), -total asc",
       "select note, lower(note) AS \"decan:0\", -total AS \"decan:1\" from orders WHERE «G» order by "
       "lower(note), -total asc",
       "1+2 0 order 1,2"},
      {"select total from orders limit all offset 4", "select total from orders WHERE «G» ",
       "1+0 0 offset lit0"},
      {"select total from orders limit null", "select total from orders WHERE «G» ", "1+0 0"},
      {"select total from orders order by total fetch first row only",
       "select total, total AS \"decan:0\" from orders WHERE «G» order by total LIMIT ((1)::pg_catalog.int8)",
       "1+1 0 order 1 limit 1"},
      {"select total from orders order by total fetch next 3 rows with ties",
       "select total, total AS \"decan:0\" from orders WHERE «G» order by total FETCH FIRST "
       "((3)::pg_catalog.int8) ROWS WITH TIES",
       "1+1 0 order 1 limit lit0 ties"},
      {"select total from orders limit 3 offset 2",
       "select total from orders WHERE «G» LIMIT (CASE WHEN (3)::pg_catalog.int8 OPERATOR(pg_catalog.<) "
       "4611686018427387904 AND "
       "coalesce((2)::pg_catalog.int8, 0) OPERATOR(pg_catalog.<) 4611686018427387904 THEN "
       "(3)::pg_catalog.int8 OPERATOR(pg_catalog.+) "
       "coalesce((2)::pg_catalog.int8, 0) END)",
       "1+0 0 limit lit0 offset lit1"},
  });
}

TEST(Scatter, Aggregates) {
  check({
      {"select count(*) from orders", "select count(*) AS \"decan:0\" from orders WHERE «G»",
       "0+1 group() count:0"},
      {"select note, count(*) n, sum(total), avg(total), min(order_id), bool_or(total > 5) from orders group "
       "by note",
       "select note, min(order_id), note AS \"decan:0\", count(*) AS \"decan:1\", sum(total) AS \"decan:2\", "
       "pg_catalog.sum(total) AS \"decan:3\", "
       "pg_catalog.count(total) AS \"decan:4\", min(order_id) AS \"decan:5\", bool_or(total > 5) AS "
       "\"decan:6\" from orders WHERE «G» GROUP BY (note)",
       "2+7 group(2) 0 count:3 sum:4 avg:5/6 min:1/7 or:8"},
      {"select upper(note) u, count(*) filter (where total > 1) from orders where total > 0 group by u "
       "having count(*) > 5 order by 2 desc, u limit 3",
       "select upper(note), upper(note) AS \"decan:0\", count(*) filter (where total > 1) AS \"decan:1\", "
       "count(*) AS \"decan:2\" from orders where «G» AND "
       "(total > 0) GROUP BY (upper(note))   ",
       "1+3 group(1) 0 count:2 order out1dn,1 limit 3 having count:3>5"},
      {"select 'all' as what, count(*) from orders group by 1",
       "select 'all', ('all')::pg_catalog.text AS \"decan:0\", count(*) AS \"decan:1\" from orders "
       "WHERE «G» GROUP BY (('all')::pg_catalog.text)",
       "1+2 group(1) 0 count:2"},
      {"select count(distinct customer_id), max(distinct total) from orders",
       "select max(distinct total), count(distinct customer_id) AS \"decan:0\", max(distinct total) AS "
       "\"decan:1\" from orders WHERE «G»",
       "1+2 group() count:1 max:0/2"},
      {"select max(s) from (select customer_id, sum(total) s from orders group by customer_id) q",
       "select max(s), max(s) AS \"decan:0\" from (select customer_id, sum(total) s from orders group by "
       "customer_id) q WHERE «G»",
       "1+1 group() max:0/1"},
  });
}

TEST(Scatter, Distinct) {
  check({
      {"select distinct note from orders order by note limit 5",
       "select distinct note, note AS \"decan:0\" from orders WHERE «G» order by note LIMIT "
       "((5)::pg_catalog.int8)",
       "1+1 group(1) 0 order 1 limit lit0"},
      {"select distinct customer_id, note from orders order by 2",  // holds the key: nothing to merge
       "select distinct customer_id, note, note AS \"decan:0\" from orders WHERE «G» order by 2",
       "2+1 0 1 order 2"},
      {"select distinct on (customer_id) customer_id, total from orders order by customer_id, created desc",
       "select distinct on (customer_id) customer_id, total, customer_id AS \"decan:0\", created AS "
       "\"decan:1\" from orders WHERE «G» order by customer_id, created desc",
       "2+2 0 1 order 2,3dn"},
  });
}

TEST(Scatter, GroupsOfTheKeyArePushedDownWhole) {
  check({
      {"select customer_id, my_median(total), round(avg(total), 2) from orders group by customer_id having "
       "sum(total) > 10 order by 2 desc limit 2",
       "select customer_id, my_median(total), round(avg(total), 2), my_median(total) AS \"decan:0\" from "
       "orders WHERE «G» group by customer_id having "
       "sum(total) > 10 order by 2 desc LIMIT ((2)::pg_catalog.int8)",
       "3+1 0 1 2 order 3dn limit 2"},
  });
}

TEST(Scatter, WindowsOverTheKey) {
  check({
      {"select order_id, rank() over (partition by customer_id order by total) r from orders order by r",
       "select order_id, rank() over (partition by customer_id order by total) r, rank() over (partition by "
       "customer_id order by total) AS \"decan:0\" "
       "from orders WHERE «G» order by r",
       "2+1 0 1 order 2"},
      {"select sum(total) over w from orders window w as (partition by customer_id, note)",
       "select sum(total) over w from orders WHERE «G» window w as (partition by customer_id, note)",
       "1+0 0"},
  });
}

TEST(Scatter, SubQueriesTiedToTheKey) {
  for (const std::string sql : {
           "select * from orders o where exists (select 1 from items i where i.customer_id = o.customer_id "
           "and qty > 5)",
           "select * from orders o where not exists (select 1 from items i where i.customer_id = "
           "o.customer_id)",
           "select *, (select max(qty) from items i where i.customer_id = o.customer_id limit 1) from orders "
           "o",
           "select * from orders where customer_id in (select customer_id from customers where region = 'x')",
           "select *, (select label from countries c where c.code = o.note) from orders o",
           "select * from orders where note in (select code from countries)",
           "select q.s, c.name from (select customer_id k, sum(total) s from orders group by customer_id) q "
           "join customers c on c.customer_id = q.k",
           "with t as (select customer_id, sum(total) s from orders group by 1) select c.name, t.s from t "
           "join customers c using (customer_id)",
           "select * from customers c left join (select distinct customer_id from orders) o on o.customer_id "
           "= c.customer_id",
           "select * from orders o, lateral (select i.sku from items i where i.customer_id = o.customer_id) "
           "l",
           "select * from orders o, unnest(array[1,2]) u",
       }) {
    const RunResult r = plan_and_run(sql);
    EXPECT_EQ(r.error, "") << sql;
    EXPECT_EQ(r.targets.size(), 2u) << sql;
  }
}

TEST(Scatter, KeysNarrowTheUnits) {
  const RunResult all = plan_and_run("select count(*) from orders where customer_id in (1,2,3,4,5,6,7,8)");
  EXPECT_EQ(all.targets.size(), 2u);
  const RunResult one = plan_and_run("select count(*) from orders where customer_id in (5, 5)");
  ASSERT_EQ(one.error, "");
  EXPECT_EQ(one.plan->action, Action::kScatter);
  ASSERT_EQ(one.texts.size(), 1u);
  EXPECT_EQ(one.texts[0].find("select count(*) from decan_shard.orders_"), 0u);  // whole, nothing to merge
}

TEST(Scatter, OneClockForAllUnits) {
  const std::string now = "('2026-11-20 11:05:00+00'::pg_catalog.timestamptz)";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"select now() from orders", "select " + now + " from orders WHERE «G»"},
      {"select order_id from orders where created > current_timestamp - interval '1 day'",
       "select order_id from orders where «G» AND (created > " + now + " - interval '1 day')"},
      {"select count(*) from orders where created > current_date",
       "select count(*) AS \"decan:0\" from orders where «G» AND (created > (" + now + "::pg_catalog.date))"},
      {"select note from orders order by now() - created",
       "select note, " + now + " - created AS \"decan:0\" from orders WHERE «G» order by " + now +
           " - created"},
      {"update orders set created = now()", "update orders set created = " + now + " WHERE «G»"},
      {"insert into countries values ('a', localtime::text)",
       "insert into countries values ('a', (" + now + "::pg_catalog.time)::text)"},
  };
  for (const auto& [sql, text] : cases) {
    const RunResult r = plan_and_run(sql);
    ASSERT_EQ(r.error, "") << sql;
    EXPECT_TRUE(r.plan->needs_now) << sql;
    EXPECT_EQ(shortened(r.texts.at(0)), text);
  }
  EXPECT_EQ(plan_and_run("select now(), current_date, now()::date from orders").plan->merge->output[2].name,
            "now");
  for (const std::string sql :
       {"select * from orders where created > 'today'", "select * from orders where created > ' Now '",
        "update orders set created = 'yesterday'", "insert into countries values ('tomorrow', 'x')",
        "select * from orders where created > '10:00 tomorrow'"})
    EXPECT_EQ(plan_and_run(sql).sqlstate, "0A000") << sql;
  EXPECT_EQ(plan_and_run("select * from orders where note = 'today'").error, "");
  EXPECT_EQ(plan_and_run("select * from orders where created > 'today' and customer_id = 5").error, "");
  EXPECT_EQ(plan_and_run("select * from orders where created > $1",
                         std::vector<ParameterValue>{{false, false, 0, "now"}})
                .sqlstate,
            "0A000");
}

TEST(ScatterWrite, EveryUnitWritesItsOwnRows) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"update orders set total = total * 2 where total < 5 returning order_id, total",
       "update orders set total = total * 2 where «G» AND (total < 5) returning order_id, total"},
      {"delete from orders", "delete from orders WHERE «G»"},
      {"delete from orders using countries c where c.code = orders.note",
       "delete from orders using countries c where «G» AND (c.code = orders.note)"},
      {"update orders o set note = c.name from customers c where c.customer_id = o.customer_id",
       "update orders o set note = c.name from customers c where «G» AND (c.customer_id = o.customer_id)"},
      {"insert into orders (customer_id, total) select customer_id, sum(total) from orders group by "
       "customer_id",
       "insert into orders (customer_id, total) select customer_id, sum(total) from orders WHERE «G» group "
       "by customer_id"},
      {"update orders set total = (select sum(qty) from items i where i.customer_id = orders.customer_id) "
       "where note is null",
       "update orders set total = (select sum(qty) from items i where i.customer_id = orders.customer_id) "
       "where «G» AND (note is null)"},
  };
  for (const auto& [sql, text] : cases) {
    const RunResult r = plan_and_run(sql);
    ASSERT_EQ(r.error, "") << sql;
    EXPECT_EQ(r.plan->action, Action::kScatterWrite) << sql;
    EXPECT_TRUE(r.plan->effects.writes);
    ASSERT_EQ(r.texts.size(), 2u) << sql;
    EXPECT_EQ(shortened(r.texts[0]), text);
  }
}

TEST(ScatterWrite, BroadcastTablesAreWrittenEverywhere) {
  for (const std::string sql :
       {"insert into countries values ('a', 'b'), ('c', 'd')",
        "update countries set label = upper(label) where code = 'x'", "delete from countries",
        "insert into rates (id, rate) values (1, 2) on conflict (id) do update set rate = 3",
        "insert into countries select code || 'x', label from countries"}) {
    const RunResult r = plan_and_run(sql);
    ASSERT_EQ(r.error, "") << sql;
    EXPECT_EQ(r.plan->action, Action::kScatterWrite) << sql;
    EXPECT_TRUE(r.plan->broadcast_write);
    EXPECT_EQ(r.texts, (std::vector<std::string>{sql, sql}));
  }
}

}  // namespace
}  // namespace decan::plan
