// One connection to a storage unit: wire state, the queue of replies it still owes, the settings and prepared
// statements it has. Lives on one loop. Used by one session at a time; whoever holds it may read and write,
// nobody else.
#pragma once

#include <algorithm>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "async/stream.h"
#include "async/task.h"
#include "auth/scram.h"
#include "backend/settings.h"
#include "base/byte_buffer.h"
#include "base/error.h"
#include "base/ids.h"
#include "base/text_map.h"
#include "meta/topology.h"
#include "wire/message.h"

namespace decan::backend {

// Who a connection is logged in as. Without keys: Decan's own session, with the service password of the
// unit's record.
struct Identity {
  std::string role;
  std::string database;
  std::shared_ptr<const auth::PassThroughKeys> keys;  // from a login of the role
  Oid role_id = 0;  // on the home unit: a role that is dropped and made again is another one
};

// A statement's text as units prepare it: one per distinct text and parameter types on a loop.
struct UnitStatement {
  uint64_t id = 0;  // names the prepared statement on every connection of the loop
  std::string sql;
  std::vector<Oid> parameter_types;
  TextMap client_text = {};  // from `sql` to the client's own text; empty when it is the same
  std::string name() const { return "decan_" + std::to_string(id); }
};
using UnitStatementPtr = std::shared_ptr<const UnitStatement>;

// A reply that the unit owes, in order. Anything else that comes in closes the connection.
struct Expected {
  enum class Kind : uint8_t {
    kLocal,  // no reply: bytes of ours that belong at this place of the client's stream
    kParse,
    kBind,
    kDescribeStatement,
    kDescribePortal,
    kExecute,
    kClose,
    kSync,   // ReadyForQuery after a Sync
    kQuery,  // everything up to ReadyForQuery after a simple Query
  };
  Kind kind;
  bool visible = true;         // forwarded to the client
  UnitStatementPtr statement;  // kParse: counts as prepared from when it is queued, until the unit refuses it
  std::string local;           // kLocal
  uint64_t closes = 0;  // kClose of ours: id of a statement that stays prepared when the unit skips this
};

class UnitConnection {
 public:
  using Ptr = std::unique_ptr<UnitConnection>;
  static constexpr size_t kReadBytes = 16 * 1024;
  static constexpr uint32_t kMaxLoginMessageBytes = 64 * 1024;  // before the unit has proved who it is
  static constexpr size_t kMaxLoginMessages = 1000;
  static constexpr size_t kMaxParameters = 256;  // distinct settings that a unit reports
  static constexpr size_t kMaxParameterBytes = 64 * 1024;

  // Connects and logs in. Errors: 08006 when the unit does not answer, else the unit's own (28P01, 3D000,
  // 53300 …).
  static async::Task<Result<Ptr>> open(async::Loop& loop, meta::UnitRecord record, UnitId unit,
                                       Identity identity, async::TimePoint deadline);
  ~UnitConnection();

  UnitId unit() const { return unit_; }
  const std::string& unit_name() const { return record_.name; }
  const Identity& identity() const { return identity_; }
  async::Stream& stream() { return *stream_; }
  uint32_t pid() const { return pid_; }
  async::TimePoint opened_at() const { return opened_at_; }
  const std::map<std::string, std::string, std::less<>>& parameters() const { return parameters_; }

  // --- sending: fill out(), push what is expected, flush ---
  std::string& out() { return out_; }
  const std::string& out() const { return out_; }
  // Keeps in mind when a message could not be framed (NUL in a text, above 1 GB): then flush(), try_flush()
  // and fill() fail instead of waiting for a reply that never comes.
  wire::Writer& writer() { return *writer_; }
  void expect(Expected::Kind kind, bool visible) { expect(Expected{kind, visible, {}, {}}); }
  void expect(Expected expected) {
    expected_.push_back(std::move(expected));
    ++unsent_expected_;
  }
  // Error 54000 or 22021: a message was left out. Nothing since the last flush was sent, and nothing of it is
  // expected any more; the connection stays usable, unless part was on its way or the caller may count on a
  // lost message (a BEGIN).
  async::Task<Status> flush();
  // Writes what the kernel takes at once; true when that was everything. False also on errors: flush() tells
  // them. What is left goes out with the next fill().
  bool try_flush();
  // The same, telling the error (which breaks the connection).
  Result<bool> push();
  // A message could not be framed: flush() says why.
  bool unsendable() const { return !writer_->status(); }
  // Until the unit takes more bytes, or has sent some: it may do the one only after the other.
  async::Task<Status> wait_either();

