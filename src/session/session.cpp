#include "session/session.h"

#include <algorithm>

#include "base/log.h"
#include "base/utf8.h"
#include "catalog/error_names.h"
#include "session/notify_hub.h"

namespace decan::session {

Session::Session(Node& node, LoopContext& loop, std::unique_ptr<async::Stream> stream)
    : node_(node),
      loop_(loop),
      port_(std::move(stream)),
      sequences_{next_sequence_user(), 0},
      cancels_done_(loop.loop) {}

Session::~Session() = default;

Task<void> Session::run() {
  loop_.metrics.sessions_total.add();
  loop_.metrics.sessions_open.add();
  if (co_await start()) co_await serve();
  if (!txn_ || !txn_->in_block()) open_gate();
  if (entry_) {
    node_.registry.remove(entry_);
    entry_->session = nullptr;
    if (listening_) node_.notifications->unlisten(entry_, identity_.database, {});
  }
  if (txn_) {
    for (const auto& participant : txn_->participants()) {
      if (participant->connection->skips_to_sync())
        participant->connection->mark_broken();  // it would not answer ROLLBACK
    }
    if (txn_->in_block() || implicit_block_) co_await txn_->rollback();
    co_await settle_cancels();
    txn_->drop_all();
    open_gate();
  }
  port_.stream().close();
  loop_.metrics.sessions_open.sub();
}

Task<void> Session::serve() {
  while (true) {
    wire::Header header;
    if (!has_whole_frame(header)) {
      if (auto waited = co_await wait_for_message(); !waited) break;
      auto read = co_await read_frame(header);
      if (!read) {
        if (read.error().sqlstate != sqlstate::kConnectionFailure) co_await fatal(read.error());
        break;
      }
    }
    if (header.type == 'X') break;
    if (header.type == 'E' || header.type == 'D') {
      if (on_open_portal(header.type,
                         port_.input().readable().substr(wire::kHeaderBytes, header.body_bytes))) {
        port_.input().consume(wire::kHeaderBytes + header.body_bytes);
        continue;
      }
    }
    // Messages of the extended protocol are read where they lie, except Execute: it may start a COPY, which
    // reads what comes behind it.
    const bool stays = std::string_view("PBDCHS").find(header.type) != std::string_view::npos;
    auto done = co_await dispatch(header);
    if (stays) port_.input().consume(wire::kHeaderBytes + header.body_bytes);
    if (!done) {
      const std::string& state = done.error().sqlstate;
      if (state == sqlstate::kProtocolViolation || state == sqlstate::kFeatureNotSupported)
        co_await fatal(done.error());
      break;
    }
  }
  if (!terminate_reason_.empty() && port_.stream().is_open()) {
    co_await fatal(Error{std::string(sqlstate::kAdminShutdown), terminate_reason_});
  }
}

namespace {

// Types of messages that clients may send after start-up. Whoever sends another (a start-up packet begins
// with 0) would have the session wait for a length that is none.
bool known_type(std::string_view in) {
  return in.empty() || std::string_view("QPBDECHSXdcfFp").find(in[0]) != std::string_view::npos;
}

}  // namespace

Task<Status> Session::wait_for_message() {
  if (port_.input().size() >= wire::kHeaderBytes) co_return Status{};
  if (!skip_to_sync_ && !batch_unit_) flush_notifications();
  if (!port_.try_flush()) {
    if (auto flushed = co_await port_.flush(); !flushed) co_return flushed;
  }
  idle_ = true;
  if (port_.input().empty()) port_.shrink();
  Status filled;
  while (filled && port_.input().size() < wire::kHeaderBytes && known_type(port_.input().readable())) {
    if (!terminate_reason_.empty()) {
      idle_ = false;
      co_return fail(sqlstate::kAdminShutdown, terminate_reason_);
    }
    filled = co_await port_.fill();
  }
  idle_ = false;
  co_return filled;
}

// A message that has come whole with the one before, or at once: the usual case.
bool Session::has_whole_frame(wire::Header& header) {
  const std::string_view in = port_.input().readable();
  if (in.size() < wire::kHeaderBytes || !known_type(in)) return false;
  const auto decoded = wire::decode_header(in, wire::kMaxMessageBytes);
  if (!decoded || !*decoded || in.size() < wire::kHeaderBytes + (*decoded)->body_bytes) return false;
  header = **decoded;
  return true;
}

// Waits for one whole message; it stays in port_.input(), whoever handles it consumes it.
Task<Status> Session::read_frame(wire::Header& header) {
  const uint32_t limit = identity_.keys ? wire::kMaxMessageBytes : wire::kMaxAuthBytes;
  while (true) {
    if (!known_type(port_.input().readable())) {
      const auto type = static_cast<unsigned char>(port_.input().readable()[0]);
      co_return fail(sqlstate::kProtocolViolation, "invalid frontend message type " + std::to_string(type));
    }
    const auto decoded = wire::decode_header(port_.input().readable(), limit);
    if (!decoded) co_return fail(decoded.error());
    if (*decoded) {
      const size_t whole = wire::kHeaderBytes + (*decoded)->body_bytes;
      if (port_.input().size() >= whole) {
        header = **decoded;
        co_return Status{};
      }
      // Memory grows with the bytes that arrive, not with the length that is declared.
      const size_t missing = whole - port_.input().size();
      if (auto filled =
              co_await port_.fill(std::min<size_t>(missing, std::max<size_t>(4096, port_.input().size())));
          !filled) {
        co_return filled;
      }
      continue;
    }
    if (auto filled = co_await port_.fill(); !filled) co_return filled;
  }
}

Task<Status> Session::dispatch(const wire::Header& header) {
  const std::string_view body = port_.input().readable().substr(wire::kHeaderBytes, header.body_bytes);
  switch (header.type) {
    case 'P':
    case 'B':
    case 'D':
    case 'C':
    case 'H':
    case 'S':
      return extended(header, body);
    default:
      return dispatch_other(header, body);
  }
}

Task<Status> Session::dispatch_other(const wire::Header& header, std::string_view body) {
  const size_t whole = wire::kHeaderBytes + header.body_bytes;
  switch (header.type) {
    case 'Q': {
      const auto text = wire::decode_query(body);
      if (!text) co_return fail(text.error());
      std::string sql = std::move(spare_text_);
      sql.assign(*text);
      port_.input().consume(whole);
      co_return co_await on_query(std::move(sql));
    }
    case 'E': {
      const std::string held(body);
      port_.input().consume(whole);
      co_return co_await extended(header, held);
    }
    case 'd':
    case 'c':
    case 'f':  // what is left of a COPY that failed
      port_.input().consume(whole);
      co_return Status{};
    case 'F':
      port_.input().consume(whole);
      send_error(Error{std::string(sqlstate::kFeatureNotSupported),
                       "the function call sub-protocol is not supported",
                       {},
                       "Call the function with SELECT."});
      txn_->fail_block();
      send_ready();
      co_return co_await port_.flush();
    default:
      co_return fail(sqlstate::kProtocolViolation,
                     "invalid frontend message type " + std::to_string(static_cast<int>(header.type)));
  }
}

// --- what the client is told ---

Task<void> Session::fatal(Error error) {
  loop_.metrics.count_error(error.sqlstate);
  if (error.sqlstate == async::kTimedOut) {
    error = Error{std::string(sqlstate::kInvalidAuthorization), "canceling authentication due to timeout"};
    port_.stream().set_deadline(async::kNoDeadline);
  }
  port_.writer().error(wire::to_fields(error, "FATAL"));
  const auto taken = port_.stream().try_write(port_.out());  // a peer that does not read is not waited for
  (void)taken;
  port_.out().clear();
  co_return;
}

void Session::send_error(const Error& error) {
  send_error(wire::to_fields(error, "ERROR"));
}

void Session::send_error(const wire::ErrorFields& fields) {
  if (yielding_ && !cancelled_ && fields.get('C') == sqlstate::kQueryCanceled)
    return send_error(wire::to_fields(placement_changed(), "ERROR"));
  if (deadlock_ && !cancelled_ && fields.get('C') == sqlstate::kQueryCanceled) {
    const Error error{std::string(sqlstate::kDeadlockDetected), "deadlock detected", *deadlock_,
                      "Run the transaction again."};
    return send_error(wire::to_fields(error, "ERROR"));
  }
  loop_.metrics.count_error(std::string(fields.get('C')));
  if (error_offset_ > 0 && !fields.get('P').empty()) {
    wire::ErrorFields moved = fields;
    const std::string position(fields.get('P'));
    moved.set('P', std::to_string(std::strtoul(position.c_str(), nullptr, 10) + error_offset_));
    port_.writer().error(moved);
    return;
  }
  port_.writer().error(fields);
}

void Session::send_notice(std::string_view severity, const Error& error) {
  port_.writer().notice(wire::to_fields(error, severity));
}

void Session::send_ready() {
  port_.writer().ready_for_query(txn_->status());
  set_state(txn_->status() == 'I'   ? "idle"
            : txn_->status() == 'T' ? "idle in transaction"
                                    : "idle in transaction (aborted)");
}

void Session::note_reported(std::string_view name, std::string_view value) {
  reported_.insert_or_assign(std::string(name), std::string(value));
  if (!name.ends_with("_encoding")) return;
  const std::string& client = reported_["client_encoding"];
  const std::string& server = reported_["server_encoding"];
  verify_utf8_ = client == "UTF8" || server == "UTF8";
  encodings_known_ = check_encodings().has_value();
}

// In any other encoding the keys would be hashed in bytes that are not the unit's.
Status Session::check_encodings() const {
  for (const std::string_view name : {"client_encoding", "server_encoding"}) {
    const auto found = reported_.find(name);
    if (found == reported_.end() || found->second.empty() || found->second == "UTF8" ||
        found->second == "SQL_ASCII")
      continue;
    return fail(sqlstate::kFeatureNotSupported,
                std::string(name) + " \"" + found->second + "\" is not supported", {}, "Use UTF8.");
  }
  return {};
}

Status Session::check_text(std::string_view text) const {
  return verify_utf8_ ? check_utf8(text) : Status{};
}

void Session::report_changed_settings() {
  if (settings_ == reported_settings_ && !reported_in_block_) return;
  const bool block = txn_->in_block();
  const backend::UnitConnection* source = nullptr;
  for (const auto& participant : txn_->participants()) {
    const backend::UnitConnection* connection = participant->connection.get();
    const bool knows = block ? participant->in_block : connection->applied() == settings_;
    if (knows && !connection->broken() && (source == nullptr || connection->unit() == node_.home()))
      source = connection;
  }
  if (source == nullptr) return;  // the next statement's unit tells
  reported_settings_ = settings_;
  if (!block) reported_in_block_ = false;
  for (const std::string_view name :
       {"application_name", "client_encoding", "DateStyle", "default_transaction_read_only", "IntervalStyle",
        "is_superuser", "session_authorization", "standard_conforming_strings", "TimeZone"}) {
    const auto now = source->parameters().find(name);
    const auto told = reported_.find(name);
    if (now == source->parameters().end() || (told != reported_.end() && told->second == now->second))
      continue;
    note_reported(name, now->second);
    port_.writer().parameter_status(name, now->second);
  }
}

void Session::set_state(std::string_view state, std::string_view statement) {
  const std::lock_guard lock(entry_->mutex);
  entry_->state.assign(state);
  if (!statement.empty()) entry_->statement.assign(statement.substr(0, 1024));
  entry_->state_since = loop_.loop.now();
}

void Session::begin_timing() {
  timed_from_ = loop_.loop.now();
  timed_tier_ = StatementTier::kSession;
}

void Session::count_statement(StatementTier tier) {
  loop_.metrics.statements[static_cast<size_t>(tier)].add();
  timed_tier_ = std::max(timed_tier_, tier);
}

void Session::end_timing(std::string_view sql) {
  const auto microseconds =
      std::chrono::duration_cast<std::chrono::microseconds>(loop_.loop.now() - timed_from_).count();
  loop_.metrics.latency[static_cast<size_t>(timed_tier_)].record(static_cast<uint64_t>(microseconds));
  loop_.metrics.bytes_from_clients.add(port_.bytes_in() - std::exchange(counted_in_, port_.bytes_in()));
  loop_.metrics.bytes_to_clients.add(port_.bytes_out() - std::exchange(counted_out_, port_.bytes_out()));
  const int64_t threshold = node_.slow_statement_us.load(std::memory_order_relaxed);
  const bool slow = threshold > 0 && microseconds >= threshold;
  if (!slow && !node_.show_sql.load(std::memory_order_relaxed)) return;
  std::string units;
  for (const auto& participant : txn_->participants())
    units += (units.empty() ? "" : ",") + participant->connection->unit_name();
  sql::scan_template(sql, standard_conforming_strings_, template_);
  std::string text =
      template_.exact ? "(a statement of " + std::to_string(sql.size()) + " bytes)" : template_.text;
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t')
      c = '?';  // literals stay out of the log
  }
  log::write(slow ? log::Level::kWarning : log::Level::kInfo, slow ? "slow statement" : "statement",
             {{"milliseconds", microseconds / 1000},
              {"template", text},
              {"units", units},
              {"role", identity_.role},
              {"database", identity_.database}});
}

