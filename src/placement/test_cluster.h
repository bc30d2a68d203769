// Two or three real servers with schema decan and a UnitRunner over libpq, for this module's _pgtest files.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "auth/proof.h"
#include "catalog/snapshot.h"
#include "placement/distribute.h"
#include "placement/unit_runner.h"
#include "testing/pg.h"

namespace decan::placement {

inline auth::ProofKey test_key() {
  return auth::ProofKey("secret of the tests");
}

// One session on every unit; libpq calls block, so a coroutine over it never really suspends.
class LibpqRunner final : public UnitRunner {
 public:
  LibpqRunner(std::vector<testing::Connection> connections, UnitId home);
  async::Task<Result<TextRows>> run(UnitId unit, std::string sql) override;
  async::Task<Result<std::vector<TextRows>>> run_all(std::vector<UnitId> units, std::string sql) override;
  async::Task<Result<uint64_t>> copy_between(UnitId from, std::string copy_out, UnitId to,
                                             std::string copy_in) override;
  std::vector<UnitId> units() const override;
  UnitId home() const override { return home_; }
  async::Task<Status> shut_out(Oid) override { co_return Status{}; }
  std::string proof(std::string_view message) const override { return test_key().proof(message); }
  testing::Connection& on(UnitId unit) { return connections_[unit.value]; }

 private:
  std::vector<testing::Connection> connections_;
  UnitId home_;
};

class TestCluster {
 public:
  explicit TestCluster(size_t units);
  size_t size() const { return servers_.size(); }
  // A fresh logical database on every unit.
  void use_database(const std::string& name);
  testing::Connection& on(size_t unit) { return *connections_[unit]; }  // as superuser
  testing::PgFixture& server(size_t unit) { return *servers_[unit]; }
  const std::string& database() const { return database_; }
  void everywhere(const std::string& sql);
  // Rows of a query on every unit, as sorted lines.
  std::vector<std::string> rows_everywhere(const std::string& query);
  LibpqRunner runner(const std::string& role, UnitId home = UnitId{0});
  // The definition of a table as pg_dump sees it, or of all of the database's tables.
  std::string dump(size_t unit, const std::string& table);
  catalog::SnapshotPtr snapshot(UnitId home = UnitId{0});

  // In a transaction of their own, rolled back on error.
  Result<Placed> distribute(ShardOptions options, const std::string& role = "postgres",
                            UnitId home = UnitId{0});
  Status reference(const std::string& table, const std::string& role = "postgres");
  Status undistribute(const std::string& table, const std::string& role = "postgres",
                      UnitId home = UnitId{0});

 private:
  std::vector<std::unique_ptr<testing::PgFixture>> servers_;
  std::vector<std::unique_ptr<testing::Connection>> connections_;
  std::string database_;
};

// The servers are started once per test program.
TestCluster& cluster();

// Each test gets a fresh database on all three units.
class OnCluster : public ::testing::Test {
 protected:
  void SetUp() override { cluster().use_database("app"); }
  static TestCluster& units() { return cluster(); }
  static testing::Connection& home() { return units().on(0); }

  static std::string state(const Result<Placed>& result) { return result ? "ok" : result.error().sqlstate; }
  static std::string state(const Status& result) { return result ? "ok" : result.error().sqlstate; }
  static std::string text(const Result<Placed>& result) { return result ? "" : result.error().message; }
  static std::string text(const Status& result) { return result ? "" : result.error().message; }

  static ShardOptions by(std::string table, std::vector<std::string> keys) {
    ShardOptions options;
    options.table = std::move(table);
    options.key_columns = std::move(keys);
    return options;
  }

  // Every row lies in the leaf, and on the unit, that bucket_of() names. `sent`: SQL that gives each key
  // value in binary, as bytea.
  static void expect_rows_in_their_buckets(const std::string& table, const std::vector<std::string>& sent,
                                           size_t rows_expected);
};

}  // namespace decan::placement
