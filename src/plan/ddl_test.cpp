// On which units DDL runs, and what it may not break.
#include <gtest/gtest.h>

#include "plan/test_run.h"

namespace decan::plan {
namespace {

using testing::plan_and_run;
using testing::RunResult;

constexpr auto kHome = DdlSpec::Scope::kHome;
constexpr auto kUnit = DdlSpec::Scope::kUnit;
constexpr auto kAll = DdlSpec::Scope::kAllUnits;

struct Case {
  std::string sql;
  DdlSpec::Scope scope;
  std::string tag;
  Action action = Action::kDdl;
};

TEST(Ddl, Scopes) {
  const std::vector<Case> cases = {
      {"create table t (id int primary key, c text references countries(code))", kHome, "CREATE TABLE"},
      {"create table if not exists t (id int references settings(id))", kHome, "CREATE TABLE"},
      {"create table t (like orders including all)", kHome, "CREATE TABLE"},
      {"create table t as select * from countries", kHome, "CREATE TABLE AS"},
      {"select * into t from settings", kHome, "SELECT INTO"},
      {"create materialized view m as select * from settings", kHome, "CREATE MATERIALIZED VIEW"},
      {"create view v as select * from settings", kHome, "CREATE VIEW"},
      {"create view v as select * from archive", kUnit, "CREATE VIEW"},
      {"create view v as select * from orders join countries on true", kAll, "CREATE VIEW"},
      {"create or replace view v as select * from all_orders", kAll, "CREATE VIEW"},
      {"alter table orders add column x int default 5", kAll, "ALTER TABLE"},
      {"alter table orders add column x timestamptz default now()", kAll, "ALTER TABLE"},
      {"alter table countries add column x int default 5", kAll, "ALTER TABLE"},
      {"alter table settings add column x int", kHome, "ALTER TABLE"},
      {"alter table archive add column x int", kUnit, "ALTER TABLE"},
      {"alter table orders add unique (customer_id, order_id)", kAll, "ALTER TABLE"},
      {"alter table orders add foreign key (customer_id) references customers (customer_id)", kAll,
       "ALTER TABLE"},
      {"alter table orders add foreign key (note) references countries (code)", kAll, "ALTER TABLE"},
      {"alter table orders rename to orders2", kAll, "ALTER TABLE"},
      {"alter table orders rename column note to remark", kAll, "ALTER TABLE"},
      {"alter table settings rename to s2", kHome, "ALTER TABLE"},
      {"alter table orders owner to bob", kAll, "ALTER TABLE"},
      {"alter table orders set schema other", kAll, "ALTER TABLE"},
      {"create index on orders (total)", kAll, "CREATE INDEX"},
      {"create unique index i on orders (customer_id, order_id)", kAll, "CREATE INDEX"},
      {"create index on settings (k)", kHome, "CREATE INDEX"},
      {"create index concurrently on settings (k)", kHome, "CREATE INDEX", Action::kDdlConcurrent},
      {"drop table orders, countries", kAll, "DROP TABLE"},
      {"lock table orders in access share mode", kHome, "LOCK TABLE"},
      {"lock table orders", kAll, "LOCK TABLE"},
      {"drop table orders, settings", kAll, "DROP TABLE"},
      {"create table t (customer_id bigint references customers)", kHome, "CREATE TABLE"},
      {"drop table settings", kHome, "DROP TABLE"},
      {"drop table archive", kUnit, "DROP TABLE"},
      {"drop table if exists orders, settings, nobody", kAll, "DROP TABLE"},
      {"drop table nobody", kHome, "DROP TABLE"},
      {"drop view all_orders", kAll, "DROP VIEW"},
      {"drop view country_names", kAll, "DROP VIEW"},
      {"drop index concurrently if exists no_index", kHome, "DROP INDEX", Action::kDdlConcurrent},
      {"drop trigger t on orders", kAll, "DROP TRIGGER"},
      {"drop policy p on settings", kHome, "DROP POLICY"},
      {"truncate orders, customers restart identity", kAll, "TRUNCATE TABLE"},
      {"truncate settings", kHome, "TRUNCATE TABLE"},
      {"grant select on orders to bob", kAll, "GRANT"},
      {"revoke all on settings from bob", kHome, "REVOKE"},
      {"grant usage on schema public to bob", kAll, "GRANT"},
      {"grant select on all tables in schema public to bob", kAll, "GRANT"},
      {"grant admin to bob", kAll, "GRANT ROLE"},
      {"comment on table orders is 'x'", kAll, "COMMENT"},
      {"comment on column settings.k is 'x'", kHome, "COMMENT"},
      {"comment on schema public is 'x'", kAll, "COMMENT"},
      {"create trigger t before insert on orders for each row execute function f()", kAll, "CREATE TRIGGER"},
      {"create policy p on orders using (true)", kAll, "CREATE POLICY"},
      {"create statistics s on note, total from orders", kAll, "CREATE STATISTICS"},
      {"create rule r as on insert to settings do nothing", kHome, "CREATE RULE"},
      {"create schema s", kAll, "CREATE SCHEMA"},
      {"drop schema s cascade", kAll, "DROP SCHEMA"},
      {"create type mood as enum ('sad', 'ok')", kAll, "CREATE TYPE"},
      {"create type pair as (a int, b int)", kAll, "CREATE TYPE"},
      {"alter type mood add value 'happy'", kAll, "ALTER TYPE"},
      {"create domain d as int check (value > 0)", kAll, "CREATE DOMAIN"},
      {"create extension hstore", kAll, "CREATE EXTENSION"},
      {"create aggregate a (int) (sfunc = f, stype = int)", kAll, "CREATE AGGREGATE"},
      {"create collation c (locale = 'C')", kAll, "CREATE COLLATION"},
      {"create operator + (leftarg = mood, rightarg = mood, function = f)", kAll, "CREATE OPERATOR"},
      {"create cast (mood as int) with function f(mood)", kAll, "CREATE CAST"},
      {"create text search configuration t (copy = english)", kAll, "CREATE TEXT SEARCH CONFIGURATION"},
      {"create function f() returns int language sql as 'select 1'", kAll, "CREATE FUNCTION"},
      {"create function f() returns setof settings language sql as 'select * from settings'", kHome,
       "CREATE FUNCTION"},
      {"create procedure p() language plpgsql as $$ begin insert into settings values (1); end $$", kHome,
       "CREATE PROCEDURE"},
      {"drop function f()", kAll, "DROP FUNCTION"},
      {"create sequence s", kHome, "CREATE SEQUENCE"},
      {"alter sequence order_seq restart", kHome, "ALTER SEQUENCE"},
      {"create role bob login", kAll, "CREATE ROLE"},
      {"drop role bob", kAll, "DROP ROLE"},
      {"alter role bob set work_mem = '1MB'", kAll, "ALTER ROLE"},
      {"alter default privileges grant select on tables to bob", kAll, "ALTER DEFAULT PRIVILEGES"},
      {"reassign owned by bob to alice", kAll, "REASSIGN OWNED"},
      {"drop owned by bob", kAll, "DROP OWNED"},
      {"lock table orders in share mode", kAll, "LOCK TABLE"},
      {"analyze orders", kAll, "ANALYZE"},
      {"vacuum settings", kHome, "VACUUM", Action::kDdlConcurrent},
      {"vacuum", kAll, "VACUUM", Action::kDdlConcurrent},
      {"reindex table orders", kAll, "REINDEX", Action::kDdlConcurrent},
      {"cluster settings", kHome, "CLUSTER", Action::kDdlConcurrent},
      {"checkpoint", kAll, "CHECKPOINT", Action::kDdlConcurrent},
      {"create database d", kAll, "CREATE DATABASE", Action::kDdlConcurrent},
      {"drop database if exists d", kAll, "DROP DATABASE", Action::kDdlConcurrent},
      {"alter database d set work_mem = '1MB'", kAll, "ALTER DATABASE"},
      {"refresh materialized view m", kHome, "REFRESH MATERIALIZED VIEW"},
  };
  for (const Case& c : cases) {
    const RunResult r = plan_and_run(c.sql);
    ASSERT_EQ(r.error, "") << c.sql;
    EXPECT_EQ(r.plan->action, c.action) << c.sql;
    EXPECT_EQ(r.plan->tag, c.tag) << c.sql;
    ASSERT_TRUE(std::holds_alternative<DdlSpec>(r.plan->detail)) << c.sql;
    const auto& spec = std::get<DdlSpec>(r.plan->detail);
    EXPECT_EQ(spec.scope, c.scope) << c.sql;
    if (c.scope == kUnit) EXPECT_EQ(spec.unit, UnitId{1}) << c.sql;
  }
}

TEST(Ddl, Details) {
  const auto spec = [](const std::string& sql) { return std::get<DdlSpec>(plan_and_run(sql).plan->detail); };
  EXPECT_TRUE(spec("create temp table t (id int)").creates_temp);
  EXPECT_TRUE(spec("create temporary view v as select * from settings").creates_temp);
  EXPECT_FALSE(spec("create table t (id int)").creates_temp);
  EXPECT_FALSE(spec("truncate orders").changes_catalog);
  EXPECT_TRUE(spec("alter table orders add column x int").changes_catalog);
  const std::string sql = "create role bob login password 'it''s' valid until 'infinity'";
  const auto password = spec(sql).password;
  ASSERT_TRUE(password);
  EXPECT_EQ(sql.substr(password->offset, password->bytes), "'it''s'");
  EXPECT_EQ(password->role, "bob");
  EXPECT_FALSE(spec("alter role bob password null").password);
  EXPECT_EQ(spec("alter table only orders add constraint pk primary key (customer_id, order_id)").unit_sql,
            "alter table  orders add constraint pk primary key (customer_id, order_id)");
  EXPECT_EQ(spec("drop function f(int)").others_sql,
            "DO 'BEGIN EXECUTE ''drop function f(int)''; EXCEPTION WHEN undefined_function OR "
            "undefined_object THEN NULL; END'");
  EXPECT_EQ(spec("/* x */ drop table orders, settings, countries cascade").others_sql,
            "/* x */ drop table IF EXISTS orders, settings, countries cascade");
  EXPECT_EQ(spec("drop table orders, countries").others_sql, "");
  EXPECT_EQ(plan_and_run("create database shop2").plan->name, "shop2");
}

TEST(Ddl, RefusesWhatWouldBreakPlacement) {
  for (const std::string sql : {
           "alter table settings add foreign key (k) references orders",
           "create table t (x text references archive(k))",
           "create table t partition of orders for values with (modulus 8, remainder 0)",
           "create table t () inherits (orders)",
           "create table t as select * from orders",
           "create table t as select * from archive",
           "select * into t from orders",
           "create materialized view m as select * from orders",
           "create view v as select * from orders, settings",
           "create view v as select * from settings, archive",
           "alter table orders drop column customer_id",
           "alter table orders alter column customer_id type int",
           "alter table orders add unique (order_id)",
           "alter table orders add primary key (order_id)",
           "alter table orders add column x int unique",
           "alter table orders add column x int references settings(id)",
           "alter table orders add exclude using gist (note with =)",
           "alter table orders add foreign key (order_id) references events (id)",
           "alter table orders add foreign key (order_id) references customers (customer_id)",
           "alter table orders add foreign key (note) references settings (k)",
           "alter table countries add foreign key (code) references customers (name)",
           "alter table countries add foreign key (code) references settings (k)",
           "alter table countries add column x timestamptz default now()",
           "alter table countries add column x double precision default random()",
           "alter table countries add column x serial",
           "alter table settings add foreign key (k) references orders (note)",
           "alter table orders attach partition x default",
           "alter table orders detach partition x",
           "alter table orders inherit x",
           "create unique index on orders (order_id)",
           "create index concurrently on orders (order_id)",
           "create rule r as on insert to orders do nothing",
           "create rule r as on insert to countries do nothing",
           "drop table settings, archive",
           "truncate orders, settings",
           "grant select on orders, settings to bob",
           "create schema s create table t (id int)",
           "alter system set work_mem = '1MB'",
           "create tablespace t location '/x'",
           "create publication p for all tables",
           "alter database shop rename to shop2",
       }) {
    const RunResult r = plan_and_run(sql);
    EXPECT_EQ(r.sqlstate, "0A000") << sql;
    EXPECT_NE(r.error, "") << sql;
  }
}

}  // namespace
}  // namespace decan::plan