// --- notifications ---

// Notifications wait for the end of a transaction and for a client that reads. PostgreSQL keeps them on disk;
// here they are bounded, and none is dropped without a word.
void Session::deliver(uint32_t pid, std::string channel, std::string payload) {
  constexpr size_t kOverhead = sizeof(PendingNotification);
  const size_t limit = node_.buffer_bytes.load(std::memory_order_relaxed);
  notification_bytes_ += channel.size() + payload.size() + kOverhead;
  if (notification_bytes_ + (idle_ ? port_.out().size() : 0) > limit) {
    notifications_.clear();
    terminate(
        "too many notifications wait for this session: they exceed limits.session_buffer_bytes while it is "
        "in "
        "a transaction or does not read");
    return;
  }
  notifications_.push_back({pid, std::move(channel), std::move(payload)});
  if (!idle_ || txn_->in_block()) return;  // told before the next ReadyForQuery
  flush_notifications();
  const auto taken = port_.stream().try_write(port_.out());
  if (taken) port_.out().erase(0, *taken);
}

void Session::flush_notifications() {
  if (notifications_.empty() || txn_->in_block()) return;
  for (const auto& pending : notifications_)
    port_.writer().notification(pending.pid, pending.channel, pending.payload);
  notifications_.clear();
  notification_bytes_ = 0;
}

