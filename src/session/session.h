// One client's session: protocol state machine, prepared statements, portals, cursors, settings and the
// transaction. Lives and dies on one loop; run() is its only coroutine, so nothing here needs a lock. Order
// of work for each message: plan (cached), resolve to units, run over the transaction's connections, relay.
// See README.md for the states.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "distsql/admin_context.h"
#include "distsql/handlers.h"
#include "exec/client_port.h"
#include "exec/copy_rows.h"
#include "exec/merged_cursor.h"
#include "exec/relay.h"
#include "placement/unit_runner.h"
#include "plan/planner.h"
#include "session/node.h"
#include "txn/transaction.h"
#include "txn/wait_graph.h"

namespace decan::session {

using async::Task;

// A bound portal of the extended protocol.
struct Portal {
  SharedStatementPtr statement;
  std::string bind_body;  // owns what the views below point into
  std::vector<plan::ParameterValue> parameters;
  std::vector<int16_t> parameter_formats, result_formats;
  std::vector<plan::UnitTarget> targets;
  std::optional<UnitId> open_on;  // bound on that unit
  bool translated = false;  // its rows hold ids of that unit: a hidden Describe goes ahead of each Execute
  bool done = false;
  // A multi-unit result whose rows are handed out in pieces.
  std::string buffered;
  size_t buffered_at = 0;
  std::string buffered_tag;
  bool executed = false;
};

// A statement on its way, whichever protocol brought it.
struct Call {
  plan::PlanPtr plan;
  plan::Values values;
  bool simple = true;            // simple protocol: RowDescription is sent with the rows
  SharedStatementPtr statement;  // extended, and EXECUTE
  Portal* portal = nullptr;      // extended
  std::string portal_name;
  int32_t max_rows = 0;
  std::vector<int16_t> result_formats;
  plan::ReadValues read;
  exec::CopyRows* copy_rows = nullptr;  // COPY … TO of a merged query
};

// Sent to units as the client wrote it, or as fragments of it: units can describe it.
bool goes_to_unit_whole(const plan::Plan& plan);

// The text of a value that is known when a statement runs (LIMIT, HAVING terms, arguments); nullopt for NULL.
// Errors: 0A000 for forms that only a server can read.
Result<std::optional<std::string>> value_text(const plan::ValueRef& ref, const plan::Values& values);

inline constexpr Oid kTextType = 25;
// The type of EXPLAIN's column, which depends on its FORMAT.
Oid explain_type(const plan::ExplainSpec& spec);

class SessionAdmin;

// Moves over at most `most` rows of a portal's buffered result; how many there were.
int64_t skip_rows(Portal& portal, int64_t most);
uint64_t next_sequence_user();  // unique in the process

class Session final : public placement::UnitRunner {
 public:
  Session(Node& node, LoopContext& loop, std::unique_ptr<async::Stream> stream);
  ~Session() override;

  // From the first byte to the last.
  Task<void> run();
  // On the session's loop: asks the units that work for it to stop. Nothing happens while a commit is
  // decided.
  void cancel();
  // On the session's loop: ends the session (KILL, shutdown).
  void terminate(std::string reason);
  // On the session's loop: the server processes that work for the statement that runs, if one does, and since
  // when it runs.
  std::optional<txn::LockHolder> lock_holder() const;
  async::TimePoint runs_since() const { return timed_from_; }
  // On the session's loop: the statement ends with 40P01, unless the transaction that began then is over.
  bool end_deadlock(async::TimePoint began, std::string detail);
  bool is_idle() const { return idle_; }
  bool in_transaction() const { return txn_ && txn_->in_block(); }
  void deliver(uint32_t pid, std::string channel, std::string payload);  // a notification

  // placement::UnitRunner: SQL inside the session's transaction.
  Task<Result<placement::TextRows>> run(UnitId unit, std::string sql) override;
  Task<Result<std::vector<placement::TextRows>>> run_all(std::vector<UnitId> units, std::string sql) override;
  Task<Result<uint64_t>> copy_between(UnitId from, std::string copy_out, UnitId to,
                                      std::string copy_in) override;
  Task<Status> shut_out(Oid table) override;
  std::string proof(std::string_view message) const override { return node_.proofs->proof(message); }
  std::vector<UnitId> units() const override;
  UnitId home() const override { return node_.home(); }

