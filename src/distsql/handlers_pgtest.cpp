// Rules on real tables of three units, and rules that wait for their tables.
#include "distsql/handlers.h"

#include <gtest/gtest.h>

#include "distsql/rule_store.h"
#include "distsql/test_context.h"
#include "placement/test_cluster.h"

namespace decan::distsql {
namespace {

class RulesOnTables : public ::testing::Test {
 protected:
  void SetUp() override {
    placement::cluster().use_database("rules");
    runner_.emplace(placement::cluster().runner("postgres"));
    context_.emplace(*runner_);
    context_->database_name = "rules";
    for (uint32_t i = 0; i < placement::cluster().size(); ++i) {
      meta::UnitRecord unit;
      unit.name = "ds_" + std::to_string(i);
      unit.ordinal = i;
      ASSERT_TRUE(meta::save_unit(context_->store, unit, true));
    }
    home(
        "CREATE TABLE t_order(order_id int PRIMARY KEY, note text); INSERT INTO t_order SELECT g, 'n' || g "
        "FROM generate_series(1, 100) g; "
        "CREATE TABLE t_rate(code text PRIMARY KEY); INSERT INTO t_rate VALUES ('eur'), ('cny')");
  }
  void home(const std::string& sql) { placement::cluster().on(0).exec(sql); }

  // In a transaction over all units, with the catalog as it is.
  Result<AdminResult> admin(std::string_view sql) {
    context_->snapshot = placement::cluster().snapshot();
    for (const UnitId unit : runner_->units()) runner_->on(unit).exec("BEGIN");
    auto result = run(*context_, sql);
    for (const UnitId unit : runner_->units()) runner_->on(unit).exec(result ? "COMMIT" : "ROLLBACK");
    return result;
  }
  AdminResult good(std::string_view sql) {
    auto result = admin(sql);
    EXPECT_TRUE(result) << sql << ": "
                        << (result ? "" : result.error().sqlstate + " " + result.error().message);
    return result ? std::move(*result) : AdminResult{};
  }
  std::string rows_on_units(const std::string& table) {
    std::string out;
    for (size_t i = 0; i < placement::cluster().size(); ++i)
      out += (i > 0 ? " " : "") + placement::cluster().on(i).exec("SELECT count(*) FROM " + table).scalar();
    return out;
  }

