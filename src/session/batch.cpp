// A batch of the extended protocol as a whole: what is queued on its unit, when that is sent and answered,
// and how the batch ends.
#include <algorithm>

#include "session/outcome.h"
#include "session/session.h"

namespace decan::session {

using Kind = backend::Expected::Kind;

// Replies of what came before the failed message go first; then everything up to Sync is skipped.
Task<void> Session::extended_error(Status status) {
  if (status.error().retry == Retry::kAfterCatalogRefresh)
    (void)co_await node_.catalogs.refresh(loop_, identity_.database);  // for the client's next try
  if (status.error().sqlstate != kTold) {
    auto drained = co_await drain();
    if (drained) send_error(status.error());
  }
  skip_to_sync_ = true;
  txn_->fail_block();
}

bool Session::local_reply(std::string bytes) {
  txn::Participant* participant = batch_unit_ ? txn_->find(*batch_unit_) : nullptr;
  if (participant != nullptr && !participant->connection->expected().empty()) {
    participant->connection->expect({Kind::kLocal, true, {}, std::move(bytes)});
    return true;
  }
  port_.out() += bytes;
  return false;
}

Task<Status> Session::drain() {
  if (!batch_unit_) co_return Status{};
  txn::Participant* participant = txn_->find(*batch_unit_);
  batch_unit_.reset();
  if (participant == nullptr || participant->connection->expected().empty()) co_return Status{};
  participant->connection->writer().flush();
  co_return co_await relay(*participant);
}

Task<Status> Session::on_flush() {
  const auto unit = batch_unit_;
  if (auto drained = co_await drain(); !drained) co_return drained;
  batch_unit_ = unit;
  co_return co_await port_.flush();
}

// Whether there is something for bound_batch() to do.
bool Session::batch_is_long() {
  if (port_.out().size() >= exec::ClientPort::kWriteAt) return true;
  const txn::Participant* participant = batch_unit_ ? txn_->find(*batch_unit_) : nullptr;
  if (participant == nullptr) return false;
  const backend::UnitConnection& connection = *participant->connection;
  const size_t queued = connection.out().size() + connection.expected().size() * sizeof(backend::Expected);
  return queued >= node_.buffer_bytes.load(std::memory_order_relaxed);
}

// A pipeline of any length is sent piece by piece: before more is taken from the client, what it has queued
// here is answered, and a client that does not read its answers is not read from.
Task<Status> Session::bound_batch() {
  if (port_.out().size() < exec::ClientPort::kWriteAt) {
    const auto unit = batch_unit_;
    if (auto drained = co_await drain(); !drained) co_return drained;
    batch_unit_ = unit;
    queued_parses_.clear();  // the client has been told of all of them
  }
  co_return co_await port_.relieve();
}

// The end of a batch: its implicit transaction commits, or rolls back when anything in it failed.
Task<void> Session::finish_batch() {
  bool failed = skip_to_sync_;
  skip_to_sync_ = false;
  for (size_t i = 0; i < txn_->participants().size(); ++i) {
    txn::Participant& participant = *txn_->participants()[i];
    if (!participant.unsynced || participant.connection->broken()) {
      participant.unsynced = false;
      continue;
    }
    backend::UnitConnection& connection = *participant.connection;
    if (failed && !participant.in_block && connection.expected().empty() && !connection.skips_to_sync()) {
      // The unit saw no error, but the batch failed here: its part must not commit.
      connection.writer().parse("", "ROLLBACK", {});
      connection.writer().bind("", "", {}, {}, {});
      connection.writer().execute("", 0);
      for (const auto kind : {Kind::kParse, Kind::kBind, Kind::kExecute}) connection.expect(kind, false);
    }
    connection.writer().sync();
    connection.expect(Kind::kSync, false);
    participant.unsynced = false;
    if (auto relayed = co_await relay(participant); !relayed) {
      if (relayed.error().sqlstate != kTold && !failed) send_error(relayed.error());
      failed = true;
      txn_->fail_block();
    }
  }
  batch_unit_.reset();
  settle_parses(failed);
  if (cancel_pending()) co_await settle_cancels();
  if (implicit_block_) {
    auto ended = co_await end_implicit(failed ? fail(kTold, {}) : Status{});
    if (!ended && ended.error().sqlstate != kTold) send_error(ended.error());
  }
  if (timed_statement_) end_timing(timed_statement_->sql);  // while it is known which units worked for it
  timed_statement_.reset();
  if (!txn_->in_block()) {
    co_await adopt_states();
  }
  report_changed_settings();
  if (!txn_->in_block()) {
    open_gate();
    batch_stale_ = false;
    portals_.clear();
    txn_->release_participants();
  }
}

Task<Status> Session::on_sync() {
  co_await finish_batch();
  flush_notifications();
  send_ready();
  if (port_.input().size() >= wire::kHeaderBytes + wire::kHeaderBytes)
    co_return co_await port_.relieve();  // more is in the pipeline
  if (port_.try_flush()) co_return Status{};
  co_return co_await port_.flush();
}

}  // namespace decan::session
