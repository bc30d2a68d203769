#include "catalog/session_code.h"

#include <gtest/gtest.h>

namespace decan::catalog {
namespace {

std::string found(std::string_view code) {
  CustomSettings settings;
  find_custom_settings(code, settings);
  std::string out;
  for (const std::string& name : settings.names) out += name + " ";
  return out + (settings.unknown ? "unknown " : "") + (settings.by_parameter ? "parameter" : "");
}

TEST(CustomSettings, AreFoundInTheTextOfCode) {
  EXPECT_EQ(found("BEGIN PERFORM set_config('App.Tenant', x, true); END"), "app.tenant ");
  EXPECT_EQ(found("SELECT pg_catalog.set_config ( 'a.b', 'c', false)"), "a.b ");
  EXPECT_EQ(found("EXECUTE 'SELECT set_config(''a.b'', ''c'', false)'"), "a.b ");
  EXPECT_EQ(found("SET LOCAL a.b = 1; set session c.d to 'x';SET e.f=1"), "a.b c.d e.f ");
  EXPECT_EQ(found("SET work_mem = '1MB'; UPDATE t SET v = 1; SELECT set_config('work_mem', '1MB', true)"),
            "");
  EXPECT_EQ(found(""), "");
}

TEST(CustomSettings, ThatCodePutsTogetherAreUnknown) {
  EXPECT_EQ(found("SELECT set_config($1, $2, true)"), "parameter");
  EXPECT_EQ(found("PERFORM set_config(name, 'x', true)"), "unknown ");
  EXPECT_EQ(found("PERFORM set_config('app.' || name, 'x', true)"), "app. unknown ");
  EXPECT_EQ(found("SET \"App\".x = 1"), "unknown ");
  EXPECT_EQ(found("EXECUTE 'SET ' || name || ' = 1'"), "unknown ");
}

}  // namespace
}  // namespace decan::catalog
