// The pool on a real PostgreSQL with SCRAM.
#include "backend/pool.h"

#include <gtest/gtest.h>

#include "async/gather.h"
#include "async/test_loop.h"
#include "backend/test_login.h"
#include "testing/pg.h"

namespace decan::backend {
namespace {

using namespace std::chrono_literals;
using async::Task;

class PoolOnPostgres : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    server_ = std::make_unique<decan::testing::PgFixture>(
        decan::testing::PgOptions{.auth = decan::testing::Auth::kScram});
    auto connection = server_->connect();
    for (const char* role : {"ann", "bob"}) {
      const auto verifier = auth::make_verifier("secret").value();
      connection.exec(std::string("CREATE ROLE ") + role + " LOGIN PASSWORD '" + verifier.to_string() + "'");
      keys_[role] = keys_of(role, "secret", verifier);
    }
  }
  static void TearDownTestSuite() { server_.reset(); }

  void SetUp() override { start({}); }
  void TearDown() override {
    loop_.call([this] { pool_.reset(); });
  }
  void start(PoolLimits limits) {
    loop_.call([this] { pool_.reset(); });
    auto units = std::make_shared<Units>();
    meta::UnitRecord record;
    record.name = "ds_0";
    record.host = server_->host();
    record.port = server_->port();
    record.service_user = "postgres";
    record.service_password = "decan-test";
    units->push_back(record);
    loop_.call([&] { pool_ = std::make_unique<Pool>(loop_.loop(), units, limits); });
  }
  static Identity as(const std::string& role) { return {role, "postgres", keys_.at(role)}; }
  Result<UnitConnectionPtr> acquire(const std::string& role) {
    const Identity identity = as(role);
    return loop_.run(acquire_as(pool_.get(), identity));
  }
  static Task<Result<UnitConnectionPtr>> acquire_as(Pool* pool, Identity identity) {
    co_return co_await pool->acquire(UnitId{0}, identity);
  }
  void release(Result<UnitConnectionPtr>& connection) {
    loop_.call([&] { pool_->release(std::move(*connection)); });
  }
  std::string ask(UnitConnection& connection, const std::string& sql) {
    const auto done = loop_.run(connection.query(sql));
    return done ? done->back().rows.at(0).at(0).value_or("NULL") : done.error().sqlstate;
  }
  Pool::UnitStats stats() {
    Pool::UnitStats found;
    loop_.call([&] { found = pool_->stats().at(0); });
    return found;
  }

  static inline std::unique_ptr<decan::testing::PgFixture> server_;
  static inline std::map<std::string, std::shared_ptr<const auth::PassThroughKeys>> keys_;
  async::TestLoop loop_;
  std::unique_ptr<Pool> pool_;
};

TEST_F(PoolOnPostgres, AConnectionIsUsedAgainByItsOwnRoleOnly) {
  auto first = acquire("ann");
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(ask(**first, "SELECT session_user"), "ann");
  const uint32_t pid = (*first)->pid();
  release(first);
  auto other = acquire("bob");
  ASSERT_TRUE(other);
  EXPECT_NE((*other)->pid(), pid);
  EXPECT_EQ(ask(**other, "SELECT session_user"), "bob");
  auto again = acquire("ann");
  ASSERT_TRUE(again);
  EXPECT_EQ((*again)->pid(), pid);
  release(again);
  release(other);
  EXPECT_EQ(stats().idle, 2u);
}

TEST_F(PoolOnPostgres, WrongKeysAndMissingDatabasesAreThePostgresErrors) {
  Identity wrong = as("ann");
  wrong.keys = keys_.at("bob");
  const auto refused = loop_.run(acquire_as(pool_.get(), wrong));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().sqlstate, "28000");  // the verifiers differ
  Identity nowhere = as("ann");
  nowhere.database = "nowhere";
  const auto missing = loop_.run(acquire_as(pool_.get(), nowhere));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().sqlstate, "3D000");
  EXPECT_EQ(stats().open, 0u);
  EXPECT_EQ(stats().failed_total, 2u);
}

