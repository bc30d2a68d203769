#include "backend/settings.h"

#include <gtest/gtest.h>

namespace decan::backend {
namespace {

TEST(SettingsDifference, IsEmptyBetweenEqualSettings) {
  const Settings a({{"work_mem", "SET work_mem TO '1MB'"}}), b({{"work_mem", "SET work_mem TO '1MB'"}});
  EXPECT_EQ(settings_difference(a, a), "");
  EXPECT_EQ(settings_difference(a, b), "");
  EXPECT_EQ(settings_difference({}, {}), "");
  EXPECT_TRUE(a.same_as(b));
}

TEST(SettingsDifference, ResetsWhatIsGoneAndSetsWhatIsNewOrChanged) {
  const Settings from({{"a", "SET a TO 1"}, {"b", "SET b TO 1"}, {"c", "SET c TO 1"}});
  const Settings to({{"b", "SET b TO 2"}, {"c", "SET c TO 1"}, {"d", "SET d TO 1"}});
  EXPECT_EQ(settings_difference(from, to), "RESET \"a\";SET b TO 2;SET d TO 1");
  EXPECT_EQ(settings_difference(from, {}), "RESET \"a\";RESET \"b\";RESET \"c\"");
}

TEST(SettingsDifference, ResetsTheRoleFirstAndSetsItLast) {
  const Settings from({{"role", "SET ROLE x"}, {"a", "SET a TO 1"}});
  const Settings to({{"role", "SET ROLE y"}, {"z", "SET z TO 1"}});
  EXPECT_EQ(settings_difference(from, to), "RESET ROLE;RESET \"a\";SET z TO 1;SET ROLE y");
  EXPECT_EQ(settings_difference(from, {}), "RESET ROLE;RESET \"a\"");
  EXPECT_EQ(settings_difference({}, to), "SET z TO 1;SET ROLE y");
}

TEST(SettingName, QuotesEachPartOfAnExtensionsSetting) {
  EXPECT_EQ(setting_name_sql("my.setting"), "\"my\".\"setting\"");
  EXPECT_EQ(setting_name_sql("my.a\"b"), "\"my\".\"a\"\"b\"");
  EXPECT_EQ(setting_name_sql("timezone"), "\"timezone\"");
  EXPECT_EQ(setting_name_sql("role"), "ROLE");
  EXPECT_EQ(setting_name_sql("session authorization"), "SESSION AUTHORIZATION");
  EXPECT_EQ(setting_name_sql("session_authorization"), "SESSION AUTHORIZATION");
}

}  // namespace
}  // namespace decan::backend