// --- cancel and terminate ---

void Session::cancel() {
  if (!executing_ || txn_->committing()) return;
  cancelled_ = true;
  send_cancels();
}

std::optional<txn::LockHolder> Session::lock_holder() const {
  if (!executing_ || !txn_) return std::nullopt;
  txn::LockHolder holder;
  holder.session = entry_->pid;
  holder.began = txn_->in_block() ? txn_->began() : timed_from_;
  holder.may_be_ended = !txn_->committing();
  for (const auto& participant : txn_->participants())
    holder.processes.push_back({participant->connection->unit(), participant->connection->pid()});
  return holder;
}

bool Session::end_deadlock(async::TimePoint began, std::string detail) {
  const auto holder = lock_holder();
  if (!holder || holder->began != began || !holder->may_be_ended || cancel_pending()) return false;
  deadlock_ = std::move(detail);
  send_cancels();
  return true;
}

void Session::send_cancels() {
  for (const auto& participant : txn_->participants()) {
    backend::UnitConnection& connection = *participant->connection;
    if (connection.broken()) continue;
    ++cancels_in_flight_;
    loop_.loop.spawn(backend::UnitConnection::cancel(loop_.loop, connection.record(), connection.pid(),
                                                     connection.cancel_key()),
                     [this] {
                       if (--cancels_in_flight_ == 0) cancels_done_.notify();
                     });
  }
}