TEST_F(PoolOnPostgres, AtTheCapARequestWaitsUntilItsDeadline) {
  start({.max_per_unit = 1, .queue_timeout = 300ms});
  auto held = acquire("ann");
  ASSERT_TRUE(held);
  const auto begun = async::Clock::now();
  const auto late = acquire("ann");
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().sqlstate, "53300");
  EXPECT_GE(async::Clock::now() - begun, 300ms);
  EXPECT_EQ(stats().timeouts_total, 1u);
  release(held);
  auto then = acquire("ann");
  EXPECT_TRUE(then);
  release(then);
}

Task<int> take_turn(Pool* pool, Identity identity, int number, std::vector<int>* order) {
  auto connection = co_await pool->acquire(UnitId{0}, identity);
  if (!connection) co_return 0;
  order->push_back(number);
  co_await async::sleep_for(pool->loop(), std::chrono::milliseconds(10));
  pool->release(std::move(*connection));
  co_return 1;
}

Task<std::vector<int>> crowd(Pool* pool, std::vector<Identity> identities, std::vector<int>* order) {
  std::vector<Task<int>> tasks;
  for (size_t i = 0; i < identities.size(); ++i)
    tasks.push_back(take_turn(pool, identities[i], static_cast<int>(i), order));
  co_return co_await async::gather(pool->loop(), std::move(tasks));
}

TEST_F(PoolOnPostgres, ThoseWhoWaitAreServedInOrderAndNobodyIsForgotten) {
  start({.max_per_unit = 2, .queue_timeout = 20s});
  std::vector<Identity> identities;
  for (int i = 0; i < 20; ++i) identities.push_back(as(i % 3 == 0 ? "bob" : "ann"));
  std::vector<int> order;
  const auto served = loop_.run(crowd(pool_.get(), identities, &order));
  EXPECT_EQ(std::count(served.begin(), served.end(), 1), 20);
  // Logging in takes longer than taking over: neighbours may finish the other way round, no more.
  for (size_t i = 0; i < order.size(); ++i) EXPECT_LE(std::abs(order[i] - static_cast<int>(i)), 2) << i;
  EXPECT_LE(stats().open, 2u);
  EXPECT_EQ(stats().waiting, 0u);
}

Task<std::vector<int>> two_wait_for_two(Pool* pool, Identity identity, UnitConnectionPtr* a,
                                        UnitConnectionPtr* b, std::vector<int>* order) {
  std::vector<Task<int>> tasks;
  tasks.push_back(take_turn(pool, identity, 1, order));
  tasks.push_back(take_turn(pool, identity, 2, order));
  auto waiting = async::gather(pool->loop(), std::move(tasks));
  pool->loop().post([pool, a, b] {
    pool->loop().post([pool, a, b] {
      pool->release(std::move(*a));
      pool->release(std::move(*b));
    });
  });
  co_return co_await std::move(waiting);
}

TEST_F(PoolOnPostgres, TwoReleasedAtOnceServeTwo) {
  start({.max_per_unit = 2, .queue_timeout = 1s});
  auto a = acquire("ann"), b = acquire("ann");
  ASSERT_TRUE(a && b);
  std::vector<int> order;
  const auto served = loop_.run(two_wait_for_two(pool_.get(), as("ann"), &*a, &*b, &order));
  EXPECT_EQ(served, (std::vector<int>{1, 1}));
}

TEST_F(PoolOnPostgres, AnotherRolesIdleConnectionMakesRoom) {
  start({.max_per_unit = 1, .queue_timeout = 300ms});
  auto ann = acquire("ann");
  ASSERT_TRUE(ann);
  release(ann);
  auto bob = acquire("bob");
  ASSERT_TRUE(bob) << bob.error().message;
  EXPECT_EQ(stats().open, 1u);
  release(bob);
}

TEST_F(PoolOnPostgres, OldAndRestedConnectionsAreClosed) {
  start({.idle_timeout = 200ms});
  auto rests = acquire("ann");
  ASSERT_TRUE(rests);
  release(rests);
  std::this_thread::sleep_for(600ms);
  EXPECT_EQ(stats().open, 0u);
  start({.max_lifetime = 200ms});
  auto old = acquire("ann");
  ASSERT_TRUE(old);
  std::this_thread::sleep_for(300ms);
  release(old);
  EXPECT_EQ(stats().open, 0u);
}

