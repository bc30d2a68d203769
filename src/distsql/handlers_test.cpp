#include "distsql/handlers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "distsql/handler_parts.h"
#include "distsql/test_context.h"
#include "distsql/test_statements.h"

namespace decan::distsql {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Knows which tables exist; everything else is refused, so placement stops at its first statement.
class FakeRunner final : public placement::UnitRunner {
 public:
  std::vector<KnownTable> tables;

  async::Task<Result<placement::TextRows>> run(UnitId, std::string sql) override {
    placement::TextRows rows;
    const std::string mark = "to_regclass('";
    const size_t at = sql.find(mark);
    std::string asked = at == std::string::npos ? "" : sql.substr(at + mark.size());
    asked = asked.substr(0, asked.find('\''));
    std::erase(asked, '"');
    if (sql.find("FROM pg_catalog.pg_class c JOIN") == std::string::npos)
      co_return fail("XX999", "placement was asked");
    for (const KnownTable& table : tables) {
      const bool hit =
          asked == table.name.schema + "." + table.name.name || (table.visible && asked == table.name.name);
      if (at == std::string::npos || hit) {
        rows.rows.push_back({table.name.schema, table.name.name, std::string(1, table.kind),
                             table.visible ? "true" : "false"});
      }
    }
    co_return rows;
  }
  async::Task<Result<std::vector<placement::TextRows>>> run_all(std::vector<UnitId>, std::string) override {
    co_return fail("XX999", "placement was asked");
  }
  async::Task<Status> shut_out(Oid) override { co_return Status{}; }
  std::string proof(std::string_view) const override { return {}; }
  async::Task<Result<uint64_t>> copy_between(UnitId, std::string, UnitId, std::string) override {
    co_return fail("XX999", "placement was asked");
  }
  std::vector<UnitId> units() const override { return {UnitId{0}, UnitId{1}}; }
  UnitId home() const override { return UnitId{0}; }
};

class Handlers : public ::testing::Test {
 protected:
  void SetUp() override {
    for (uint32_t i = 0; i < 2; ++i) {
      meta::UnitRecord unit;
      unit.name = "ds_" + std::to_string(i);
      unit.host = "10.0.0." + std::to_string(i);
      unit.ordinal = i;
      unit.embedded = i == 0;
      ASSERT_TRUE(meta::save_unit(context_.store, unit, true));
    }
    auto snapshot = std::make_shared<catalog::Snapshot>();
    snapshot->database = "db";
    auto group = std::make_unique<catalog::ShardGroup>();
    for (uint32_t i = 0; i < 4; ++i) {
      catalog::Bucket bucket;
      bucket.unit = UnitId{i % 2}, bucket.modulus = 4, bucket.remainder = i;
      group->buckets.push_back(std::move(bucket));
    }
    add(*snapshot, "public", "t_order", catalog::Placement::kSharded, group.get());
    add(*snapshot, "sales", "t_item", catalog::Placement::kSharded, group.get());
    add(*snapshot, "public", "t_rate", catalog::Placement::kBroadcast, nullptr);
    add(*snapshot, "public", "t_log", catalog::Placement::kSingle, nullptr);
    snapshot->groups.push_back(std::move(group));
    context_.snapshot = snapshot;
    runner_.tables.push_back({{"public", "v_order"}, 'v', true});
    runner_.tables.push_back({{"hidden", "t_misc"}, 'r', false});
  }

  void add(catalog::Snapshot& snapshot, std::string schema, std::string name, catalog::Placement placement,
           const catalog::ShardGroup* group) {
    auto relation = std::make_unique<catalog::Relation>();
    relation->schema = schema, relation->name = name, relation->placement = placement,
    relation->group = group;
    if (group != nullptr) {
      catalog::Column column;
      column.name = "order_id", column.attnum = 1;
      relation->columns = {column};
      relation->key_attnums = {1};
      for (int i = 0; i < 4; ++i)
        relation->leaf_names.push_back("decan_shard." + name + "_" + std::to_string(i));
    }
    runner_.tables.push_back({{schema, name}, 'r', schema == "public"});
    snapshot.add(std::move(relation));
  }

