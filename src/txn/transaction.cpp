#include "txn/transaction.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "async/gather.h"
#include "auth/scram.h"
#include "base/log.h"

namespace decan::txn {

using async::Task;
using backend::Expected;
using backend::UnitConnection;

namespace {

constexpr std::string_view kGidPrefix = "decan_";
constexpr auto kCommitPreparedPatience = std::chrono::seconds(10);

bool contains_ignoring_case(std::string_view text, std::string_view word) {
  const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
  return std::search(text.begin(), text.end(), word.begin(), word.end(), same) != text.end();
}

Task<Status> run(UnitConnection* connection, std::string sql) {
  auto done = co_await connection->query(std::move(sql));
  if (!done) co_return fail(done.error());
  co_return Status{};
}

}  // namespace

std::string GidSource::next(UnitId anchor) {
  // The random part keeps a gid from being guessed before its transaction is prepared.
  unsigned char random[8];
  const std::string bytes = auth::random_bytes(sizeof random);
  std::copy(bytes.begin(), bytes.end(), random);
  char hex[2 * sizeof random + 1];
  for (size_t i = 0; i < sizeof random; ++i) std::snprintf(hex + 2 * i, 3, "%02x", random[i]);
  std::string gid = prefix_ + std::to_string(++sequence_) + "_" + hex + "_" + std::to_string(anchor.value);
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
  begin_options_ = std::move(options);
  isolation_.clear();
  note_isolation(begin_options_);
  settings_at_begin_ = settings;
  current_settings_ = std::move(settings);
  replay_.clear();
}

void Transaction::note_isolation(std::string_view options_text) {
  for (const std::string_view level : {"serializable", "repeatable read", "read committed", "read uncommitted"}) {
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

std::string Transaction::block_opening() const {
  std::string sql = begin_options_.empty() ? "BEGIN" : "BEGIN " + begin_options_;
  for (const Replay& entry : replay_) {
    sql += ';';
    sql += entry.savepoint.empty() ? entry.sql : "SAVEPOINT " + backend::quote_identifier(entry.savepoint);
  }
  return sql;
}

Participant* Transaction::try_join(UnitId unit, bool block, const backend::SettingsPtr& settings) {
  if (Participant* known = find(unit)) return known->in_block == block ? known : nullptr;
  if (block) return nullptr;
  auto connection = options_.pool->try_acquire(unit, *options_.identity);
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
  if (participant == nullptr) {
    auto connection = co_await options_.pool->acquire(unit, *options_.identity);
    if (!connection) co_return fail(connection.error());
    const backend::SettingsPtr base = status_ == 'I' ? std::move(settings) : settings_at_begin_;
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
      // Inside an extended batch a simple query would end the batch's implicit transaction: BEGIN goes the same way instead.
      auto writer = connection.writer();
      writer.parse("", block_opening(), {});
      writer.bind("decan_begin", "", {}, {}, {});
      writer.execute("decan_begin", 0);
      writer.close('P', "decan_begin");
      for (const auto kind : {Expected::Kind::kParse, Expected::Kind::kBind, Expected::Kind::kExecute, Expected::Kind::kClose}) {
        connection.expect(kind, false);
      }
    } else {
      connection.writer().query(block_opening());
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
  auto done = co_await on_all("SAVEPOINT " + backend::quote_identifier(name));
  if (done) replay_.push_back({std::move(name), {}, current_settings_});
  co_return done;
}

Task<Status> Transaction::release(std::string name) {
  auto done = co_await on_all("RELEASE SAVEPOINT " + backend::quote_identifier(name));
  if (!done) co_return done;
  const auto at = std::find_if(replay_.rbegin(), replay_.rend(), [&](const Replay& e) { return e.savepoint == name; });
  if (at == replay_.rend()) co_return Status{};
  // Savepoints above it go too; settings made since then stay.
  const size_t first = static_cast<size_t>(std::distance(at, replay_.rend())) - 1;
  for (size_t i = replay_.size(); i-- > first;) {
    if (!replay_[i].savepoint.empty()) replay_.erase(replay_.begin() + static_cast<ptrdiff_t>(i));
  }
  co_return Status{};
}

Task<Status> Transaction::rollback_to(std::string name) {
  auto done = co_await on_all("ROLLBACK TO SAVEPOINT " + backend::quote_identifier(name));
  if (!done) co_return done;
  const auto at = std::find_if(replay_.rbegin(), replay_.rend(), [&](const Replay& e) { return e.savepoint == name; });
  if (at != replay_.rend()) {
    current_settings_ = at->settings;
    replay_.erase(at.base(), replay_.end());
  }
  status_ = 'T';
  co_return Status{};
}

Task<Status> Transaction::commit_on(Participant& participant) {
  auto done = co_await participant.connection->query("COMMIT");
  participant.in_block = false;
  if (!done) co_return fail(done.error());
  if (!done->empty() && done->back().tag == "ROLLBACK") {
    co_return fail(sqlstate::kInFailedTransaction, "the transaction was rolled back on storage unit \"" +
                                                       participant.connection->unit_name() + "\"");
  }
  co_return Status{};
}

Task<Result<std::vector<Participant*>>> Transaction::writers() {
  std::vector<Participant*> found;
  for (const auto& participant : participants_) {
    if (participant->in_block && participant->may_have_written) found.push_back(participant.get());
  }
  if (found.size() <= 1) co_return found;
  std::vector<Participant*> sure;
  for (Participant* participant : found) {   // a statement that might write often did not (0 rows): ask
    auto assigned = co_await participant->connection->query("SELECT pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL");
    if (!assigned) co_return fail(assigned.error());
    if (assigned->size() == 1 && assigned->front().rows.size() == 1 && assigned->front().rows[0][0] == "t") {
      sure.push_back(participant);
    }
  }
  co_return sure;
}

Task<Status> Transaction::commit(std::string chain_options) {
  std::vector<Participant*> open;
  for (const auto& participant : participants_) {
    if (participant->in_block) open.push_back(participant.get());
  }
  committing_ = true;
  Status result;
  if (open.size() == 1) {
    result = co_await commit_on(*open.front());
  } else if (open.size() > 1) {
    auto found = co_await writers();
    if (!found) {
      result = fail(found.error());
    } else {
      std::vector<Participant*> readers;
      for (Participant* participant : open) {
        if (std::ranges::find(*found, participant) == found->end()) readers.push_back(participant);
      }
      if (found->size() > 1) {
        result = co_await two_phase(*found, readers);
      } else {
        if (!found->empty()) result = co_await commit_on(*found->front());
        for (Participant* reader : readers) {
          if (result) result = co_await commit_on(*reader);
        }
      }
    }
  }
  committing_ = false;
  if (result) {
    settings_at_begin_ = current_settings_;
    for (const auto& participant : participants_) participant->connection->set_applied(current_settings_);
    end_block();
    co_return result;
  }
  co_await rollback();
  co_return result;
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
  const std::string quoted = backend::quote_literal(gid);
  std::string units;
  for (const Participant* writer : writers) units += (units.empty() ? "" : ",") + std::to_string(writer->connection->unit().value);
  const std::string mark = "SELECT decan.mark(" + quoted + ", '{" + units + "}')";

  std::vector<Task<Status>> prepares;
  for (Participant* other : others) prepares.push_back(run(other->connection.get(), mark + ";PREPARE TRANSACTION " + quoted));
  const auto prepared = co_await async::gather(options_.pool->loop(), std::move(prepares));
  std::vector<Participant*> ready;
  Status failure;
  for (size_t i = 0; i < others.size(); ++i) {
    if (prepared[i]) {
      others[i]->in_block = false;
      ready.push_back(others[i]);
    } else if (failure) {
      failure = prepared[i];
    }
  }
  if (failure) failure = co_await decide(anchor, gid, mark);
  if (!failure && failure.error().sqlstate != sqlstate::kTransactionResolutionUnknown) {
    co_await abort_prepared(ready, gid);
  }
  if (!failure) {
    options_.gids->done(gid);
    co_return failure;
  }
  std::vector<Task<Status>> commits;
  for (Participant* other : ready) commits.push_back(run(other->connection.get(), "COMMIT PREPARED " + quoted));
  for (Participant* reader : readers) commits.push_back(commit_on(*reader));
  const auto committed = co_await async::gather(options_.pool->loop(), std::move(commits));
  options_.gids->done(gid);
  for (size_t i = 0; i < ready.size(); ++i) {
    // Decided: whatever a silent participant missed, the resolver finishes when it answers again.
    if (!committed[i]) log::warning("a participant will commit later", {{"unit", ready[i]->connection->unit_name()}, {"gid", gid}});
  }
  co_return Status{};
}

Task<Status> Transaction::decide(Participant& anchor, std::string gid, std::string mark) {
  auto decided = co_await anchor.connection->query(mark + ";COMMIT");
  anchor.in_block = false;
  if (decided) co_return Status{};
  if (!anchor.connection->broken()) co_return fail(decided.error());
  co_return co_await settle_unknown(anchor.connection->unit(), std::move(gid));
}

// The anchor went away while it was committing: its row, or a tombstone in its place, tells what happened.
Task<Status> Transaction::settle_unknown(UnitId anchor, std::string gid) {
  backend::Identity service = *options_.service;
  service.database = options_.identity->database;
  const auto give_up = async::Clock::now() + kCommitPreparedPatience;
  while (async::Clock::now() < give_up) {
    auto connection = co_await options_.pool->acquire(anchor, service);
    if (connection) {
      auto answer = co_await (*connection)->query("SELECT decan.settle(" + backend::quote_literal(gid) + ")");
      options_.pool->release(std::move(*connection));
      if (answer && answer->front().rows[0][0] == "t") co_return Status{};
      if (answer) co_return fail(sqlstate::kConnectionFailure, "the transaction was rolled back: a storage unit failed while it committed");
    }
    co_await async::sleep_for(options_.pool->loop(), std::chrono::milliseconds(200));
  }
  co_return fail(sqlstate::kTransactionResolutionUnknown,
                 "whether the transaction was committed is not known: its deciding storage unit does not answer", "gid " + gid,
                 "It will be committed or rolled back everywhere when the unit answers again.");
}

Task<void> Transaction::abort_prepared(std::vector<Participant*> prepared, std::string gid) {
  std::vector<Task<Status>> tasks;
  for (Participant* participant : prepared) {
    tasks.push_back(run(participant->connection.get(), "ROLLBACK PREPARED " + backend::quote_literal(gid)));
  }
  (void)co_await async::gather(options_.pool->loop(), std::move(tasks));   // the resolver repeats what failed
}

Task<void> Transaction::rollback() {
  std::vector<Task<Status>> tasks;
  for (const auto& participant : participants_) {
    if (participant->in_block && !participant->connection->broken()) {
      tasks.push_back(run(participant->connection.get(), "ROLLBACK"));
    }
    participant->in_block = false;
  }
  (void)co_await async::gather(options_.pool->loop(), std::move(tasks));   // a connection that fails here is closed
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
    if (participant->pinned || participant->in_block || participant->unsynced) participant->connection->mark_dirty();
    options_.pool->release(std::move(participant->connection));
  }
  participants_.clear();
}

}  // namespace decan::txn