TEST_F(PoolOnPostgres, AnIdleConnectionThatTheServerClosedIsNotHandedOut) {
  auto first = acquire("ann");
  ASSERT_TRUE(first);
  const uint32_t pid = (*first)->pid();
  release(first);
  server_->connect().exec("SELECT pg_terminate_backend(" + std::to_string(pid) + ", 5000)");
  std::this_thread::sleep_for(50ms);
  auto next = acquire("ann");
  ASSERT_TRUE(next);
  EXPECT_EQ(ask(**next, "SELECT 1"), "1");
  EXPECT_EQ(stats().open, 1u);
  release(next);
}

TEST_F(PoolOnPostgres, UncleanConnectionsAreNotKept) {
  auto open_block = acquire("ann"), dirty = acquire("ann");
  ASSERT_TRUE(open_block && dirty);
  EXPECT_TRUE(loop_.run((*open_block)->query("BEGIN")));
  (*dirty)->mark_dirty();
  release(open_block);
  release(dirty);
  EXPECT_EQ(stats().open, 0u);
}

TEST_F(PoolOnPostgres, AForgottenDatabasesConnectionsAreClosed) {
  auto ann = acquire("ann"), bob = acquire("bob");
  ASSERT_TRUE(ann && bob);
  release(ann);
  release(bob);
  EXPECT_EQ(stats().idle, 2u);
  loop_.call([&] { pool_->forget_database("postgres"); });
  EXPECT_EQ(stats().open, 0u);
}

TEST_F(PoolOnPostgres, AUnitThatMovedOrLeftIsNotUsedAgain) {
  auto in_use = acquire("ann"), idle = acquire("ann");
  ASSERT_TRUE(in_use && idle);
  release(idle);
  loop_.call([&] { pool_->update_units(std::make_shared<Units>()); });
  EXPECT_EQ(stats().open, 1u);
  release(in_use);
  EXPECT_EQ(stats().open, 0u);
  const auto gone = acquire("ann");
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().sqlstate, "08006");
}

TEST_F(PoolOnPostgres, SettingsFollowTheSessionAndNeverLeak) {
  const auto mine = std::make_shared<const Settings>(
      Settings::Map{{"work_mem", "SET work_mem TO '7MB'"}, {"my.tag", "SET \"my\".\"tag\" TO 'it''s'"}});
  auto first = acquire("ann");
  ASSERT_TRUE(first);
  ASSERT_TRUE(loop_.run((*first)->apply(mine)));
  EXPECT_EQ(ask(**first, "SHOW work_mem"), "7MB");
  EXPECT_EQ(ask(**first, "SELECT current_setting('my.tag')"), "it's");
  const uint32_t pid = (*first)->pid();
  release(first);
  auto second = acquire("ann");
  ASSERT_TRUE(second);
  ASSERT_EQ((*second)->pid(), pid);
  ASSERT_TRUE(loop_.run((*second)->apply(std::make_shared<const Settings>())));
  EXPECT_EQ(ask(**second, "SHOW work_mem"), "4MB");
  EXPECT_EQ(ask(**second, "SELECT coalesce(current_setting('my.tag', true), '')"), "");
  // What can not be applied leaves a connection that nobody else gets.
  const auto wrong = std::make_shared<const Settings>(Settings::Map{{"work_mem", "SET work_mem TO 'much'"}});
  const Status refused = loop_.run((*second)->apply(wrong));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().sqlstate, "22023");
  release(second);
  EXPECT_EQ(stats().open, 0u);
}

// Whoever got the connection next would read the answer.
TEST_F(PoolOnPostgres, AConnectionWhoseAnswerWasNotReadIsClosed) {
  auto acquired = acquire("ann");
  ASSERT_TRUE(acquired);
  const uint32_t pid = (*acquired)->pid();
  loop_.call([&] {
    (*acquired)->writer().query("SELECT pg_sleep(0.2), 'of another client'");
    EXPECT_TRUE((*acquired)->try_flush());
    EXPECT_FALSE((*acquired)->is_clean());
  });
  release(acquired);
  auto next = acquire("ann");
  ASSERT_TRUE(next);
  EXPECT_NE((*next)->pid(), pid);
  EXPECT_EQ(ask(**next, "SELECT 'mine'"), "mine");
}