  // --- receiving ---
  using Owed = std::list<Expected, async::Recycling<Expected>>;
  Owed& expected() { return expected_; }
  const Owed& expected() const { return expected_; }
  ByteBuffer& input() { return input_; }
  // Reads more; an error closes the connection (`broken`). What out() still holds is sent meanwhile: a unit
  // that can not get rid of its replies takes no messages, so that waiting for either alone could last for
  // ever.
  async::Task<Status> fill(size_t least = kReadBytes);
  // The same for when nothing is left to send, at the price of a read only.
  class Fill : public async::Stream::Read {
   public:
    explicit Fill(UnitConnection& connection)
        : Read(*connection.stream_, connection.input_.space(kReadBytes / 2), connection.input_.space_bytes(),
               EPOLLIN),
          connection_(connection) {}
    Status await_resume() { return connection_.filled(Read::await_resume()); }

   private:
    UnitConnection& connection_;
  };
  bool nothing_to_send() const { return out_.empty() && writer_->status(); }
  Fill read_more() { return Fill(*this); }
  // Next whole frame; views die at the next fill(). Consume it with consume_frame().
  struct Frame {
    char type;
    std::string_view body;
    size_t bytes() const { return wire::kHeaderBytes + body.size(); }
  };
  async::Task<Result<Frame>> next_frame(uint32_t max_body_bytes = wire::kMaxMessageBytes);
  void consume_frame(const Frame& frame) { input_.consume(frame.bytes()); }
  // Book-keeping for messages that may come at any time; true when `frame` was one (N is left to the caller).
  Status note_parameter(std::string_view body);

  // --- whole exchanges, hidden from the client ---
  struct TextResult {
    std::vector<std::string> columns;
    std::vector<std::vector<std::optional<std::string>>> rows;
    std::string tag;
  };
  // Simple query; one result per statement (at least one). An error of the unit comes back as Error after
  // ReadyForQuery was read; the connection stays usable unless broken(). Hidden messages that were queued
  // before go ahead of it.
  async::Task<Result<std::vector<TextResult>>> query(std::string sql, size_t max_bytes = 64u << 20);
  // Makes the connection's settings those of `wanted`.
  async::Task<Status> apply(SettingsPtr wanted);
  const SettingsPtr& applied() const { return applied_; }
  // As query(), failing with 08006 at `deadline`.
  async::Task<Result<std::vector<TextResult>>> query_until(std::string sql, async::TimePoint deadline);
  void set_applied(SettingsPtr settings);
  // A custom setting exists here from now on; only sessions that have set it too may use the connection.
  void note_custom_setting(std::string_view name) { custom_settings_.emplace(name); }
  // Whether a session with `settings` would see nothing here that others have left.
  bool suits(const Settings& settings) const {
    return std::ranges::all_of(custom_settings_, [&](const auto& name) { return settings.defines(name); });
  }

  // --- sequences: currval() and lastval() answer from what the connection remembers ---
  // Which session used sequences here last (0: nobody), and at which of its turns.
  struct SequenceUser {
    uint64_t session = 0, turn = 0;
    bool operator==(const SequenceUser&) const = default;
  };
  static constexpr uint64_t kNobodysSequences = ~uint64_t{0};  // used, but by no session that may ask
  const SequenceUser& sequence_user() const { return sequence_user_; }
  void set_sequence_user(SequenceUser user) { sequence_user_ = user; }

  // --- prepared statements ---
  // True when `statement` is prepared here; marks it as just used.
  bool has_prepared(const UnitStatement& statement);
  void note_prepared(const UnitStatementPtr& statement) { note_prepared(statement->id); }
  void note_prepared(uint64_t id);
  void forget_prepared(const UnitStatement& statement);
  void forget_all_prepared();
  // Takes back what was noted for a message that the unit skipped or never got.
  void forget_skipped(const Expected& skipped);
  // Appends Close messages (hidden) for the least recently used statements beyond `limit`.
  void evict_prepared(size_t limit);

