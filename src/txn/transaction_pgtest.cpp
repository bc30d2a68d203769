#include "txn/test_units.h"

namespace decan::txn {
namespace {

using TransactionTest = OnThreeUnits;
constexpr const char* kInsert = "INSERT INTO t VALUES ('a')";

TEST_F(TransactionTest, OneWriterPaysNothingExtra) {
  begin();
  EXPECT_EQ(write(0, kInsert), "INSERT 0 1");
  EXPECT_EQ(read(1, "SELECT count(*) FROM t"), "0");
  EXPECT_EQ(read(2, "SELECT count(*) FROM t"), "0");
  ASSERT_TRUE(commit());
  EXPECT_EQ(states(), "1/0/0 0/0/0 0/0/0");
  EXPECT_EQ(transaction_->status(), 'I');
}

TEST_F(TransactionTest, WhoWroteNothingIsNotAWriter) {
  begin();
  EXPECT_EQ(write(0, kInsert), "INSERT 0 1");
  EXPECT_EQ(write(1, "UPDATE t SET n = 1 WHERE id = 'nobody'"), "UPDATE 0");
  ASSERT_TRUE(commit());
  EXPECT_EQ(states(), "1/0/0 0/0/0 0/0/0");
}

TEST_F(TransactionTest, TwoWritersCommitTogether) {
  begin();
  EXPECT_EQ(write(1, kInsert), "INSERT 0 1");
  EXPECT_EQ(write(2, kInsert), "INSERT 0 1");
  EXPECT_EQ(read(0, "SELECT count(*) FROM t"), "0");
  ASSERT_TRUE(commit());
  EXPECT_EQ(states(), "0/0/0 1/1/0 1/1/0");
  EXPECT_EQ(admin(1).exec("SELECT participants FROM decan.dist_commit").scalar(), "{1,2}");
  EXPECT_EQ(admin(1).exec("SELECT gid FROM decan.dist_commit").scalar(),
            admin(2).exec("SELECT gid FROM decan.dist_commit").scalar());
}

TEST_F(TransactionTest, ThreeWritersCommitTogetherAndConnectionsAreUsedAgain) {
  for (int round = 1; round <= 3; ++round) {
    begin();
    for (uint32_t unit = 0; unit < 3; ++unit) {
      EXPECT_EQ(write(unit, "INSERT INTO t VALUES ('" + std::to_string(round) + "')"), "INSERT 0 1");
    }
    ASSERT_TRUE(commit());
  }
  EXPECT_EQ(states(), "3/3/0 3/3/0 3/3/0");
  loop_.call([&] { EXPECT_EQ(pool_->stats().at(0).open, 1u); });
}

TEST_F(TransactionTest, RollbackLeavesNothing) {
  begin();
  for (uint32_t unit = 0; unit < 3; ++unit) write(unit, kInsert);
  loop_.run(undo(transaction_.get()));
  EXPECT_EQ(states(), "0/0/0 0/0/0 0/0/0");
}

TEST_F(TransactionTest, ARefusedPrepareUndoesAll) {
  begin();
  EXPECT_EQ(write(0, kInsert), "INSERT 0 1");
  EXPECT_EQ(write(1, kInsert), "INSERT 0 1");
  EXPECT_EQ(write(2, "INSERT INTO t VALUES ('b', 0, 7), ('c', 0, 7)"),
            "INSERT 0 2");  // fails at the end only
  const Status done = commit();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().sqlstate, "23505");
  EXPECT_EQ(states(), "0/0/0 0/0/0 0/0/0");
}

TEST_F(TransactionTest, ARefusedAnchorUndoesAll) {
  begin();
  EXPECT_EQ(write(0, "INSERT INTO t VALUES ('b', 0, 7), ('c', 0, 7)"), "INSERT 0 2");
  EXPECT_EQ(write(1, kInsert), "INSERT 0 1");
  EXPECT_EQ(write(2, kInsert), "INSERT 0 1");
  const Status done = commit();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().sqlstate, "23505");
  EXPECT_EQ(states(), "0/0/0 0/0/0 0/0/0");
}

TEST_F(TransactionTest, AFailedStatementOnOneUnitUndoesAll) {
  begin();
  EXPECT_EQ(write(0, kInsert), "INSERT 0 1");
  EXPECT_EQ(write(1, kInsert), "INSERT 0 1");
  EXPECT_EQ(write(2, "SELECT 1/0"), "22012");
  EXPECT_FALSE(commit());
  EXPECT_EQ(states(), "0/0/0 0/0/0 0/0/0");
}

TEST_F(TransactionTest, APinnedParticipantIsTheAnchor) {
  begin();
  EXPECT_EQ(write(0, kInsert), "INSERT 0 1");
  EXPECT_EQ(write(1, "CREATE TEMP TABLE mine(a int) ON COMMIT DROP"), "CREATE TABLE");  // can not be prepared
  transaction_->find(UnitId{1})->pinned = true;
  EXPECT_EQ(write(1, kInsert), "INSERT 0 1");
  ASSERT_TRUE(commit());
  EXPECT_EQ(states(), "1/1/0 1/1/0 0/0/0");
  EXPECT_EQ(admin(1).exec("SELECT right(gid, 2) FROM decan.dist_commit").scalar(), "_1");
  ASSERT_NE(transaction_->find(UnitId{1}), nullptr);  // stays
}