 private:
  friend class SessionAdmin;

  // --- startup.cpp ---
  Task<bool> start();  // false: the session is over
  Task<Result<wire::StartupPacket>> read_startup();
  Task<bool> authenticate(const wire::StartupPacket& packet);
  Task<Result<auth::PassThroughKeys>> scram(const std::string& role, auth::Verifier verifier,
                                            bool may_log_in);
  Task<Status> open_session(const wire::StartupPacket& packet);
  Status startup_settings(const wire::StartupPacket& packet, backend::Settings::Map& settings);
  Status check_encodings() const;
  void handle_cancel(const wire::StartupPacket& packet);
  const AccessRule* matching_rule(const std::string& database, const std::string& role) const;

  // --- session.cpp ---
  Task<void> serve();
  Task<Status> wait_for_message();                // idle: until a whole header is there
  Task<Status> read_frame(wire::Header& header);  // whole message in port_.input()
  bool has_whole_frame(wire::Header& header);
  Task<Status> dispatch(const wire::Header& header);
  Task<Status> dispatch_other(const wire::Header& header, std::string_view body);
  Task<void> fatal(Error error);
  void send_error(const Error& error);
  void send_error(const wire::ErrorFields& fields);
  void send_ready();
  void send_notice(std::string_view severity, const Error& error);
  void flush_notifications();
  // The reported settings as a unit has them now, where no reply that the client saw has told (ROLLBACK,
  // RESET, DISCARD).
  void report_changed_settings();
  void note_reported(std::string_view name, std::string_view value);
  Status check_text(std::string_view text) const;  // 22021: not valid in the encoding
  void set_state(std::string_view state, std::string_view statement = {});
  // A simple query, or a batch of the extended protocol, from its first message to its ReadyForQuery.
  void begin_timing();
  void end_timing(std::string_view sql);
  void count_statement(StatementTier tier);
  Task<Result<catalog::SnapshotPtr>> snapshot();
  uint64_t context_hash();
  Task<Result<plan::Context>> plan_context();
  Task<Status> learn_session_values(backend::UnitConnection* connection);
  exec::RelayHooks make_hooks();
  void logical_names(wire::ErrorFields& fields) const;
  void send_cancels();
  bool cancel_pending() const { return cancels_in_flight_ > 0 || cancelled_ || yielding_ || deadlock_; }
  Task<void> settle_cancels();

  // --- simple_query.cpp ---
  Task<Status> on_query(std::string sql);
  Task<Status> join_batch_to_query();  // an unfinished extended batch and a simple query are one transaction
  Task<Status> simple_query(std::string sql);
  Task<Result<PlannedTextPtr>> plan_text(std::string_view sql);
  PlannedTextPtr cached_plan(std::string_view sql);  // null: plan_text() has to plan
  Task<bool> run_one(std::string_view sql, const plan::PlannedStatement& statement);
  Task<Status> end_of_simple();

  // --- placement_gate.cpp ---
  Error placement_changed() const;
  Task<Status> wait_at_gate(const plan::Plan& plan);
  bool is_on_its_way_to(const PlacementGate::Change& change, bool& known);
  bool yield_to(const PlacementGate::Change& change, const std::unordered_set<uint32_t>& blocked,
                bool insist);
  Task<void> close_gate(PlacementGate::Change change);
  Task<size_t> on_their_way(PlacementGate::Change change, std::unordered_set<uint32_t> blocked, bool insist);
  // The set of units is to be changed: what runs on all of them as such waits until the gate is opened, and
  // has come to its end when this returns. Error: 55P03.
  Task<Status> shut_out_all_units();
  void open_gate();
  Status check_block_epoch(const plan::Plan& plan);
  Task<bool> plan_is_stale(UnitId unit);

