#include "attach/join.h"

#include <algorithm>
#include <optional>

#include "async/elsewhere.h"
#include "async/worker.h"
#include "backend/copy_between.h"
#include "base/quote.h"
#include "placement/change.h"
#include "placement/schema.h"

namespace decan::attach {
namespace {

using async::Task;

constexpr const char* kLockTimeout = "SET LOCAL lock_timeout = '30s'";
constexpr size_t kMostNames = 10;  // of a list in an error

std::string list_of(const std::vector<std::string>& names) {
  std::string out;
  for (size_t i = 0; i < std::min(names.size(), kMostNames); ++i) out += (i > 0 ? ", " : "") + names[i];
  if (names.size() > kMostNames) out += " and " + std::to_string(names.size() - kMostNames) + " more";
  return out;
}

// On this unit only: what a relation's placement says.
bool is_on_home_only(const catalog::Relation& relation) {
  if (relation.oid == 0 || relation.placement != catalog::Placement::kSingle) return false;
  const bool view = relation.kind == catalog::RelationKind::kView;
  return relation.is_named() && !(view && (!relation.hides_sharded.empty() || relation.reads_only_broadcast));
}

// A statement without pg_dump's comments in front, and not all of a long one.
std::string shown(std::string_view statement) {
  constexpr size_t kMostText = 300;
  while (statement.starts_with('\n') || statement.starts_with("--"))
    statement.remove_prefix(std::min(statement.find('\n'), statement.size() - 1) + 1);
  return std::string(statement.substr(0, kMostText)) + (statement.size() > kMostText ? "…" : "");
}

Task<Result<std::vector<std::string>>> texts_of(backend::UnitConnection& connection, std::string sql) {
  auto rows = co_await rows_of(connection, std::move(sql));
  if (!rows) co_return fail(rows.error());
  std::vector<std::string> out;
  for (auto& row : *rows) out.push_back(row.at(0).value_or(""));
  co_return out;
}

// Kind and identity of everything users made; relations by their name only.
constexpr const char* kNames =
    "SELECT CASE WHEN class = 'pg_catalog.pg_class'::pg_catalog.regclass THEN 'relation' ELSE kind END || ' "
    "' || "
    "identity FROM decan.objects() WHERE kind NOT IN ('schema', 'extension') ORDER BY 1";
constexpr const char* kObjects = "SELECT kind || ' ' || identity FROM decan.objects()";

}  // namespace

Task<Status> run_each(backend::UnitConnection& connection, std::vector<std::string> statements) {
  for (const std::string& statement : statements) {
    auto done = co_await run(connection, statement);
    if (done) continue;
    Error error = done.error();
    error.detail = "In: " + shown(statement) + (error.detail.empty() ? "" : "\n" + error.detail);
    co_return fail(std::move(error));
  }
  co_return Status{};
}

Task<Result<Definitions>> definitions_of(Ground& ground, meta::UnitRecord unit, std::string database,
                                         LeftOut left_out) {
  async::Worker worker;  // runs pg_dump
  co_return co_await async::elsewhere<Result<Definitions>>(
      ground.loop, [&worker](std::function<void()> job) { worker.post(std::move(job)); },
      [binaries = ground.binaries, unit = std::move(unit), database = std::move(database),
       left_out = std::move(left_out)] { return read_definitions(binaries, unit, database, left_out); });
}

Error Join::explained(Error error, const std::string& database) const {
  error.message = "storage unit \"" + record_.name + "\" can not be registered, database \"" + database +
                  "\": " + error.message;
  return error;
}

Task<Status> HomeLocks::lock(Database& database) {
  auto home = co_await connect(ground_, ground_.home_record(), database.name);
  if (!home) co_return fail(home.error());
  database.home = std::move(*home);
  const std::string begin =
      std::string("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; ") + kLockTimeout +
      "; LOCK TABLE decan.unit_change IN EXCLUSIVE MODE; SELECT FROM decan.map FOR UPDATE";
  if (auto done = co_await run(*database.home, begin); !done) co_return done;
  auto tables = co_await rows_of(*database.home, "SELECT relation, columns FROM decan.broadcast_tables()");
  if (!tables) co_return fail(tables.error());
  for (const auto& row : *tables) {
    const std::string& relation = database.broadcast.emplace_back(*row[0], row[1].value_or("")).first;
    if (auto done = co_await run(*database.home, "LOCK TABLE " + relation + " IN SHARE MODE"); !done)
      co_return done;
  }
  co_return Status{};
}

Task<Status> HomeLocks::take() {
  auto names = co_await logical_databases(ground_);
  if (!names) co_return fail(names.error());
  for (std::string& name : *names) databases_.push_back({std::move(name), nullptr, {}});
  ground_.progress("waiting for transactions that change tables");
  for (Database& database : databases_) {
    auto done = co_await lock(database);
    if (done) continue;
    Error error = done.error();
    if (error.sqlstate == sqlstate::kLockNotAvailable) {
      error.detail = "Transactions of database \"" + database.name +
                     "\" have changed tables or written to broadcast tables, and have not ended.";
      error.hint = "Try again when they have.";
    }
    release();
    co_return fail(std::move(error));
  }
  co_return Status{};
}

Task<Status> HomeLocks::commit() {
  for (Database& database : databases_) {
    if (auto done = co_await run(*database.home, "COMMIT"); !done) co_return done;
    database.home.reset();
  }
  databases_.clear();
  co_return Status{};
}

Task<Status> Join::prepare() {
  for (HomeLocks::Database& locked : locks_.databases()) databases_.push_back({&locked});
  if (auto done = co_await prepare_server(); !done) co_return done;
  for (Database& database : databases_) {
    if (auto done = co_await build(database); !done) co_return fail(explained(done.error(), database.name()));
  }
  co_return co_await install_in_template();
}

Task<Status> Join::prepare_server() {
  auto maintenance = co_await connect(ground_, record_, "postgres");
  if (!maintenance) co_return fail(maintenance.error());
  auto home = co_await connect(ground_, ground_.home_record(), "postgres");
  if (!home) co_return fail(home.error());
  if (auto begun = co_await run(**maintenance, "BEGIN"); !begun) co_return begun;
  if (auto copied = co_await copy_roles(**home, **maintenance, Superusers::kWithoutLogin); !copied)
    co_return copied;
  // A right of the whole server, which each database's transaction would wait for.
  if (auto done = co_await run(**maintenance, "GRANT SET ON PARAMETER decan.dynamic_sql TO PUBLIC; COMMIT");
      !done)
    co_return done;
  for (Database& database : databases_) {
    if (auto done = co_await make_database(database, **maintenance); !done)
      co_return fail(explained(done.error(), database.name()));
  }
  co_return Status{};
}

Task<Status> Join::make_database(Database& database, backend::UnitConnection& maintenance) {
  const std::string kind =
      "SELECT pg_catalog.format('ENCODING %L LC_COLLATE %L LC_CTYPE %L LOCALE_PROVIDER %s%s', "
      "pg_catalog.pg_encoding_to_char(encoding), datcollate, datctype, CASE datlocprovider WHEN 'i' THEN "
      "'icu' ELSE 'libc' END, CASE WHEN daticulocale IS NOT NULL THEN pg_catalog.format(' ICU_LOCALE %L', "
      "daticulocale) ELSE '' END), pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(datdba)) FROM "
      "pg_catalog.pg_database WHERE datname =" +
      quote_literal(database.name());
  auto wanted = co_await rows_of(database.home(), kind);
  if (!wanted) co_return fail(wanted.error());
  auto present = co_await rows_of(maintenance, kind);
  if (!present) co_return fail(present.error());
  const std::string name = quote_identifier(database.name());
  if (!present->empty() && present->at(0).at(0) != wanted->at(0).at(0)) {
    co_return fail(sqlstate::kObjectNotInPrerequisiteState, "it differs in encoding or locale",
                   "There: " + *present->at(0).at(0) + ". Here: " + *wanted->at(0).at(0) + ".",
                   "Dump it and load it into a database of this encoding and locale.");
  }
  if (auto made = co_await run(
          maintenance, !present->empty() ? "ALTER DATABASE " + name + " OWNER TO " + *wanted->at(0).at(1)
                                         : "CREATE DATABASE " + name + " OWNER " + *wanted->at(0).at(1) +
                                               " TEMPLATE template0 " + *wanted->at(0).at(0));
      !made)
    co_return made;
  database.made = present->empty();
  auto settings = co_await texts_of(
      database.home(),
      "SELECT pg_catalog.format('ALTER %s SET %I TO %s', CASE WHEN s.setrole = 0 THEN pg_catalog.format("
      "'DATABASE %I', d.datname) ELSE pg_catalog.format('ROLE %I IN DATABASE %I', "
      "pg_catalog.pg_get_userbyid(s.setrole), d.datname) END, pg_catalog.split_part(c, '=', 1), CASE WHEN "
      "pg_catalog.split_part(c, '=', 1) IN ('search_path', 'temp_tablespaces', 'local_preload_libraries', "
      "'session_preload_libraries') THEN pg_catalog.substr(c, pg_catalog.strpos(c, '=') + 1) ELSE "
      "pg_catalog.quote_literal(pg_catalog.substr(c, pg_catalog.strpos(c, '=') + 1)) END) FROM "
      "pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase, "
      "pg_catalog.unnest(s.setconfig) c WHERE d.datname = pg_catalog.current_database() UNION ALL SELECT "
      "decan.acl_statements(pg_catalog.format('DATABASE %I', d.datname), '', "
      "pg_catalog.acldefault('d', d.datdba), d.datacl) FROM pg_catalog.pg_database d WHERE d.datname = "
      "pg_catalog.current_database() AND d.datacl IS NOT NULL");
  if (!settings) co_return fail(settings.error());
  co_return co_await run_each(maintenance, std::move(*settings));
}

// Of a try to register the server that was cut off, or of the time when it was a unit.
Task<Status> Join::clear_leftovers(Database& database) {
  auto found = co_await rows_of(*database.unit, "SELECT pg_catalog.to_regclass('decan.kept') IS NOT NULL");
  if (!found) co_return fail(found.error());
  if (found->at(0).at(0) != "t") co_return Status{};
  auto on_home = co_await texts_of(database.home(), kObjects);
  if (!on_home) co_return fail(on_home.error());
  co_return co_await run(*database.unit, std::string("BEGIN; ") + kLockTimeout + "; SELECT decan.leave(" +
                                             placement::text_array(*on_home) + "); COMMIT; BEGIN; " +
                                             placement::remove_schema_sql() + "; COMMIT");
}

Task<Status> Join::check_clashes(Database& database) {
  auto ours = co_await texts_of(database.home(), kNames);
  if (!ours) co_return fail(ours.error());
  auto theirs = co_await texts_of(*database.unit, kNames);
  if (!theirs) co_return fail(theirs.error());
  std::ranges::sort(*ours);
  std::ranges::sort(*theirs);
  std::vector<std::string> both;
  std::ranges::set_intersection(*ours, *theirs, std::back_inserter(both));
  if (both.empty()) co_return Status{};
  co_return fail(sqlstate::kDuplicateObject, "the server and the cluster have objects of the same name",
                 list_of(both), "Rename or drop them on either side first.");
}

Task<Result<Definitions>> Join::definitions(Database& database) {
  auto snapshot = co_await ground_.load_catalog(&database.home());
  if (!snapshot) co_return fail(snapshot.error());
  // Sequences that placed tables use are on every unit, though nobody placed them.
  auto used = co_await texts_of(database.home(),
                                "SELECT s.seqid FROM decan.relation r, decan.column_sequences(r.relid) s");
  if (!used) co_return fail(used.error());
  std::string seeds;
  for (const auto& relation : (*snapshot)->relations()) {
    const std::string oid = std::to_string(relation->oid);
    if (is_on_home_only(*relation) && std::ranges::find(*used, oid) == used->end())
      seeds += (seeds.empty() ? "" : ",") + oid;
  }
  auto rows =
      co_await rows_of(database.home(), "SELECT class, id, name FROM decan.left_out('{" + seeds + "}')");
  if (!rows) co_return fail(rows.error());
  LeftOut left_out;
  const auto number = [](const std::optional<std::string>& text) {
    return static_cast<Oid>(std::stoul(text.value_or("0")));
  };
  for (const auto& row : *rows) {
    left_out.objects.insert({number(row[0]), number(row[1])});
    if (row[2]) left_out.relations.push_back(*row[2]);
  }
  // Schemas that are there already.
  auto schemas = co_await texts_of(*database.unit, "SELECT nspname FROM pg_catalog.pg_namespace");
  if (!schemas) co_return fail(schemas.error());
  auto shared =
      co_await rows_of(database.home(),
                       "SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid, oid FROM "
                       "pg_catalog.pg_namespace WHERE oid >= 16384 AND nspname = ANY (" +
                           placement::text_array(*schemas) + ")");
  if (!shared) co_return fail(shared.error());
  for (const auto& row : *shared) left_out.objects.insert({number(row[0]), number(row[1])});
  co_return co_await definitions_of(ground_, ground_.home_record(), database.name(), std::move(left_out));
}

std::string Join::identity(std::string_view epoch) const {
  size_t count = 1;
  for (const auto& unit : *ground_.units) count += unit ? 1 : 0;
  return std::to_string(record_.ordinal) + ", " + std::to_string(count) + ", " + std::string(epoch);
}

Task<Status> Join::build(Database& database) {
  auto opened = co_await connect(ground_, record_, database.name());
  if (!opened) co_return fail(opened.error());
  database.unit = std::move(*opened);
  backend::UnitConnection& unit = *database.unit;
  if (auto cleared = co_await clear_leftovers(database); !cleared) co_return cleared;
  const std::string begin = std::string("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; ") + kLockTimeout +
                            "; " + placement::schema_sql(ground_.proofs) +
                            "; INSERT INTO decan.kept SELECT class, id FROM decan.objects(); "
                            "SELECT decan.begin_unit_change()";
  if (auto begun = co_await run(unit, begin); !begun) co_return begun;
  if (auto clash = co_await check_clashes(database); !clash) co_return clash;
  ground_.progress("reading the definitions of database \"" + database.name() + "\"");
  auto made = co_await definitions(database);
  if (!made) co_return fail(made.error());
  ground_.progress("making " + std::to_string(made->before.size() + made->after.size()) +
                   " definitions on \"" + record_.name + "\"");
  if (auto done = co_await run_each(unit, std::move(made->before)); !done) co_return done;
  auto placed = co_await texts_of(database.home(), "SELECT decan.placement_statements()");
  if (!placed) co_return fail(placed.error());
  if (auto done = co_await run_each(unit, std::move(*placed)); !done) co_return done;
  for (const auto& [relation, columns] : database.locked->broadcast) {
    ground_.progress("copying table " + relation);
    const std::string text = relation + (columns.empty() ? "" : " (" + columns + ")");
    auto copied =
        co_await backend::copy_between(database.home(), "COPY " + text + " TO STDOUT WITH (ENCODING 'UTF8')",
                                       unit, "COPY " + text + " FROM STDIN WITH (ENCODING 'UTF8')");
    if (!copied) co_return fail(copied.error());
  }
  if (auto done = co_await run_each(unit, std::move(made->after)); !done) co_return done;
  auto epoch = co_await rows_of(database.home(), "SELECT epoch FROM decan.map");
  if (!epoch) co_return fail(epoch.error());
  if (auto done = co_await run(
          unit, "SELECT decan.join_as(" + identity(*epoch->at(0).at(0)) + "), decan.end_change()");
      !done)
    co_return done;
  const size_t units =
      static_cast<size_t>(std::ranges::count_if(*ground_.units, [](const auto& u) { return u.has_value(); }));
  co_return co_await run(database.home(), "SELECT decan.grow(" + std::to_string(units + 1) + ")");
}

// Databases that are made later begin with Decan's schema.
Task<Status> Join::install_in_template() {
  auto opened = co_await connect(ground_, record_, "template1");
  if (!opened) co_return fail(opened.error());
  template_ = std::move(*opened);
  co_return co_await run(*template_, std::string("BEGIN; ") + kLockTimeout + "; " +
                                         placement::schema_sql(ground_.proofs) + "; SELECT decan.join_as(" +
                                         identity("1") + ")");
}

Task<Status> Join::commit() {
  for (Database& database : databases_) {
    if (auto done = co_await run(*database.unit, "COMMIT"); !done) co_return done;
    database.unit.reset();
  }
  if (auto done = co_await run(*template_, "COMMIT"); !done) co_return done;
  template_.reset();
  databases_.clear();
  co_return co_await locks_.commit();
}

Task<void> Join::undo() {
  template_.reset();
  for (Database& database : databases_) database.unit.reset();
  auto maintenance = co_await connect(ground_, record_, "postgres");
  if (!maintenance) co_return;
  for (const Database& database : databases_) {
    if (database.made)
      (void)co_await run(**maintenance,
                         "DROP DATABASE IF EXISTS " + quote_identifier(database.name()) + " WITH (FORCE)");
  }
}

Task<Result<std::vector<std::string>>> leave(Ground& ground, meta::UnitRecord record) {
  auto names = co_await logical_databases(ground);
  if (!names) co_return fail(names.error());
  std::vector<std::string> stayed;
  for (const std::string& name : *names) {
    auto home = co_await connect(ground, ground.home_record(), name);
    if (!home) co_return fail(home.error());
    auto unit = co_await connect(ground, record, name);
    if (!unit) co_return fail(unit.error());
    auto on_home = co_await texts_of(**home, kObjects);
    if (!on_home) co_return fail(on_home.error());
    auto left = co_await texts_of(**unit, std::string("BEGIN; ") + kLockTimeout + "; SELECT decan.leave(" +
                                              placement::text_array(*on_home) + ")");
    if (!left) co_return fail(left.error());
    if (auto done = co_await run(**unit, placement::remove_schema_sql() + "; COMMIT"); !done)
      co_return fail(done.error());
    for (std::string& object : *left) stayed.push_back(name + ": " + object);
  }
  auto last = co_await connect(ground, record, "template1");
  if (!last) co_return fail(last.error());
  if (auto done = co_await run(**last, "BEGIN; " + placement::remove_schema_sql() + "; COMMIT"); !done)
    co_return fail(done.error());
  co_return stayed;
}

}  // namespace decan::attach