TEST_F(TransactionTest, TheDecisionSurvivesACrashOfItsUnit) {
  begin();
  EXPECT_EQ(write(0, "SET synchronous_commit TO off; INSERT INTO t VALUES ('a')"), "INSERT 0 1");
  EXPECT_EQ(write(1, kInsert), "INSERT 0 1");
  ASSERT_TRUE(commit());
  servers_[0]->kill();
  servers_[0]->start();
  EXPECT_EQ(states(), "1/1/0 1/1/0 0/0/0");
}

TEST_F(TransactionTest, ALostAnchorBeforeTheDecisionUndoesAll) {
  begin();
  EXPECT_EQ(write(0, kInsert), "INSERT 0 1");
  EXPECT_EQ(write(1, kInsert), "INSERT 0 1");
  admin(0).exec("SELECT pg_terminate_backend(" + std::to_string(pid_on(0)) + ", 5000)");
  const Status done = commit();
  ASSERT_FALSE(done);
  EXPECT_NE(done.error().sqlstate, "08007") << done.error().message;
  EXPECT_EQ(states(), "0/0/0 0/0/0 0/0/0");
}

TEST_F(TransactionTest, ALostParticipantUndoesAll) {
  begin();
  EXPECT_EQ(write(0, kInsert), "INSERT 0 1");
  EXPECT_EQ(write(1, kInsert), "INSERT 0 1");
  EXPECT_EQ(write(2, kInsert), "INSERT 0 1");
  admin(2).exec("SELECT pg_terminate_backend(" + std::to_string(pid_on(2)) + ", 5000)");
  EXPECT_FALSE(commit());
  EXPECT_EQ(states(), "0/0/0 0/0/0 0/0/0");
}

TEST_F(TransactionTest, ALostReaderDoesNotUndoWhatIsDecided) {
  begin();
  EXPECT_EQ(write(0, kInsert), "INSERT 0 1");
  EXPECT_EQ(read(1, "SELECT 1"), "1");
  admin(1).exec("SELECT pg_terminate_backend(" + std::to_string(pid_on(1)) + ", 5000)");
  EXPECT_TRUE(commit());
  EXPECT_EQ(states(), "1/0/0 0/0/0 0/0/0");
}

TEST_F(TransactionTest, AConnectionLostDuringTheOnlyCommitIsAnUnknownOutcome) {
  begin();
  EXPECT_EQ(write(0, kInsert), "INSERT 0 1");
  admin(0).exec("SELECT pg_terminate_backend(" + std::to_string(pid_on(0)) + ", 5000)");
  const Status done = commit();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().sqlstate, "08007");
}

TEST_F(TransactionTest, SavepointsReachUnitsThatJoinLater) {
  begin();
  EXPECT_EQ(write(0, "INSERT INTO t VALUES ('kept')"), "INSERT 0 1");
  ASSERT_TRUE(loop_.run(transaction_->savepoint("one")));
  ASSERT_TRUE(loop_.run(transaction_->savepoint("Two \"x\"")));
  EXPECT_EQ(write(0, "INSERT INTO t VALUES ('gone')"), "INSERT 0 1");
  EXPECT_EQ(write(1, "INSERT INTO t VALUES ('gone')"), "INSERT 0 1");
  EXPECT_TRUE(transaction_->has_savepoint("Two \"x\""));
  EXPECT_EQ(write(1, "SELECT 1/0"), "22012");
  EXPECT_EQ(transaction_->status(), 'E');
  ASSERT_TRUE(loop_.run(transaction_->rollback_to("one")));
  EXPECT_EQ(transaction_->status(), 'T');
  EXPECT_FALSE(transaction_->has_savepoint("Two \"x\""));
  EXPECT_TRUE(transaction_->has_savepoint("one"));
  EXPECT_EQ(write(2, "INSERT INTO t VALUES ('kept')"), "INSERT 0 1");
  ASSERT_TRUE(loop_.run(transaction_->release("one")));
  EXPECT_FALSE(transaction_->has_savepoint("one"));
  ASSERT_TRUE(commit());
  EXPECT_EQ(states(), "1/1/0 0/1/0 1/1/0");  // the second unit has begun to write
}

TEST_F(TransactionTest, LocalSettingsReachUnitsThatJoinLater) {
  begin();
  EXPECT_EQ(read(0, "SET LOCAL work_mem TO '7MB'"), "SET");
  transaction_->remember_local("SET LOCAL work_mem TO '7MB'");
  EXPECT_EQ(read(1, "SHOW work_mem"), "7MB");
  ASSERT_TRUE(loop_.run(transaction_->savepoint("s")));
  transaction_->remember_local("SET LOCAL work_mem TO '9MB'");
  EXPECT_EQ(read(2, "SHOW work_mem"), "9MB");
  ASSERT_TRUE(loop_.run(transaction_->rollback_to("s")));
  EXPECT_EQ(read(2, "SHOW work_mem"), "7MB");
  ASSERT_TRUE(commit());
  begin();
  EXPECT_EQ(read(1, "SHOW work_mem"), "4MB");
  ASSERT_TRUE(commit());
}

TEST_F(TransactionTest, IsolationIsNoted) {
  begin();
  EXPECT_TRUE(transaction_->read_committed("read committed"));
  EXPECT_FALSE(transaction_->read_committed("repeatable read"));
  transaction_->note_isolation("TRANSACTION ISOLATION LEVEL SERIALIZABLE");
  EXPECT_FALSE(transaction_->read_committed("read committed"));
  ASSERT_TRUE(commit());
  begin("ISOLATION LEVEL Repeatable Read");
  EXPECT_FALSE(transaction_->read_committed("read committed"));
  EXPECT_EQ(read(0, "SHOW transaction_isolation"), "repeatable read");
  ASSERT_TRUE(commit());
}

}  // namespace
}  // namespace decan::txn
