#include <array>
#include <atomic>
#include <random>
#include <thread>

#include "txn/test_units.h"

namespace decan::txn {
namespace {

class ResolverTest : public OnThreeUnits {
 protected:
  // As a coordinator would do it, by hand.
  void prepare(testing::Connection connection, const std::string& gid) {
    connection.exec("BEGIN; INSERT INTO t VALUES ('a');" + mark(connection, gid) + "; PREPARE TRANSACTION '" +
                    gid + "'");
  }
};

TEST_F(ResolverTest, WithoutADecisionItRollsBackForGood) {
  const std::string gid = "decan_dead_1_1_00ff_0";
  prepare(as_app(1), gid);
  prepare(as_app(2), gid);
  EXPECT_EQ(resolve(gids_), 2u);
  EXPECT_EQ(states(), "0/0/0 0/0/0 0/0/0");
  auto late = as_app(0);
  EXPECT_EQ(late.error_of(mark(late, gid)).sqlstate(), "23505");
  EXPECT_EQ(resolve(gids_), 0u);
}

TEST_F(ResolverTest, AfterTheDecisionItCommits) {
  const std::string gid = "decan_dead_1_2_00ff_0";
  prepare(as_app(1), gid);
  prepare(as_app(2), gid);
  auto anchor = as_app(0);
  anchor.exec("BEGIN; INSERT INTO t VALUES ('a');" + mark(anchor, gid, "{0,1,2}") + "; COMMIT");
  EXPECT_EQ(resolve(gids_), 2u);
  EXPECT_EQ(states(), "1/1/0 1/1/0 1/1/0");
}

TEST_F(ResolverTest, LiveYoungAndForeignTransactionsAreLeftAlone) {
  const std::string live = gids_.next(UnitId{0});
  prepare(as_app(1), live);
  as_app(2).exec("BEGIN; INSERT INTO t VALUES ('b'); PREPARE TRANSACTION 'somebody else'");
  as_app(2).exec("BEGIN; INSERT INTO t VALUES ('c'); PREPARE TRANSACTION 'decan_'");
  EXPECT_EQ(resolve(gids_), 0u);
  gids_.done(live);
  Resolver patient(*pool_, service_, gids_, "postgres");
  EXPECT_EQ(loop_.run(patient.pass(std::chrono::hours(1))), 0u);
  EXPECT_EQ(resolve(gids_), 1u);
  admin(2).exec("ROLLBACK PREPARED 'somebody else'");
  admin(2).exec("ROLLBACK PREPARED 'decan_'");
}

TEST_F(ResolverTest, AnAnchorThatIsDownLeavesTheTransactionForLater) {
  const std::string gid = "decan_dead_1_3_00ff_0";
  prepare(as_app(1), gid);
  servers_[0]->kill();
  Resolver resolver(*pool_, service_, gids_, "postgres");
  EXPECT_EQ(loop_.run(resolver.pass(std::chrono::milliseconds(0))), 0u);
  EXPECT_EQ(resolver.in_doubt(), 1u);
  servers_[0]->start();
  EXPECT_EQ(loop_.run(resolver.pass(std::chrono::milliseconds(0))), 1u);
  EXPECT_EQ(resolver.in_doubt(), 0u);
  EXPECT_EQ(states(), "0/0/0 0/0/0 0/0/0");
}

TEST_F(ResolverTest, AReadOnlyDefaultDoesNotStopIt) {
  const std::string gid = "decan_dead_1_4_00ff_0";
  prepare(as_app(1), gid);
  admin(0).exec("ALTER ROLE postgres SET default_transaction_read_only TO on");
  EXPECT_EQ(resolve(gids_), 1u);
  admin(0).exec("BEGIN READ WRITE; ALTER ROLE postgres RESET default_transaction_read_only; COMMIT");
  EXPECT_EQ(states(), "0/0/0 0/0/0 0/0/0");
}

TEST_F(ResolverTest, ALateCoordinatorAndAResolverNeverBothWin) {
  const unsigned seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  int committed = 0;
  for (int i = 0; i < 100; ++i) {
    const std::string gid = "decan_late_1_" + std::to_string(i) + "_00ff_0";
    auto late = as_app(0);
    auto asks = admin(0);
    const std::string marked = mark(late, gid);
    late.exec("BEGIN; INSERT INTO t VALUES ('" + gid + "')");
    const auto wait = std::chrono::microseconds(random() % 1000),
               wait_too = std::chrono::microseconds(random() % 1000);
    bool late_won = false, settled = false;
    std::thread coordinator([&] {
      std::this_thread::sleep_for(wait);
      try {
        late.exec(marked + "; COMMIT");
        late_won = true;
      } catch (const testing::SqlError& error) {
        EXPECT_EQ(error.sqlstate(), "23505");
      }
    });
    std::this_thread::sleep_for(wait_too);
    settled = asks.exec("SELECT decan.settle('" + gid + "')").scalar() == "t";
    coordinator.join();
    EXPECT_EQ(late_won, settled);
    EXPECT_EQ(asks.exec("SELECT decan.settle('" + gid + "')").scalar(), settled ? "t" : "f");
    committed += settled ? 1 : 0;
  }
  EXPECT_EQ(admin(0).exec("SELECT count(*) FROM t").scalar(), std::to_string(committed));
}

TEST_F(ResolverTest, ACoordinatorWhoseGidIsSettledRollsBack) {
  begin();
  EXPECT_EQ(write(0, "INSERT INTO t VALUES ('a')"), "INSERT 0 1");
  EXPECT_EQ(write(1, "INSERT INTO t VALUES ('a')"), "INSERT 0 1");
  // The resolver of another node settles between PREPARE and the decision: the anchor's lock makes sure of
  // the order.
  admin(0).exec(
      "CREATE FUNCTION public.tombstone_first() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ "
      "BEGIN "
      "IF NOT NEW.tombstone THEN RAISE unique_violation USING MESSAGE = 'duplicate key … "
      "\"dist_commit_pkey\"'; END IF; "
      "RETURN NEW; END $$; CREATE TRIGGER first BEFORE INSERT ON decan.dist_commit FOR EACH ROW EXECUTE "
      "FUNCTION public.tombstone_first()");
  const Status done = commit();
  admin(0).exec("DROP TRIGGER first ON decan.dist_commit; DROP FUNCTION public.tombstone_first()");
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().sqlstate, "40001");
  EXPECT_EQ(states(), "0/0/0 0/0/0 0/0/0");
}

// Ends sessions of Decan at random moments until told to stop.
class Killer {
 public:
  Killer(std::vector<testing::Connection> units, unsigned seed)
      : units_(std::move(units)), random_(seed), thread_([this] { run(); }) {}
  ~Killer() {
    stop_ = true;
    thread_.join();
  }