TEST_F(PoolOnPostgres, TheLeastRecentlyUsedStatementsAreClosed) {
  auto acquired = acquire("ann");
  ASSERT_TRUE(acquired);
  UnitConnection& connection = **acquired;
  std::vector<UnitStatementPtr> statements;
  loop_.call([&] {
    for (uint64_t id = 1; id <= 3; ++id) {
      auto statement = std::make_shared<UnitStatement>(
          UnitStatement{.id = id, .sql = "SELECT " + std::to_string(id), .parameter_types = {}});
      statements.push_back(statement);
      connection.writer().parse(statement->name(), statement->sql, {});
      connection.expect({Expected::Kind::kParse, false, statement, {}});
      connection.note_prepared(statement);
    }
    connection.writer().sync();
    connection.expect(Expected::Kind::kSync, false);
  });
  EXPECT_EQ(ask(connection, "SELECT string_agg(name, ' ' ORDER BY name) FROM pg_prepared_statements"),
            "decan_1 decan_2 decan_3");
  loop_.call([&] {
    EXPECT_TRUE(connection.has_prepared(*statements[0]));  // used: now the second is the oldest
    connection.evict_prepared(2);
    connection.writer().sync();
    connection.expect(Expected::Kind::kSync, false);
  });
  EXPECT_EQ(ask(connection, "SELECT string_agg(name, ' ' ORDER BY name) FROM pg_prepared_statements"),
            "decan_1 decan_3");
  EXPECT_FALSE(connection.has_prepared(*statements[1]));

  // A Close that the unit skips after an error leaves the statement where it was.
  loop_.call([&] {
    connection.writer().execute("no such portal", 0);
    connection.expect(Expected::Kind::kExecute, false);
    connection.evict_prepared(0);
    connection.writer().sync();
    connection.expect(Expected::Kind::kSync, false);
  });
  EXPECT_EQ(ask(connection, "SELECT 1"), "34000");
  EXPECT_TRUE(connection.has_prepared(*statements[0]));
  EXPECT_TRUE(connection.has_prepared(*statements[2]));
  EXPECT_EQ(ask(connection, "SELECT string_agg(name, ' ' ORDER BY name) FROM pg_prepared_statements"),
            "decan_1 decan_3");
  release(acquired);
  EXPECT_EQ(stats().idle, 1u);
}

TEST_F(PoolOnPostgres, ATerminatedBackendSaysWhy) {
  auto held = acquire("ann");
  ASSERT_TRUE(held);
  server_->connect().exec("SELECT pg_terminate_backend(" + std::to_string((*held)->pid()) + ", 5000)");
  const auto answer = loop_.run((*held)->query("SELECT 1"));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().sqlstate, "57P01");
  EXPECT_TRUE((*held)->broken());
  release(held);
  EXPECT_EQ(stats().open, 0u);
}

TEST(PoolOnTls, LoginIsBoundToTheUnitsCertificate) {
  decan::testing::PgFixture server({.auth = decan::testing::Auth::kScram});
  const std::string data = server.data_directory();
  decan::testing::run_program(
      {"/bin/sh", "-c",
       "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=unit -keyout " + data +
           "/server.key -out " + data + "/server.crt 2>/dev/null && chmod 600 " + data +
           "/server.key && chown --reference=" + data + " " + data + "/server.key " + data + "/server.crt"});
  auto admin = server.connect();
  admin.exec("ALTER SYSTEM SET ssl = on");
  admin.exec("SELECT pg_reload_conf()");
  async::TestLoop loop;
  meta::UnitRecord record;
  record.name = "ds_0";
  record.host = server.host();
  record.port = server.port();
  record.service_password = "decan-test";
  record.tls = true;
  Result<UnitConnectionPtr> opened = fail("00000", "");
  for (int i = 0; i < 50 && !opened; ++i) {  // the reload takes a moment
    opened = loop.run(UnitConnection::open(loop.loop(), record, UnitId{0}, {"postgres", "postgres", nullptr},
                                           async::Clock::now() + 5s));
    if (!opened) std::this_thread::sleep_for(50ms);
  }
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_TRUE((*opened)->stream().is_tls());
  const auto answer = loop.run((*opened)->query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->front().rows[0][0], "t");
  EXPECT_FALSE((*opened)->stream().idle_is_broken());
  loop.call([&] { opened = fail("00000", ""); });
}

}  // namespace
}  // namespace decan::backend
