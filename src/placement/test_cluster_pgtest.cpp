#include "placement/test_cluster.h"

#include <algorithm>
#include <charconv>
#include <regex>

#include "catalog/loader.h"
#include "catalog/partition_hash.h"
#include "catalog/type_oids.h"
#include "placement/schema.h"

namespace decan::placement {
namespace {

TextRows to_text_rows(testing::Rows rows) {
  return TextRows{std::move(rows.columns), std::move(rows.rows), std::move(rows.tag)};
}

}  // namespace

LibpqRunner::LibpqRunner(std::vector<testing::Connection> connections, UnitId home)
    : connections_(std::move(connections)), home_(home) {}

async::Task<Result<TextRows>> LibpqRunner::run(UnitId unit, std::string sql) {
  try {
    co_return to_text_rows(connections_.at(unit.value).exec(sql));
  } catch (const testing::SqlError& error) {
    co_return fail(error.error());
  }
}

async::Task<Result<std::vector<TextRows>>> LibpqRunner::run_all(std::vector<UnitId> units, std::string sql) {
  std::vector<TextRows> out;
  for (const UnitId unit : units) {
    auto rows = co_await run(unit, sql);
    if (!rows) co_return fail(rows.error());
    out.push_back(std::move(*rows));
  }
  co_return out;
}

async::Task<Result<uint64_t>> LibpqRunner::copy_between(UnitId from, std::string copy_out, UnitId to,
                                                        std::string copy_in) {
  try {
    const std::string data = connections_.at(from.value).copy_out(copy_out);
    const std::string tag = connections_.at(to.value).copy_in(copy_in, data);
    uint64_t rows = 0;
    std::from_chars(tag.data() + std::min<size_t>(5, tag.size()), tag.data() + tag.size(), rows);  // "COPY n"
    co_return rows;
  } catch (const testing::SqlError& error) {
    co_return fail(error.error());
  }
}

std::vector<UnitId> LibpqRunner::units() const {
  std::vector<UnitId> out;
  for (uint32_t i = 0; i < connections_.size(); ++i) out.push_back(UnitId{i});
  return out;
}

TestCluster::TestCluster(size_t units) {
  for (size_t i = 0; i < units; ++i) servers_.push_back(std::make_unique<testing::PgFixture>());
}

void TestCluster::use_database(const std::string& name) {
  connections_.clear();
  database_ = name;
  for (const auto& server : servers_) {
    server->connect().exec("DROP DATABASE IF EXISTS " + name + " WITH (FORCE)");
    server->create_database(name);
    connections_.push_back(std::make_unique<testing::Connection>(server->connect(name)));
    connections_.back()->exec(schema_sql(test_key()));
  }
}

void TestCluster::everywhere(const std::string& sql) {
  for (const auto& connection : connections_) connection->exec(sql);
}

std::vector<std::string> TestCluster::rows_everywhere(const std::string& query) {
  std::vector<std::string> out;
  for (const auto& connection : connections_) {
    const auto rows = connection->exec(query);
    for (const auto& row : rows.rows) {
      std::string line;
      for (const auto& value : row) line += value.value_or("NULL") + "|";
      out.push_back(std::move(line));
    }
  }
  std::ranges::sort(out);
  return out;
}

LibpqRunner TestCluster::runner(const std::string& role, UnitId home) {
  std::vector<testing::Connection> connections;
  for (const auto& server : servers_) connections.push_back(server->connect(database_, role));
  return LibpqRunner(std::move(connections), home);
}

std::string TestCluster::dump(size_t unit, const std::string& table) {
  std::vector<std::string> arguments{testing::program("pg_dump"), "-s", "-d", servers_[unit]->dsn(database_)};
  if (!table.empty()) arguments.insert(arguments.end(), {"-t", table});
  arguments.insert(arguments.end(), {"-N", "decan", "-N", "decan_shard"});
  const std::string text = testing::run_program(arguments);
  return std::regex_replace(text, std::regex("\\\\(un)?restrict [^\n]*\n"),
                            "");  // a random token in newer pg_dump
}

catalog::SnapshotPtr TestCluster::snapshot(UnitId home) {
  catalog::CatalogRows rows;
  for (auto& result : connections_[home.value]->exec_all(catalog::snapshot_query()))
    rows.results.push_back(std::move(result.rows));
  std::vector<UnitId> all;
  for (uint32_t i = 0; i < servers_.size(); ++i) all.push_back(UnitId{i});
  auto made = catalog::build_snapshot(rows, 1, database_, std::move(all), home);
  if (!made) throw std::runtime_error(made.error().message);
  return *made;
}

namespace {

// Commits on every unit, in two phases as a session does, or rolls back on every unit.
template <class T>
T in_transaction(LibpqRunner& runner, async::Task<T> task) {
  for (const UnitId unit : runner.units()) runner.on(unit).exec("BEGIN");
  auto result = async::run_now(std::move(task));
  for (const UnitId unit : runner.units())
    runner.on(unit).exec(result ? "PREPARE TRANSACTION 'placing'" : "ROLLBACK");
  for (const UnitId unit : runner.units()) {
    if (result) runner.on(unit).exec("COMMIT PREPARED 'placing'");
  }
  return result;
}

}  // namespace

Result<Placed> TestCluster::distribute(ShardOptions options, const std::string& role, UnitId home) {
  auto sessions = runner(role, home);
  return in_transaction(sessions, create_distributed_table(sessions, std::move(options)));
}

Status TestCluster::reference(const std::string& table, const std::string& role) {
  auto sessions = runner(role);
  return in_transaction(sessions, create_reference_table(sessions, table));
}

Status TestCluster::undistribute(const std::string& table, const std::string& role, UnitId home) {
  auto sessions = runner(role, home);
  return in_transaction(sessions, undistribute_table(sessions, table));
}

TestCluster& cluster() {
  static TestCluster instance(3);
  return instance;
}

void OnCluster::expect_rows_in_their_buckets(const std::string& table, const std::vector<std::string>& sent,
                                             size_t rows_expected) {
  const auto snapshot = units().snapshot();
  const auto* relation = snapshot->find_exact("public", table);
  ASSERT_TRUE(relation != nullptr && relation->group != nullptr);
  size_t rows = 0;
  std::string query = "SELECT tableoid::regclass::text";
  for (const auto& column : sent) query += ", encode(" + column + ", 'hex')";
  for (uint32_t unit = 0; unit < units().size(); ++unit) {
    for (const auto& row : units().on(unit).exec(query + " FROM " + table).rows) {
      std::vector<std::optional<std::string>> bytes;
      for (size_t i = 1; i < row.size(); ++i) {
        bytes.push_back(row[i] ? *catalog::binary_from_text(catalog::type::kBytea, "\\x" + *row[i])
                               : std::nullopt);
      }
      std::vector<catalog::KeyValue> key(bytes.begin(), bytes.end());
      const auto bucket = catalog::bucket_of(*relation->group, key);
      ASSERT_TRUE(bucket && *bucket);
      ASSERT_EQ(*row[0], relation->leaf(**bucket));
      ASSERT_EQ(relation->group->buckets[(*bucket)->value].unit.value, unit);
      ++rows;
    }
  }
  EXPECT_EQ(rows, rows_expected);
}

}  // namespace decan::placement
