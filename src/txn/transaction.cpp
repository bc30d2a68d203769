#include "txn/transaction.h"

#include <algorithm>
#include <charconv>

#include "async/gather.h"
#include "auth/crypto.h"
#include "auth/scram.h"
#include "base/log.h"
#include "base/quote.h"

namespace decan::txn {

using async::Task;
using async::TimePoint;
using backend::Expected;
using backend::UnitConnection;

namespace {

constexpr std::string_view kGidPrefix = "decan_";
constexpr auto kPatience =
    std::chrono::seconds(10);  // with a unit that fell silent while a commit was under way
constexpr auto kRetryEvery = std::chrono::milliseconds(200);

bool contains_ignoring_case(std::string_view text, std::string_view word) {
  const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
  return std::search(text.begin(), text.end(), word.begin(), word.end(), same) != text.end();
}

Task<Status> run(UnitConnection* connection, std::string sql) {
  auto done = co_await connection->query(std::move(sql));
  if (!done) co_return fail(done.error());
  co_return Status{};
}

// The value of a statement that returns one row with one column.
std::optional<std::string> scalar(const std::vector<UnitConnection::TextResult>& results) {
  if (results.size() != 1 || results[0].rows.size() != 1 || results[0].columns.size() != 1)
    return std::nullopt;
  return results[0].rows[0][0];
}

// The end of a simple query tells whether the block is still open: a refused mark leaves it so.
Task<Status> end_by(Participant* participant, std::string sql, std::string tag) {
  UnitConnection& connection = *participant->connection;
  auto done = co_await connection.query(std::move(sql));
  participant->in_block = !connection.broken() && connection.tx_status() != 'I';
  if (!done) co_return fail(done.error());
  if (done->back().tag != tag) {
    co_return fail(sqlstate::kInFailedTransaction,
                   "the transaction was rolled back on storage unit \"" + connection.unit_name() + "\"");
  }
  co_return Status{};
}

Task<Result<bool>> has_written(Participant* participant) {
  auto assigned = co_await participant->connection->query(
      "SELECT pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL");
  if (!assigned) co_return fail(assigned.error());
  co_return !scalar(*assigned) || *scalar(*assigned) == "t";  // in doubt it has
}

}  // namespace

std::string GidSource::next(UnitId anchor) {
  // The random part keeps a gid from being guessed before its transaction is prepared.
  std::string gid = prefix_ + std::to_string(++sequence_) + "_" + auth::hex(auth::random_bytes(8)) + "_" +
                    std::to_string(anchor.value);
  const std::lock_guard lock(mutex_);
  live_.insert(gid);
  return gid;
}

void GidSource::done(const std::string& gid) {
  const std::lock_guard lock(mutex_);
  live_.erase(gid);
}

bool GidSource::is_live(const std::string& gid) const {
  const std::lock_guard lock(mutex_);
  return live_.contains(gid);
}

std::string GidSource::mark(const std::string& gid, const std::string& participants, uint32_t pid) const {
  const std::string proof = key_.proof("mark/" + std::to_string(pid) + "/" + gid + "/" + participants);
  return "SELECT decan.mark(" + quote_literal(gid) + ", '" + participants + "', '" + proof + "')";
}

std::optional<UnitId> anchor_of(std::string_view gid) {
  if (!gid.starts_with(kGidPrefix)) return std::nullopt;
  const size_t at = gid.rfind('_');
  UnitId anchor;
  const auto parsed = std::from_chars(gid.data() + at + 1, gid.data() + gid.size(), anchor.value);
  if (parsed.ec != std::errc() || parsed.ptr != gid.data() + gid.size()) return std::nullopt;
  return anchor;
}

void Transaction::begin(std::string options, backend::SettingsPtr settings) {
  status_ = 'T';
  began_ = async::Clock::now();
  begin_options_ = std::move(options);
  isolation_.clear();
  note_isolation(begin_options_);
  settings_at_begin_ = settings;
  current_settings_ = std::move(settings);
  replay_.clear();
}

void Transaction::note_isolation(std::string_view options_text) {
  for (const std::string_view level :
       {"serializable", "repeatable read", "read committed", "read uncommitted"}) {
    if (contains_ignoring_case(options_text, level)) {
      isolation_ = level;
      return;
    }
  }
}

bool Transaction::read_committed(std::string_view session_default) const {
  const std::string_view level = isolation_.empty() ? session_default : std::string_view(isolation_);
  return level.starts_with("read");
}

Participant* Transaction::find(UnitId unit) {
  for (const auto& participant : participants_) {
    if (participant->connection->unit() == unit) return participant.get();
  }
  return nullptr;
}

std::vector<std::string> Transaction::block_opening() const {
  std::vector<std::string> statements = {begin_options_.empty() ? "BEGIN" : "BEGIN " + begin_options_};
  for (const Replay& entry : replay_) {
    statements.push_back(entry.savepoint.empty() ? entry.sql
                                                 : "SAVEPOINT " + quote_identifier(entry.savepoint));
  }
  return statements;
}

Participant* Transaction::try_join(UnitId unit, bool block, const backend::SettingsPtr& settings) {
  if (Participant* known = find(unit)) {
    const bool ready = known->in_block || known->unsynced || known->connection->applied() == settings;
    return ready && known->in_block == block ? known : nullptr;
  }
  if (block) return nullptr;
  auto connection = options_.pool->try_acquire(unit, *options_.identity, {settings, sequences_});
  if (!connection) return nullptr;
  if (connection->applied() != settings) {
    if (!connection->applied()->same_as(*settings)) {
      options_.pool->release(std::move(connection));
      return nullptr;
    }
    connection->set_applied(settings);
  }
  auto joined = std::make_unique<Participant>();
  joined->connection = std::move(connection);
  return participants_.emplace_back(std::move(joined)).get();
}

Task<Result<Participant*>> Transaction::join(UnitId unit, bool block, backend::SettingsPtr settings) {
  Participant* participant = find(unit);
  const backend::SettingsPtr base = status_ == 'I' ? std::move(settings) : settings_at_begin_;
  if (participant != nullptr && !participant->in_block && !participant->unsynced &&
      participant->connection->expected().empty()) {
    // Pinned: what was set since on another unit comes now.
    if (auto applied = co_await participant->connection->apply(base); !applied)
      co_return fail(applied.error());
  }
  if (participant == nullptr) {
    auto connection = co_await options_.pool->acquire(unit, *options_.identity, {base, sequences_});
    if (!connection) co_return fail(connection.error());
    if (auto applied = co_await (*connection)->apply(base); !applied) {
      options_.pool->release(std::move(*connection));
      co_return fail(applied.error());
    }
    auto joined = std::make_unique<Participant>();
    joined->connection = std::move(*connection);
    participant = participants_.emplace_back(std::move(joined)).get();
  }
  if (block && !participant->in_block) {
    UnitConnection& connection = *participant->connection;
    if (participant->unsynced) {
      // Inside an extended batch a simple query would end the batch's implicit transaction: BEGIN goes the
      // same way instead.
      auto& writer = connection.writer();
      for (const std::string& statement : block_opening()) {  // a Parse takes one statement
        writer.parse("", statement, {});
        writer.bind("decan_begin", "", {}, {}, {});
        writer.execute("decan_begin", 0);
        writer.close('P', "decan_begin");
        for (const auto kind : {Expected::Kind::kParse, Expected::Kind::kBind, Expected::Kind::kExecute,
                                Expected::Kind::kClose}) {
          connection.expect(kind, false);
        }
      }
      writer.flush();  // whoever waits for these replies need not send anything else
    } else {
      std::string sql;
      for (const std::string& statement : block_opening()) sql += (sql.empty() ? "" : ";") + statement;
      connection.writer().query(sql);
      connection.expect(Expected::Kind::kQuery, false);
    }
    participant->in_block = true;
  }
  co_return participant;
}

Task<Status> Transaction::on_all(std::string sql) {
  std::vector<Task<Status>> tasks;
  for (const auto& participant : participants_) {
    if (participant->in_block) tasks.push_back(run(participant->connection.get(), sql));
  }
  const auto results = co_await async::gather(options_.pool->loop(), std::move(tasks));
  for (const Status& result : results) {
    if (!result) co_return result;
  }
  co_return Status{};
}

bool Transaction::has_savepoint(std::string_view name) const {
  return std::ranges::any_of(replay_, [&](const Replay& entry) { return entry.savepoint == name; });
}

Task<Status> Transaction::savepoint(std::string name) {
  auto done = co_await on_all("SAVEPOINT " + quote_identifier(name));
  if (done) replay_.push_back({std::move(name), {}, current_settings_});
  co_return done;
}

Task<Status> Transaction::release(std::string name) {
  auto done = co_await on_all("RELEASE SAVEPOINT " + quote_identifier(name));
  if (!done) co_return done;
  const auto at =
      std::find_if(replay_.rbegin(), replay_.rend(), [&](const Replay& e) { return e.savepoint == name; });
  if (at == replay_.rend()) co_return Status{};
  // Savepoints above it go too; settings made since then stay.
  const size_t first = static_cast<size_t>(std::distance(at, replay_.rend())) - 1;
  for (size_t i = replay_.size(); i-- > first;) {
    if (!replay_[i].savepoint.empty()) replay_.erase(replay_.begin() + static_cast<ptrdiff_t>(i));
  }
  co_return Status{};
}

Task<Status> Transaction::rollback_to(std::string name) {
  auto done = co_await on_all("ROLLBACK TO SAVEPOINT " + quote_identifier(name));
  if (!done) co_return done;
  const auto at =
      std::find_if(replay_.rbegin(), replay_.rend(), [&](const Replay& e) { return e.savepoint == name; });
  if (at != replay_.rend()) {
    current_settings_ = at->settings;
    replay_.erase(at.base(), replay_.end());
  }
  status_ = 'T';
  co_return Status{};
}

void Transaction::define_setting(const std::string& name) {
  const auto define = [&](backend::SettingsPtr& settings) {
    if (!settings || settings->defines(name)) return;
    backend::Settings::Map map = settings->statements();
    map.emplace(name, backend::set_config_sql(name, ""));
    settings = std::make_shared<const backend::Settings>(std::move(map));
  };
  define(settings_at_begin_);
  define(current_settings_);
  for (Replay& entry : replay_) define(entry.settings);
}

Task<Result<bool>> settle(backend::Pool& pool, UnitId anchor, backend::Identity service, std::string gid,
                          TimePoint deadline) {
  auto connection = co_await pool.acquire(anchor, std::move(service));
  if (!connection) co_return fail(connection.error());
  // Not with the database's defaults: a snapshot from before the wait, or a read-only transaction, could not
  // decide.
  auto answer = co_await (*connection)
                    ->query_until("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT decan.settle(" +
                                      quote_literal(gid) + "); COMMIT",
                                  deadline);
  pool.release(std::move(*connection));
  if (!answer) co_return fail(answer.error());
  const auto decision =
      answer->size() == 3 && answer->back().tag == "COMMIT" ? scalar({(*answer)[1]}) : std::nullopt;
  if (!decision)
    co_return fail(sqlstate::kDataCorrupted, "the anchor of a distributed transaction gave no decision",
                   "gid " + gid);
  co_return *decision == "t";
}

Task<bool> finish_prepared(backend::Pool& pool, UnitId unit, backend::Identity service, std::string gid,
                           bool commit, TimePoint deadline) {
  auto connection = co_await pool.acquire(unit, std::move(service));
  if (!connection) co_return false;
  auto done =
      co_await (*connection)
          ->query_until((commit ? "COMMIT PREPARED " : "ROLLBACK PREPARED ") + quote_literal(gid), deadline);
  pool.release(std::move(*connection));
  co_return done || done.error().sqlstate == sqlstate::kUndefinedObject;  // somebody else was faster
}

backend::Identity Transaction::service_here() const {
  backend::Identity service = *options_.service;
  service.database = options_.identity->database;
  return service;
}

Task<Status> Transaction::commit_on(Participant& participant) {
  auto done = co_await end_by(&participant, "COMMIT", "COMMIT");
  if (!done && participant.connection->broken() && participant.may_have_written) {
    // The unit may have committed before it fell silent.
    co_return fail(sqlstate::kTransactionResolutionUnknown,
                   "whether the transaction was committed is not known: the connection to storage unit \"" +
                       participant.connection->unit_name() + "\" was lost during COMMIT",
                   done.error().message);
  }
  co_return done;
}

Task<Result<std::vector<Participant*>>> Transaction::writers() {
  std::vector<Participant*> found;
  for (const auto& participant : participants_) {
    if (participant->in_block && participant->may_have_written) found.push_back(participant.get());
  }
  if (found.size() <= 1) co_return found;
  // A statement that might write often did not (0 rows): ask.
  std::vector<Task<Result<bool>>> asked;
  for (Participant* participant : found) asked.push_back(has_written(participant));
  const auto answers = co_await async::gather(options_.pool->loop(), std::move(asked));
  std::vector<Participant*> sure;
  for (size_t i = 0; i < found.size(); ++i) {
    if (!answers[i]) co_return fail(answers[i].error());
    if (*answers[i])
      sure.push_back(found[i]);
    else
      found[i]->may_have_written = false;
  }
  co_return sure;
}

// Whoever has written nothing can neither fail nor hold up what is decided. Not before the decision: they may
// hold locks.
Task<void> Transaction::commit_readers(std::vector<Participant*> readers) {
  std::vector<Task<Status>> tasks;
  for (Participant* reader : readers) tasks.push_back(commit_on(*reader));
  (void)co_await async::gather(options_.pool->loop(), std::move(tasks));
}

Task<Status> Transaction::commit_open(std::vector<Participant*> open) {
  if (open.size() == 1) co_return co_await commit_on(*open.front());
  auto found = co_await writers();
  if (!found) co_return fail(found.error());
  std::vector<Participant*> readers;
  std::ranges::copy_if(open, std::back_inserter(readers),
                       [&](Participant* p) { return std::ranges::find(*found, p) == found->end(); });
  if (found->size() > 1) co_return co_await two_phase(*found, readers);
  if (found->empty()) {
    for (Participant* reader : readers) {
      if (auto done = co_await commit_on(*reader); !done) co_return done;
    }
    co_return Status{};
  }
  auto done = co_await commit_on(*found->front());
  if (done) co_await commit_readers(std::move(readers));
  co_return done;
}

Task<Status> Transaction::commit() {
  std::vector<Participant*> open;
  for (const auto& participant : participants_) {
    if (participant->in_block) open.push_back(participant.get());
  }
  committing_ = true;
  Status result;
  if (!open.empty()) result = co_await commit_open(open);
  committing_ = false;
  if (result) {
    settings_at_begin_ = current_settings_;
    // Only who was in the block has run its SETs.
    for (const Participant* participant : open) {
      if (current_settings_) participant->connection->set_applied(current_settings_);
    }
    end_block();
    co_return result;
  }
  co_await rollback();
  co_return result;
}

// A decision that the anchor could lose in a crash would be none: synchronous_commit = off does not hold
// here, nor does a weaker one than the standbys of a unit are run with.
std::string Transaction::marked(const Participant& writer, const std::string& gid,
                                const std::string& units) const {
  return options_.gids->mark(gid, units, writer.connection->pid()) +
         ", CASE WHEN pg_catalog.current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') "
         "THEN pg_catalog.set_config('synchronous_commit', 'on', true) END;";
}

Task<Status> Transaction::two_phase(std::vector<Participant*> writers, std::vector<Participant*> readers) {
  // Temporary objects and NOTIFY can not be prepared: whoever may hold them commits plainly, as the anchor.
  std::ranges::stable_sort(writers, [](const Participant* a, const Participant* b) {
    if (a->pinned != b->pinned) return a->pinned;
    return a->connection->unit() < b->connection->unit();
  });
  Participant& anchor = *writers.front();
  const std::vector<Participant*> others(writers.begin() + 1, writers.end());
  const std::string gid = options_.gids->next(anchor.connection->unit());
  const std::string quoted = quote_literal(gid);
  std::string units;
  for (const Participant* writer : writers)
    units += (units.empty() ? "" : ",") + std::to_string(writer->connection->unit().value);
  units = "{" + units + "}";
  std::vector<Task<Status>> prepares;
  for (Participant* other : others)
    prepares.push_back(
        end_by(other, marked(*other, gid, units) + "PREPARE TRANSACTION " + quoted, "PREPARE TRANSACTION"));
  const auto prepared = co_await async::gather(options_.pool->loop(), std::move(prepares));
  std::vector<Participant*> ready;
  Status result;
  for (size_t i = 0; i < others.size(); ++i) {
    // One that fell silent may be prepared all the same.
    if (prepared[i] || others[i]->connection->broken()) ready.push_back(others[i]);
    if (!prepared[i] && result) result = prepared[i];
  }
  if (result) result = co_await decide(anchor, gid, units);
  const bool known = result || result.error().sqlstate != sqlstate::kTransactionResolutionUnknown;
  if (!known) {
    options_.gids->done(gid);
    co_return result;
  }
  std::vector<Task<Status>> finishes;
  for (Participant* other : ready) finishes.push_back(finish_on(other, gid, result.has_value()));
  (void)co_await async::gather(options_.pool->loop(), std::move(finishes));
  options_.gids->done(gid);
  if (result) co_await commit_readers(std::move(readers));
  co_return result;
}

Task<Status> Transaction::decide(Participant& anchor, std::string gid, std::string units) {
  auto decided = co_await end_by(&anchor, marked(anchor, gid, units) + "COMMIT", "COMMIT");
  if (decided) co_return decided;
  if (anchor.connection->broken()) {
    co_return co_await settle_unknown(anchor.connection->unit(), std::move(gid), decided.error().message);
  }
  if (decided.error().message.find("dist_commit_pkey") != std::string::npos) {
    co_return fail(sqlstate::kSerializationFailure,
                   "the transaction was rolled back: another node took its coordinator for dead",
                   "gid " + gid, "Repeat the transaction.");
  }
  co_return decided;
}

// The anchor went away while it was committing: its row, or a tombstone in its place, tells what happened.
Task<Status> Transaction::settle_unknown(UnitId anchor, std::string gid, std::string cause) {
  const auto give_up = async::Clock::now() + kPatience;
  while (async::Clock::now() < give_up) {
    const auto committed = co_await settle(*options_.pool, anchor, service_here(), gid, give_up);
    if (committed && *committed) co_return Status{};
    if (committed) {
      co_return fail(sqlstate::kConnectionFailure,
                     "the transaction was rolled back: a storage unit failed while it committed",
                     std::move(cause));
    }
    co_await async::sleep_for(options_.pool->loop(), kRetryEvery);
  }
  co_return fail(
      sqlstate::kTransactionResolutionUnknown,
      "whether the transaction was committed is not known: its deciding storage unit does not answer",
      "gid " + gid, "It will be committed or rolled back everywhere when the unit answers again.");
}

Task<Status> Transaction::finish_on(Participant* participant, std::string gid, bool commit) {
  UnitConnection& connection = *participant->connection;
  const auto give_up = async::Clock::now() + kPatience;
  if (!connection.broken()) {
    auto done = co_await connection.query_until(
        (commit ? "COMMIT PREPARED " : "ROLLBACK PREPARED ") + quote_literal(gid), give_up);
    if (done || done.error().sqlstate == sqlstate::kUndefinedObject) co_return Status{};
  }
  // What the client reads next must show its own writes, so it waits a while. What is missed, the resolver
  // finishes.
  while (async::Clock::now() < give_up) {
    // Whoever takes long to die on the unit may be preparing still: only a rollback can come too early.
    if (co_await finish_prepared(*options_.pool, connection.unit(), service_here(), gid, commit, give_up))
      co_return Status{};
    co_await async::sleep_for(options_.pool->loop(), kRetryEvery);
  }
  log::warning(
      "a participant will finish a distributed transaction later",
      {{"unit", connection.unit_name()}, {"gid", gid}, {"outcome", commit ? "committed" : "rolled back"}});
  co_return fail(sqlstate::kConnectionFailure,
                 "storage unit \"" + connection.unit_name() + "\" does not answer");
}

Task<void> Transaction::rollback() {
  std::vector<Task<Status>> tasks;
  for (const auto& participant : participants_) {
    if (participant->in_block && !participant->connection->broken()) {
      tasks.push_back(run(participant->connection.get(), "ROLLBACK"));
    }
    participant->in_block = false;
  }
  (void)co_await async::gather(options_.pool->loop(),
                               std::move(tasks));  // a connection that fails here is closed
  if (settings_at_begin_) current_settings_ = settings_at_begin_;
  end_block();
}

void Transaction::end_block() {
  status_ = 'I';
  begin_options_.clear();
  isolation_.clear();
  replay_.clear();
  for (const auto& participant : participants_) participant->may_have_written = false;
}

void Transaction::release_participants() {
  std::erase_if(participants_, [&](std::unique_ptr<Participant>& participant) {
    if (participant->pinned && !participant->connection->broken()) return false;
    if (participant->in_block) participant->connection->mark_broken();
    options_.pool->release(std::move(participant->connection));
    return true;
  });
}

void Transaction::drop_all() {
  for (auto& participant : participants_) {
    if (participant->pinned || participant->in_block || participant->unsynced || participant->check_state)
      participant->connection->mark_dirty();
    options_.pool->release(std::move(participant->connection));
  }
  participants_.clear();
}

}  // namespace decan::txn
