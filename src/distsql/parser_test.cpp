#include <gtest/gtest.h>

#include "distsql/distsql.h"
#include "distsql/test_statements.h"

namespace decan::distsql {
namespace {

Statement parsed(std::string_view sql) {
  uint32_t position = 0;
  auto statement = parse(sql, &position);
  EXPECT_TRUE(statement) << sql << "\n" << (statement ? "" : statement.error().message) << " at " << position;
  return statement ? std::move(*statement) : Statement{};
}
template <class T>
T node(std::string_view sql) {
  Statement statement = parsed(sql);
  const T* found = std::get_if<T>(&statement.node);
  EXPECT_NE(found, nullptr) << sql << " is " << statement.tag;
  return found ? *found : T{};
}

// What PostgreSQL's own grammar accepts, or must answer itself.
constexpr const char* kNotOurs[] = {
    "",
    ";",
    "SELECT 1",
    "CREATE TABLE t(a int)",
    "CREATE TABLE sharding(a int)",
    "CREATE DATABASE sharding_db",
    "DROP DATABASE x",
    "CREATE DEFAULT CONVERSION c FOR 'UTF8' TO 'LATIN1' FROM f",
    "CREATE RULE r AS ON INSERT TO t DO NOTHING",
    "ALTER TABLE t ADD a int",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "ALTER DATABASE d SET a = b",
    "ALTER SYSTEM SET x = 1",
    "SHOW search_path",
    "SHOW ALL",
    "SHOW TIME ZONE",
    "SHOW TRANSACTION ISOLATION LEVEL",
    "SHOW SESSION AUTHORIZATION",
    "SHOW sharding",
    "SHOW storage",
    "SHOW storage.x",
    "SHOW sessions.x",
    "SHOW \"sessions\"",
    "SHOW dist",
    "SHOW status;",
    "SHOW table",
    "SET dist = 1",
    "SET dist TO variable",
    "SET dist.variable = 1",
    "SET search_path = a",
    "SET DEFAULT",
    "SET TRANSACTION READ ONLY",
    "LOCK cluster",
    "LOCK TABLE cluster IN SHARE MODE",
    "LOCK cluster IN SHARE MODE",
    "LOAD 'plpgsql'",
    "REFRESH MATERIALIZED VIEW v",
    "IMPORT FOREIGN SCHEMA s FROM SERVER x INTO y",
    "START TRANSACTION",
    "ROLLBACK",
    "ROLLBACK TO migration",
    "COMMIT",
    "COMMIT PREPARED 'x'",
    "CHECKPOINT",
    "DROP TABLE sharding",
    "DROP ROLE migration",
    "EXPLAIN SELECT 1",
    "\"kill\" 1",
    "killer",
    "parser 1",
    "-- KILL 1\nSELECT 1",
    "/* SHOW SESSIONS */ SELECT 1",
    "/* open",
    "'show'",
};

TEST(OnlyShows, WhatChangesNothing) {
  for (const char* sql : {"SHOW STORAGE UNITS", " /* x */ preview SELECT 1", "COUNT SHARDING RULE FROM d"})
    EXPECT_TRUE(only_shows(sql)) << sql;
  for (const char* sql : {"REGISTER STORAGE UNIT u (HOST='h')", "KILL 5", "", "\"show\" x"})
    EXPECT_FALSE(only_shows(sql)) << sql;
}

TEST(LooksLikeDistSql, KnowsEveryStatementInAnyCase) {
  for (const char* sql : kStatements) {
    EXPECT_TRUE(looks_like_distsql(sql)) << sql;
    std::string lower = sql;
    for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    EXPECT_TRUE(looks_like_distsql(" /* a /* nested */ hint */ -- x\n\t" + lower)) << lower;
  }
}

TEST(LooksLikeDistSql, LeavesPostgresItsOwnStatements) {
  for (const char* sql : kNotOurs) EXPECT_FALSE(looks_like_distsql(sql)) << sql;
}

TEST(Parser, ReadsEveryStatement) {
  for (const char* sql : kStatements) {
    parsed(sql);
    std::string lower = sql;
    for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    parsed(lower);
  }
}

// No prefix of a statement, cut at any byte, and no statement with a stray word may do more than be refused.
TEST(Parser, RefusesWhatIsCutOrHasMore) {
  for (const char* sql : kStatements) {
    const std::string_view whole = sql;
    for (size_t bytes = 0; bytes < whole.size(); ++bytes) (void)parse(whole.substr(0, bytes), nullptr);
    if (whole.starts_with("PREVIEW") || whole.starts_with("PARSE")) continue;
    const auto more = parse(std::string(whole) + " ; SELECT 1", nullptr);
    ASSERT_FALSE(more) << sql;
    EXPECT_EQ(more.error().sqlstate, "42601");
  }
}

TEST(Parser, TellsWhereTheErrorIs) {
  const std::tuple<const char*, const char*, uint32_t> cases[] = {
      {"SHOW STORAGE UNIT", "syntax error at or near \"STORAGE\"", 6},
      {"REGISTER STORAGE UNIT", "syntax error at end of input", 22},
      {"CREATE SHARDING TABLE RULE \"é\" (X=1)", "syntax error at or near \"X\"", 33},
      {"REGISTER STORAGE UNIT d (HOST='h', PORT=99999, USER=u)", "a port is a number from 1 to 65535", 41},
      {"REGISTER STORAGE UNIT d (PORT=1, USER=u)", "storage unit \"d\" has neither HOST nor URL", 23},
      {"REGISTER STORAGE UNIT d (HOST=h, COLOR=red, USER=u)", "\"color\" is not a property of a storage unit",
       34},
      {"REGISTER STORAGE UNIT d (URL='jdbc:mysql://h/d', USER=u)",
       "URL of storage unit \"d\" does not name a PostgreSQL server", 30},
      {"COUNT SHADE RULE", "syntax error at or near \"SHADE\"", 7},
      {"KILL 'open", "syntax error at or near \"'open\"", 6},
      {"SHOW SESSIONS /* open", "syntax error at or near \"/* open\"", 15},
      {"LOCK CLUSTER WITH LOCK_STRATEGY(TYPE(NAME='W')) TIMEOUT soon",
       "an integer is expected at or near \"soon\"", 57},
      {"FROBNICATE", "syntax error at or near \"FROBNICATE\"", 1},
  };
  for (const auto& [sql, message, position] : cases) {
    uint32_t got = 0;
    const auto statement = parse(sql, &got);
    ASSERT_FALSE(statement) << sql;
    EXPECT_EQ(statement.error().sqlstate, "42601");
    EXPECT_EQ(statement.error().message, message);
    EXPECT_EQ(got, position) << sql;
  }
}

TEST(Parser, BoundsTextAndNesting) {
  EXPECT_EQ(parse("PARSE " + std::string(kMaxStatementBytes, 'x'), nullptr).error().sqlstate, "54000");
  std::string nested = "ALTER MIGRATION RULE (a";
  for (int i = 0; i < 10'000; ++i) nested += "(a";
  EXPECT_EQ(parse(nested, nullptr).error().sqlstate, "42601");
  std::string comment;
  for (int i = 0; i < 10'000; ++i) comment += "/*";
  EXPECT_EQ(parse(comment, nullptr).error().sqlstate, "42601");
}

TEST(Parser, ReadsStorageUnits) {
  const auto made = node<RegisterUnits>(kStatements[1]);
  EXPECT_TRUE(made.if_not_exists);
  ASSERT_EQ(made.units.size(), 2u);
  EXPECT_EQ(made.units[0].name, "ds_0");
  EXPECT_EQ(made.units[0].host, "h");
  EXPECT_EQ(made.units[0].properties, (Properties{{"maxPoolSize", "50"}, {"idleTimeout", "60000"}}));
  EXPECT_EQ(made.units[1].host, "h");
  EXPECT_EQ(made.units[1].port, 5432);
  EXPECT_EQ(made.units[1].database, "d");
  EXPECT_EQ(made.check_privileges, (std::vector<std::string>{"SELECT", "XA", "PIPELINE", "NONE"}));
  const auto altered = node<AlterUnits>(
      "ALTER STORAGE UNIT ds_1 (URL='postgresql://[::1]:9/d?ssl=true', USER='u', PASSWORD='it''s')");
  EXPECT_EQ(altered.units[0].host, "::1");
  EXPECT_EQ(altered.units[0].port, 9);
  EXPECT_EQ(altered.units[0].database, "d");
  EXPECT_EQ(altered.units[0].password, "it's");
}

TEST(Parser, FoldsAndUnquotesNames) {
  const auto made =
      node<CreateBroadcastRule>("CREATE BROADCAST TABLE RULE Orders, \"Odd \"\"Name\", Public.`Tick`");
  EXPECT_EQ(made.tables, (std::vector<TableName>{{"", "orders"}, {"", "Odd \"Name"}, {"public", "Tick"}}));
}

TEST(Parser, ReadsShardingRules) {
  const auto autos = node<DefineShardingTableRules>(kStatements[8]);
  ASSERT_EQ(autos.rules.size(), 1u);
  const ShardingTableRule& rule = autos.rules[0];
  EXPECT_EQ(rule.units, (std::vector<std::string>{"ds_0", "ds_1"}));
  EXPECT_EQ(rule.columns, (std::vector<std::string>{"order_id"}));
  EXPECT_EQ(rule.algorithm->type, "hash_mod");
  EXPECT_EQ(rule.algorithm->properties, (Properties{{"sharding-count", "4"}}));
  EXPECT_EQ(rule.key_generate->column, "id");
  EXPECT_TRUE(rule.audit->allow_hint_disable);
  const auto standard = node<DefineShardingTableRules>(kStatements[10]);
  ASSERT_EQ(standard.rules.size(), 2u);
  EXPECT_EQ(standard.rules[0].data_nodes, (std::vector<std::string>{"ds_${0..1}.t_item_${0..1}"}));
  EXPECT_EQ(standard.rules[0].table_strategy->columns, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(standard.rules[0].key_generate->generator, "snow");
  EXPECT_EQ(standard.rules[1].table_strategy->type, Strategy::Type::kNone);
}

TEST(Parser, TellsLongFormsFromShortOnes) {
  EXPECT_EQ(node<Show>("SHOW SHARDING TABLE RULES").kind, ShowKind::kShardingTableRules);
  EXPECT_EQ(node<Show>("SHOW SHARDING TABLE RULES USED ALGORITHM x").kind, ShowKind::kRulesUsedAlgorithm);
  const auto nodes = node<Show>("SHOW SHARDING TABLE NODES FROM db");
  EXPECT_TRUE(nodes.names.empty());
  EXPECT_EQ(nodes.from_database, "db");
  EXPECT_EQ(node<Show>("SHOW STORAGE UNITS LIKE 'a''b%'").like, "a'b%");
}

TEST(Parser, KeepsThePreviewedTextAsItIs) {
  EXPECT_EQ(node<Preview>("PREVIEW  SELECT 'a;' , \"B\" /* c */ ;\n ").sql, "SELECT 'a;' , \"B\" /* c */");
  EXPECT_FALSE(parse("PREVIEW ;", nullptr));
}

TEST(Parser, ReadsNestedOptions) {
  const auto rule = node<AlterGlobalRule>(
      "ALTER MIGRATION RULE (READ(WORKER_THREAD=20, RATE_LIMITER(TYPE(NAME='QPS',PROPERTIES('qps'='500')))), "
      "STREAM_CHANNEL(TYPE(NAME='MEMORY')))");
  ASSERT_EQ(rule.options.size(), 2u);
  EXPECT_EQ(rule.options[0].options[0].value, "20");
  EXPECT_EQ(rule.options[0].options[1].algorithm->type, "QPS");
  EXPECT_EQ(rule.options[1].algorithm->type, "MEMORY");
}

TEST(Parser, GivesTheCommandTag) {
  EXPECT_EQ(parsed("create sharding table rule t (TYPE(NAME='x'))").tag, "CREATE SHARDING TABLE RULE");
  EXPECT_EQ(parsed("STOP MIGRATION CHECK 'j'").tag, "STOP MIGRATION CHECK");
  EXPECT_EQ(parsed("drop default sharding table strategy").tag, "DROP DEFAULT SHARDING TABLE STRATEGY");
}

}  // namespace
}  // namespace decan::distsql
