// Every kind of statement that can not be answered exactly is refused with 0A000, a reason and, mostly, a
// hint.
#include <gtest/gtest.h>

#include "plan/test_run.h"

namespace decan::plan {
namespace {

using testing::plan_and_run;
using testing::RunResult;

struct Case {
  std::string sql, reason;  // part of the message
};

void check(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    const RunResult r = plan_and_run(c.sql);
    EXPECT_EQ(r.sqlstate, "0A000") << c.sql << " -> " << (r.texts.empty() ? "" : r.texts[0]);
    EXPECT_NE(r.error.find(c.reason), std::string::npos) << c.sql << " -> " << r.error;
  }
}

TEST(Refusal, JoinsThatLeaveTheUnit) {
  check({
      {"select * from orders o join items i on i.order_id = o.order_id",
       "without equality of their sharding keys"},
      {"select * from orders, customers", "without equality of their sharding keys"},
      {"select * from orders o join customers c on c.customer_id > o.customer_id",
       "without equality of their sharding keys"},
      {"select * from orders o join customers c on c.customer_id = o.customer_id or true",
       "without equality"},
      {"select * from orders o left join customers c on c.name = o.note",
       "without equality of their sharding keys"},
      {"select * from orders o left join customers c on true where c.customer_id = o.customer_id",
       "without equality"},
      {"select * from orders o full join customers c on c.name = o.note",
       "without equality of their sharding keys"},
      {"select * from orders o join events e on e.body = o.note", "without equality of their sharding keys"},
      {"select * from orders o join pairs p on p.a = o.customer_id",
       "without equality of their sharding keys"},
      {"select * from pairs p join pairs q on p.a = q.a",
       "without equality of their sharding keys"},  // half of the key
      {"select * from orders natural join customers", "NATURAL JOIN"},
      {"select * from countries c left join orders o on o.note = c.code",
       "outer join keeps rows of a broadcast table"},
      {"select * from orders o right join countries c on o.note = c.code",
       "outer join keeps rows of a broadcast table"},
      {"select * from orders o full join countries c on o.note = c.code",
       "outer join keeps rows of a broadcast table"},
      {"select * from orders join settings on true", "on one unit only"},
      {"select * from orders join pg_class on true", "on one unit only"},
      {"select * from settings s join archive a on true", "different storage units"},
      {"select * from orders o join country_names n on true", "the view \"country_names\""},
      {"select * from orders o, generate_series(1, (random() * 3)::int) g", "a function in FROM"},
  });
}

TEST(Refusal, SubQueriesThatNeedOtherUnits) {
  check({
      {"select * from orders where order_id in (select order_id from items)", "key is not tied"},
      {"select * from orders where customer_id not in (select customer_id from items)", "key is not tied"},
      {"select * from orders where total > (select avg(total) from orders)", "key is not tied"},
      {"select *, (select count(*) from items) from orders", "key is not tied"},
      {"select * from orders o where exists (select 1 from items i where i.order_id = o.order_id)",
       "key is not tied"},
      {"select * from orders o where customer_id = 5 or customer_id in (select customer_id from items)",
       "key is not tied"},
      {"select * from countries where code in (select note from orders)",
       "a sub-query reads a sharded table"},
      {"select (select count(*) from orders)", "a sub-query reads a sharded table"},
      {"select * from orders where note = (select label from countries limit 1)", "picks rows by an order"},
      {"select * from orders where note = (select string_agg(label, ',') from countries)",
       "picks rows by an order"},
      {"select * from orders where total > (select random())", "another value on every storage unit"},
      {"select * from orders o where note = (select k from settings limit 1)", "on one unit only"},
      {"select * from (select * from orders limit 5) q", "LIMIT"},
      {"select * from (select sum(total) s from orders) q", "without grouping by the sharding key"},
      {"select * from (select note, count(*) from orders group by note) q",
       "without grouping by the sharding key"},
      {"select * from (select distinct note from orders) q", "DISTINCT in a sub-query"},
      {"select * from (select order_id from orders union select order_id from items) q",
       "set operation other than UNION ALL"},
      {"select * from (select my_fn(total) from orders) q", "may be an aggregate"},
      {"select * from (select row_number() over (order by total) from orders) q",
       "without grouping by the sharding key"},
      {"with recursive t as (select order_id from orders union all select order_id + 1 from t where order_id "
       "< 5) select * from t",
       "recursive"},
      {"with d as (delete from orders returning *) select * from d", "data-modifying WITH"},
      {"with d as (update countries set label = 'x' returning *) select * from d",
       "broadcast table can not be written in WITH"},
      {"select order_id from orders union select order_id from items", "UNION, INTERSECT and EXCEPT"},
      {"select order_id from orders intersect select order_id from items", "UNION, INTERSECT and EXCEPT"},
      {"select note from orders union all select code from countries", "a sharded and a broadcast table"},
      {"select order_id from orders union all select order_id from items order by 1",
       "ORDER BY over UNION ALL"},
      {"values (1), ((select count(*) from orders))", "this form of query"},
  });
}

TEST(Refusal, AggregatesAndWindows) {
  check({
      {"select string_agg(note, ',') from orders", "string_agg()"},
      {"select array_agg(note) from orders", "array_agg()"},
      {"select stddev(total) from orders", "stddev()"},
      {"select percentile_cont(0.5) within group (order by total) from orders", "percentile_cont()"},
      {"select count(distinct note) from orders", "DISTINCT"},
      {"select sum(distinct total) from orders", "DISTINCT"},
      {"select avg(distinct customer_id) from orders", "DISTINCT"},
      {"select coalesce(sum(total), 0) from orders", "expression over aggregates"},
      {"select sum(total) / count(*) from orders", "expression over aggregates"},
      {"select my_agg(total) from orders", "may be an aggregate"},
      {"select note, count(*) from orders group by note order by sum(total)",
       "ORDER BY of an aggregate that is not in the select list"},
      {"select note, count(*) from orders group by note having sum(total) > avg(total)", "this HAVING"},
      {"select note, count(*) from orders group by note having count(*) > 1 or count(*) = 0", "this HAVING"},
      {"select note, count(*) from orders group by note having count(*) > 1 and note > 'a'", "this HAVING"},
      {"select note, total, count(*) from orders group by note", "must appear in GROUP BY"},
      {"select note, random(), count(*) from orders group by note", "must appear in GROUP BY"},
      {"select count(*) from orders group by rollup (note)", "GROUPING SETS"},
      {"select count(*) from orders group by grouping sets ((note), ())", "GROUPING SETS"},
      {"select distinct count(*) from orders group by note", "DISTINCT or window functions over aggregates"},
      {"select rank() over (order by total) from orders", "must be partitioned by the sharding key"},
      {"select sum(total) over (partition by note) from orders", "must be partitioned by the sharding key"},
      {"select sum(count(*)) over () from orders group by note", "must be partitioned by the sharding key"},
      {"select distinct on (note) * from orders order by note", "DISTINCT ON"},
      {"select distinct random() from orders", "DISTINCT of a volatile function"},
      {"select note from orders order by random()", "ORDER BY of a volatile function"},
      {"select o.customer_id, count(*) from customers c left join orders o using (customer_id) group by "
       "o.customer_id having max(c.name) > 'a' or true",
       "this HAVING"},
  });
}

TEST(Refusal, ValuesOfOneServer) {
  check({
      {"select nextval('order_seq'), * from orders", "nextval()"},
      {"select pg_advisory_lock(order_id) from orders", "pg_advisory_lock()"},
      {"select pg_backend_pid(), total from orders", "one server's session"},
      {"select txid_current(), total from orders", "one server's session"},
      {"select touch(), total from orders", "volatile function"},
      {"select ctid from orders", "system column"},
      {"select xmin, * from orders", "system column"},
      {"select tableoid from orders where customer_id = 5", "tableoid"},
      {"select * from orders where note::regclass is null", "regclass"},
      {"select * from orders tablesample system (5)", "TABLESAMPLE"},
      {"select age(created) from orders", "age()"},
      {"select current_timestamp(3) from orders", "precision"},
      {"select * from only orders", "ONLY"},
      {"select * from orders for update limit 5", "FOR UPDATE with LIMIT"},
      {"select * from orders o join countries c on c.code = o.note for update",
       "FOR UPDATE of a broadcast table"},
      {"select * from orders limit 1 + length('a')", "LIMIT of this form"},
      {"select * from orders offset 1.5", "OFFSET of this form"},
  });
}

TEST(Refusal, SpellingsOfOtherFunctionsAreNone) {
  for (const std::string sql :
       {"select 1 == 2", "select 5::other", "select '5'::mood", "select null::smallint", "select '5'::int8",
        "select * from assigned", "select * from checked", "select s.orders from settings s",
        "alter table settings alter column n set default order_count()",
        "alter table settings add constraint c check (a === 1) not valid", "create table x (a known_order)",
        "alter table checked add column b int", "alter domain other add check (value === 1) not valid",
        "create index on checked (a)", "create temp table x (a int)",
        "do $$ begin perform 1 == 2; perform count(*) from checked; end $$", "execute p(1 + 2)"}) {
    const RunResult r = plan_and_run(sql);
    EXPECT_EQ(r.sqlstate, "") << sql << " -> " << r.error;
  }
}

TEST(Refusal, HiddenTables) {
  check({
      {"select * from all_orders", "view \"all_orders\""},
      {"select order_count()", "function order_count()"},
      {"select * from settings where v > public.order_count()", "function public.order_count()"},
      {"copy all_orders to stdout", "view \"all_orders\""},
      {"select 1 === 2", "operator ==="},
      {"select 1 operator(public.===) 2 from orders where customer_id = 1", "operator ==="},
      {"select a === any (select v from settings) from settings", "operator ==="},
      {"select a from settings order by a using ===", "operator ==="},
      {"select 5::known_order", "a cast to type known_order"},
      {"select '5'::public.known_order[]", "a cast to type known_order"},
      {"select known_order('5')", "a cast to type known_order"},
      {"select known_order '5' from orders", "a cast to type known_order"},
      {"select * from jsonb_to_record('{}') r(a known_order)", "a cast to type known_order"},
      {"explain select 5::known_order", "a cast to type known_order"},
      {"declare c cursor for select 5::known_order", "a cast to type known_order"},
      {"copy (select 5::known_order) to stdout", "a cast to type known_order"},
      {"create temp table x as select 5::known_order", "reads tables of other storage units"},
      {"select v::mood from settings", "a cast to type mood"},
      {"select v::smallint from settings", "a cast to type int2"},
      {"select s.order_count from settings s", "function order_count()"},
      {"select (s).order_count from settings s", "function order_count()"},
      {"insert into checked values (1)", "a trigger, default or constraint of \"checked\""},
      {"update checked set v = 1", "a trigger, default or constraint of \"checked\""},
      {"copy checked from stdin", "a trigger, default or constraint of \"checked\""},
      {"select * from moods", "a policy, or a cast or comparison of values, of \"moods\""},
      {"insert into settings select * from assigned",
       "a policy, or a cast or comparison of values, of \"assigned\""},
      {"call touch_all(5 === 6)", "operator ==="},
      {"execute p(order_count())", "function order_count()"},
      {"do $$ begin perform 1 === 2; end $$", "operator ==="},
      {"do $$ begin perform 'order_count()'; end $$", "function order_count()"},
      {"do $$ declare a known_order; begin end $$", "a cast to type known_order"},
      {"do $$ begin insert into checked values (1); end $$",
       "a trigger, default or constraint of \"checked\""},
      {"do $$ begin delete from orders; end $$", "DO block"},
      {"do $$ begin execute 'select 1 from orders'; end $$", "DO block"},
      {"do $$ begin update countries set label = 'x'; end $$", "DO block"},
      {"alter table settings add column n bigint default order_count()", "function order_count()"},
      {"alter table orders add column n known_order", "a cast to type known_order"},
      {"alter table settings add check (a === 1)", "operator ==="},
      {"alter table settings add check (query_to_xml('', true, true, '') is null)",
       "function query_to_xml()"},
      {"alter table checked validate constraint c", "of \"checked\""},
      {"alter table checked alter column a type text", "of \"checked\""},
      {"alter table settings alter column a type bigint using order_count()", "function order_count()"},
      {"create index on settings (order_count())", "function order_count()"},
      {"create temp table x (a bigint default order_count())", "function order_count()"},
      {"create temp table x (like checked)", "of \"checked\""},
      {"create temp table x as select 1 from checked", "of \"checked\""},
      {"create temp view x as select order_count()", "function order_count()"},
      {"create temp view x as select * from all_orders", "of \"all_orders\""},
      {"alter table pg_temp.x alter a set default order_count()", "function order_count()"},
      {"create event trigger e on ddl_command_end execute function order_count()", "function order_count()"},
      {"create trigger t before insert on pg_temp.x for each row execute function order_count()",
       "function order_count()"},
      {"alter domain other add check (value === 1)", "operator ==="},
      {"alter domain known_order validate constraint c", "domain known_order"},
      {"call order_count()", "procedure order_count()"},
      {"select query_to_xml('select * from orders', true, false, '')", "runs SQL that it puts together"},
      {"select * from ts_stat('select v from orders')", "runs SQL that it puts together"},
      {"select ts_rewrite('a', 'select a, b from orders')", "runs SQL that it puts together"},
      {"do $$ begin execute 'select ' || x; end $$", "puts SQL together"},
      {"do $$ begin execute format('select from %I', x); end $$", "puts SQL together"},
      {"do $$ begin perform database_to_xml(true, false, ''); end $$", "puts SQL together"},
  });
}

TEST(Refusal, Writes) {
  check({
      {"update orders set customer_id = 6 where customer_id = 5", "can not be changed by UPDATE"},
      {"update orders set customer_id = customer_id + 1", "can not be changed by UPDATE"},
      {"update pairs set b = 'y' where a = 1 and b = 'x'", "can not be changed by UPDATE"},
      {"update orders set (total, customer_id) = (1, 2) where customer_id = 1",
       "can not be changed by UPDATE"},
      {"insert into customers (customer_id) values (1) on conflict (customer_id) do update set customer_id = "
       "2",
       "can not be changed"},
      {"update orders set total = 1 from items i where i.order_id = orders.order_id",
       "without equality of their sharding keys"},
      {"update orders set total = (select max(total) from orders)", "key is not tied"},
      {"delete from orders using settings s where s.k = orders.note", "on one unit only"},
      {"delete from orders where ctid = '(0,1)'", "system column"},
      {"update orders set note = nextval('order_seq')::text", "nextval()"},
      {"update orders set note = touch()::text", "touch()"},
      {"insert into orders (customer_id) select order_id from orders",
       "would move rows between storage units"},
      {"insert into orders (customer_id) select customer_id + 1 from orders",
       "would move rows between storage units"},
      {"insert into orders (customer_id) select 5 from customers", "would move rows between storage units"},
      {"insert into events (id) select id from events limit 5", "would move rows between storage units"},
      {"insert into auto (v) values (1)", "default value"},
      {"insert into auto values (default, 1)", "default value"},
      {"insert into orders default values", "DEFAULT VALUES"},
      {"insert into orders (customer_id) values ((select 5))", "is not known here"},
      {"insert into orders (customer_id) values (5 + 1)", "is not known here"},
      {"insert into orders (customer_id, total) values (5, (select max(total) from orders))",
       "sub-query on a sharded table"},
      {"merge into orders o using countries c on o.note = c.code when matched then delete", "MERGE"},
      {"update orders set total = 1 where current of c", "CURRENT OF"},
      {"update countries set label = random()::text", "random()"},
      {"insert into countries values (gen_random_uuid()::text, 'x')", "gen_random_uuid()"},
      {"insert into countries values (my_fn(), 'x')", "my_fn()"},
      {"insert into rates (rate) values (1)", "default of column \"id\""},
      {"insert into rates values (default, 1)", "default of column \"id\""},
      {"insert into countries select note, note from orders", "can not read a sharded table"},
      {"insert into countries select k, k from settings", "on one unit only"},
      {"insert into countries select * from countries limit 1", "picks rows by an order"},
      {"update countries set label = r.rate::text from rates r", "may pick another row"},
      {"delete from countries where ctid = '(0,1)'", "system column"},
      {"merge into countries c using rates r on true when matched then delete", "MERGE"},
      {"insert into settings select * from archive", "different storage units"},
      {"with d as (delete from orders returning *) insert into orders select * from d",
       "data-modifying WITH"},
  });
}

TEST(Refusal, CopyAndCursors) {
  check({
      {"copy orders (order_id) from stdin", "needs its sharding key"},
      {"copy new_lines from stdin", "takes no rows before it is distributed"},
      {"insert into new_lines values (1)", "takes no rows before it is distributed"},
      {"with x as (insert into new_lines values (1) returning *) select * from x",
       "takes no rows before it is distributed"},
      {"copy orders from stdin (format csv, force_null (customer_id))", "FORCE_NULL"},
      {"copy orders from stdin (encoding 'latin1')", "ENCODING"},
      {"copy rates (rate) from stdin", "default of column \"id\""},
      {"copy (select * from orders order by 1) to stdout (encoding 'utf8')", "COPY of a query that merges"},
      {"copy (select rank() over (order by total) from orders) to stdout", "window"},
      {"copy (delete from orders returning *) to stdout", "COPY of a write"},
      {"declare c scroll cursor for select * from orders", "cursor over several storage units"},
      {"declare c cursor for select * from orders for update", "cursor over several storage units"},
      {"explain create table t as select 1", "EXPLAIN of this kind"},
      {"explain select * from orders o, items i", "without equality"},
      {"set transaction snapshot 'x'", "SNAPSHOT"},
  });
  EXPECT_EQ(plan_and_run("copy orders from '/etc/passwd'").sqlstate, "42501");
  EXPECT_EQ(plan_and_run("copy orders to program 'cat'").sqlstate, "42501");
}

TEST(Refusal, KeysOfSeveralUnits) {
  // Keys 1 to 8 do not all hash to one unit; what can not be merged is refused when the keys are known.
  check({
      {"select percentile_cont(0.5) within group (order by total) from orders where customer_id in "
       "(1,2,3,4,5,6,7,8)",
       "different storage units"},
      {"select * from orders o, customers c where o.customer_id = 1 and c.customer_id = 2 and o.customer_id "
       "in (1) union all "
       "select * from orders o, customers c where o.customer_id = 3 and c.customer_id = 4",
       "different storage units"},
      {"select * from settings s, orders o where o.customer_id in (1,2,3,4,5,6,7,8)", "another storage unit"},
  });
}

TEST(Refusal, StatementsThatAreTooMuch) {
  std::string deep = "select 1";
  for (int i = 0; i < 3000; ++i) deep += " + 1";
  EXPECT_EQ(plan_and_run(deep).sqlstate, "54001");
  std::string wide = "select * from orders where note = 'x'";
  for (int i = 0; i < 20000; ++i) wide += " or note = 'x'";
  EXPECT_EQ(plan_and_run(wide).error, "");  // one level
  EXPECT_EQ(plan_and_run(std::string("select 1\0, 2", 11)).sqlstate, "22021");
  EXPECT_EQ(plan_and_run("select 'a").sqlstate, "42601");
}

}  // namespace
}  // namespace decan::plan
