#include <gtest/gtest.h>

#include "testing/pg.h"

namespace decan::testing {
namespace {

TEST(PgFixture, RunsPreparesRestartsAndTellsErrors) {
  PgFixture server;
  auto connection = server.connect();
  EXPECT_EQ(connection.exec("SELECT 1; SELECT 2, NULL").text(), "2|NULL");
  EXPECT_EQ(connection.exec("SHOW max_prepared_transactions").scalar(), "64");
  connection.exec(
      "CREATE TABLE t(a int PRIMARY KEY); BEGIN; INSERT INTO t VALUES(1); PREPARE TRANSACTION 'x'");
  server.kill();
  server.start();
  auto again = server.connect();
  EXPECT_EQ(again.exec_all("COMMIT PREPARED 'x'").size(), 1u);
  EXPECT_EQ(again.exec("TABLE t").scalar(), "1");
  const auto error = again.error_of("INSERT INTO t VALUES(1)");
  EXPECT_EQ(error.sqlstate(), "23505");
  EXPECT_EQ(error.constraint, "t_pkey");
  EXPECT_EQ(again.copy_in("COPY t FROM STDIN", "7\n8\n"), "COPY 2");
  EXPECT_EQ(again.copy_out("COPY t TO STDOUT"), "1\n7\n8\n");
  EXPECT_EQ(again.query("SELECT $1::text", {std::nullopt}).scalar(), "NULL");
  server.stop();
}

TEST(PgFixture, AsksForPasswordsWhenTold) {
  PgFixture server(PgOptions{.auth = Auth::kScram});
  server.connect().exec("CREATE ROLE app LOGIN PASSWORD 'right'");
  EXPECT_EQ(server.connect("postgres", "app", "right").exec("SELECT current_user").scalar(), "app");
  EXPECT_THROW(server.connect("postgres", "app", "wrong"), SqlError);
}

TEST(RunProgram, ReturnsOutputOrThrows) {
  EXPECT_NE(run_program({program("postgres"), "--version"}).find("PostgreSQL) 15"), std::string::npos);
  EXPECT_THROW(run_program({program("pg_dump"), "--no-such-option"}), std::runtime_error);
}

}  // namespace
}  // namespace decan::testing
