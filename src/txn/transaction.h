// The transaction of one session over any number of units. Units join lazily: the first statement that needs
// a unit borrows a connection there and (inside a block) sends BEGIN ahead of it. One unit written: plain
// COMMIT there. More: two-phase commit with an anchor (docs/architecture.md, transactions): the others
// PREPARE, the anchor's own COMMIT, which holds the row decan.dist_commit(gid), is the decision, then COMMIT
// PREPARED everywhere. Lives on the session's loop.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "async/task.h"
#include "auth/proof.h"
#include "backend/pool.h"
#include "backend/unit_connection.h"
#include "base/error.h"

namespace decan::txn {

// Makes global transaction ids: decan_<node>_<start>_<sequence>_<anchor ordinal>. Any thread.
class GidSource {
 public:
  // `key`: of the proofs that go with the gids.
  GidSource(std::string node, int64_t start, auth::ProofKey key)
      : prefix_("decan_" + std::move(node) + "_" + std::to_string(start) + "_"), key_(std::move(key)) {}
  std::string next(UnitId anchor);
  // Gids between next() and done(): the resolver leaves them to their own coordinator.
  void done(const std::string& gid);
  bool is_live(const std::string& gid) const;
  // Calls decan.mark() in the server process `pid`.
  std::string mark(const std::string& gid, const std::string& participants, uint32_t pid) const;

 private:
  std::string prefix_;
  auth::ProofKey key_;
  std::atomic<uint64_t> sequence_{0};
  mutable std::mutex mutex_;
  std::set<std::string> live_;
};
// The anchor's ordinal in a gid of ours; nullopt for foreign ones.
std::optional<UnitId> anchor_of(std::string_view gid);

// Asks the anchor for the decision, and makes "rolled back" final where there is none. Error: it did not
// answer by `deadline`.
async::Task<Result<bool>> settle(backend::Pool& pool, UnitId anchor, backend::Identity service,
                                 std::string gid, async::TimePoint deadline);
// COMMIT PREPARED or ROLLBACK PREPARED by a session of Decan's own. True when nothing is prepared under that
// gid any more.
async::Task<bool> finish_prepared(backend::Pool& pool, UnitId unit, backend::Identity service,
                                  std::string gid, bool commit, async::TimePoint deadline);

struct Participant {
  // One is made and ends with every transaction.
  static void* operator new(size_t bytes) { return async::allocate_frame(bytes); }
  static void operator delete(void* memory, size_t bytes) { async::free_frame(memory, bytes); }

  backend::UnitConnectionPtr connection;
  bool in_block = false;  // BEGIN was sent
  bool unsynced = false;  // extended messages were sent without a Sync: an implicit transaction is open
  bool may_have_written = false;
  bool pinned = false;       // stays with the session when the transaction ends
  bool check_state = false;  // what ran here may have changed the session's state unseen
};

class Transaction {
 public:
  struct Options {
    backend::Pool* pool = nullptr;
    const backend::Identity* identity = nullptr;
    const backend::Identity* service =
        nullptr;  // role and password of Decan's own sessions; database as identity's
    GidSource* gids = nullptr;
  };
  explicit Transaction(Options options) : options_(options) {}

  // 'I' idle, 'T' in a block, 'E' in a failed block: what ReadyForQuery tells the client.
  char status() const { return status_; }
  bool in_block() const { return status_ != 'I'; }
  void fail_block() {
    if (status_ == 'T') status_ = 'E';
  }

  // --- the client's block ---
  void begin(std::string options, backend::SettingsPtr settings);
  async::TimePoint began() const { return began_; }  // of the block
  const std::string& begin_options() const { return begin_options_; }
  void set_options(std::string options) { begin_options_ = std::move(options); }
  // True when the isolation level asked for by BEGIN or SET TRANSACTION is READ COMMITTED (or weaker).
  bool read_committed(std::string_view session_default) const;
  bool read_only_asked() const;
  void note_isolation(std::string_view options_text);

  // The participant of a unit; nullptr when it has not joined.
  Participant* find(UnitId unit);
  // Borrows a connection (settings applied); with `block` the unit is inside a transaction block afterwards:
  // BEGIN, the savepoints and the block's local settings are queued ahead of whatever the caller sends.
  // Joining a second unit at an isolation level above READ COMMITTED is refused with 0A000.
  async::Task<Result<Participant*>> join(UnitId unit, bool block, backend::SettingsPtr settings);
  // The same where nothing has to be waited for: the unit has joined already, or outside a block a connection
  // with the very same settings is at hand. nullptr: use join().
  Participant* try_join(UnitId unit, bool block, const backend::SettingsPtr& settings);
  std::vector<std::unique_ptr<Participant>>& participants() { return participants_; }
  // Connections where the session used sequences last are preferred.
  void prefer_sequences(backend::UnitConnection::SequenceUser user) { sequences_ = user; }

  // --- savepoints and settings inside the block ---
  async::Task<Status> savepoint(std::string name);
  async::Task<Status> release(std::string name);
  async::Task<Status> rollback_to(std::string name);
  bool has_savepoint(std::string_view name) const;
  // A SET that has been run on all participants; replayed on units that join later.
  void remember_local(std::string sql) { replay_.push_back({{}, std::move(sql), {}}); }
  // The session's settings as they were when the innermost savepoint (or the block) began.
  void note_settings(backend::SettingsPtr current) { current_settings_ = std::move(current); }
  // A custom setting exists from its first SET on, with the value '' where that SET is taken back: in the
  // settings as of the block's begin and of every savepoint.
  void define_setting(const std::string& name);
  const backend::SettingsPtr& settings_after_rollback() const { return settings_at_begin_; }
  const backend::SettingsPtr& settings_now() const { return current_settings_; }

  // --- the end ---
  // Commits everywhere, or nowhere: an Error means rolled back, except 08007 (the decision is not known) and
  // the case that `undone` says. The block is over in every case.
  async::Task<Status> commit();
  async::Task<void> rollback();
  // Gives back what is not pinned; called when no block is open.
  void release_participants();
  // Everything, also pinned connections (which are closed): end of the session.
  void drop_all();
  bool committing() const { return committing_; }

 private:
  struct Replay {
    std::string savepoint;  // not empty: SAVEPOINT
    std::string sql;        // else: a SET
    backend::SettingsPtr settings;
  };
  async::Task<Status> on_all(std::string sql);
  async::Task<Result<std::vector<Participant*>>> writers();
  async::Task<Status> commit_on(Participant& participant);
  async::Task<Status> commit_open(std::vector<Participant*> open);
  std::string marked(const Participant& writer, const std::string& gid, const std::string& units) const;
  async::Task<Status> two_phase(std::vector<Participant*> writers, std::vector<Participant*> readers);
  async::Task<Status> decide(Participant& anchor, std::string gid, std::string units);
  async::Task<Status> settle_unknown(UnitId anchor, std::string gid, std::string cause);
  // Second phase on one unit, on its own connection, else on another one while patience lasts.
  async::Task<Status> finish_on(Participant* participant, std::string gid, bool commit);
  async::Task<void> commit_readers(std::vector<Participant*> readers);
  backend::Identity service_here() const;
  std::vector<std::string> block_opening() const;
  void end_block();

  Options options_;
  char status_ = 'I';
  async::TimePoint began_{};
  std::string begin_options_;
  std::string isolation_;
  std::vector<std::unique_ptr<Participant>> participants_;
  std::vector<Replay> replay_;
  backend::SettingsPtr settings_at_begin_, current_settings_;
  backend::UnitConnection::SequenceUser sequences_;
  bool committing_ = false;
};

}  // namespace decan::txn
