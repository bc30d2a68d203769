// Statements that change the catalog or administer the cluster: DDL on all units in one distributed
// transaction, statements that PostgreSQL does not run in a transaction, the placement functions.
#include <algorithm>

#include "auth/scram.h"
#include "base/log.h"
#include "base/quote.h"
#include "placement/distribute.h"
#include "session/outcome.h"
#include "session/session.h"

namespace decan::session {

using Kind = backend::Expected::Kind;

namespace {

placement::TextRows to_text_rows(backend::UnitConnection::TextResult result) {
  return {std::move(result.columns), std::move(result.rows), std::move(result.tag)};
}

}  // namespace

// --- SQL on units inside the session's transaction (placement::UnitRunner) ---

Task<Result<placement::TextRows>> Session::run(UnitId unit, std::string sql) {
  auto participant = co_await join(unit, true);
  if (!participant) co_return fail(participant.error());
  if (auto ready = co_await run_on(**participant, {}, false); !ready) co_return fail(ready.error());
  (*participant)->may_have_written = true;
  (*participant)->connection->set_sequence_user({backend::UnitConnection::kNobodysSequences, 0});
  auto results = co_await (*participant)->connection->query(std::move(sql));
  if (!results) co_return fail(results.error());
  if (results->empty()) co_return placement::TextRows{};
  co_return to_text_rows(std::move(results->back()));
}

Task<Result<std::vector<placement::TextRows>>> Session::run_all(std::vector<UnitId> units, std::string sql) {
  std::vector<Task<Result<placement::TextRows>>> tasks;
  for (const UnitId unit :
       units) {  // joined one after another: a queue for connections must not be waited for in two orders
    auto participant = co_await join(unit, true);
    if (!participant) co_return fail(participant.error());
    if (auto ready = co_await run_on(**participant, {}, false); !ready) co_return fail(ready.error());
  }
  std::vector<placement::TextRows> all;
  for (const UnitId unit : units) {
    auto one = co_await run(unit, sql);
    if (!one) co_return fail(one.error());
    all.push_back(std::move(*one));
  }
  co_return all;
}

// --- DDL ---

Result<std::string> Session::with_hashed_password(const plan::DdlSpec& spec, std::string_view sql) const {
  std::string text(spec.unit_sql.empty() ? sql : std::string_view(spec.unit_sql));
  if (!spec.password) return text;
  const auto& at = *spec.password;
  sql::Template scanned;
  sql::scan_template(sql, standard_conforming_strings_, scanned);
  const auto literal = std::ranges::find(scanned.literals, at.offset, &sql::Literal::offset);
  const auto password = literal == scanned.literals.end() ? std::nullopt : sql::literal_value(sql, *literal);
  if (!password)
    return fail(sqlstate::kFeatureNotSupported, "this form of a password literal is not supported", {},
                "Write the password between single quotes.");
  if (password->starts_with("SCRAM-SHA-256$") || password->starts_with("md5")) return text;
  // One verifier for all units: a client that has proven its password here can be logged in everywhere with
  // what it sent.
  auto verifier = auth::make_verifier(*password);
  if (!verifier) return fail(verifier.error());
  if (auto keys = auth::keys_of(*password, *verifier))
    node_.role_keys.learn(at.role, std::make_shared<auth::PassThroughKeys>(std::move(*keys)));
  text = std::string(sql);
  text.replace(at.offset, at.bytes, "'" + verifier->to_string() + "'");
  return text;
}

Task<Status> Session::ddl(Call& call) {
  const auto& spec = std::get<plan::DdlSpec>(call.plan->detail);
  auto sql = with_hashed_password(spec, call.values.sql);
  if (!sql) co_return fail(sql.error());
  if (spec.creates_temp) {
    auto participant = co_await join(node_.home(), txn_->in_block());
    if (!participant) co_return fail(participant.error());
    (*participant)->pinned = true;
    (*participant)->may_have_written = true;
    if (auto done = co_await run_on(**participant, *sql, true); !done) co_return done;
    temp_touched_ = true;
    co_return co_await learn_temp_relations();
  }
  std::vector<UnitId> targets;
  switch (spec.scope) {
    case plan::DdlSpec::Scope::kHome:
      targets = {node_.home()};
      break;
    case plan::DdlSpec::Scope::kUnit:
      targets = where_defined(spec);
      break;
    case plan::DdlSpec::Scope::kAllUnits:
      targets = units();
      break;
  }
  if (auto opened = co_await begin_implicit(); !opened) co_return opened;
  // The home unit comes last: its notices and its tag are the client's, and by then the others have agreed.
  std::ranges::stable_partition(targets, [&](UnitId unit) { return unit != node_.home(); });
  if (targets.size() > 1) {
    if (auto allowed = check_isolation(); !allowed) co_return allowed;
  }
  if (spec.changes_catalog || !spec.tag_object.empty()) {
    if (auto held = co_await hold_units(); !held) co_return held;
  }
  for (const UnitId unit : targets) {
    auto participant = co_await join(unit, true);
    if (!participant) co_return fail(participant.error());
    (*participant)->may_have_written = true;
    (*participant)->connection->set_sequence_user({backend::UnitConnection::kNobodysSequences, 0});
    const bool elsewhere = unit != node_.home() && !spec.others_sql.empty();
    if (auto done =
            co_await run_on(**participant, elsewhere ? spec.others_sql : *sql, unit == targets.back());
        !done)
      co_return done;
  }
  if (call.plan->effects.uses_temp) {
    temp_touched_ = true;
    if (auto learned = co_await learn_temp_relations(); !learned) co_return learned;
  }
  if (!spec.changes_catalog) co_return Status{};
  const catalog::SnapshotPtr before = call.plan->snapshot;
  if (auto changed = co_await catalog_changed(); !changed) co_return changed;
  if (call.plan->tag == "CREATE TABLE") co_return co_await apply_waiting_rules(before);
  co_return Status{};
}

// The home unit has the definition of what lives on another one.
std::vector<UnitId> Session::where_defined(const plan::DdlSpec& spec) const {
  if (spec.changes_catalog) return {spec.unit, node_.home()};
  return {spec.unit};
}

// No unit comes or goes until the transaction ends.
Task<Status> Session::hold_units() {
  auto participant = co_await join(node_.home(), true);
  if (!participant) co_return fail(participant.error());
  co_return co_await run_on(**participant, "SELECT decan.hold_units()", false);
}

// Temporary relations live on the home unit's connection, which the session keeps while it has any.
Task<Status> Session::learn_temp_relations() {
  txn::Participant* participant = txn_->find(node_.home());
  temp_relations_.clear();
  context_hash_ = 0;
  if (participant == nullptr || participant->connection->broken()) co_return Status{};
  if (auto ready = co_await run_on(*participant, {}, false); !ready) co_return ready;
  auto names = co_await participant->connection->query(
      "SELECT relname FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema()");
  if (!names) co_return fail(names.error());
  for (const auto& row : names->front().rows) temp_relations_.push_back(*row[0]);
  co_return Status{};
}

// What this session plans with until the transaction ends: the catalog as the transaction sees it.
Task<Status> Session::catalog_changed() {
  catalog_dirty_ = true;
  auto participant = co_await join(node_.home(), true);
  if (!participant) co_return fail(participant.error());
  if (auto ready = co_await run_on(**participant, {}, false); !ready) co_return ready;
  auto loaded = co_await node_.catalogs.load((*participant)->connection.get());
  if (!loaded) co_return fail(loaded.error());
  block_snapshot_ = *loaded;
  context_hash_ = 0;
  co_return Status{};
}

Task<Status> Session::ddl_concurrent(Call& call) {
  const plan::Plan& plan = *call.plan;
  const auto& spec = std::get<plan::DdlSpec>(plan.detail);
  std::vector<UnitId> targets = spec.scope == plan::DdlSpec::Scope::kAllUnits ? units()
                                : spec.scope == plan::DdlSpec::Scope::kUnit   ? where_defined(spec)
                                                                              : std::vector{node_.home()};
  std::ranges::stable_partition(targets, [&](UnitId unit) { return unit != node_.home(); });
  const std::string sql = spec.unit_sql.empty() ? std::string(call.values.sql) : spec.unit_sql;
  const bool drops_database = plan.tag == "DROP DATABASE" || plan.tag == "ALTER DATABASE";
  if (drops_database) {
    for (const auto& loop : node_.loops) {
      loop->loop.post([context = loop.get(), name = plan.name] { context->pool.forget_database(name); });
    }
    node_.catalogs.forget(plan.name);
    co_await async::sleep_for(loop_.loop, std::chrono::milliseconds(100));
  }
  std::vector<UnitId> done_on;
  for (const UnitId unit : targets) {
    auto participant = co_await join(unit, false);
    if (!participant) co_return fail(participant.error());
    if (auto done = co_await run_on(**participant, sql, unit == targets.back()); !done) {
      if (plan.tag == "CREATE DATABASE") {
        for (const UnitId other : done_on) {
          (void)co_await run_on(*txn_->find(other), "DROP DATABASE IF EXISTS " + quote_identifier(plan.name),
                                false);
        }
      } else if (!done_on.empty()) {
        send_notice("WARNING",
                    Error{"01000", plan.tag + " was done on some storage units only", {}, "Run it again."});
      }
      co_return done;
    }
    done_on.push_back(unit);
  }
  if (spec.changes_catalog) {
    auto refreshed = co_await node_.catalogs.refresh(loop_, identity_.database);
    if (!refreshed) co_return fail(refreshed.error());
  }
  co_return Status{};
}

// --- create_distributed_table(), create_reference_table(), undistribute_table() ---

namespace {

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  size_t at = 0;
  while (at <= text.size()) {
    const size_t end = std::min(text.find(separator, at), text.size());
    std::string part(text.substr(at, end - at));
    while (!part.empty() && part.front() == ' ') part.erase(0, 1);
    while (!part.empty() && part.back() == ' ') part.pop_back();
    parts.push_back(std::move(part));
    at = end + 1;
  }
  return parts;
}

// As PostgreSQL shortens the names of columns when they are made.
void truncate_identifier(std::string& name) {
  constexpr size_t kMaxBytes = 63;
  if (name.size() <= kMaxBytes) return;
  size_t end = kMaxBytes;
  while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xC0) == 0x80) --end;
  name.resize(end);
}