// A cancel request on its way must have reached its unit before the connection serves anybody else.
Task<void> Session::settle_cancels() {
  while (cancels_in_flight_ > 0) co_await cancels_done_.wait(async::kNoDeadline);
  cancelled_ = yielding_ = false;
  deadlock_.reset();
}

void Session::terminate(std::string reason) {
  terminate_reason_ = std::move(reason);
  if (idle_) {
    port_.stream().set_deadline(async::Clock::now());  // wakes the reader; serve() tells the client why
  } else {
    cancel();
  }
}

// --- catalog and context ---

Task<Result<catalog::SnapshotPtr>> Session::snapshot() {
  if (block_snapshot_) co_return block_snapshot_;
  const uint64_t changes = node_.catalogs.changes();
  if (snapshot_ && changes == snapshot_changes_) co_return snapshot_;
  auto current = co_await node_.catalogs.current(loop_, identity_.database);
  if (!current) co_return fail(current.error());
  if (*current != snapshot_) {
    snapshot_ = *current;
    context_hash_ = 0;
  }
  snapshot_changes_ = changes;
  co_return snapshot_;
}

uint64_t Session::context_hash() {
  if (context_hash_ == 0) {
    const catalog::SnapshotPtr& snapshot = block_snapshot_ ? block_snapshot_ : snapshot_;
    std::string key = std::to_string(snapshot->version) + '\0' + identity_.database + '\0' + role_now_ +
                      '\0' + (standard_conforming_strings_ ? '1' : '0');
    for (const std::string& schema : search_path_) key += '\0' + schema;
    for (const std::string& name : temp_relations_) key += "\0t" + name;
    context_hash_ = std::hash<std::string>{}(key) | 1;
  }
  return context_hash_;
}

