#include <gtest/gtest.h>

#include "distsql/distsql.h"

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

// Every statement of the language, as users write them.
constexpr const char* kStatements[] = {
    "REGISTER STORAGE UNIT ds_0 (HOST='h', PORT=5432, DB='d', USER='u', PASSWORD='p')",
    "REGISTER STORAGE UNIT IF NOT EXISTS ds_0 (HOST='h', PORT=5432, DB='d', USER='u', PASSWORD='p', "
    "PROPERTIES('maxPoolSize'=50,'idleTimeout'='60000')), ds_1 (URL='jdbc:postgresql://h:5432/d', USER='u', "
    "PASSWORD='p'), "
    "CHECK_PRIVILEGES=SELECT,XA,PIPELINE,NONE;",
    "ALTER STORAGE UNIT ds_0 (HOST=h, PORT=1, DB=d, USER=u), ds_1 (URL='postgresql://[::1]:9/d', USER='u')",
    "UNREGISTER STORAGE UNIT ds_0, ds_1",
    "UNREGISTER STORAGE UNIT IF EXISTS ds_0 IGNORE SINGLE TABLES",
    "UNREGISTER STORAGE UNIT ds_0 IGNORE BROADCAST TABLES",
    "UNREGISTER STORAGE UNIT ds_0 IGNORE SINGLE, BROADCAST TABLES;",
    "CREATE SHARDING TABLE RULE t_order (STORAGE_UNITS(ds_0,ds_1), SHARDING_COLUMN=order_id, "
    "TYPE(NAME='hash_mod', PROPERTIES('sharding-count'='4')))",
    "CREATE SHARDING TABLE RULE IF NOT EXISTS t_order (STORAGE_UNITS(ds_0,ds_1), SHARDING_COLUMN=order_id, "
    "TYPE(NAME='hash_mod', PROPERTIES('sharding-count'='4')), KEY_GENERATE_STRATEGY(COLUMN=id, "
    "TYPE(NAME='snowflake')), "
    "AUDIT_STRATEGY(TYPE(NAME='DML_SHARDING_CONDITIONS'), ALLOW_HINT_DISABLE=true));",
    "ALTER SHARDING TABLE RULE public.t (STORAGE_UNITS(ds_0), SHARDING_COLUMNS=a,b, TYPE(NAME='hash_mod'))",
    "CREATE SHARDING TABLE RULE t_item (DATANODES('ds_${0..1}.t_item_${0..1}'), "
    "DATABASE_STRATEGY(TYPE='standard', SHARDING_COLUMN=user_id, SHARDING_ALGORITHM(TYPE(NAME='inline', "
    "PROPERTIES('algorithm-expression'='ds_${user_id % 2}')))), TABLE_STRATEGY(TYPE='complex', "
    "SHARDING_COLUMNS=a,b, "
    "SHARDING_ALGORITHM(TYPE(NAME='complex_inline'))), KEY_GENERATE_STRATEGY(COLUMN=id, GENERATOR=snow)), "
    "t_other (DATANODES('ds_0.t'), TABLE_STRATEGY(TYPE='none'))",
    "DROP SHARDING TABLE RULE t, s.u;",
    "DROP SHARDING TABLE RULE IF EXISTS t",
    "CREATE SHARDING TABLE REFERENCE RULE IF NOT EXISTS ref_0 (t_order, t_item), ref_1 (a, b)",
    "ALTER SHARDING TABLE REFERENCE RULE ref_0 (t_order)",
    "DROP SHARDING TABLE REFERENCE RULE IF EXISTS ref_0",
    "CREATE BROADCAST TABLE RULE IF NOT EXISTS t1, t2",
    "DROP BROADCAST TABLE RULE IF EXISTS t1",
    "CREATE DEFAULT SHARDING DATABASE STRATEGY IF NOT EXISTS (TYPE='standard', SHARDING_COLUMN=id, "
    "SHARDING_ALGORITHM(TYPE(NAME='mod')))",
    "ALTER DEFAULT SHARDING TABLE STRATEGY (TYPE='hint', SHARDING_ALGORITHM(TYPE(NAME='hint_inline')))",
    "DROP DEFAULT SHARDING DATABASE STRATEGY IF EXISTS",
    "DROP DEFAULT SHARDING TABLE STRATEGY",
    "DROP SHARDING ALGORITHM a, b",
    "DROP SHARDING KEY GENERATOR IF EXISTS g",
    "DROP SHARDING AUDITOR x",
    "CREATE SHARDING KEY GENERATOR IF NOT EXISTS snow (TYPE(NAME='snowflake', PROPERTIES('worker-id'=1)))",
    "ALTER SHARDING KEY GENERATOR snow (TYPE(NAME='uuid'))",
    "CREATE SHARDING KEY GENERATE STRATEGY IF NOT EXISTS s1 (TABLE=t_order, COLUMN=id, GENERATOR=snow)",
    "ALTER SHARDING KEY GENERATE STRATEGY s1 (TABLE=t_order, COLUMN=id, TYPE(NAME='uuid'))",
    "CREATE SHARDING KEY GENERATE STRATEGY s2 (SEQUENCE='order_seq', GENERATOR=g)",
    "DROP SHARDING KEY GENERATE STRATEGY IF EXISTS s1",
    "CREATE READWRITE_SPLITTING RULE IF NOT EXISTS rw_0 (WRITE_STORAGE_UNIT=w, READ_STORAGE_UNITS(r0,r1), "
    "TRANSACTIONAL_READ_QUERY_STRATEGY='PRIMARY', TYPE(NAME='weight', PROPERTIES('r0'='2')))",
    "ALTER READWRITE_SPLITTING RULE rw_0 (WRITE_STORAGE_UNIT=w, READ_STORAGE_UNITS(r0))",
    "ALTER READWRITE_SPLITTING RULE rw ENABLE r0 FROM db",
    "ALTER READWRITE_SPLITTING RULE rw DISABLE r0",
    "DROP READWRITE_SPLITTING RULE IF EXISTS rw_0",
    "CREATE ENCRYPT RULE IF NOT EXISTS t_user (COLUMNS((NAME=pwd, CIPHER=pwd_cipher, ASSISTED_QUERY=pwd_aq, "
    "LIKE_QUERY=pwd_lq, "
    "ENCRYPT_ALGORITHM(TYPE(NAME='AES', PROPERTIES('aes-key-value'='k','digest-algorithm-name'='SHA-1'))), "
    "ASSISTED_QUERY_ALGORITHM(TYPE(NAME='MD5')), LIKE_QUERY_ALGORITHM(TYPE(NAME='CHAR_DIGEST_LIKE'))), "
    "(NAME=mail, CIPHER=mail_cipher, ENCRYPT_ALGORITHM(TYPE(NAME='AES')))))",
    "ALTER ENCRYPT RULE t_user (COLUMNS((NAME=pwd, CIPHER=c)))",
    "DROP ENCRYPT RULE IF EXISTS t",
    "CREATE MASK RULE IF NOT EXISTS t_user (COLUMNS((NAME=phone, TYPE(NAME='MASK_FROM_X_TO_Y', "
    "PROPERTIES('from-x'=1,'to-y'=2,'replace-char'='*'))), (NAME=mail, TYPE(NAME='MD5'))))",
    "ALTER MASK RULE t (COLUMNS((NAME=a, TYPE(NAME='MD5'))))",
    "DROP MASK RULE IF EXISTS t",
    "CREATE SHADOW RULE IF NOT EXISTS sh (SOURCE=ds, SHADOW=ds_shadow, t_order (TYPE(NAME='VALUE_MATCH', "
    "PROPERTIES('operation'='insert','column'='user_id','value'='1')), TYPE(NAME='SQL_HINT')), t_item "
    "(TYPE(NAME='SQL_HINT')))",
    "ALTER SHADOW RULE sh (SOURCE=ds, SHADOW=ds_shadow, t (TYPE(NAME='SQL_HINT')))",
    "DROP SHADOW RULE IF EXISTS sh",
    "CREATE DEFAULT SHADOW ALGORITHM TYPE(NAME='SQL_HINT')",
    "ALTER DEFAULT SHADOW ALGORITHM TYPE(NAME='SQL_HINT')",
    "DROP DEFAULT SHADOW ALGORITHM IF EXISTS",
    "DROP SHADOW ALGORITHM IF EXISTS a",
    "LOAD SINGLE TABLE ds_0.t",
    "LOAD SINGLE TABLE ds_0.public.t, ds_0.*, ds_0.*.*, *.*, *.*.*",
    "UNLOAD SINGLE TABLE t1,t2",
    "UNLOAD SINGLE TABLE *",
    "UNLOAD ALL SINGLE TABLES",
    "SET DEFAULT SINGLE TABLE STORAGE UNIT = ds_0",
    "SET DEFAULT SINGLE TABLE STORAGE UNIT = RANDOM",
    "SHOW STORAGE UNITS",
    "SHOW STORAGE UNITS FROM db LIKE 'ds%'",
    "SHOW RULES USED STORAGE UNIT ds_0",
    "SHOW LOGICAL TABLES",
    "SHOW FULL LOGICAL TABLES LIKE 'p'",
    "COUNT SHARDING RULE",
    "COUNT BROADCAST RULE FROM db",
    "COUNT READWRITE_SPLITTING RULE",
    "COUNT ENCRYPT RULE",
    "COUNT MASK RULE",
    "COUNT SHADOW RULE",
    "COUNT SINGLE TABLE",
    "SHOW SHARDING TABLE RULES",
    "SHOW SHARDING TABLE RULE t",
    "SHOW SHARDING TABLE NODES",
    "SHOW SHARDING TABLE NODES t FROM db",
    "SHOW SHARDING TABLE REFERENCE RULES",
    "SHOW SHARDING TABLE REFERENCE RULE r",
    "SHOW BROADCAST TABLE RULES",
    "SHOW SHARDING ALGORITHMS",
    "SHOW SHARDING KEY GENERATORS",
    "SHOW SHARDING AUDITORS",
    "SHOW UNUSED SHARDING ALGORITHMS",
    "SHOW UNUSED SHARDING KEY GENERATORS",
    "SHOW UNUSED SHARDING AUDITORS",
    "SHOW SHARDING TABLE RULES USED ALGORITHM x",
    "SHOW SHARDING TABLE RULES USED KEY GENERATOR x",
    "SHOW SHARDING TABLE RULES USED AUDITOR x",
    "SHOW DEFAULT SHARDING STRATEGY",
    "SHOW READWRITE_SPLITTING RULES",
    "SHOW READWRITE_SPLITTING RULE r",
    "SHOW ENCRYPT RULES",
    "SHOW ENCRYPT TABLE RULE t",
    "SHOW MASK RULES",
    "SHOW MASK RULE t",
    "SHOW SHADOW RULES",
    "SHOW SHADOW RULE r",
    "SHOW SHADOW TABLE RULES",
    "SHOW SHADOW ALGORITHMS",
    "SHOW DEFAULT SHADOW ALGORITHM",
    "SHOW SINGLE TABLES",
    "SHOW SINGLE TABLES LIKE 't%'",
    "SHOW UNLOADED SINGLE TABLES",
    "SHOW UNLOADED SINGLE TABLES FROM db STORAGE UNIT ds SCHEMA s",
    "SHOW UNLOADED SINGLE TABLES FROM STORAGE UNIT ds SCHEMA s",
    "SHOW DEFAULT SINGLE TABLE STORAGE UNIT",
    "SHOW SHARDING KEY GENERATE STRATEGIES",
    "SHOW SHARDING KEY GENERATE STRATEGY s",
    "SHOW COMPUTE NODES",
    "SHOW COMPUTE NODE INFO",
    "SHOW COMPUTE NODE MODE",
    "ENABLE COMPUTE NODE 'id'",
    "DISABLE COMPUTE NODE 'id'",
    "LABEL COMPUTE NODE 'id' WITH l1,l2",
    "RELABEL COMPUTE NODE 'id' WITH 'l1'",
    "UNLABEL COMPUTE NODE 'id'",
    "UNLABEL COMPUTE NODE 'id' WITH l1",
    "SHOW DIST VARIABLES",
    "SHOW DIST VARIABLES LIKE 'sql%'",
    "SHOW DIST VARIABLE WHERE NAME = sql_show",
    "SET DIST VARIABLE sql_show = true",
    "REFRESH TABLE METADATA",
    "REFRESH TABLE METADATA t",
    "REFRESH TABLE METADATA t FROM STORAGE UNIT ds SCHEMA s",
    "REFRESH DATABASE METADATA",
    "FORCE REFRESH DATABASE METADATA db",
    "SHOW TABLE METADATA t,t2 FROM db",
    "EXPORT DATABASE CONFIGURATION FROM db TO FILE 'f'",
    "EXPORT DATABASE CONFIGURATION",
    "IMPORT DATABASE CONFIGURATION FROM FILE 'f'",
    "EXPORT METADATA",
    "EXPORT METADATA TO FILE 'f'",
    "IMPORT METADATA",
    "IMPORT METADATA FROM FILE 'f'",
    "EXPORT STORAGE NODES",
    "CONVERT YAML CONFIGURATION FROM FILE 'f'",
    "LOCK CLUSTER WITH LOCK_STRATEGY(TYPE(NAME='WRITE')) TIMEOUT 1000",
    "LOCK CLUSTER WITH LOCK_STRATEGY(TYPE(NAME='READ_WRITE'))",
    "UNLOCK CLUSTER",
    "UNLOCK CLUSTER TIMEOUT 5",
    "SHOW STATUS FROM READWRITE_SPLITTING RULES",
    "SHOW STATUS FROM READWRITE_SPLITTING RULE rw FROM db",
    "SHOW TRANSACTION RULE",
    "ALTER TRANSACTION RULE (DEFAULT='XA', TYPE(NAME='Narayana', PROPERTIES('a'='b')))",
    "ALTER TRANSACTION RULE (DEFAULT='LOCAL')",
    "SHOW SQL_PARSER RULE",
    "ALTER SQL_PARSER RULE (PARSE_TREE_CACHE(INITIAL_CAPACITY=1, MAXIMUM_SIZE=2), "
    "SQL_STATEMENT_CACHE(INITIAL_CAPACITY=3))",
    "SHOW SQL_FEDERATION RULE",
    "ALTER SQL_FEDERATION RULE (SQL_FEDERATION_ENABLED=true, ALL_QUERY_USE_SQL_FEDERATION=false, "
    "EXECUTION_PLAN_CACHE(MAXIMUM_SIZE=2))",
    "SHOW SQL_TRANSLATOR RULE",
    "ALTER SQL_TRANSLATOR RULE (TYPE(NAME='NATIVE'), USE_ORIGINAL_SQL_WHEN_TRANSLATING_FAILED=true)",
    "SHOW GLOBAL CLOCK RULE",
    "ALTER GLOBAL CLOCK RULE (TYPE='TSO', PROVIDER='redis', ENABLED=true, PROPERTIES('host'='h'))",
    "SHOW AUTHORITY RULE",
    "SHOW PLUGINS OF 'a.b.C'",
    "SHOW SHARDING ALGORITHM PLUGINS",
    "SHOW ENCRYPT ALGORITHM PLUGINS",
    "SHOW MASK ALGORITHM PLUGINS",
    "SHOW SHADOW ALGORITHM PLUGINS",
    "SHOW KEY GENERATE ALGORITHM PLUGINS",
    "SHOW LOAD BALANCE ALGORITHM PLUGINS",
    "REGISTER MIGRATION SOURCE STORAGE UNIT src (URL='jdbc:postgresql://h/d', USER='u', PASSWORD='p')",
    "UNREGISTER MIGRATION SOURCE STORAGE UNIT src",
    "SHOW MIGRATION SOURCE STORAGE UNITS",
    "MIGRATE TABLE src.t INTO t",
    "MIGRATE TABLE src.s.t INTO db.t",
    "SHOW MIGRATION LIST",
    "SHOW MIGRATION STATUS 'job'",
    "START MIGRATION 'job'",
    "STOP MIGRATION 'job'",
    "ROLLBACK MIGRATION 'job'",
    "COMMIT MIGRATION 'job'",
    "CHECK MIGRATION 'job'",
    "CHECK MIGRATION 'job' BY TYPE(NAME='CRC32_MATCH')",
    "SHOW MIGRATION CHECK STATUS 'job'",
    "START MIGRATION CHECK 'job'",
    "STOP MIGRATION CHECK 'job'",
    "DROP MIGRATION CHECK 'job'",
    "SHOW MIGRATION CHECK ALGORITHMS",
    "SHOW MIGRATION RULE",
    "ALTER MIGRATION RULE (READ(WORKER_THREAD=20, BATCH_SIZE=1000, SHARDING_SIZE=10000000, "
    "RATE_LIMITER(TYPE(NAME='QPS',"
    "PROPERTIES('qps'='500')))), WRITE(WORKER_THREAD=20, BATCH_SIZE=1000, "
    "RATE_LIMITER(TYPE(NAME='TPS',PROPERTIES('tps'='2000')))), "
    "STREAM_CHANNEL(TYPE(NAME='MEMORY',PROPERTIES('block-queue-size'='2000'))))",
    "SHOW STREAMING RULE",
    "SHOW STREAMING LIST",
    "SHOW STREAMING STATUS 'job'",
    "ALTER STREAMING RULE (READ(WORKER_THREAD=20))",
    "DROP STREAMING 'job'",
    "PREVIEW SELECT * FROM t WHERE id = 1; ",
    "PARSE SELECT 1",
    "SHOW SESSIONS",
    "SHOW SESSIONS LIKE 'a%';",
    "KILL 12",
    "KILL QUERY 12",
    "KILL CONNECTION '12'",
};

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
