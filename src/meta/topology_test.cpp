#include "meta/topology.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "meta/sqlite_store.h"

namespace decan::meta {
namespace {

class Topology : public ::testing::Test {
 protected:
  Topology() {
    std::string pattern = ::testing::TempDir() + "topologyXXXXXX";
    directory_ = ::mkdtemp(pattern.data());
    store_ = open_sqlite_store((directory_ / "meta.db").string()).value();
  }
  ~Topology() override {
    store_.reset();
    std::filesystem::remove_all(directory_);
  }
  static UnitRecord unit(std::string name, uint32_t ordinal) {
    UnitRecord made;
    made.name = std::move(name);
    made.host = "/run/decan";
    made.port = 6001;
    made.service_user = "postgres";
    made.service_password = "p\"w\\d";
    made.ordinal = ordinal;
    made.properties = {{"maxPoolSize", "20"}};
    made.embedded = true;
    made.data_directory = "/srv/ds";
    return made;
  }
  std::filesystem::path directory_;
  std::unique_ptr<Store> store_;
};

TEST_F(Topology, a_unit_comes_back_as_it_was_saved) {
  ASSERT_TRUE(save_unit(*store_, unit("ds_0", 0), true));
  const auto units = load_units(*store_).value();
  ASSERT_EQ(units.size(), 1u);
  EXPECT_EQ(to_json(units[0]), to_json(unit("ds_0", 0)));
  EXPECT_EQ(units[0].properties.at(0).second, "20");
}

TEST_F(Topology, units_come_in_order_of_registration_not_of_name) {
  ASSERT_TRUE(save_unit(*store_, unit("b", claim_ordinal(*store_).value()), true));
  ASSERT_TRUE(save_unit(*store_, unit("a", claim_ordinal(*store_).value()), true));
  const auto units = load_units(*store_).value();
  ASSERT_EQ(units.size(), 2u);
  EXPECT_EQ(units[0].name, "b");
  EXPECT_EQ(units[1].ordinal, 1u);
}

TEST_F(Topology, a_second_unit_of_one_name_is_refused_with_42710) {
  ASSERT_TRUE(save_unit(*store_, unit("ds_0", 0), true));
  EXPECT_EQ(save_unit(*store_, unit("ds_0", 1), true).error().sqlstate, "42710");
  EXPECT_TRUE(save_unit(*store_, unit("ds_0", 1), false));
}

TEST_F(Topology, removing_an_unknown_unit_is_refused_with_42704) {
  EXPECT_EQ(remove_unit(*store_, "ds_9").error().sqlstate, "42704");
  ASSERT_TRUE(save_unit(*store_, unit("ds_9", 0), true));
  EXPECT_TRUE(remove_unit(*store_, "ds_9"));
  EXPECT_TRUE(load_units(*store_).value().empty());
}

TEST_F(Topology, the_home_unit_is_unknown_until_it_is_set) {
  EXPECT_EQ(home_unit(*store_).error().sqlstate, "55000");
  ASSERT_TRUE(set_home_unit(*store_, "ds_0"));
  EXPECT_EQ(home_unit(*store_).value(), "ds_0");
}

TEST(UnitJson, damaged_records_are_refused_without_an_exception) {
  for (const char* text :
       {"", "{", "[]", "{\"name\":1}", "{\"name\":\"a\",\"host\":\"h\",\"port\":70000,\"ordinal\":0}",
        "{\"name\":\"a\",\"host\":\"h\",\"port\":1,\"ordinal\":-1}"}) {
    const auto unit = unit_from_json(text);
    ASSERT_FALSE(unit) << text;
    EXPECT_EQ(unit.error().sqlstate, "XX001") << text;
  }
}

}  // namespace
}  // namespace decan::meta
