// The simple query protocol: a string of statements, run one after another; several of them without BEGIN are
// one transaction, as in PostgreSQL (documentation 55.2.2.1).
#include <algorithm>

#include "base/log.h"
#include "distsql/distsql.h"
#include "session/outcome.h"
#include "session/session.h"

namespace decan::session {

PlannedTextPtr Session::cached_plan(std::string_view sql) {
  sql::scan_template(sql, standard_conforming_strings_, template_);
  if (!block_snapshot_ && (!snapshot_ || node_.catalogs.changes() != snapshot_changes_)) return {};
  const uint64_t context = context_hash();
  auto& cache = loop_.statements.plans();
  const PlannedTextPtr* found =
      template_.exact ? nullptr : cache.find(template_.text, template_.hash, context);
  if (found == nullptr || !(*found)->uses_template)
    found = cache.find(sql, std::hash<std::string_view>{}(sql), context);
  if (found == nullptr) return {};
  loop_.metrics.plan_cache_hits.add();
  return *found;
}

Task<Result<PlannedTextPtr>> Session::plan_text(std::string_view sql) {
  auto current = co_await snapshot();
  if (!current) co_return fail(current.error());
  if (auto cached = cached_plan(sql)) co_return cached;
  const uint64_t context = context_hash();
  auto& cache = loop_.statements.plans();
  const bool lifted = !template_.exact;
  const uint64_t text_hash = std::hash<std::string_view>{}(sql);
  loop_.metrics.plan_cache_misses.add();
  auto planning = co_await plan_context();
  if (!planning) co_return fail(planning.error());
  uint32_t position = 0;
  auto planned = plan::plan_statements(sql, lifted ? &template_ : nullptr, {}, *planning, &position);
  if (!planned) {
    wire::ErrorFields fields = wire::to_fields(planned.error(), "ERROR");
    if (position > 0) fields.set('P', std::to_string(position));
    send_error(fields);
    co_return fail(kTold, {});
  }
  auto text = std::make_shared<PlannedText>();
  text->statements = std::move(*planned);
  const bool one = text->statements.size() == 1;
  text->uses_template = lifted && one && !text->statements[0].plan->exact_text;
  const size_t bytes = sizeof(PlannedText) + 4096 * text->statements.size() + 4 * sql.size();
  if (text->uses_template)
    cache.insert(template_.text, template_.hash, context, text, bytes);
  else if (sql.size() <= 64 * 1024)
    cache.insert(std::string(sql), text_hash, context, text, bytes);
  co_return text;
}

Task<Status> Session::on_query(std::string sql) {
  if (skip_to_sync_) co_return Status{};
  if (!encodings_known_) co_return check_encodings();
  const bool batch = batch_unit_ || implicit_block_ || !unverified_.empty() ||
                     std::ranges::any_of(txn_->participants(),
                                         [](const auto& participant) { return participant->unsynced; });
  if (batch) {
    if (auto joined = co_await join_batch_to_query(); !joined) {
      if (skip_to_sync_) co_return Status{};
      if (joined.error().sqlstate != kTold) send_error(joined.error());
      txn_->fail_block();
      co_return co_await end_of_simple();
    }
  }
  if (auto valid = check_text(sql); !valid) {
    send_error(valid.error());
    txn_->fail_block();
    co_return co_await end_of_simple();
  }
  co_return co_await simple_query(std::move(sql));
}

// As in PostgreSQL what the batch has done so far commits or rolls back with the query; a batch that has
// failed makes the query skipped, since only a Sync ends it.
Task<Status> Session::join_batch_to_query() {
  if (auto drained = co_await drain(); !drained) {
    co_await extended_error(drained);
    co_return drained;
  }
  settle_parses(false);
  const bool open = std::ranges::any_of(txn_->participants(),
                                        [](const auto& participant) { return participant->unsynced; });
  if (!open) co_return Status{};
  if (auto opened = co_await begin_implicit(); !opened) co_return opened;
  for (size_t i = 0; i < txn_->participants().size(); ++i) {
    txn::Participant& participant = *txn_->participants()[i];
    if (!participant.unsynced) continue;
    participant.connection->writer().sync();
    participant.connection->expect(backend::Expected::Kind::kSync, false);
    participant.unsynced = false;
    if (auto synced = co_await relay(participant); !synced) co_return synced;
  }
  co_return Status{};
}

// A statement exists when the client was told ParseComplete: drivers go by that.
void Session::settle_parses(bool failed) {
  for (const auto& participant : txn_->participants()) {
    for (size_t skipped = participant->connection->take_skipped_parses();
         skipped > 0 && !queued_parses_.empty(); --skipped) {
      prepared_.erase(queued_parses_.back());
      queued_parses_.pop_back();
    }
  }
  queued_parses_.clear();
  for (const std::string& name : unverified_) {
    const auto found = prepared_.find(name);
    if (found != prepared_.end() && !failed) found->second->validated = true;
  }
  unverified_.clear();
}

Task<Status> Session::simple_query(std::string sql) {
  executing_ = true;
  cancelled_ = false;
  begin_timing();
  set_state("active", sql);
  portals_.erase("");
  prepared_.erase("");
  Status done;
  // What has been planned before as SQL is not DistSQL, whose texts never come that far.
  Result<PlannedTextPtr> planned = cached_plan(sql);
  if (!*planned && distsql::looks_like_distsql(sql)) {
    done = co_await distsql(sql, true);
    if (!done && done.error().sqlstate != kTold) send_error(done.error());
    if (!done) txn_->fail_block();
  } else {
    if (!*planned) planned = co_await plan_text(sql);
    if (!planned) {
      if (planned.error().sqlstate != kTold) send_error(planned.error());
      txn_->fail_block();
    } else if ((*planned)->statements.empty()) {
      port_.writer().empty('I');
    } else if ((*planned)->statements.size() == 1) {
      co_await run_one(sql, (*planned)->statements[0]);
    } else {
      // Planned again one by one, since each may change what the next one means.
      for (const plan::PlannedStatement& statement : (*planned)->statements) {
        if (!txn_->in_block()) {
          if (auto opened = co_await begin_implicit(); !opened) break;
        }
        const std::string_view text = std::string_view(sql).substr(statement.offset, statement.bytes);
        error_offset_ = count_characters(std::string_view(sql).substr(0, statement.offset));
        auto single = co_await plan_text(text);
        bool ran = false;
        if (single && (*single)->statements.size() == 1) {
          ran = co_await run_one(text, (*single)->statements[0]);
        } else if (!single && single.error().sqlstate != kTold) {
          send_error(single.error());
        }
        if (!ran) {
          txn_->fail_block();
          break;
        }
      }
      error_offset_ = 0;
    }
  }
  executing_ = false;
  end_timing(sql);
  constexpr size_t kKeep = 1024;  // of an idle session
  if (sql.capacity() <= kKeep) spare_text_ = std::move(sql);
  co_return co_await end_of_simple();
}

// True when the statement succeeded. Errors have been told.
Task<bool> Session::run_one(std::string_view sql, const plan::PlannedStatement& statement) {
  Call call;
  call.plan = statement.plan;
  call.values.sql = sql;
  call.values.tpl = template_.exact ? nullptr : &template_;
  auto done = co_await execute(call);
  if (!done && done.error().sqlstate != kTold) send_error(done.error());
  if (!done) txn_->fail_block();
  co_return done.has_value();
}

Task<Status> Session::end_of_simple() {
  if (cancel_pending()) co_await settle_cancels();
  if (implicit_block_) {
    auto ended = co_await end_implicit(txn_->status() == 'T' ? Status{} : fail(kTold, {}));
    if (!ended && ended.error().sqlstate != kTold) send_error(ended.error());
  }
  if (!txn_->in_block()) co_await adopt_states();
  report_changed_settings();
  if (!txn_->in_block()) {
    open_gate();
    portals_.clear();
    txn_->release_participants();
  }
  flush_notifications();
  send_ready();
  if (port_.try_flush()) co_return Status{};
  co_return co_await port_.flush();
}

}  // namespace decan::session