Task<Result<plan::Context>> Session::plan_context() {
  auto current = co_await snapshot();
  if (!current) co_return fail(current.error());
  plan::Context context;
  context.catalog = *current;
  context.search_path = search_path_;
  context.role = role_now_;
  context.standard_conforming_strings = standard_conforming_strings_;
  context.temp_relations = &temp_relations_;
  co_return context;
}

namespace {

// search_path as current_setting() gives it: identifiers, quoted where needed, separated by commas.
std::vector<std::string> parse_search_path(std::string_view text, const std::string& role) {
  std::vector<std::string> schemas;
  size_t i = 0;
  while (i < text.size()) {
    while (i < text.size() && (text[i] == ' ' || text[i] == ',')) ++i;
    if (i >= text.size()) break;
    std::string name;
    if (text[i] == '"') {
      for (++i; i < text.size(); ++i) {
        if (text[i] == '"' && i + 1 < text.size() && text[i + 1] == '"')
          name += text[i++];
        else if (text[i] == '"')
          break;
        else
          name += text[i];
      }
      ++i;
    } else {
      while (i < text.size() && text[i] != ',')
        name += static_cast<char>(std::tolower(static_cast<unsigned char>(text[i++])));
      while (!name.empty() && name.back() == ' ') name.pop_back();
    }
    schemas.push_back(name == "$user" ? role : name);
  }
  return schemas;
}

}  // namespace

// What planning depends on and no ParameterStatus tells.
Task<Status> Session::learn_session_values(backend::UnitConnection* connection) {
  auto values = co_await connection->query(
      "SELECT pg_catalog.current_setting('search_path'), "
      "pg_catalog.current_setting('default_transaction_isolation'), "
      "pg_catalog.current_setting('standard_conforming_strings'), current_user");
  if (!values) co_return fail(values.error());
  const auto& row = values->front().rows.at(0);
  role_now_ = row[3].value_or(identity_.role);
  search_path_ = parse_search_path(row[0].value_or(""), role_now_);
  default_isolation_ = row[1].value_or("read committed");
  standard_conforming_strings_ = row[2] != "off";
  context_hash_ = 0;
  co_return Status{};
}

exec::RelayHooks Session::make_hooks() {
  exec::RelayHooks hooks;
  hooks.parameter_changed = [this](std::string_view name, std::string_view value) {
    note_reported(name, value);
    reported_in_block_ = reported_in_block_ || txn_->in_block();
  };
  hooks.logical_names = [this](wire::ErrorFields& fields) { logical_names(fields); };
  hooks.about_leaf = [this](const wire::ErrorFields& fields) {
    const catalog::SnapshotPtr& snapshot = block_snapshot_ ? block_snapshot_ : snapshot_;
    return snapshot && snapshot->has_sharded() && catalog::repeats_for_leaf(*snapshot, fields.fields);
  };
  return hooks;
}

void Session::logical_names(wire::ErrorFields& fields) const {
  const catalog::SnapshotPtr& snapshot = block_snapshot_ ? block_snapshot_ : snapshot_;
  if (snapshot && snapshot->has_sharded()) catalog::map_error_names(*snapshot, fields.fields);
}

std::vector<UnitId> Session::units() const {
  return node_.unit_ids();
}

}  // namespace decan::session