// bounds => '10,20': (MINVALUE, 10), [10, 20), [20, MAXVALUE).
std::vector<placement::RangeBound> ranges_of(std::string_view bounds) {
  std::vector<placement::RangeBound> ranges;
  std::optional<std::string> lower;
  for (const std::string& bound : split(bounds, ',')) {
    ranges.push_back({{lower}, {bound}});
    lower = bound;
  }
  ranges.push_back({{lower}, {std::nullopt}});
  return ranges;
}

Result<placement::ShardOptions> shard_options(
    const std::vector<std::pair<std::string, std::optional<std::string>>>& arguments) {
  static constexpr std::string_view kPositions[] = {"table_name", "distribution_column", "distribution_type",
                                                    "colocate_with", "shard_count"};
  placement::ShardOptions options;
  bool has_table = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i].first.empty() && i >= std::size(kPositions)) {
      return fail("42883", "function create_distributed_table takes at most " +
                               std::to_string(std::size(kPositions)) + " positional arguments");
    }
    const std::string_view name =
        arguments[i].first.empty() ? kPositions[i] : std::string_view(arguments[i].first);
    if (!arguments[i].second)
      return fail(sqlstate::kInvalidParameterValue, std::string(name) + " must not be NULL");
    const std::string& value = *arguments[i].second;
    if (name == "table_name") {
      options.table = value, has_table = true;
    } else if (name == "distribution_column") {
      options.key_columns = split(value, ',');
      for (std::string& column : options.key_columns) truncate_identifier(column);
    } else if (name == "distribution_type") {
      if (value == "range")
        options.algorithm = catalog::Algorithm::kRange;
      else if (value == "list")
        options.algorithm = catalog::Algorithm::kList;
      else if (value != "hash")
        return fail(sqlstate::kInvalidParameterValue, "unknown distribution_type \"" + value + "\"", {},
                    "Use hash, range or list.");
    } else if (name == "colocate_with") {
      options.colocate_with = value;
    } else if (name == "shard_count") {
      char* end = nullptr;
      const unsigned long count = std::strtoul(value.c_str(), &end, 10);
      if (*end != '\0' || count == 0 || count > placement::kMaxShardCount) {
        return fail(sqlstate::kInvalidParameterValue,
                    "shard_count must be between 1 and " + std::to_string(placement::kMaxShardCount));
      }
      options.shard_count = static_cast<uint32_t>(count);
    } else if (name == "bounds") {
      options.ranges = ranges_of(value);
    } else if (name == "lists") {  // 'a,b;c,d': two buckets, and one more for the rest
      for (const std::string& group : split(value, ';')) {
        placement::ListValues values;
        for (std::string& part : split(group, ',')) values.emplace_back(std::move(part));
        options.lists.push_back(std::move(values));
      }
      options.default_bucket = true;
    } else {
      return fail("42883", "create_distributed_table has no parameter \"" + std::string(name) + "\"", {},
                  "Parameters: table_name, distribution_column, distribution_type, colocate_with, "
                  "shard_count, bounds, lists.");
    }
  }
  if (!has_table || options.key_columns.empty()) {
    return fail("42883", "create_distributed_table needs a table and a distribution column", {},
                "SELECT create_distributed_table('orders', 'customer_id');");
  }
  return options;
}

}  // namespace