  // --- execute.cpp: one planned statement; an Error is told to the client by the caller ---
  Task<Status> execute(Call& call);
  Task<Status> execute_gated(Call& call);
  Task<Status> plan_again(Call& call);
  Task<Status> execute_once(Call& call);
  Task<Status> route(Call& call, const plan::UnitTarget& target, size_t target_count);
  void send_route(Call& call, txn::Participant& participant, const plan::UnitTarget& target,
                  size_t target_count);
  Task<Status> relay(txn::Participant& participant);
  Task<Status> finish_relay(txn::Participant& participant, exec::RelayOutcome outcome);
  struct MergeValues {
    std::optional<int64_t> limit, offset;
    std::vector<std::optional<std::string>> having;
  };
  Result<MergeValues> merge_values(const Call& call) const;
  Task<Status> scatter(Call& call, std::vector<plan::UnitTarget> targets);
  Task<Result<txn::Participant*>> join(UnitId unit, bool block);
  Task<bool> learn_new_keys();
  std::optional<plan::UnitTarget> one_target(const Call& call) const;
  Result<std::vector<plan::UnitTarget>> targets_of(const Call& call);
  bool is_stale(const wire::ErrorFields& error) const;
  Status check_in_block(const plan::Plan& plan) const;
  Status check_isolation() const;

  // A block of our own around what must be atomic over several units; no-op inside the client's block.
  Task<Status> begin_implicit();
  Task<Status> end_implicit(Status result);

  // --- session_state.cpp ---
  void note_effects(const Call& call, txn::Participant& participant);
  Status claim_sequences(const plan::Effects& effects, txn::Participant& participant, bool extended);
  void forget_sequences();
  Task<void> adopt_states();
  Task<Status> adopt_settings(txn::Participant& participant);
  void define_setting(const std::string& name);
  backend::Settings::Map reset_settings() const;
  // --- objects.cpp: object ids of units in terms of the home unit's ---
  catalog::UnitObjects& objects(UnitId unit);
  // Whether everything is known that translating the answer of this plan takes. `leaf`: it names a leaf.
  bool knows_objects(const plan::Plan& plan, UnitId unit, bool leaf, bool parameters);
  Task<Status> learn_objects(plan::PlanPtr plan, txn::Participant& participant);
  Task<Status> learn_types(catalog::SnapshotPtr snapshot, txn::Participant& participant);
  // Rows of a SELECT of ours on a unit, also in the middle of a batch.
  Task<Result<catalog::TextTable>> hidden_rows(txn::Participant& participant, std::string sql);

  // --- session_statements.cpp ---
  Task<Status> transaction_statement(Call& call);
  Task<Status> commit_block(const plan::Plan& plan);
  Task<Status> rollback_block(const plan::Plan& plan);
  Task<Status> set_statement(Call& call);
  Task<Status> set_config_statement(Call& call);
  struct Setting {
    std::string name, statement;
    bool local = false, reset = false;
  };
  Task<Result<txn::Participant*>> setting_place();
  Task<Status> setting_done(Setting setting, txn::Participant* first, bool replaced);
  Task<Status> discard_statement(Call& call);
  Task<Status> prepare_statement(Call& call);
  Task<Status> execute_statement(Call& call);
  Task<Status> deallocate_statement(Call& call);
  Task<Status> listen_statement(Call& call);
  void complete(std::string_view tag);
  Task<Status> after_settings_changed(std::string_view name, backend::UnitConnection* connection);
  Task<Status> run_on(txn::Participant& participant, std::string sql, bool visible);

  // --- explain.cpp ---
  Task<Status> explain(Call& call);
  Task<Result<std::vector<distsql::PreviewLine>>> preview(std::string sql);

  // --- ddl.cpp ---
  Task<Status> ddl(Call& call);
  Task<Status> hold_units();
  std::vector<UnitId> where_defined(const plan::DdlSpec& spec) const;
  Task<Status> ddl_concurrent(Call& call);
  Task<Status> admin(Call& call);
  Task<Status> distsql(std::string_view sql, bool with_description);
  Task<Result<distsql::AdminResult>> run_distsql(std::string_view sql);
  struct AdminFacts {
    bool may_administer = false;       // superuser, or owner of the database
    std::vector<std::string> schemas;  // those of search_path that exist
  };
  Task<Result<AdminFacts>> admin_facts();
  Task<Status> apply_waiting_rules(catalog::SnapshotPtr before);
  Task<Status> catalog_changed();
  Task<Status> learn_temp_relations();
  Task<Status> end_of_temp();
  Task<Status> relearn_session_values();
  Result<std::string> with_hashed_password(const plan::DdlSpec& spec, std::string_view sql) const;
  void send_rows(const std::vector<std::string>& columns,
                 const std::vector<std::vector<std::optional<std::string>>>& rows, std::string_view tag,
                 bool with_description, Oid type = kTextType);

