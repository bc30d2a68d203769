#include "placement/distribute.h"

#include <algorithm>
#include <charconv>

#include "base/quote.h"
#include "catalog/partition_hash.h"
#include "placement/bring_home.h"
#include "placement/buckets.h"
#include "placement/change.h"

namespace decan::placement {
namespace {

using async::Task;
using catalog::Algorithm;

std::string_view algorithm_name(Algorithm algorithm) {
  switch (algorithm) {
    case Algorithm::kHash:
      return "hash";
    case Algorithm::kRange:
      return "range";
    case Algorithm::kList:
      return "list";
  }
  return "hash";
}

std::string cell(const TextRows& rows, size_t row, size_t column) {
  if (row >= rows.rows.size() || column >= rows.rows[row].size()) return {};
  return rows.rows[row][column].value_or("");
}

uint64_t to_number(std::string_view text) {
  uint64_t out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}

// The sharding of one table on its way: what was asked, what was found, what was decided.
struct Sharding {
  ShardOptions options;
  Description table;
  std::vector<Oid> key_types;
  uint64_t group_id = 0;
  bool new_group = false;
  std::vector<BucketPlan> buckets;  // of a new group
  std::string prefix;               // of the leaves
  std::string present;              // next values of the sequences, as JSON
};

std::string key_list(const ShardOptions& options) {
  std::string out;
  for (const auto& key : options.key_columns) out += (out.empty() ? "" : ", ") + quote_identifier(key);
  return out;
}

std::string oid_array(const std::vector<Oid>& types) {
  std::string out = "'{";
  for (size_t i = 0; i < types.size(); ++i) out += (i > 0 ? "," : "") + std::to_string(types[i]);
  return out + "}'::pg_catalog.oid[]";
}

Task<Result<std::vector<Oid>>> read_key_types(Change& change, const Sharding& sharding) {
  const auto& options = sharding.options;
  auto rows = co_await change.on_home(
      "SELECT a.atttypid, pg_catalog.format_type(a.atttypid, NULL), k.name FROM pg_catalog.unnest(" +
      text_array(options.key_columns) +
      ") WITH ORDINALITY k(name, n) JOIN pg_catalog.pg_attribute a ON a.attrelid = " +
      quote_literal(sharding.table.relation) +
      "::pg_catalog.regclass AND a.attname = k.name AND a.attnum > 0 AND NOT a.attisdropped ORDER BY k.n");
  if (!rows) co_return fail(rows.error());
  std::vector<Oid> types;
  for (size_t i = 0; i < rows->rows.size(); ++i) {
    types.push_back(static_cast<Oid>(to_number(cell(*rows, i, 0))));
    if (!catalog::can_shard_by(types.back(), options.algorithm)) {
      co_return fail(
          sqlstate::kFeatureNotSupported,
          "column \"" + cell(*rows, i, 2) + "\" of type " + cell(*rows, i, 1) + " can not be a sharding key",
          {},
          "Integers, numeric, text, char(n), varchar, uuid, dates, times, timestamps, bytea and boolean "
          "can.");
    }
  }
  co_return types;
}

// The group of an existing table, which must fit.
Task<Status> join_table(Change& change, Sharding& sharding) {
  const ShardOptions& options = sharding.options;
  auto rows = co_await change.on_home(
      "SELECT r.group_id, g.algorithm, g.key_types = " + oid_array(sharding.key_types) +
      ", (SELECT pg_catalog.count(*) FROM decan.bucket b WHERE b.group_id = g.id) FROM decan.relation r JOIN "
      "decan.shard_group g ON g.id = "
      "r.group_id WHERE r.relid = " +
      quote_literal(options.colocate_with) + "::pg_catalog.regclass");
  if (!rows) co_return fail(rows.error());
  const std::string& other = options.colocate_with;
  if (rows->rows.empty())
    co_return fail(sqlstate::kObjectNotInPrerequisiteState, "table " + other + " is not sharded");
  if (cell(*rows, 0, 2) != "t") {
    co_return fail(sqlstate::kFeatureNotSupported,
                   "tables " + sharding.table.relation + " and " + other +
                       " can not be co-located: their keys differ in type",
                   {}, "Co-located tables have keys of the same types in the same order.");
  }
  if (cell(*rows, 0, 1) != algorithm_name(options.algorithm) || !options.ranges.empty() ||
      !options.lists.empty() ||
      (options.shard_count && *options.shard_count != to_number(cell(*rows, 0, 3)))) {
    co_return fail(
        sqlstate::kInvalidParameterValue, "a co-located table takes the buckets of table " + other, {},
        "Leave out the number of shards, the ranges and the lists, or name another table in colocate_with.");
  }
  sharding.group_id = to_number(cell(*rows, 0, 0));
  co_return Status{};
}

// A group that any table of the same key may join, when there is one.
Task<Status> join_any(Change& change, Sharding& sharding) {
  auto rows = co_await change.on_home(
      "SELECT g.id FROM decan.shard_group g WHERE g.implicit AND g.algorithm = 'hash' AND g.key_types = " +
      oid_array(sharding.key_types) +
      " AND (SELECT pg_catalog.count(*) FROM decan.bucket b WHERE b.group_id = g.id) = " +
      std::to_string(sharding.options.shard_count.value_or(kDefaultShardCount)) + " ORDER BY g.id LIMIT 1");
  if (!rows) co_return fail(rows.error());
  if (!rows->rows.empty()) sharding.group_id = to_number(cell(*rows, 0, 0));
  co_return Status{};
}

bool may_share(const ShardOptions& options) {
  return options.colocate_with == "default" && options.algorithm == Algorithm::kHash && options.units.empty();
}

// Bounds in one spelling, with their binary form, as the home unit reads them under the caller's settings.
Task<Status> canonical_bounds(Change& change, Sharding& sharding) {
  std::vector<std::string> texts;
  std::vector<Oid> types;
  std::vector<std::pair<std::string*, std::optional<std::string>*>>
      targets;  // text, and where its hexadecimal form goes
  std::vector<std::pair<std::string*, std::string*>> list_targets;
  for (auto& bucket : sharding.buckets) {
    bucket.lower_hex.resize(bucket.lower.size());
    bucket.upper_hex.resize(bucket.upper.size());
    bucket.values_hex.resize(bucket.values.size());
    for (auto* side : {&bucket.lower, &bucket.upper}) {
      auto& hex = side == &bucket.lower ? bucket.lower_hex : bucket.upper_hex;
      for (size_t i = 0; i < side->size(); ++i) {
        if (!(*side)[i]) continue;
        texts.push_back(*(*side)[i]);
        types.push_back(sharding.key_types[i]);
        targets.emplace_back(&*(*side)[i], &hex[i]);
      }
    }
    for (size_t i = 0; i < bucket.values.size(); ++i) {
      texts.push_back(bucket.values[i]);
      types.push_back(sharding.key_types[0]);
      targets.emplace_back(&bucket.values[i], nullptr);
      list_targets.emplace_back(&bucket.values[i], &bucket.values_hex[i]);
    }
  }
  if (texts.empty()) co_return Status{};
  auto rows = co_await change.on_home("SELECT spelled, pg_catalog.encode(bin, 'hex') FROM decan.canonical(" +
                                      oid_array(types) + ", " + text_array(texts) + ") ORDER BY n");
  if (!rows) co_return fail(rows.error());
  if (rows->rows.size() != texts.size())
    co_return fail(sqlstate::kInternalError, "decan.canonical() lost values");
  size_t list = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    *targets[i].first = cell(*rows, i, 0);
    if (targets[i].second != nullptr) {
      *targets[i].second = cell(*rows, i, 1);
    } else {
      *list_targets[list++].second = cell(*rows, i, 1);
    }
  }
  co_return Status{};
}

// Everything that can be refused is refused here, before anything is changed.
Task<Status> prepare(Change& change, Sharding& sharding) {
  const ShardOptions& options = sharding.options;
  const std::string relation = quote_literal(sharding.table.relation);
  const std::string arguments = relation + ", " + text_array(options.key_columns) + ", '" +
                                std::string(algorithm_name(options.algorithm)) + "', ";
  // Names and kinds first, so that the types below are those of real columns; the group only matters to
  // foreign keys.
  if (auto named =
          co_await change.on(change.home(), "SELECT decan.check_placeable(" + relation +
                                                "::pg_catalog.regclass), decan.key_attnums(" + relation +
                                                ", " + text_array(options.key_columns) + ")");
      !named) {
    co_return named;
  }
  auto types = co_await read_key_types(change, sharding);
  if (!types) co_return fail(types.error());
  sharding.key_types = std::move(*types);
  if (options.colocate_with != "default" && options.colocate_with != "none") {
    if (auto joined = co_await join_table(change, sharding); !joined) co_return joined;
  } else if (may_share(options)) {
    if (auto joined = co_await join_any(change, sharding); !joined) co_return joined;
  }
  sharding.new_group = sharding.group_id == 0;
  if (sharding.new_group) sharding.group_id = sharding.table.next_id;
  if (auto checked = co_await change.on(change.home(), "SELECT decan.check_sharded(" + arguments +
                                                           std::to_string(sharding.group_id) + ", " +
                                                           std::to_string(change.units().size()) + ")");
      !checked) {
    co_return checked;
  }
  if (!sharding.new_group) co_return Status{};
  sharding.buckets = plan_buckets(options, options.units.empty() ? change.units() : options.units);
  co_return co_await canonical_bounds(change, sharding);
}

struct IncomingKeys {
  std::vector<std::string> drop, add;
};

Task<Result<IncomingKeys>> incoming_keys(Change& change, std::string relation) {
  auto rows = co_await change.on_home("SELECT dropped, added FROM decan.incoming_foreign_keys(" +
                                      quote_literal(relation) + ")");
  if (!rows) co_return fail(rows.error());
  IncomingKeys out;
  for (size_t i = 0; i < rows->rows.size(); ++i) {
    out.drop.push_back(cell(*rows, i, 0));
    out.add.push_back(cell(*rows, i, 1));
  }
  co_return out;
}

// The partitioned table with its leaves on every unit. Where rows wait to be spread, and for ranges and lists
// (whose overlaps only show when they meet), home first makes all leaves.
Task<Status> make_partitioned(Change& change, const Sharding& sharding, Definition definition,
                              bool all_leaves_on_home) {
  std::vector<std::string> elsewhere = definition.sequence;
  elsewhere.insert(elsewhere.end(), definition.table.begin(), definition.table.end());
  if (auto done = co_await change.execute_on_others(std::move(elsewhere)); !done) co_return done;
  if (auto done = co_await change.execute(change.home(), definition.table); !done) co_return done;
  const std::string group = std::to_string(sharding.group_id);
  const std::string relation = quote_literal(sharding.table.relation);
  if (sharding.new_group) {
    if (auto done = co_await change.on_all("SELECT decan.create_group(" + group + ", '" +
                                           std::string(algorithm_name(sharding.options.algorithm)) + "', " +
                                           oid_array(sharding.key_types) + ", " +
                                           (may_share(sharding.options) ? "true" : "false") + ", " +
                                           quote_literal(to_json(sharding.buckets)) + "::pg_catalog.jsonb)");
        !done) {
      co_return done;
    }
  }
  auto storage = co_await change.on_home("SELECT decan.storage_options('decan_shard.decan_old_" +
                                         std::to_string(sharding.table.next_id) +
                                         "'::pg_catalog.regclass)::pg_catalog.text");
  if (!storage) co_return fail(storage.error());
  if (auto done = co_await change.on_all("SELECT decan.register(" + relation + ", " +
                                         std::to_string(sharding.table.next_id) + ", 'sharded', " + group +
                                         ", " + quote_literal(sharding.prefix) + ", " +
                                         quote_literal(cell(*storage, 0, 0)) + ")");
      !done) {
    co_return done;
  }
  for (const UnitId unit : change.units()) {
    const bool all = unit == change.home() && all_leaves_on_home;
    if (auto done = co_await change.on(unit, "SELECT decan.create_leaves(" + relation + ", " +
                                                 (all ? "NULL" : std::to_string(unit.value)) + ")");
        !done) {
      co_return done;
    }
  }
  co_return Status{};
}

// Leaves of one unit, as they lie on home for now.
Task<Result<std::vector<std::string>>> leaves_of(Change& change, const Sharding& sharding, UnitId unit) {
  auto rows = co_await change.on_home(
      "SELECT bucket FROM decan.bucket WHERE group_id = " + std::to_string(sharding.group_id) +
      " AND unit = " + std::to_string(unit.value) + " ORDER BY bucket");
  if (!rows) co_return fail(rows.error());
  std::vector<std::string> out;
  for (size_t i = 0; i < rows->rows.size(); ++i) {
    out.push_back("decan_shard." + quote_identifier(sharding.prefix + "_" + cell(*rows, i, 0)));
  }
  co_return out;
}

// PostgreSQL itself puts every row into its leaf on home; whole leaves then travel to where they belong.
Task<Result<uint64_t>> spread_rows(Change& change, UnitRunner& runner, const Sharding& sharding,
                                   std::string old_table) {
  const std::string& columns = sharding.table.column_list;
  const std::string& relation = sharding.table.relation;
  if (auto loaded = co_await change.on(change.home(), "INSERT INTO " + relation + " (" + columns +
                                                          ") OVERRIDING SYSTEM VALUE SELECT " + columns +
                                                          " FROM ONLY " + old_table);
      !loaded) {
    co_return fail(loaded.error());
  }
  uint64_t moved = 0;
  for (const UnitId unit : change.others()) {
    auto leaves = co_await leaves_of(change, sharding, unit);
    if (!leaves) co_return fail(leaves.error());
    if (leaves->empty()) continue;
    std::string query;
    for (const auto& leaf : *leaves)
      query += (query.empty() ? "SELECT " : " UNION ALL SELECT ") + columns + " FROM " + leaf;
    auto copied = co_await runner.copy_between(
        change.home(), "COPY (" + query + ") TO STDOUT WITH (ENCODING 'UTF8')", unit,
        "COPY " + relation + " (" + columns + ") FROM STDIN WITH (ENCODING 'UTF8')");
    if (!copied) co_return fail(copied.error());
    moved += *copied;
  }
  co_return moved;
}

Task<Status> finish_sharded(Change& change, const Sharding& sharding, Definition definition) {
  for (auto* statements : {&definition.index, &definition.foreign, &definition.finish}) {
    if (auto done = co_await change.execute_on_all(*statements); !done) co_return done;
  }
  const std::string relation = quote_literal(sharding.table.relation);
  for (const UnitId unit : change.units()) {
    if (auto done = co_await change.on(
            unit, "SELECT decan.assign_sequences(" + relation + ", " + std::to_string(unit.value) + ", " +
                      std::to_string(change.units().size()) + ", " + quote_literal(sharding.present) +
                      "), decan.sync_leaves(" + relation + ")");
        !done) {
      co_return done;
    }
  }
  co_return Status{};
}

Task<Result<Placed>> shard(Change& change, UnitRunner& runner, Sharding sharding) {
  const auto failed = [](const Status& status) { return fail(status.error()); };
  if (auto done = co_await prepare(change, sharding); !done) co_return failed(done);
  if (auto done = co_await bring_home(change, runner, sharding.table); !done) co_return failed(done);
  const std::string relation = sharding.table.relation;
  const size_t dot = relation.rfind('.');
  std::string plain_name = relation.substr(dot == std::string::npos ? 0 : dot + 1);
  std::erase(plain_name, '"');
  sharding.prefix = leaf_prefix(plain_name, sharding.table.next_id);
  auto present = co_await next_values(change, change.home(), relation);
  if (!present) co_return fail(present.error());
  sharding.present = std::move(*present);
  const std::string by = std::string("PARTITION BY ") +
                         std::string(algorithm_name(sharding.options.algorithm)) + " (" +
                         key_list(sharding.options) + ")";
  auto definition = co_await change.definition(relation, by);
  if (!definition) co_return fail(definition.error());
  auto incoming = co_await incoming_keys(change, relation);
  if (!incoming) co_return fail(incoming.error());
  if (auto done = co_await change.begin(sharding.table.owner); !done) co_return failed(done);
  if (auto done = co_await change.execute(change.home(), incoming->drop); !done) co_return failed(done);

  const std::string old_name = "decan_old_" + std::to_string(sharding.table.next_id);
  const std::string old_table = "decan_shard." + old_name;
  if (auto done = co_await change.on(
          change.home(), "SELECT decan.set_aside(" + quote_literal(relation) + ", '" + old_name + "')");
      !done) {
    co_return failed(done);
  }
  auto filled = co_await change.on_home("SELECT EXISTS (SELECT FROM ONLY " + old_table + ")");
  if (!filled) co_return fail(filled.error());
  const bool has_rows = cell(*filled, 0, 0) == "t";
  const bool all_leaves = has_rows || sharding.options.algorithm != Algorithm::kHash;
  if (auto done = co_await make_partitioned(change, sharding, *definition, all_leaves); !done)
    co_return failed(done);
  Placed out{GroupId{static_cast<uint32_t>(sharding.group_id)}, 0};
  if (has_rows) {
    auto moved = co_await spread_rows(change, runner, sharding, old_table);
    if (!moved) co_return fail(moved.error());
    out.moved_rows = *moved;
  }
  if (auto done =
          co_await change.on(change.home(), "SELECT decan.drop_foreign_leaves(" + quote_literal(relation) +
                                                ", " + std::to_string(change.home().value) + ")");
      !done) {
    co_return failed(done);
  }
  if (auto done = co_await change.on(change.home(), "DROP TABLE " + old_table); !done) co_return failed(done);
  if (auto done = co_await finish_sharded(change, sharding, std::move(*definition)); !done)
    co_return failed(done);
  if (auto done = co_await change.execute(change.home(), incoming->add); !done) co_return failed(done);
  if (auto done = co_await change.end(); !done) co_return failed(done);
  co_return out;
}

// A home table's rows on a unit where the empty copy stands. FORCE ROW LEVEL SECURITY would hide rows from
// the owner.
Task<Status> copy_whole_table(Change& change, UnitRunner& runner, const Description& table, UnitId to) {
  const std::string target = table.relation + " (" + table.column_list + ")";
  const std::string source = table.column_list.empty() ? table.relation : target;
  auto copied =
      co_await runner.copy_between(change.home(), "COPY " + source + " TO STDOUT WITH (ENCODING 'UTF8')", to,
                                   "COPY " + source + " FROM STDIN WITH (ENCODING 'UTF8')");
  if (!copied) co_return fail(copied.error());
  co_return Status{};
}

Task<Status> broadcast(Change& change, UnitRunner& runner, Description table) {
  const std::string relation = quote_literal(table.relation);
  if (auto done = co_await change.on(change.home(), "SELECT decan.check_broadcast(" + relation + ")"); !done)
    co_return done;
  if (auto done = co_await bring_home(change, runner, table); !done) co_return done;
  auto definition = co_await change.definition(table.relation, "");
  if (!definition) co_return fail(definition.error());
  if (auto done = co_await change.begin(table.owner); !done) co_return done;
  std::vector<std::string> first = definition->sequence;
  first.insert(first.end(), definition->table.begin(), definition->table.end());
  if (auto done = co_await change.execute_on_others(std::move(first)); !done) co_return done;
  if (table.forces_row_security) {
    if (auto done = co_await change.on(change.home(),
                                       "ALTER TABLE " + table.relation + " NO FORCE ROW LEVEL SECURITY");
        !done)
      co_return done;
  }
  for (const UnitId unit : change.others()) {
    if (auto done = co_await copy_whole_table(change, runner, table, unit); !done) co_return done;
  }
  if (table.forces_row_security) {
    if (auto done =
            co_await change.on(change.home(), "ALTER TABLE " + table.relation + " FORCE ROW LEVEL SECURITY");
        !done)
      co_return done;
  }
  for (auto* statements : {&definition->index, &definition->foreign, &definition->finish}) {
    if (auto done = co_await change.execute_on_others(*statements); !done) co_return done;
  }
  if (auto done = co_await change.on_all("SELECT decan.register(" + relation + ", " +
                                         std::to_string(table.next_id) + ", 'broadcast', NULL, NULL, NULL)");
      !done) {
    co_return done;
  }
  co_return co_await change.end();
}

// The next value of each sequence over all units: the greatest that any unit would give, of those that gave
// one at all.
Task<Result<std::string>> next_over_units(Change& change, UnitRunner& runner, std::string relation) {
  std::vector<std::pair<std::string, uint64_t>> next;
  for (const UnitId unit : change.units()) {
    auto rows = co_await runner.run(unit, "SELECT col, greatest(next_value, 0), called OR " +
                                              std::string(unit.value == 0 ? "true" : "false") +
                                              " FROM decan.sequence_state(" + quote_literal(relation) + ")");
    if (!rows) co_return fail(rows.error());
    for (size_t i = 0; i < rows->rows.size(); ++i) {
      if (cell(*rows, i, 2) != "t") continue;
      const uint64_t value = to_number(cell(*rows, i, 1));
      const auto found = std::ranges::find(next, cell(*rows, i, 0), &std::pair<std::string, uint64_t>::first);
      if (found == next.end()) {
        next.emplace_back(cell(*rows, i, 0), value);
      } else {
        found->second = std::max(found->second, value);
      }
    }
  }
  std::vector<std::string> names, values;
  for (const auto& [name, value] : next) {
    names.push_back(name);
    values.push_back(std::to_string(value));
  }
  co_return "pg_catalog.jsonb_object(" + text_array(names) + ", " + text_array(values) + ")";
}

Task<Status> gather_rows(Change& change, UnitRunner& runner, Description table, std::string old_table) {
  const std::string& columns = table.column_list;
  if (auto done = co_await change.on(change.home(), "INSERT INTO " + table.relation + " (" + columns +
                                                        ") OVERRIDING SYSTEM VALUE SELECT " + columns +
                                                        " FROM " + old_table);
      !done) {
    co_return done;
  }
  for (const UnitId unit : change.others()) {
    if (table.forces_row_security) {
      if (auto done =
              co_await change.on(unit, "ALTER TABLE " + table.relation + " NO FORCE ROW LEVEL SECURITY");
          !done)
        co_return done;
    }
    auto copied = co_await runner.copy_between(
        unit, "COPY (SELECT " + columns + " FROM " + table.relation + ") TO STDOUT WITH (ENCODING 'UTF8')",
        change.home(), "COPY " + table.relation + " (" + columns + ") FROM STDIN WITH (ENCODING 'UTF8')");
    if (!copied) co_return fail(copied.error());
  }
  co_return Status{};
}

Task<Status> unshard(Change& change, UnitRunner& runner, Description table) {
  auto definition = co_await change.definition(table.relation, "");
  if (!definition) co_return fail(definition.error());
  auto next = co_await next_over_units(change, runner, table.relation);
  if (!next) co_return fail(next.error());
  auto incoming = co_await incoming_keys(change, table.relation);
  if (!incoming) co_return fail(incoming.error());
  if (auto done = co_await change.execute(change.home(), incoming->drop); !done) co_return done;
  const std::string relation = quote_literal(table.relation);
  const std::string old_name = "decan_old_" + std::to_string(table.next_id);
  const std::string old_table = "decan_shard." + old_name;
  if (auto done =
          co_await change.on(change.home(), "SELECT decan.set_aside(" + relation + ", '" + old_name + "')");
      !done)
    co_return done;
  if (auto done = co_await change.execute(change.home(), definition->table); !done) co_return done;
  if (auto done = co_await gather_rows(change, runner, table, old_table); !done) co_return done;
  if (auto done = co_await change.on(change.home(), "DROP TABLE " + old_table); !done) co_return done;
  for (auto* statements : {&definition->index, &definition->foreign, &definition->finish, &incoming->add}) {
    if (auto done = co_await change.execute(change.home(), *statements); !done) co_return done;
  }
  co_return co_await change.on(change.home(),
                               "SELECT decan.restore_sequences(" + relation + ", " + *next + ")");
}

Task<Status> undistribute(Change& change, UnitRunner& runner, Description table) {
  if (table.far_unit) co_return co_await bring_home(change, runner, table);
  const std::string relation = quote_literal(table.relation);
  auto placed = co_await change.on_home("SELECT decan.check_undistribute(" + relation + ")");
  if (!placed) co_return fail(placed.error());
  const bool sharded = cell(*placed, 0, 0) == "sharded";
  if (auto done = co_await change.begin(table.owner); !done) co_return done;
  if (auto done = co_await change.on_others("LOCK TABLE " + table.relation + " IN ACCESS EXCLUSIVE MODE");
      !done)
    co_return done;
  if (sharded) {
    if (auto done = co_await unshard(change, runner, table); !done) co_return done;
  } else {
    if (auto done = co_await change.on(change.home(), "SELECT decan.forget(" + relation + ")"); !done)
      co_return done;
  }
  if (auto done = co_await change.on_others("DROP TABLE " + table.relation); !done) co_return done;
  if (auto done = co_await change.on_all("SELECT decan.drop_unused_groups()"); !done) co_return done;
  co_return co_await change.end();
}

}  // namespace