Task<Status> Session::admin(Call& call) {
  const auto& spec = std::get<plan::AdminCall>(call.plan->detail);
  std::vector<std::pair<std::string, std::optional<std::string>>> arguments;
  for (const auto& [name, ref] : spec.arguments) {
    auto value = value_text(ref, call.values);
    if (!value) co_return fail(value.error());
    arguments.emplace_back(name, std::move(*value));
  }
  if (auto opened = co_await begin_implicit(); !opened) co_return opened;
  if (auto allowed = check_isolation(); !allowed) co_return allowed;
  if (spec.function == "create_distributed_table") {
    auto options = shard_options(arguments);
    if (!options) co_return fail(options.error());
    auto placed = co_await placement::create_distributed_table(*this, std::move(*options));
    if (!placed) co_return fail(placed.error());
  } else {
    if (arguments.size() != 1 || !arguments[0].second) {
      co_return fail("42883", "function " + spec.function + " takes one argument, the table's name");
    }
    auto done = spec.function == "create_reference_table"
                    ? co_await placement::create_reference_table(*this, *arguments[0].second)
                    : co_await placement::undistribute_table(*this, *arguments[0].second);
    if (!done) co_return done;
  }
  if (auto changed = co_await catalog_changed(); !changed) co_return changed;
  send_rows({spec.function}, {{std::string()}}, "SELECT", call.simple);
  co_return Status{};
}

// --- rows of our own ---

void Session::send_rows(const std::vector<std::string>& columns,
                        const std::vector<std::vector<std::optional<std::string>>>& rows,
                        std::string_view tag, bool with_description, Oid type) {
  if (with_description) {
    wire::RowDescription description;
    for (const std::string& name : columns) description.fields.push_back({name, 0, 0, type, -1, -1, 0});
    port_.writer().row_description(description);
  }
  for (const auto& row : rows) {
    std::vector<std::optional<std::string_view>> values;
    for (const auto& value : row)
      values.push_back(value ? std::optional<std::string_view>(*value) : std::nullopt);
    port_.writer().data_row(values);
  }
  complete(std::string(tag) + (tag == "SELECT" ? " " + std::to_string(rows.size()) : ""));
}

}  // namespace decan::session