  // --- copy.cpp ---
  Task<Result<bool>> hear_unit(backend::UnitConnection& connection, bool tell);
  Task<Result<bool>> feed_unit(backend::UnitConnection& connection, bool tell);
  Task<Status> pump_copy_in(txn::Participant& participant);
  Task<Status> copy_in(Call& call);
  Task<Result<std::string>> copy_head(const plan::CopySpec& spec, std::string_view sql);
  Task<Status> copy_merged(Call& call);
  Task<Status> copy_out(Call& call);
  Task<Result<std::vector<Oid>>> copied_types(const plan::CopySpec& spec);

  // --- cursors.cpp ---
  Task<Status> cursor_statement(Call& call);
  void note_cursor(const plan::Plan& plan, txn::Participant& participant);
  exec::MergedCursor* merged_cursor(std::string_view name);  // nullptr: not over several units
  Task<Status> declare_merged(Call& call, std::vector<plan::UnitTarget> targets);
  Task<Status> merged_cursor_statement(Call& call);
  Task<Status> fetch_merged(Call& call, exec::MergedCursor& cursor);
  Task<Status> fetch_portion(exec::MergedCursor& cursor, size_t source);
  Task<Result<std::optional<wire::ErrorFields>>> exchange(backend::UnitConnection& connection,
                                                          std::optional<wire::RowDescription>* columns,
                                                          exec::MergedCursor* cursor, size_t source);
  Task<Status> forget_lost_cursors();
  std::vector<plan::UnitTarget> units_of_cursors() const;
  Task<void> end_cursors(bool committed);
  Status check_held_cursors() const;
  Task<Status> describe_cursor(std::string name);

  // --- judge.cpp ---
  Task<Result<std::optional<wire::ErrorFields>>> parse_on(txn::Participant& participant, std::string sql,
                                                          std::vector<Oid> types, SharedStatement* into);
  // Above READ COMMITTED a transaction has one unit: that one, where it can tell what the home unit would.
  std::optional<UnitId> only_unit_for(const plan::Plan& plan) const;
  Task<Status> validate(SharedStatement& statement);  // on the home unit; learns its description
  Task<Status> judged(Status refusal, const plan::Plan& plan, std::string sql, std::vector<Oid> types);
  Task<Status> refused(SharedStatement& statement);
  // The home unit reads what the call's `read` wants. Error: the statement is PostgreSQL's
  // to refuse, or ours.
  Task<Status> read_values(Status refusal, Call& call);
  Status check_place(const plan::Plan& plan) const;

  // --- extended_query.cpp ---
  Task<Status> extended(const wire::Header& header, std::string_view body);
  Task<Status> on_parse(std::string_view body);
  Task<Status> on_bind(std::string_view body);
  Task<Status> on_describe(std::string_view body);
  Task<Status> on_execute(std::string_view body);
  Status portal_statement(const plan::Plan& plan, const std::string& name);
  Task<Status> on_close(std::string_view body);
  // Describe and Execute of a portal that is bound on the batch's unit, which need no waiting; false: not
  // such.
  bool on_open_portal(char type, std::string_view body);
  void execute_open(Portal& portal, const std::string& name, txn::Participant& participant, int32_t max_rows);
  Task<Status> on_sync();
  Task<void> finish_batch();
  void settle_parses(bool failed);  // which statements of the batch exist
  Task<Result<std::optional<wire::RowDescription>>> columns_of(SharedStatement& statement);
  Task<Status> on_flush();
  Task<Status> drain();  // what is queued on units is sent and answered
  bool batch_is_long();
  Task<Status> bound_batch();
  Task<void> extended_error(Status status);
  Task<Result<SharedStatementPtr>> shared_statement(std::string sql, std::vector<Oid> types);
  Status bind_on(Portal& portal, const std::string& name, txn::Participant& participant);
  backend::UnitStatementPtr unit_statement(Call& call, const plan::UnitTarget& target, size_t target_count);
  void queue_parse(backend::UnitConnection& connection, const backend::UnitStatementPtr& statement,
                   bool visible);
  bool local_reply(
      std::string bytes);  // at this place of the client's stream; true: behind replies of a unit
  bool plan_is_current(const SharedStatement& statement);
  Task<Status> replan(Portal& portal);

