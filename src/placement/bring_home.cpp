#include "placement/bring_home.h"

#include "base/quote.h"

namespace decan::placement {

using async::Task;

Task<Result<std::string>> next_values(Change& change, UnitId unit, const std::string& relation) {
  auto rows = co_await change.rows_from(
      unit,
      "SELECT coalesce(pg_catalog.jsonb_object_agg(col, next_value), '{}')::pg_catalog.text FROM "
      "decan.sequence_state(" +
          quote_literal(relation) + ")");
  if (!rows) co_return fail(rows.error());
  if (rows->rows.empty()) co_return fail(sqlstate::kInternalError, "decan.sequence_state() gave nothing");
  co_return rows->rows[0].at(0).value_or("{}");
}

Task<Status> bring_home(Change& change, UnitRunner& runner, const Description& table) {
  if (!table.far_unit) co_return Status{};
  const UnitId home = change.home(), far = *table.far_unit;
  const std::string& name = table.relation;
  const std::string relation = quote_literal(name);
  if (auto checked = co_await change.on(home, "SELECT decan.check_bring_home(" + relation + ")"); !checked)
    co_return checked;
  auto definition = co_await change.definition(name, "");
  if (!definition) co_return fail(definition.error());
  if (auto begun = co_await change.begin(table.owner); !begun) co_return begun;
  if (auto locked = co_await change.on(far, "LOCK TABLE " + name + " IN ACCESS EXCLUSIVE MODE"); !locked)
    co_return locked;
  auto next = co_await next_values(change, far, name);
  if (!next) co_return fail(next.error());

  // The definition on the home unit has triggers and constraints, which are for later.
  const std::string old_name = "decan_old_" + std::to_string(table.next_id);
  if (auto done = co_await change.on(home, "SELECT decan.set_aside(" + relation + ", '" + old_name + "')");
      !done)
    co_return done;
  if (auto done = co_await change.execute(home, definition->table); !done) co_return done;
  if (table.forces_row_security) {
    if (auto done = co_await change.on(far, "ALTER TABLE " + name + " NO FORCE ROW LEVEL SECURITY"); !done)
      co_return done;
  }
  const std::string columns = table.column_list.empty() ? "" : " (" + table.column_list + ")";
  auto copied =
      co_await runner.copy_between(far, "COPY " + name + columns + " TO STDOUT WITH (ENCODING 'UTF8')", home,
                                   "COPY " + name + columns + " FROM STDIN WITH (ENCODING 'UTF8')");
  if (!copied) co_return fail(copied.error());
  if (auto done = co_await change.on(far, "DROP TABLE " + name); !done) co_return done;
  if (auto done = co_await change.on(home, "DROP TABLE decan_shard." + old_name); !done) co_return done;
  for (auto* statements : {&definition->index, &definition->foreign, &definition->finish}) {
    if (auto done = co_await change.execute(home, *statements); !done) co_return done;
  }
  if (auto done = co_await change.on(home, "SELECT decan.restore_sequences(" + relation + ", " +
                                               quote_literal(*next) + "::pg_catalog.jsonb)");
      !done)
    co_return done;
  co_return co_await change.end();
}

}  // namespace decan::placement
