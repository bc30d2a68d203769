// An AdminContext without a session, for tests: a store in memory, a snapshot made by hand, a runner that
// knows tables.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "distsql/distsql.h"
#include "distsql/handlers.h"

namespace decan::distsql {

class MemoryStore final : public meta::Store {
 public:
  Result<std::optional<meta::Entry>> get(std::string_view key) override {
    const auto found = entries_.find(std::string(key));
    if (found == entries_.end()) return std::nullopt;
    return found->second;
  }
  Result<std::vector<meta::Entry>> list(std::string_view prefix) override {
    std::vector<meta::Entry> found;
    for (const auto& [key, entry] : entries_) {
      if (key.starts_with(prefix)) found.push_back(entry);
    }
    return found;
  }
  Result<std::optional<int64_t>> commit(const std::vector<meta::Operation>& operations) override {
    for (const meta::Operation& operation : operations) {
      const auto found = entries_.find(operation.key);
      const int64_t now = found == entries_.end() ? 0 : found->second.mod_revision;
      if (operation.expected_revision && *operation.expected_revision != now) return std::nullopt;
    }
    ++revision_;
    for (const meta::Operation& operation : operations) {
      if (operation.kind == meta::Operation::Kind::kDelete) {
        entries_.erase(operation.key);
      } else {
        entries_[operation.key] = {operation.key, operation.value, revision_};
      }
    }
    return revision_;
  }
  Result<int64_t> revision() override { return revision_; }
  Result<int64_t> grant_lease(std::chrono::milliseconds) override { return 1; }
  Status keep_alive(int64_t) override { return {}; }
  Status revoke(int64_t) override { return {}; }
  WatchHandle watch(std::string, std::function<void(int64_t)>) override { return nullptr; }

 private:
  std::map<std::string, meta::Entry> entries_;
  int64_t revision_ = 0;
};

class TestContext : public AdminContext {
 public:
  explicit TestContext(placement::UnitRunner& runner) : runner_(runner) {}
  MemoryStore store;
  catalog::SnapshotPtr snapshot;
  std::string database_name = "db";
  bool administrator = true;
  std::vector<std::string> path = {"public"};
  std::vector<std::string> prepared, killed, loaded;
  std::map<std::string, std::string> settings = {{"sql_show", "false"}, {"max_pool", "50"}};
  int unit_changes = 0;
  Status prepare_answer;

  std::string database() const override { return database_name; }
  std::vector<std::string> search_path() const override { return path; }
  bool may_administer() const override { return administrator; }
  catalog::SnapshotPtr catalog() const override { return snapshot; }
  bool in_block() const override { return false; }
  placement::UnitRunner& runner() override { return runner_; }
  async::Task<Status> with_store(std::function<Status(meta::Store&)> work) override { co_return work(store); }
  async::Task<Result<meta::UnitRecord>> check_unit(meta::UnitRecord unit,
                                                   std::optional<meta::UnitRecord> before) override {
    prepared.push_back(unit.name + (before ? " again" : ""));
    if (!prepare_answer) co_return fail(prepare_answer.error());
    co_return unit;
  }
  async::Task<Result<std::vector<std::string>>> add_unit(meta::UnitRecord unit) override {
    unit.ordinal = *meta::claim_ordinal(store);
    if (auto saved = meta::save_unit(store, unit, true); !saved) co_return fail(saved.error());
    co_return std::vector<std::string>{};
  }
  async::Task<Result<uint64_t>> load_tables(meta::UnitRecord unit) override {
    loaded.push_back(unit.name);
    co_return 3;
  }
  async::Task<Result<std::vector<std::string>>> remove_unit(meta::UnitRecord unit,
                                                            MayLeave may_leave) override {
    if (auto may = may_leave({snapshot}); !may) co_return fail(may.error());
    if (auto removed = meta::remove_unit(store, unit.name); !removed) co_return fail(removed.error());
    co_return std::vector<std::string>{"left"};
  }
  async::Task<Status> units_changed() override {
    ++unit_changes;
    co_return Status{};
  }
  std::vector<std::pair<std::string, std::string>> unit_defaults() const override {
    return {{"maxPoolSize", "50"}, {"idleTimeoutMilliseconds", "600000"}};
  }
  async::Task<Result<std::vector<ComputeNodeInfo>>> compute_nodes() override {
    co_return std::vector<ComputeNodeInfo>{{"node-1", "127.0.0.1", "OK", "", "0.1.0", "db", 7432, 0}};
  }
  async::Task<Result<std::vector<SessionInfo>>> sessions() override {
    co_return std::vector<SessionInfo>{
        {"7", "ann", "db", "127.0.0.1", "psql", "node-1", "active", "SELECT 1", 60, 2},
        {"8", "bob", "db", "127.0.0.1", "", "node-1", "idle", "", 5, 5}};
  }
  async::Task<Status> kill(std::string id, bool only_statement) override {
    if (id != "7") co_return fail("42704", "session " + id + " does not exist");
    killed.push_back(id + (only_statement ? " statement" : ""));
    co_return Status{};
  }
  async::Task<Result<std::vector<PreviewLine>>> preview(std::string sql) override {
    co_return std::vector<PreviewLine>{{"ds_0", sql}, {"ds_1", sql}};
  }
  async::Task<Result<std::vector<std::pair<std::string, std::string>>>> variables() override {
    co_return std::vector<std::pair<std::string, std::string>>(settings.begin(), settings.end());
  }
  async::Task<Status> set_variable(std::string name, std::string value) override {
    if (!settings.contains(name)) co_return fail("42704", "unrecognized variable \"" + name + "\"");
    settings[name] = value;
    co_return Status{};
  }

 private:
  placement::UnitRunner& runner_;
};

inline Result<AdminResult> run(AdminContext& context, std::string_view sql) {
  auto statement = parse(sql, nullptr);
  if (!statement) return std::unexpected(statement.error());
  return async::run_now(execute(context, std::move(*statement)));
}

// "a|b\nc|d", without the columns' names.
inline std::string text_of(const AdminResult& result) {
  std::string out;
  for (const auto& row : result.rows) {
    if (!out.empty()) out += '\n';
    for (size_t i = 0; i < row.size(); ++i) out += (i > 0 ? "|" : "") + row[i].value_or("NULL");
  }
  return out;
}

}  // namespace decan::distsql