  Node& node_;
  LoopContext& loop_;
  exec::ClientPort port_;
  exec::RelayHooks hooks_;
  // What the position of an error refers to: the text made for this call and target, in a query string with
  // so many characters in front of it.
  const Call* routed_ = nullptr;
  const plan::UnitTarget* routed_target_ = nullptr;
  uint32_t error_offset_ = 0;
  std::vector<catalog::UnitObjects*> objects_;  // by unit
  SessionEntryPtr entry_;
  backend::Identity identity_, service_;
  std::string role_now_;  // SET ROLE changes it
  std::unique_ptr<txn::Transaction> txn_;
  backend::SettingsPtr settings_, base_settings_;  // base: what start-up asked for, target of RESET
  std::map<std::string, std::string, std::less<>> reported_;  // ParameterStatus as the client knows it
  backend::SettingsPtr reported_settings_;                    // those that reported_ was last compared with
  bool reported_in_block_ = false;  // a reported setting changed in the block: its end may undo it
  bool verify_utf8_ = true, encodings_known_ = true;
  std::vector<std::string> search_path_;
  std::string default_isolation_ = "read committed";
  bool standard_conforming_strings_ = true;
  uint64_t context_hash_ = 0;            // 0: to be computed
  catalog::SnapshotPtr block_snapshot_;  // after DDL in the open block
  catalog::SnapshotPtr snapshot_;
  uint64_t snapshot_changes_ = 0;  // Catalogs::changes() when snapshot_ was taken
  std::vector<std::string> temp_relations_;
  bool values_dirty_ = false;                        // a SET in the open block: its end may take it back
  bool temp_touched_ = false;                        // in the open transaction: its end may take them away
  bool catalog_dirty_ = false;                       // DDL in the block: refresh when it ends
  catalog::CustomSettings code_settings_;            // that statements since the last look may have set
  backend::UnitConnection::SequenceUser sequences_;  // turn 0: has not used any
  sql::Template template_;
  std::string spare_text_;  // memory of the last simple query
  std::vector<std::optional<std::string_view>> spare_values_;

  std::unordered_map<std::string, SharedStatementPtr> prepared_;
  std::map<std::string, Portal, std::less<>, async::Recycling<std::pair<const std::string, Portal>>> portals_;
  std::map<std::string, UnitId, std::less<>> cursors_;
  std::map<std::string, std::unique_ptr<exec::MergedCursor>, std::less<>> merged_cursors_;
  std::vector<std::string> unverified_;     // parsed in this batch, not yet seen by a unit
  std::vector<std::string> queued_parses_;  // their ParseComplete waits behind replies of a unit
  bool skip_to_sync_ = false;
  bool implicit_block_ = false;       // opened by begin_implicit or by a batch over several units
  std::optional<UnitId> batch_unit_;  // extended batch: the unit with queued messages

  struct PendingNotification {
    uint32_t pid;
    std::string channel, payload;
  };
  std::vector<PendingNotification> notifications_;
  size_t notification_bytes_ = 0;
  bool listening_ = false;
  bool idle_ = false;
  bool executing_ = false;
  const plan::Plan* running_ = nullptr;  // from the gate to the end of the statement
  int64_t used_epoch_ = 0;               // of the plan that was sent last
  int64_t block_epoch_ = 0;              // when the open block took its snapshot; 0: it has none of its own
  bool yielding_ = false;                // cancelled in favour of a change of the placement
  bool batch_stale_ = false;             // what is queued may mean something else now
  bool gate_closed_ = false;             // by this session's change
  bool cancelled_ = false;
  std::optional<std::string> deadlock_;  // cancelled to end it: the waits
  size_t cancels_in_flight_ = 0;
  async::Event cancels_done_;
  std::string terminate_reason_;
  uint64_t counted_in_ = 0, counted_out_ = 0;
  async::TimePoint timed_from_{};
  StatementTier timed_tier_ = StatementTier::kSession;
  SharedStatementPtr timed_statement_;  // the batch's last one, for the log of slow statements
};

}  // namespace decan::session
