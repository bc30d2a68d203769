#include "plan/catalog_views.h"

#include <gtest/gtest.h>

#include "plan/test_run.h"
#include "sql/parse.h"

namespace decan::plan {
namespace {

using testing::plan_and_run;

TEST(CatalogViews, EveryViewIsAQueryThatNamesItsCatalogOnce) {
  for (const auto& [schema, name] :
       {std::pair("pg_catalog", "pg_class"), std::pair("pg_catalog", "pg_namespace"),
        std::pair("pg_catalog", "pg_constraint"), std::pair("pg_catalog", "pg_trigger"),
        std::pair("pg_catalog", "pg_event_trigger"), std::pair("pg_catalog", "pg_indexes"),
        std::pair("pg_catalog", "pg_partitioned_table"), std::pair("pg_catalog", "pg_tables"),
        std::pair("information_schema", "tables"), std::pair("information_schema", "table_constraints")}) {
    for (const bool system_columns : {false, true}) {
      const auto view = catalog_view(schema, name, "decan:0", system_columns);
      ASSERT_TRUE(view) << name;
      EXPECT_TRUE(sql::parse("SELECT * FROM " + *view + " AS x", nullptr)) << *view;
      EXPECT_NE(view->find(std::string("FROM ") + schema + "." + name + " AS \"decan:0\""),
                std::string::npos);
    }
  }
  EXPECT_FALSE(catalog_view("pg_catalog", "pg_am", "a", false));
  EXPECT_FALSE(catalog_view("information_schema", "pg_class", "a", false));
}

std::string text_of(const std::string& sql) {
  const auto run = plan_and_run(sql);
  EXPECT_EQ(run.error, "") << sql;
  return run.texts.empty() ? "" : run.texts.front();
}

TEST(CatalogViews, CatalogsAreReadThroughThemUnderTheirOwnNames) {
  const std::string text = text_of("SELECT relname FROM pg_class WHERE oid = 5");
  EXPECT_TRUE(text.starts_with("SELECT relname FROM (SELECT ")) << text;
  EXPECT_TRUE(text.ends_with(") AS \"pg_class\" WHERE oid = 5")) << text;
  EXPECT_TRUE(text_of("SELECT c.relname FROM pg_catalog.pg_class AS c LEFT JOIN pg_namespace n ON "
                      "n.oid = c.relnamespace")
                  .ends_with("n.oid = c.relnamespace"));
  const std::string nested = text_of(
      "WITH t AS (SELECT oid FROM pg_class) SELECT * FROM t WHERE EXISTS "
      "(SELECT FROM information_schema.tables WHERE table_name = 'x')");
  EXPECT_NE(nested.find("\"decan:0\""), std::string::npos);
  EXPECT_NE(nested.find("\"decan:1\""), std::string::npos);
}

TEST(CatalogViews, StatementsThatWouldChangeTheirMeaningStayAsTheyAre) {
  for (const std::string sql :
       {"SELECT c FROM pg_class c", "SELECT tableoid, * FROM pg_class", "SELECT relname FROM ONLY pg_class",
        "TABLE pg_class", "SELECT pg_catalog.pg_class.relname FROM pg_catalog.pg_class",
        "SELECT relname FROM pg_class FOR UPDATE", "SELECT amname FROM pg_am",
        "WITH pg_class AS (SELECT 1 AS a) SELECT a FROM pg_class"})
    EXPECT_EQ(text_of(sql).find("decan:"), std::string::npos) << sql;
  EXPECT_NE(text_of("SELECT c.tableoid, c.oid FROM pg_class c").find("\"decan:0\".tableoid"),
            std::string::npos);
}

TEST(CatalogViews, PositionsOfErrorsAreThoseOfTheStatement) {
  const std::string sql = "SELECT c.relname, c.nope FROM pg_class c";
  const auto run = plan_and_run(sql);
  ASSERT_EQ(run.texts.size(), 1U);
  const Values values{sql, nullptr, {}, {}};
  const TextMap map = text_map(*run.plan, values, run.targets.front(), 1);
  EXPECT_EQ(map.original(19), 19U);
  EXPECT_EQ(map.original(static_cast<uint32_t>(run.texts[0].size())), sql.size());
}

}  // namespace
}  // namespace decan::plan