  // --- state ---
  char tx_status() const { return tx_status_; }
  // Whoever reads a ReadyForQuery tells what it says.
  void set_tx_status(char status) {
    tx_status_ = status;
    awaits_ready_ = false;
  }
  bool broken() const { return broken_; }
  void mark_broken() { broken_ = true; }
  // Nothing owed, no transaction: may serve another session.
  bool is_clean() const {
    return !broken_ && expected_.empty() && out_.empty() && input_.empty() && tx_status_ == 'I' && !dirty_ &&
           !skips_to_sync_ && !awaits_ready_;
  }
  // After an error in an extended message the unit ignores everything up to the next Sync, also what is sent
  // later.
  bool skips_to_sync() const { return skips_to_sync_; }
  void set_skips_to_sync(bool skips) { skips_to_sync_ = skips; }
  // Local ParseComplete replies that an error took out of the queue, since the last call.
  size_t take_skipped_parses() { return std::exchange(skipped_parses_, 0); }
  // Holds state that can not be undone by settings (temporary tables, advisory locks, …): closed instead of
  // reused.
  void mark_dirty() { dirty_ = true; }

  // Asks the unit to cancel what runs here, through a connection of its own. Ends when the unit has closed
  // it.
  static async::Task<void> cancel(async::Loop& loop, meta::UnitRecord record, uint32_t pid, std::string key);
  const std::string& cancel_key() const { return cancel_key_; }
  const meta::UnitRecord& record() const { return record_; }

  // The pool's book-keeping.
  async::TimePoint idle_since{};
  uint64_t vetted_at = 0;

 private:
  UnitConnection(meta::UnitRecord record, UnitId unit, Identity identity);
  async::Task<Status> log_in();
  const std::string& login_role() const;
  async::Task<Status> start_tls();
  async::Task<Status> authenticate(const wire::Authentication& request,
                                   std::unique_ptr<auth::ScramClient>& scram);
  Result<std::string> channel_binding(const std::vector<std::string>& mechanisms) const;
  Status filled(Result<size_t> read);
  Status drop_unsendable();
  void all_sent();
  void set_stalled(bool stalled);
  std::unexpected<Error> violation(std::string what);
  async::Task<Status> settle_owed();
  Status take_row(std::string_view body, TextResult& into, size_t& held, size_t max_bytes);
  Error with_unit(Error error) const;

  meta::UnitRecord record_;
  UnitId unit_;
  Identity identity_;
  std::unique_ptr<async::Stream> stream_;
  std::string out_;
  std::optional<wire::Writer> writer_{std::in_place, out_};
  size_t unsent_expected_ = 0;  // the last entries of expected_: their messages are in out_
  bool stalled_ = false;        // the unit does not take messages while its replies are not taken
  size_t sent_ = 0;             // bytes of out_ that are sent; more than 0: the rest begins inside a message
  ByteBuffer input_{kReadBytes};
  Owed expected_;
  std::map<std::string, std::string, std::less<>> parameters_;
  uint32_t pid_ = 0;
  std::string cancel_key_;
  async::TimePoint opened_at_{};
  SettingsPtr applied_;
  std::set<std::string, std::less<>> custom_settings_;
  SequenceUser sequence_user_;
  char tx_status_ = 'I';
  bool awaits_ready_ =
      false;  // something was sent since the last ReadyForQuery: its replies are still to come
  bool broken_ = false;
  bool dirty_ = false;
  bool skips_to_sync_ = false;
  size_t skipped_parses_ = 0;
  std::list<uint64_t> prepared_order_;  // front = least recently used
  std::unordered_map<uint64_t, std::list<uint64_t>::iterator> prepared_;
  std::vector<std::optional<std::string_view>> values_;  // scratch of query()
};

using UnitConnectionPtr = UnitConnection::Ptr;

}  // namespace decan::backend