  AdminResult good(std::string_view sql) {
    auto result = run(context_, sql);
    EXPECT_TRUE(result) << sql << ": "
                        << (result ? "" : result.error().message + " " + result.error().detail);
    return result ? std::move(*result) : AdminResult{};
  }
  Error bad(std::string_view sql, std::string_view code) {
    const auto result = run(context_, sql);
    EXPECT_FALSE(result) << sql;
    if (result) return {};
    EXPECT_EQ(result.error().sqlstate, code) << sql << ": " << result.error().message;
    return result.error();
  }

  FakeRunner runner_;
  TestContext context_{runner_};
};

TEST_F(Handlers, EveryStatementIsDoneOrNamesWhatIsComing) {
  for (const char* sql : kStatements) {
    const auto result = run(context_, sql);
    if (result) {
      EXPECT_FALSE(result->tag.empty()) << sql;
      for (const auto& row : result->rows) EXPECT_EQ(row.size(), result->columns.size()) << sql;
      continue;
    }
    EXPECT_EQ(result.error().sqlstate.size(), 5u) << sql;
    EXPECT_NE(result.error().sqlstate, "XX000") << sql;
    EXPECT_NE(result.error().sqlstate, "42601") << sql;
    if (result.error().sqlstate == "0A000") EXPECT_NE(result.error().detail + result.error().hint, "") << sql;
  }
}

TEST_F(Handlers, UnitsAreShownWithTheirDefaults) {
  const auto result = good("SHOW STORAGE UNITS LIKE 'ds\\_0'");
  EXPECT_THAT(result.columns,
              ElementsAre("name", "type", "host", "port", "db", "connection_timeout_milliseconds",
                          "idle_timeout_milliseconds", "max_lifetime_milliseconds", "max_pool_size",
                          "min_pool_size", "read_only", "other_attributes"));
  EXPECT_EQ(text_of(result), "ds_0|PostgreSQL|10.0.0.0|5432|db||600000||50|||{}");
}

TEST_F(Handlers, RegisteringPreparesStoresAndAnnouncesUnits) {
  good(
      "REGISTER STORAGE UNIT ds_2 (HOST='h', DB='db', USER='u', PASSWORD='p', "
      "PROPERTIES('maximumPoolSize'=7,'colour'='red','tls'='true')), "
      "ds_3 (URL='jdbc:postgresql://i:6/db', USER='u')");
  EXPECT_THAT(context_.prepared, ElementsAre("ds_2", "ds_3"));
  EXPECT_EQ(text_of(good("SHOW STORAGE UNITS LIKE '%2'")),
            "ds_2|PostgreSQL|h|5432|db||600000||7|||{\"colour\":\"red\",\"tls\":\"true\"}");
  const auto units = meta::load_units(context_.store).value();
  EXPECT_EQ(units[3].ordinal, 3u);
  EXPECT_EQ(units[2].service_password, "p");
}

TEST_F(Handlers, RegisteringRefusesWhatCanNotBe) {
  bad("REGISTER STORAGE UNIT ds_0 (HOST=h, USER=u)", "42710");
  bad("REGISTER STORAGE UNIT a (HOST=h, USER=u), a (HOST=h, USER=u)", "42710");
  bad("REGISTER STORAGE UNIT \"a b\" (HOST=h, USER=u)", "42602");
  bad("REGISTER STORAGE UNIT a (HOST=h, USER=u, PROPERTIES('tls'='maybe'))", "22023");
  bad("REGISTER STORAGE UNIT a (HOST=h, USER=u), CHECK_PRIVILEGES=FLY", "22023");
  EXPECT_THAT(bad("REGISTER STORAGE UNIT a (HOST=h, DB=other, USER=u)", "22023").hint, HasSubstr("rename"));
  EXPECT_THAT(context_.prepared, IsEmpty());
  EXPECT_THAT(good("REGISTER STORAGE UNIT IF NOT EXISTS ds_0 (HOST=h, USER=u)").notices,
              ElementsAre(HasSubstr("skipping")));
  context_.prepare_answer = fail("08001", "no route to host");
  bad("REGISTER STORAGE UNIT a (HOST=h, USER=u)", "08001");
  EXPECT_EQ(meta::load_units(context_.store)->size(), 2u);
  context_.administrator = false;
  bad("REGISTER STORAGE UNIT a (HOST=h, USER=u)", "42501");
}

TEST_F(Handlers, AlteringKeepsTheOrdinalAndTheData) {
  good("ALTER STORAGE UNIT ds_1 (HOST='new', PORT=7, USER='x', PASSWORD='y')");
  EXPECT_THAT(context_.prepared, ElementsAre("ds_1 again"));
  EXPECT_EQ(meta::load_units(context_.store)->at(1).host, "new");
  bad("ALTER STORAGE UNIT ds_0 (HOST='new', USER='x')", "55000");
  bad("ALTER STORAGE UNIT ds_9 (HOST='new', USER='x')", "42704");
}

TEST_F(Handlers, UnregisteringRefusesUnitsThatHoldSomething) {
  EXPECT_THAT(bad("UNREGISTER STORAGE UNIT ds_1", "55000").detail,
              HasSubstr("shards of table public.t_order"));
  EXPECT_THAT(bad("UNREGISTER STORAGE UNIT ds_0 IGNORE SINGLE, BROADCAST TABLES", "55000").detail,
              HasSubstr("home unit"));
  bad("UNREGISTER STORAGE UNIT ds_9", "42704");
  EXPECT_THAT(good("UNREGISTER STORAGE UNIT IF EXISTS ds_9").notices, ElementsAre(HasSubstr("ds_9")));
  good("REGISTER STORAGE UNIT ds_2 (HOST=h, USER=u)");
  good("UNREGISTER STORAGE UNIT ds_2");
  EXPECT_EQ(meta::load_units(context_.store)->size(), 2u);
}

TEST_F(Handlers, UnregisteringLooksAtSingleTables) {
  good("REGISTER STORAGE UNIT ds_2 (HOST=h, USER=u)");
  auto snapshot = std::make_shared<catalog::Snapshot>();
  snapshot->database = "db";
  auto relation = std::make_unique<catalog::Relation>();
  relation->schema = "public", relation->name = "old", relation->unit = UnitId{2};
  snapshot->add(std::move(relation));
  context_.snapshot = snapshot;
  EXPECT_THAT(bad("UNREGISTER STORAGE UNIT ds_2", "55000").detail, HasSubstr("single table public.old"));
  good("UNREGISTER STORAGE UNIT ds_2 IGNORE SINGLE TABLES");
}

TEST_F(Handlers, LoadingTakesAllTablesOfUnitsButHome) {
  EXPECT_THAT(good("LOAD SINGLE TABLE ds_1.*").notices, ElementsAre(HasSubstr("3 tables")));
  good("LOAD SINGLE TABLE *.*.*");
  good("LOAD SINGLE TABLE ds_0.*");
  EXPECT_THAT(context_.loaded, ElementsAre("ds_1", "ds_1"));
  bad("LOAD SINGLE TABLE ds_1.t", "0A000");
  bad("LOAD SINGLE TABLE ds_9.*", "42704");
}

TEST_F(Handlers, RulesUsedByAUnitAreNamed) {
  EXPECT_EQ(text_of(good("SHOW RULES USED STORAGE UNIT ds_1")),
            "broadcast|t_rate\nsharding|sales.t_item\nsharding|t_order");
  bad("SHOW RULES USED STORAGE UNIT nope", "42704");
}

TEST_F(Handlers, ShardingRulesAreShownInTheKnownColumns) {
  const auto result = good("SHOW SHARDING TABLE RULES");
  EXPECT_EQ(result.columns.size(), 16u);
  EXPECT_EQ(text_of(result),
            "t_order||ds_0,ds_1|||||hash_mod|order_id|hash_mod|sharding-count=4|||||false\n"
            "sales.t_item||ds_0,ds_1|||||hash_mod|order_id|hash_mod|sharding-count=4|||||false");
  EXPECT_EQ(good("SHOW SHARDING TABLE RULE t_order").rows.size(), 1u);
  EXPECT_EQ(good("SHOW SHARDING TABLE RULE sales.t_item").rows.size(), 1u);
  bad("SHOW SHARDING TABLE RULE t_item", "42704");
  bad("SHOW SHARDING TABLE RULE t_rate", "42704");
  bad("SHOW SHARDING TABLE RULES FROM other", "0A000");
}

TEST_F(Handlers, NodesAreTheLeavesOnTheirUnits) {
  EXPECT_EQ(text_of(good("SHOW SHARDING TABLE NODES t_order")),
            "t_order|ds_0.decan_shard.t_order_0, ds_1.decan_shard.t_order_1, ds_0.decan_shard.t_order_2, "
            "ds_1.decan_shard.t_order_3");
  EXPECT_EQ(good("SHOW SHARDING TABLE NODES").rows.size(), 2u);
  bad("SHOW SHARDING TABLE NODES t_log", "42704");
}

TEST_F(Handlers, TablesAreShownByKind) {
  EXPECT_EQ(text_of(good("SHOW BROADCAST TABLE RULES")), "t_rate");
  EXPECT_EQ(text_of(good("SHOW SINGLE TABLES")), "t_log|ds_0\nhidden.t_misc|ds_0");
  EXPECT_EQ(text_of(good("SHOW SINGLE TABLES LIKE '%misc'")), "hidden.t_misc|ds_0");
  EXPECT_EQ(text_of(good("SHOW FULL LOGICAL TABLES LIKE '_\\_order'")),
            "t_order|BASE TABLE|public\nv_order|VIEW|public");
  EXPECT_THAT(good("SHOW LOGICAL TABLES").columns, ElementsAre("table_name", "schema_name"));
}

TEST_F(Handlers, RulesAreCounted) {
  EXPECT_EQ(text_of(good("COUNT SHARDING RULE")), "sharding_table|db|2\nsharding_table_reference|db|0");
  EXPECT_EQ(text_of(good("COUNT BROADCAST RULE")), "broadcast_table|db|1");
  EXPECT_EQ(text_of(good("COUNT SINGLE TABLE")), "db|2");
  EXPECT_EQ(text_of(good("COUNT MASK RULE")), "mask|db|0");
}

TEST_F(Handlers, RulesOfTablesToComeWaitInTheStore) {
  const char* rule =
      "CREATE SHARDING TABLE RULE t_new (STORAGE_UNITS(ds_1), SHARDING_COLUMNS=a,b, TYPE(NAME='HASH_MOD', "
      "PROPERTIES('sharding-count'='8')))";
  EXPECT_FALSE(good(rule).catalog_changed);
  EXPECT_EQ(text_of(good("SHOW SHARDING TABLE RULE t_new")),
            "t_new||ds_1|||||hash_mod|a,b|hash_mod|sharding-count=8|||||false");
  const auto pending = pending_rule(context_.store, "db", "public", "t_new").value();
  ASSERT_TRUE(pending);
  const auto options = shard_options(pending->sharding, meta::load_units(context_.store).value()).value();
  EXPECT_EQ(options.table, "\"public\".\"t_new\"");
  EXPECT_THAT(options.key_columns, ElementsAre("a", "b"));
  EXPECT_EQ(options.shard_count, 8u);
  EXPECT_THAT(options.units, ElementsAre(UnitId{1}));
  bad(rule, "42710");
  good("CREATE SHARDING TABLE RULE IF NOT EXISTS t_new (SHARDING_COLUMN=a, TYPE(NAME='hash_mod'))");
  good("ALTER SHARDING TABLE RULE t_new (SHARDING_COLUMN=c, TYPE(NAME='hash_mod'))");
  EXPECT_EQ(text_of(good("SHOW SHARDING TABLE RULE t_new")),
            "t_new||ds_0,ds_1|||||hash_mod|c|hash_mod||||||false");
  EXPECT_EQ(text_of(good("COUNT SHARDING RULE")).substr(0, 19), "sharding_table|db|3");
  good("DROP SHARDING TABLE RULE t_new");
  EXPECT_FALSE(pending_rule(context_.store, "db", "public", "t_new").value());
  bad("DROP SHARDING TABLE RULE t_new", "42704");
  EXPECT_THAT(good("DROP SHARDING TABLE RULE IF EXISTS t_new").notices, ElementsAre(HasSubstr("skipping")));
  context_.administrator = false;
  bad(rule, "42501");
}

TEST_F(Handlers, BroadcastRulesOfTablesToComeWaitToo) {
  good("CREATE BROADCAST TABLE RULE \"Odd/Na.me\", t_new");
  EXPECT_EQ(text_of(good("SHOW BROADCAST TABLE RULES")), "Odd/Na.me\nt_new\nt_rate");
  EXPECT_TRUE(pending_rule(context_.store, "db", "public", "Odd/Na.me").value()->broadcast);
  bad("CREATE BROADCAST TABLE RULE t_new", "42710");
  bad("DROP SHARDING TABLE RULE t_new", "42704");
  good("DROP BROADCAST TABLE RULE t_new, \"Odd/Na.me\"");
  EXPECT_EQ(text_of(good("SHOW BROADCAST TABLE RULES")), "t_rate");
}

TEST_F(Handlers, TablesThatArePlacedOtherwiseAreRefused) {
  bad("CREATE SHARDING TABLE RULE t_order (SHARDING_COLUMN=a, TYPE(NAME='hash_mod'))", "42710");
  bad("CREATE SHARDING TABLE RULE t_rate (SHARDING_COLUMN=a, TYPE(NAME='hash_mod'))", "55000");
  bad("CREATE BROADCAST TABLE RULE t_order", "55000");
  bad("CREATE SHARDING TABLE RULE v_order (SHARDING_COLUMN=a, TYPE(NAME='hash_mod'))", "42809");
  bad("ALTER SHARDING TABLE RULE t_order (SHARDING_COLUMN=a, TYPE(NAME='hash_mod'))", "0A000");
  // A plain table goes to placement.
  bad("CREATE SHARDING TABLE RULE t_log (SHARDING_COLUMN=a, TYPE(NAME='hash_mod'))", "XX999");
  bad("DROP BROADCAST TABLE RULE t_rate", "XX999");
}

TEST_F(Handlers, AlgorithmsMapToHashAndRanges) {
  const auto options = [&](std::string_view algorithm) {
    const std::string sql =
        "CREATE SHARDING TABLE RULE t (SHARDING_COLUMN=a, " + std::string(algorithm) + ")";
    const auto statement = parse(sql, nullptr).value();
    return shard_options(std::get<DefineShardingTableRules>(statement.node).rules[0], {});
  };
  const auto ranges = [&](std::string_view algorithm) {
    std::string out;
    const auto made = options(algorithm);
    if (!made) return made.error().message;
    EXPECT_EQ(made->algorithm, catalog::Algorithm::kRange);
    for (const auto& range : made->ranges)
      out += "[" + range.lower[0].value_or("") + "," + range.upper[0].value_or("") + ")";
    return out;
  };
  EXPECT_EQ(ranges("TYPE(NAME='boundary_range', PROPERTIES('sharding-ranges'='-1, 5,10'))"),
            "[,-1)[-1,5)[5,10)[10,)");
  EXPECT_EQ(
      ranges("TYPE(NAME='volume_range', PROPERTIES('range-lower'=10,'range-upper'=35,'sharding-volume'=10))"),
      "[,10)[10,20)[20,30)[30,35)[35,)");
  EXPECT_EQ(ranges("TYPE(NAME='auto_interval', PROPERTIES('datetime-lower'='2024-02-28 "
                   "12:00:00','datetime-upper'='2024-03-01 00:00:00','sharding-seconds'='86400'))"),
            "[,2024-02-28 12:00:00)[2024-02-28 12:00:00,2024-02-29 12:00:00)[2024-02-29 12:00:00,2024-03-01 "
            "00:00:00)[2024-03-01 00:00:00,)");
  EXPECT_EQ(options("TYPE(NAME='boundary_range', PROPERTIES('sharding-ranges'='5,5'))").error().sqlstate,
            "22023");
  EXPECT_EQ(options("TYPE(NAME='auto_interval', PROPERTIES('datetime-lower'='2023-02-29 "
                    "00:00:00','datetime-upper'='2024-03-01 00:00:00','sharding-seconds'='1'))")
                .error()
                .sqlstate,
            "22023");
  EXPECT_EQ(options("TYPE(NAME='volume_range', "
                    "PROPERTIES('range-lower'=0,'range-upper'=9223372036854775807,'sharding-volume'=1))")
                .error()
                .sqlstate,
            "22023");
  EXPECT_EQ(options("TYPE(NAME='hash_mod', PROPERTIES('sharding-count'='0'))").error().sqlstate, "22023");
  EXPECT_EQ(options("TYPE(NAME='hash_mod', PROPERTIES('sharding-cuont'='4'))").error().sqlstate, "22023");
  EXPECT_EQ(options("TYPE(NAME='mod', PROPERTIES('sharding-count'='4'))").error().sqlstate, "0A000");
  EXPECT_EQ(options("DATANODES('ds_0.t')").error().sqlstate, "0A000");
  EXPECT_EQ(options("STORAGE_UNITS(ds_9), TYPE(NAME='hash_mod')").error().sqlstate, "42704");
  EXPECT_EQ(options("TYPE(NAME='hash_mod'), KEY_GENERATE_STRATEGY(COLUMN=id, TYPE(NAME='snowflake'))")
                .error()
                .sqlstate,
            "0A000");
}

TEST_F(Handlers, DamagedRulesAreReportedNotGuessed) {
  for (const char* text : {"", "{}", "[]", "{\"kind\":\"other\",\"schema\":\"s\",\"table\":\"t\"}",
                           "{\"kind\":\"sharding\",\"schema\":1}"})
    EXPECT_EQ(rule_from_json(text).error().sqlstate, "XX001");
}

TEST_F(Handlers, TheClusterIsShown) {
  EXPECT_EQ(text_of(good("SHOW COMPUTE NODES")), "node-1|PROXY|127.0.0.1|7432|OK|Cluster|0||0.1.0|db");
  EXPECT_THAT(good("SHOW COMPUTE NODES").columns,
              ElementsAre("instance_id", "instance_type", "host", "port", "status", "mode_type", "worker_id",
                          "labels", "version", "database_name"));
  EXPECT_EQ(text_of(good("SHOW SESSIONS LIKE 'SELECT%'")),
            "7|ann|db|127.0.0.1|psql|node-1|active|2|60|SELECT 1");
  good("KILL 7");
  good("KILL QUERY '7'");
  EXPECT_THAT(context_.killed, ElementsAre("7", "7 statement"));
  bad("KILL 9", "42704");
}

TEST_F(Handlers, VariablesAreShownAndSet) {
  EXPECT_EQ(text_of(good("SHOW DIST VARIABLES LIKE 'sql%'")), "sql_show|false");
  good("SET DIST VARIABLE sql_show = true");
  EXPECT_EQ(text_of(good("SHOW DIST VARIABLE WHERE NAME = sql_show")), "sql_show|true");
  bad("SHOW DIST VARIABLE WHERE NAME = nope", "42704");
  bad("SET DIST VARIABLE nope = 1", "42704");
}

TEST_F(Handlers, PreviewShowsWhatUnitsWouldGet) {
  const auto result = good("PREVIEW SELECT 1;");
  EXPECT_THAT(result.columns, ElementsAre("data_source_name", "actual_sql"));
  EXPECT_EQ(text_of(result), "ds_0|SELECT 1\nds_1|SELECT 1");
}

TEST_F(Handlers, OnlyTableRulesNeedATransaction) {
  EXPECT_TRUE(needs_transaction(parse("DROP BROADCAST TABLE RULE t", nullptr).value()));
  EXPECT_TRUE(needs_transaction(parse("CREATE SHARDING TABLE RULE t (TYPE(NAME='x'))", nullptr).value()));
  EXPECT_FALSE(needs_transaction(parse("DROP MASK RULE t", nullptr).value()));
  EXPECT_FALSE(needs_transaction(parse("SHOW STORAGE UNITS", nullptr).value()));
}

TEST(Like, FollowsSql) {
  const std::tuple<const char*, const char*, bool> cases[] = {
      {"", "", true},         {"", "%", true},         {"a", "", false},         {"abc", "a%c", true},
      {"abc", "a%b", false},  {"abcbc", "a%bc", true}, {"é", "_", true},         {"aé", "%_", true},
      {"a_c", "a\\_c", true}, {"abc", "a\\_c", false}, {"100%", "100\\%", true}, {"x", "%%x%%", true}};
  for (const auto& [text, pattern, expected] : cases)
    EXPECT_EQ(like_matches(std::string_view(text), std::string_view(pattern)), expected)
        << text << " LIKE " << pattern;
}

}  // namespace
}  // namespace decan::distsql
