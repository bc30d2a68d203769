#include "catalog/hidden.h"

#include <gtest/gtest.h>

#include "catalog/snapshot.h"

namespace decan::catalog {
namespace {

TEST(HiddenFinder, FollowsNamesAndDependenciesToTheEnd) {
  const std::vector<NamedRelation> relations{
      {1, "orders", true}, {2, "v1", false}, {3, "v2", false}, {4, "quiet", false}};
  const std::vector<Routine> routines{{10, "public", "direct", "select * from ORDERS"},
                                      {11, "public", "caller", "begin perform direct(); end"},
                                      {12, "public", "loop_a", "select loop_b()"},
                                      {13, "public", "loop_b", "select loop_a() -- and caller"},
                                      {14, "public", "clean", "select my_orders, orders2, \"x\""},
                                      {15, "public", "c_code", ""}};
  const std::vector<Dependency> dependencies{
      {{false, 2}, {false, 1}}, {{false, 3}, {true, 11}}, {{true, 15}, {false, 3}}};
  const HiddenFinder finder(relations, routines, dependencies, {});
  for (const Oid view : {2u, 3u}) EXPECT_EQ(finder.relation(view), "orders") << view;
  EXPECT_EQ(finder.relation(4), "");
  EXPECT_EQ(finder.relation(1), "");  // the table itself hides nothing
  for (const Oid routine : {10u, 11u, 12u, 13u, 15u}) EXPECT_EQ(finder.routine(routine), "orders") << routine;
  EXPECT_EQ(finder.routine(14), "");
}

TEST(HiddenFinder, KeepsEqualOidsOfTablesAndRoutinesApart) {
  const std::vector<NamedRelation> relations{{5, "orders", true}, {7, "v", false}};
  const std::vector<Routine> routines{{5, "s", "unrelated", "select 1"}, {7, "s", "other", "select 2"}};
  const HiddenFinder finder(relations, routines, {{{false, 7}, {true, 5}}},
                            {});  // a view that calls function 5, not table 5
  EXPECT_EQ(finder.relation(7), "");
  EXPECT_EQ(finder.routine(7), "");
}

TEST(HiddenFinder, FindsNamesThatAreNoWords) {
  const std::vector<NamedRelation> relations{{1, "Two Words", true}, {2, "\xc3\x9c", true}};
  const std::vector<Routine> routines{{10, "s", "f", "select * from \"Two Words\""},
                                      {11, "s", "g", "select * from \xc3\x9c"},
                                      {12, "s", "h", "two  words"}};
  const HiddenFinder finder(relations, routines, {}, {});
  EXPECT_EQ(finder.routine(10), "Two Words");
  EXPECT_EQ(finder.routine(11), "\xc3\x9c");
  EXPECT_EQ(finder.routine(12), "");
}

TEST(HiddenFinder, DynamicSqlMayReadAnything) {
  const std::vector<Routine> routines{{10, "s", "dynamic", "execute n", true},
                                      {11, "s", "caller", "perform dynamic()"},
                                      {12, "s", "both", "execute 'select from orders' || n", true},
                                      {13, "s", "clean", "select 1"}};
  const HiddenFinder finder({{1, "orders", true}, {2, "v", false}}, routines, {{{false, 2}, {true, 11}}}, {});
  EXPECT_EQ(finder.routine(10), kDynamicSql);
  EXPECT_EQ(finder.routine(11), kDynamicSql);
  EXPECT_EQ(finder.relation(2), kDynamicSql);
  EXPECT_EQ(finder.routine(12), "orders");  // what is known is told
  EXPECT_EQ(finder.routine(13), "");
  EXPECT_EQ(HiddenFinder({{2, "v", false}}, routines, {}, {}).routine(10), "");
}

TEST(HiddenFinder, FollowsOperatorsAndTypesInBodies) {
  const std::vector<Routine> routines{{10, "s", "counts", "select from orders"},
                                      {11, "s", "by_operator", "return a === b"},
                                      {12, "s", "by_type", "return a::Positive"},
                                      {13, "s", "by_caller", "perform by_type(1)"},
                                      {14, "s", "clean", "return a == b::positive_int"}};
  const HiddenFinder finder({{1, "orders", true}}, routines, {}, {{10, "==="}, {10, "positive"}, {14, "~"}});
  for (const Oid routine : {10u, 11u, 12u, 13u}) EXPECT_EQ(finder.routine(routine), "orders") << routine;
  EXPECT_EQ(finder.routine(14), "");
}

TEST(HiddenFinder, CodeOfAWriteConcernsWritersOnly) {
  const std::vector<NamedRelation> relations{
      {1, "orders", true},  {2, "audited", false}, {3, "reader", false}, {4, "quiet", false},
      {5, "parent", false}, {6, "ruled", false},   {7, "related", true}, {8, "child", true}};
  const std::vector<Routine> routines{{10, "s", "trigger_code", "update orders"},
                                      {11, "s", "writer", "insert into audited"},
                                      {12, "s", "atomic_writer", ""},
                                      {13, "s", "clean", "insert into quiet select from quiet"},
                                      {14, "s", "only_reads", "select from audited, reader"},
                                      {15, "s", "by_view", "delete from reader"},
                                      {16, "s", "by_cascade", "delete from parent"}};
  const HiddenFinder finder(relations, routines,
                            {{{false, 2}, {true, 10}, Use::kWhenWritten},
                             {{false, 3}, {false, 2}},
                             {{true, 12}, {false, 2}},
                             {{false, 5}, {false, 2}, Use::kWrites},
                             {{false, 4}, {false, 8}, Use::kWrites},  // rows of one unit cascade there
                             {{false, 6}, {false, 1}, Use::kWhenWritten},
                             {{false, 7}, {true, 10}, Use::kWhenWritten}},
                            {});
  for (const Oid routine : {11u, 12u, 15u, 16u}) EXPECT_EQ(finder.routine(routine), "orders") << routine;
  for (const Oid routine : {13u, 14u}) EXPECT_EQ(finder.routine(routine), "") << routine;
  for (const Oid relation : {2u, 3u, 5u, 6u, 7u}) EXPECT_EQ(finder.written(relation), "orders") << relation;
  for (const Oid relation : {2u, 3u, 5u, 6u, 7u}) EXPECT_EQ(finder.relation(relation), "") << relation;
  EXPECT_EQ(finder.written(1), "");
}

TEST(HiddenFinder, CodeOfAnyUseConcernsReaders) {
  const std::vector<NamedRelation> relations{
      {1, "orders", true}, {2, "secured", false}, {3, "reader", false}, {4, "parent", false}};
  const std::vector<Routine> routines{{10, "s", "policy_code", "select from orders"},
                                      {11, "s", "reads", "select from secured"},
                                      {12, "s", "by_view", "select from reader"}};
  const HiddenFinder finder(relations, routines,
                            {{{false, 2}, {true, 10}, Use::kWhenUsed},
                             {{false, 3}, {false, 2}},
                             {{false, 4}, {false, 2}, Use::kWrites}},
                            {});
  for (const Oid routine : {11u, 12u}) EXPECT_EQ(finder.routine(routine), "orders") << routine;
  for (const Oid relation : {2u, 3u}) EXPECT_EQ(finder.used(relation), "orders") << relation;
  EXPECT_EQ(finder.used(4), "");
  EXPECT_EQ(finder.written(4), "orders");
  for (const Oid relation : {2u, 3u, 4u}) EXPECT_EQ(finder.relation(relation), "") << relation;
}

TEST(HiddenFinder, CostsNothingWithoutShardedTables) {
  const HiddenFinder finder({{2, "v", false}}, {{10, "s", "f", "v"}}, {{{true, 10}, {false, 2}}}, {});
  EXPECT_EQ(finder.relation(2), "");
  EXPECT_EQ(finder.routine(10), "");
}

}  // namespace
}  // namespace decan::catalog
