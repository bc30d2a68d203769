// What object ids of units mean on the home unit is asked from the units themselves, over the transaction's
// own connections and before a statement that needs it: so it holds what the transaction sees, and no answer
// ever waits for a second connection.
#include "catalog/unit_objects.h"

#include "session/session.h"

namespace decan::session {

catalog::UnitObjects& Session::objects(UnitId unit) {
  if (objects_.size() <= unit.value) objects_.resize(unit.value + 1, nullptr);
  catalog::UnitObjects*& known = objects_[unit.value];
  if (known == nullptr) {
    const auto key = std::pair(identity_.database, unit.value);
    known = &loop_.objects.try_emplace(key, unit == node_.home()).first->second;
  }
  return *known;
}

bool Session::knows_objects(const plan::Plan& plan, UnitId unit, bool leaf, bool parameters) {
  if (!plan.returns_rows && plan.origins.empty() && !parameters) return true;
  const catalog::UnitObjects& known = objects(unit);
  if (known.is_home() && !leaf) return true;
  if (!known.is_home() && plan.snapshot && known.types_hash() != plan.snapshot->types_hash) return false;
  return std::ranges::all_of(plan.origins, [&](const auto* relation) { return known.knows(*relation); });
}

Task<Status> Session::learn_objects(plan::PlanPtr plan, txn::Participant& participant) {
  catalog::UnitObjects& known = objects(participant.connection->unit());
  if (!plan->origins.empty()) {
    auto rows = co_await hidden_rows(participant, catalog::UnitObjects::relations_query(plan->origins));
    if (!rows) co_return fail(rows.error());
    if (auto learned = known.learn_relations(plan->origins, *rows); !learned) co_return learned;
  }
  if (!plan->snapshot) co_return Status{};
  co_return co_await learn_types(plan->snapshot, participant);
}

Task<Status> Session::learn_types(catalog::SnapshotPtr snapshot, txn::Participant& participant) {
  catalog::UnitObjects& known = objects(participant.connection->unit());
  if (known.is_home() || known.types_hash() == snapshot->types_hash) co_return Status{};
  auto rows = co_await hidden_rows(participant, catalog::types_query());
  if (!rows) co_return fail(rows.error());
  co_return known.learn_types(*snapshot, *rows);
}

Task<Result<catalog::TextTable>> Session::hidden_rows(txn::Participant& participant, std::string sql) {
  if (auto drained = co_await drain(); !drained) co_return fail(drained.error());
  if (auto ready = co_await run_on(participant, {}, false); !ready) co_return fail(ready.error());
  backend::UnitConnection& connection = *participant.connection;
  if (!participant.unsynced) {
    auto results = co_await connection.query(std::move(sql));
    if (!results) co_return fail(results.error());
    co_return std::move(results->front().rows);
  }
  // A simple query would end the batch's implicit transaction, and the unnamed portal is the client's.
  constexpr const char* kName = "decan:objects";
  connection.writer().parse(kName, sql, {});
  connection.writer().bind(kName, kName, {}, {}, {});
  connection.writer().execute(kName, 0);
  connection.writer().close('P', kName);  // which outlives its statement
  connection.writer().close('S', kName);
  connection.writer().flush();
  if (auto sent = co_await connection.flush(); !sent) co_return fail(sent.error());
  catalog::TextTable rows;
  std::vector<std::optional<std::string_view>> values;
  for (int closed = 0; closed < 2;) {
    auto frame = co_await connection.next_frame();
    if (!frame) co_return fail(frame.error());
    const char type = frame->type;
    std::optional<Error> error;
    if (type == 'D') {
      if (auto row = wire::decode_data_row(frame->body, values); !row) error = row.error();
      auto& into = rows.emplace_back();
      for (const auto& value : values)
        into.push_back(value ? std::optional<std::string>(*value) : std::nullopt);
    } else if (type == 'E') {
      const auto fields = wire::decode_error(frame->body);
      error = fields ? wire::to_error(*fields) : fields.error();
      connection.set_skips_to_sync(true);
    }
    connection.consume_frame(*frame);
    if (error) co_return fail(std::move(*error));
    if (type == '3') ++closed;
  }
  co_return rows;
}

}  // namespace decan::session