 private:
  void run() {
    while (!stop_) {
      std::this_thread::sleep_for(std::chrono::microseconds(random_() % 12'000));
      units_[random_() % units_.size()].exec(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' "
          "AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1");
    }
  }
  std::vector<testing::Connection> units_;
  std::mt19937 random_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

TEST_F(ResolverTest, TerminatedSessionsNeverTearATransfer) {
  const unsigned seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  for (size_t i = 0; i < kUnits; ++i) as_app(i).exec("INSERT INTO t VALUES ('account', 1000)");
  constexpr int kRounds = 200;
  std::vector<std::string> outcomes;
  int acknowledged = 0, refused = 0, unknown = 0;
  {
    std::vector<testing::Connection> connections;
    for (size_t i = 0; i < kUnits; ++i) connections.push_back(admin(i));
    const Killer killer(std::move(connections), seed);
    for (int round = 0; round < kRounds; ++round) {
      const auto first = static_cast<uint32_t>(random() % 3);
      const std::array<uint32_t, 2> sides = {first, static_cast<uint32_t>((first + 1 + random() % 2) % 3)};
      begin();
      bool sent = true;
      for (size_t s = 0; s < 2; ++s) {
        const std::string amount = s == 0 ? "-" : "+";
        const auto done = loop_.run(run_on(transaction_.get(), sides[s],
                                           "UPDATE t SET n = n " + amount +
                                               " 1 WHERE id = 'account'; INSERT INTO t VALUES ('r" +
                                               std::to_string(round) + "')",
                                           true));
        sent = sent && done.has_value();
      }
      if (!sent) {
        loop_.run(undo(transaction_.get()));
        outcomes.push_back("refused");
        continue;
      }
      const Status done = commit();
      outcomes.push_back(done ? "acknowledged" : done.error().sqlstate == "08007" ? "unknown" : "refused");
    }
  }
  while (resolve(gids_) > 0) {
  }
  int sum = 0;
  for (size_t i = 0; i < kUnits; ++i) {
    sum += std::stoi(admin(i).exec("SELECT n FROM t WHERE id = 'account'").scalar());
    EXPECT_EQ(admin(i).exec("SELECT count(*) FROM pg_prepared_xacts").scalar(), "0");
  }
  EXPECT_EQ(sum, 3000);
  for (int round = 0; round < kRounds; ++round) {
    int rows = 0;
    for (size_t i = 0; i < kUnits; ++i) {
      rows += std::stoi(
          admin(i).exec("SELECT count(*) FROM t WHERE id = 'r" + std::to_string(round) + "'").scalar());
    }
    const std::string& outcome = outcomes[static_cast<size_t>(round)];
    acknowledged += outcome == "acknowledged" ? 1 : 0;
    refused += outcome == "refused" ? 1 : 0;
    unknown += outcome == "unknown" ? 1 : 0;
    EXPECT_TRUE(rows == 2 || (rows == 0 && outcome != "acknowledged")) << round << outcome << rows;
    EXPECT_TRUE(rows == 0 || outcome != "refused") << round;
  }
  std::printf("%d acknowledged, %d refused, %d unknown\n", acknowledged, refused, unknown);
  EXPECT_GT(acknowledged, 0);
  EXPECT_GT(refused, 0);  // else nobody was hit
}

}  // namespace
}  // namespace decan::txn
