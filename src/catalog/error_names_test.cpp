#include "catalog/error_names.h"

#include <gtest/gtest.h>

namespace decan::catalog {
namespace {

using Fields = std::vector<std::pair<char, std::string>>;

Snapshot snapshot() {
  Snapshot out;
  out.groups.push_back(std::make_unique<ShardGroup>());
  auto orders = std::make_unique<Relation>();
  orders->oid = 20000;
  orders->schema = "shop";
  orders->name = "orders";
  orders->leaf_prefix = "orders_5";
  orders->index_keys = {{"0123abcd", "orders_pkey"}};
  orders->foreign_key_copies = {
      {"orders_customer_id_fkey", "of_customer"}, {"orders_x_fkey", "a"}, {"orders_x_fkey", "b"}};
  out.add(std::move(orders));
  return out;
}

std::string mapped(std::string state, char code, std::string text) {
  Fields fields{{'S', "ERROR"}, {'C', std::move(state)}, {code, std::move(text)}};
  map_error_names(snapshot(), fields);
  return fields[2].second;
}

TEST(ErrorNames, TurnsLeavesIntoTables) {
  Fields fields{{'C', "23505"},
                {'M', "duplicate key value violates unique constraint \"orders_5_12_0123abcd\""},
                {'s', "decan_shard"},
                {'t', "orders_5_12"},
                {'n', "orders_5_12_0123abcd"}};
  EXPECT_TRUE(map_error_names(snapshot(), fields));
  EXPECT_EQ(fields[1].second, "duplicate key value violates unique constraint \"orders_pkey\"");
  EXPECT_EQ(fields[2].second, "shop");
  EXPECT_EQ(fields[3].second, "orders");
  EXPECT_EQ(fields[4].second, "orders_pkey");
  EXPECT_EQ(mapped("42501", 'M', "permission denied for table orders_5_12"),
            "permission denied for table orders");
  EXPECT_EQ(mapped("42P01", 'M', "relation \"decan_shard.orders_5_12\" does not exist"),
            "relation \"orders\" does not exist");
  EXPECT_EQ(mapped("23502", 'M',
                   "null value in column \"a\" of relation \"orders_5_1\" violates not-null constraint"),
            "null value in column \"a\" of relation \"orders\" violates not-null constraint");
  EXPECT_EQ(mapped("40P01", 'W', "while updating tuple (0,1) in relation \"orders_5_0\""),
            "while updating tuple (0,1) in relation \"orders\"");
}

TEST(ErrorNames, TellsQueriesInsideOfErrorsWithoutLeaves) {
  EXPECT_EQ(mapped("55P03", 'W',
                   "SQL statement \"SELECT 1 FROM ONLY \"decan_shard\".\"orders_5_12\" x WHERE a = 1\""),
            "SQL statement \"SELECT 1 FROM ONLY \"shop\".\"orders\" x WHERE a = 1\"");
  EXPECT_EQ(mapped("42703", 'q', "SELECT x FROM decan_shard.orders_5_0, decan_shard.other_1_1"),
            "SELECT x FROM shop.orders, decan_shard.other_1_1");
  EXPECT_EQ(mapped("0A000", 'W',
                   "PL/pgSQL function decan.on_drop() line 3 at RAISE\nSQL function \"f\" statement 1"),
            "SQL function \"f\" statement 1");
  Fields fields{
      {'C', "0A000"}, {'W', "PL/pgSQL function decan.refuse(text,text) line 3 at RAISE"}, {'M', "x"}};
  EXPECT_TRUE(map_error_names(snapshot(), fields));
  EXPECT_EQ(fields.size(), 2U);
}

TEST(ErrorNames, NamesForeignKeysByTheirOriginal) {
  EXPECT_EQ(mapped("23503", 'n', "orders_customer_id_fkey17"), "of_customer");
  EXPECT_EQ(mapped("23503", 'n', "orders_customer_id_fkey"), "of_customer");
  EXPECT_EQ(mapped("23503", 'n', "of_customer"), "of_customer");
  EXPECT_EQ(mapped("23503", 'n', "orders_x_fkey2"), "orders_x_fkey2");  // two keys could be meant
  EXPECT_EQ(mapped("23505", 'n', "orders_customer_id_fkey1"), "orders_customer_id_fkey1");
}

TEST(ErrorNames, LeavesDataAlone) {
  EXPECT_EQ(mapped("22P02", 'M', "invalid input syntax for type integer: \"orders_5_1\""),
            "invalid input syntax for type integer: \"orders_5_1\"");
  EXPECT_EQ(mapped("P0001", 'M', "\"orders_5_1\""), "\"orders_5_1\"");
  EXPECT_EQ(mapped("23505", 'D', "Key (a)=(\"orders_5_1\") already exists."),
            "Key (a)=(\"orders_5_1\") already exists.");
  EXPECT_EQ(mapped("23503", 'D', "Key (a)=(\"orders_5_1\") is not present in table \"orders_5_1\"."),
            "Key (a)=(\"orders_5_1\") is not present in table \"orders\".");
  EXPECT_EQ(mapped("23505", 'D', "Key (a)=(in table \"orders_5_1"), "Key (a)=(in table \"orders_5_1");
}

TEST(ErrorNames, LeavesOtherNamesAlone) {
  for (const auto* name : {"orders_5", "orders_5_", "orders_5_x", "orders_6_1", "orders", "", "_1",
                           "orders_5_12_ffffffff", "orders_5_12_0123abc"}) {
    EXPECT_EQ(mapped("23505", 'n', name), name);
    EXPECT_EQ(mapped("23505", 't', name), name);
    EXPECT_EQ(mapped("23505", 'M', "x \"" + std::string(name) + "\" \"open"),
              "x \"" + std::string(name) + "\" \"open");
  }
  Fields none;
  EXPECT_FALSE(map_error_names(snapshot(), none));
  EXPECT_FALSE(map_error_names(Snapshot{}, none));
}

}  // namespace
}  // namespace decan::catalog
