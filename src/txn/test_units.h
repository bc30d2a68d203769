// Three units with Decan's schema, a pool and what transactions need, for tests.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "async/test_loop.h"
#include "backend/test_login.h"
#include "placement/schema.h"
#include "testing/pg.h"
#include "txn/resolver.h"
#include "txn/transaction.h"

namespace decan::txn {

class OnThreeUnits : public ::testing::Test {
 protected:
  static constexpr size_t kUnits = 3;

  static void SetUpTestSuite() {
    const auto verifier = auth::make_verifier("secret").value();
    keys_ = backend::keys_of("app", "secret", verifier);
    for (size_t i = 0; i < kUnits; ++i) {
      servers_.push_back(std::make_unique<testing::PgFixture>(
          testing::PgOptions{.auth = testing::Auth::kScram, .settings = {{"synchronous_commit", "on"}}}));
      auto admin = servers_.back()->connect();
      admin.exec("BEGIN;" + placement::schema_sql(key()) + ";COMMIT");
      admin.exec("CREATE ROLE app LOGIN PASSWORD '" + verifier.to_string() +
                 "'; GRANT CREATE ON SCHEMA public TO app");
    }
  }
  static void TearDownTestSuite() { servers_.clear(); }

  void SetUp() override {
    auto units = std::make_shared<backend::Units>();
    for (size_t i = 0; i < kUnits; ++i) {
      meta::UnitRecord record;
      record.name = "ds_" + std::to_string(i);
      record.host = servers_[i]->host();
      record.port = servers_[i]->port();
      record.service_user = "postgres";
      record.service_password = "decan-test";
      units->push_back(record);
      admin(i).exec("DROP TABLE IF EXISTS t; TRUNCATE decan.dist_commit");
      as_app(i).exec(
          "CREATE TABLE t(id text PRIMARY KEY, n int NOT NULL DEFAULT 0, u int UNIQUE DEFERRABLE INITIALLY "
          "DEFERRED)");
    }
    loop_.call([&] {
      pool_ = std::make_unique<backend::Pool>(loop_.loop(), units,
                                              backend::PoolLimits{.queue_timeout = std::chrono::seconds(5)});
    });
    transaction_ = make_transaction();
  }
  void TearDown() override {
    loop_.call([&] {
      if (transaction_) transaction_->drop_all();
      pool_.reset();
    });
    transaction_.reset();
  }
  std::unique_ptr<Transaction> make_transaction() {
    return std::make_unique<Transaction>(Transaction::Options{pool_.get(), &identity_, &service_, &gids_});
  }

  testing::Connection admin(size_t unit) { return servers_[unit]->connect(); }
  testing::Connection as_app(size_t unit) { return servers_[unit]->connect("postgres", "app", "secret"); }

  void begin(const std::string& options = {}) {
    loop_.call([&] { transaction_->begin(options, std::make_shared<const backend::Settings>()); });
  }
  static async::Task<Result<std::vector<backend::UnitConnection::TextResult>>> run_on(
      Transaction* transaction, uint32_t unit, std::string sql, bool writes) {
    auto joined = co_await transaction->join(UnitId{unit}, true, std::make_shared<const backend::Settings>());
    if (!joined) co_return fail(joined.error());
    if (writes) (*joined)->may_have_written = true;
    auto done = co_await (*joined)->connection->query(std::move(sql));
    if (!done) transaction->fail_block();
    co_return done;
  }
  // What a statement in the block returns, or its SQLSTATE.
  std::string write(uint32_t unit, const std::string& sql) {
    return text(loop_.run(run_on(transaction_.get(), unit, sql, true)));
  }
  std::string read(uint32_t unit, const std::string& sql) {
    return text(loop_.run(run_on(transaction_.get(), unit, sql, false)));
  }
  static std::string text(const Result<std::vector<backend::UnitConnection::TextResult>>& done) {
    if (!done) return done.error().sqlstate;
    return done->back().rows.empty() ? done->back().tag : done->back().rows[0][0].value_or("NULL");
  }
  static async::Task<Status> end(Transaction* transaction) {
    auto done = co_await transaction->commit();
    transaction->release_participants();
    co_return done;
  }
  Status commit() { return loop_.run(end(transaction_.get())); }
  static async::Task<bool> undo(Transaction* transaction) {
    co_await transaction->rollback();
    transaction->release_participants();
    co_return true;
  }
  size_t resolve(const GidSource& own) {
    Resolver resolver(*pool_, service_, own, "postgres");
    return loop_.run(resolver.pass(std::chrono::milliseconds(0)));
  }
  uint32_t pid_on(uint32_t unit) { return transaction_->find(UnitId{unit})->connection->pid(); }

  // Rows of t, gid rows and prepared transactions, as "rows/gids/prepared".
  std::string state(size_t unit) {
    return admin(unit)
        .exec(
            "SELECT (SELECT count(*) FROM t) || '/' || (SELECT count(*) FROM decan.dist_commit WHERE NOT "
            "tombstone) || '/' || "
            "(SELECT count(*) FROM pg_prepared_xacts)")
        .scalar();
  }
  std::string states() { return state(0) + " " + state(1) + " " + state(2); }

  static auth::ProofKey key() { return auth::ProofKey("secret of the tests"); }
  // decan.mark() as the compute node calls it in that session.
  std::string mark(testing::Connection& session, const std::string& gid, const std::string& units = "{0,1}") {
    return gids_.mark(gid, units,
                      static_cast<uint32_t>(std::stoul(session.exec("SELECT pg_backend_pid()").scalar())));
  }

  static inline std::vector<std::unique_ptr<testing::PgFixture>> servers_;
  static inline std::shared_ptr<const auth::PassThroughKeys> keys_;
  async::TestLoop loop_;
  std::unique_ptr<backend::Pool> pool_;
  backend::Identity identity_{"app", "postgres", keys_};
  backend::Identity service_{"postgres", "postgres", nullptr};
  GidSource gids_{"node", 1, key()};
  std::unique_ptr<Transaction> transaction_;
};

}  // namespace decan::txn
