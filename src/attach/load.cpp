#include "attach/load.h"

#include <algorithm>
#include <map>

#include "attach/join.h"
#include "base/quote.h"
#include "placement/change.h"

namespace decan::attach {
namespace {

using async::Task;

struct Object {
  ObjectId id;
  std::string kind, identity;
  bool is_relation = false;
  std::string name() const {
    return kind + " " + identity;
  }  // as decan.hand_over() and decan.attach() take it
  std::string key() const { return (is_relation ? std::string("relation") : kind) + " " + identity; }
};

Task<Result<std::map<std::string, Object>>> objects_of(backend::UnitConnection& connection) {
  auto rows = co_await rows_of(connection,
                               "SELECT class, id, kind, identity, class = 'pg_catalog.pg_class'::"
                               "pg_catalog.regclass FROM decan.objects()");
  if (!rows) co_return fail(rows.error());
  std::map<std::string, Object> out;
  for (const auto& row : *rows) {
    Object object{{static_cast<Oid>(std::stoul(row[0].value_or("0"))),
                   static_cast<Oid>(std::stoul(row[1].value_or("0")))},
                  row[2].value_or(""),
                  row[3].value_or(""),
                  row[4] == "t"};
    out.emplace(object.key(), std::move(object));
  }
  co_return out;
}

// What is to be taken over, and what the dumps leave out.
struct Plan {
  std::vector<std::string> names;  // of the new objects
  bool has_tables = false;
  LeftOut known;       // on home already
  LeftOut only_there;  // these, and what lives with tables
  std::string owner;   // of the database
};

Task<Result<Plan>> plan_of(backend::UnitConnection& home, backend::UnitConnection& unit) {
  auto ours = co_await objects_of(home);
  if (!ours) co_return fail(ours.error());
  auto theirs = co_await objects_of(unit);
  if (!theirs) co_return fail(theirs.error());
  Plan plan;
  constexpr ObjectId kPublicSchema{2615, 2200};
  plan.known.objects.insert(kPublicSchema);
  std::string seeds;
  for (const auto& [key, object] : *theirs) {
    if (ours->contains(key)) {
      plan.known.objects.insert(object.id);
      if (object.is_relation) plan.known.relations.push_back(object.identity);
      continue;
    }
    plan.names.push_back(object.name());
    if (!object.is_relation) continue;
    plan.has_tables = true;
    seeds += (seeds.empty() ? "" : ",") + std::to_string(object.id.object);
  }
  plan.only_there = plan.known;
  auto lonely = co_await rows_of(unit, "SELECT class, id, name FROM decan.left_out('{" + seeds + "}')");
  if (!lonely) co_return fail(lonely.error());
  for (const auto& row : *lonely) {
    plan.only_there.objects.insert({static_cast<Oid>(std::stoul(row[0].value_or("0"))),
                                    static_cast<Oid>(std::stoul(row[1].value_or("0")))});
    if (row[2]) plan.only_there.relations.push_back(*row[2]);
  }
  auto owner = co_await rows_of(home,
                                "SELECT pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database WHERE "
                                "datname = pg_catalog.current_database()");
  if (!owner) co_return fail(owner.error());
  plan.owner = owner->at(0).at(0).value_or("");
  co_return plan;
}

// The transaction's connection to a unit, with the guards open.
Task<Result<backend::UnitConnection*>> join(txn::Transaction& transaction, UnitId unit,
                                            backend::SettingsPtr settings) {
  auto joined = co_await transaction.join(unit, true, std::move(settings));
  if (!joined) co_return fail(joined.error());
  (*joined)->may_have_written = true;
  (*joined)->connection->mark_dirty();  // the statements set what the pool does not know
  if (auto begun = co_await run(*(*joined)->connection,
                                "SET LOCAL lock_timeout = '30s'; SELECT decan.begin_unit_change()");
      !begun)
    co_return fail(begun.error());
  co_return (*joined)->connection.get();
}

Task<Status> finish(backend::UnitConnection& connection) {
  co_return co_await run(connection, "UPDATE decan.map SET epoch = epoch + 1; SELECT decan.end_change()");
}

// Definitions on home and on the others; home knows where the rows are.
Task<Result<uint64_t>> make_all(Ground& ground, txn::Transaction& transaction, const Plan& plan,
                                Definitions whole, Definitions everywhere, UnitId owner_unit) {
  const auto settings = std::make_shared<const backend::Settings>();
  auto home = co_await join(transaction, ground.home, settings);
  if (!home) co_return fail(home.error());
  uint64_t tables = 0;
  for (auto* statements : {&whole.before, &whole.after}) {
    if (auto done = co_await run_each(**home, std::move(*statements)); !done) co_return fail(done.error());
  }
  auto attached = co_await rows_of(**home, "SELECT decan.attach(" + placement::text_array(plan.names) + ", " +
                                               std::to_string(owner_unit.value) + ")");
  if (!attached) co_return fail(attached.error());
  tables = std::stoull(attached->at(0).at(0).value_or("0"));
  if (auto done = co_await finish(**home); !done) co_return fail(done.error());
  for (uint32_t i = 0; i < ground.units->size(); ++i) {
    if (!(*ground.units)[i] || UnitId{i} == ground.home) continue;
    auto other = co_await join(transaction, UnitId{i}, settings);
    if (!other) co_return fail(other.error());
    for (const auto* statements : {&everywhere.before, &everywhere.after}) {
      if (UnitId{i} == owner_unit) continue;
      if (auto done = co_await run_each(**other, *statements); !done) co_return fail(done.error());
    }
    if (auto done = co_await finish(**other); !done) co_return fail(done.error());
  }
  co_return tables;
}

// Roles that own things there, or are granted something, on every unit.
Task<Status> spread_roles(Ground& ground, backend::UnitConnection& unit, const std::string& database) {
  for (const auto& other : *ground.units) {
    if (!other || other->ordinal == unit.unit().value) continue;
    auto connection = co_await connect(ground, *other, database);
    if (!connection) co_return fail(connection.error());
    if (auto copied = co_await copy_roles(unit, **connection, Superusers::kLeaveOut); !copied)
      co_return copied;
  }
  co_return Status{};
}

}  // namespace

Task<Result<uint64_t>> load_tables(Ground& ground, Sessions sessions, std::string database,
                                   meta::UnitRecord record) {
  auto unit = co_await connect(ground, record, database);
  if (!unit) co_return fail(unit.error());
  auto home = co_await connect(ground, ground.home_record(), database);
  if (!home) co_return fail(home.error());
  auto plan = co_await plan_of(**home, **unit);
  if (!plan) co_return fail(plan.error());
  if (!plan->has_tables) co_return uint64_t{0};
  ground.progress("taking over the tables of database \"" + database + "\"");
  if (auto spread = co_await spread_roles(ground, **unit, database); !spread) co_return fail(spread.error());
  if (auto given = co_await run(**unit, "SELECT decan.hand_over(" + placement::text_array(plan->names) +
                                            ", " + quote_literal(plan->owner) + ")");
      !given)
    co_return fail(given.error());
  Definitions made[2];
  for (size_t i = 0; i < 2; ++i) {
    auto read = co_await definitions_of(ground, record, database, i == 0 ? plan->known : plan->only_there);
    if (!read) co_return fail(read.error());
    made[i] = std::move(*read);
  }
  sessions.service.database = database;
  txn::Transaction transaction({&sessions.pool, &sessions.service, &sessions.service, &sessions.gids});
  transaction.begin({}, std::make_shared<const backend::Settings>());
  auto loaded = co_await make_all(ground, transaction, *plan, std::move(made[0]), std::move(made[1]),
                                  UnitId{record.ordinal});
  Status ended;
  if (loaded)
    ended = co_await transaction.commit();
  else
    co_await transaction.rollback();
  transaction.release_participants();
  if (!ended) co_return fail(ended.error());
  co_return loaded;
}

}  // namespace decan::attach