std::string table_name(std::string_view schema, std::string_view name) {
  return (schema.empty() ? std::string() : quote_identifier(schema) + ".") + quote_identifier(name);
}

Task<Result<Placed>> create_distributed_table(UnitRunner& runner, ShardOptions options) {
  if (auto valid = check_options(options); !valid) co_return fail(valid.error());
  Change change(runner);
  for (const UnitId unit : options.units) {
    if (std::ranges::find(change.units(), unit) == change.units().end()) {
      co_return fail(sqlstate::kInvalidParameterValue,
                     "storage unit " + std::to_string(unit.value) + " does not serve this database");
    }
  }
  auto table = co_await change.describe(options.table);
  if (!table) co_return fail(table.error());
  Sharding sharding;
  sharding.options = std::move(options);
  sharding.table = std::move(*table);
  co_return co_await shard(change, runner, std::move(sharding));
}

Task<Status> create_reference_table(UnitRunner& runner, std::string table) {
  Change change(runner);
  auto described = co_await change.describe(std::move(table));
  if (!described) co_return fail(described.error());
  co_return co_await broadcast(change, runner, std::move(*described));
}

Task<Status> undistribute_table(UnitRunner& runner, std::string table) {
  Change change(runner);
  auto described = co_await change.describe(std::move(table));
  if (!described) co_return fail(described.error());
  co_return co_await undistribute(change, runner, std::move(*described));
}

}  // namespace decan::placement