  std::optional<placement::LibpqRunner> runner_;
  std::optional<TestContext> context_;
};

TEST_F(RulesOnTables, ShardingRuleSpreadsTheRowsAndDroppingItBringsThemBack) {
  EXPECT_TRUE(good("CREATE SHARDING TABLE RULE t_order (STORAGE_UNITS(ds_0, ds_2), SHARDING_COLUMN=order_id, "
                   "TYPE(NAME='hash_mod', PROPERTIES('sharding-count'='4')))")
                  .catalog_changed);
  EXPECT_EQ(text_of(good("SHOW SHARDING TABLE RULES")),
            "t_order||ds_0,ds_2|||||hash_mod|order_id|hash_mod|sharding-count=4|||||false");
  const std::string spread = rows_on_units("t_order");
  EXPECT_NE(spread, "100 0 0");
  EXPECT_EQ(placement::cluster().rows_everywhere("SELECT order_id FROM t_order").size(), 100u);
  EXPECT_EQ(admin("CREATE SHARDING TABLE RULE t_order (SHARDING_COLUMN=order_id, TYPE(NAME='hash_mod'))")
                .error()
                .sqlstate,
            "42710");
  const std::string nodes = text_of(good("SHOW SHARDING TABLE NODES t_order"));
  EXPECT_EQ(std::count(nodes.begin(), nodes.end(), ','), 3);
  EXPECT_TRUE(good("DROP SHARDING TABLE RULE t_order").catalog_changed);
  EXPECT_EQ(placement::cluster().on(0).exec("SELECT count(*) FROM t_order").scalar(), "100");
  EXPECT_EQ(text_of(good("SHOW SINGLE TABLES")), "t_order|ds_0\nt_rate|ds_0");
}

TEST_F(RulesOnTables, BroadcastRuleCopiesTheRowsToAllUnits) {
  EXPECT_TRUE(good("CREATE BROADCAST TABLE RULE t_rate").catalog_changed);
  EXPECT_EQ(rows_on_units("t_rate"), "2 2 2");
  EXPECT_EQ(text_of(good("SHOW BROADCAST TABLE RULES")), "t_rate");
  EXPECT_EQ(admin("CREATE SHARDING TABLE RULE t_rate (SHARDING_COLUMN=code, TYPE(NAME='hash_mod'))")
                .error()
                .sqlstate,
            "55000");
  good("DROP BROADCAST TABLE RULE t_rate");
  EXPECT_EQ(text_of(good("COUNT BROADCAST RULE")), "broadcast_table|rules|0");
}

TEST_F(RulesOnTables, RangeRulesPutRowsBetweenTheirBounds) {
  good(
      "CREATE SHARDING TABLE RULE t_order (SHARDING_COLUMN=order_id, TYPE(NAME='boundary_range', "
      "PROPERTIES('sharding-ranges'='11,31')))");
  EXPECT_EQ(rows_on_units("t_order"), "10 20 70");
  EXPECT_EQ(text_of(good("SHOW SHARDING TABLE RULE t_order")),
            "t_order||ds_0,ds_1,ds_2|||||range|order_id|range|sharding-count=3|||||false");
}

TEST_F(RulesOnTables, SeveralTablesOfOneStatementArePlacedTogetherOrNotAtAll) {
  const auto failed = admin(
      "CREATE SHARDING TABLE RULE t_order (SHARDING_COLUMN=order_id, TYPE(NAME='hash_mod')), "
      "t_rate (SHARDING_COLUMN=nope, TYPE(NAME='hash_mod'))");
  EXPECT_EQ(failed.error().sqlstate, "42703");
  EXPECT_EQ(text_of(good("COUNT SHARDING RULE")), "sharding_table|rules|0\nsharding_table_reference|rules|0");
}

TEST_F(RulesOnTables, WaitingRulePlacesTheTableWhenItIsCreated) {
  good(
      "CREATE SHARDING TABLE RULE t_late (SHARDING_COLUMN=id, TYPE(NAME='hash_mod', "
      "PROPERTIES('sharding-count'='6')))");
  good("CREATE BROADCAST TABLE RULE t_word");
  home(
      "CREATE TABLE t_late(id bigint PRIMARY KEY); CREATE TABLE t_word(w text); CREATE TABLE t_other(a int)");
  for (const auto& [table, placed] :
       {std::pair("t_late", true), std::pair("t_word", true), std::pair("t_other", false)}) {
    for (const UnitId unit : runner_->units()) runner_->on(unit).exec("BEGIN");
    const auto applied = async::run_now(apply_pending_rule(*context_, "public", table));
    for (const UnitId unit : runner_->units()) runner_->on(unit).exec("COMMIT");
    ASSERT_TRUE(applied) << applied.error().message;
    EXPECT_EQ(*applied, placed) << table;
  }
  EXPECT_EQ(text_of(good("SHOW SHARDING TABLE RULE t_late")),
            "t_late||ds_0,ds_1,ds_2|||||hash_mod|id|hash_mod|sharding-count=6|||||false");
  EXPECT_EQ(text_of(good("SHOW BROADCAST TABLE RULES")), "t_word");
  // The rule goes, and the table is plain again.
  EXPECT_TRUE(good("DROP SHARDING TABLE RULE t_late").catalog_changed);
  EXPECT_FALSE(pending_rule(context_->store, "rules", "public", "t_late").value());
}

TEST_F(RulesOnTables, NamesAreFoundAsSqlFindsThem) {
  placement::cluster().everywhere("CREATE SCHEMA \"Sales\"");
  home("CREATE TABLE \"Sales\".\"T Item\"(\"Id\" int PRIMARY KEY)");
  good("CREATE SHARDING TABLE RULE \"Sales\".\"T Item\" (SHARDING_COLUMN=\"Id\", TYPE(NAME='hash_mod'))");
  EXPECT_EQ(good("SHOW SHARDING TABLE RULE \"Sales\".\"T Item\"").rows.at(0).at(0), "Sales.T Item");
  EXPECT_EQ(admin("SHOW SHARDING TABLE RULE \"T Item\"").error().sqlstate, "42704");
  EXPECT_EQ(text_of(good("SHOW LOGICAL TABLES LIKE 'T %'")), "T Item|Sales");
}

}  // namespace
}  // namespace decan::distsql
