#include "meta/sqlite_store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

namespace decan::meta {
namespace {

using namespace std::chrono_literals;

class SqliteStoreTest : public ::testing::Test {
 protected:
  SqliteStoreTest() {
    std::string pattern = ::testing::TempDir() + "storeXXXXXX";
    directory_ = ::mkdtemp(pattern.data());
    path_ = (directory_ / "meta.db").string();
  }
  ~SqliteStoreTest() override { std::filesystem::remove_all(directory_); }
  std::unique_ptr<Store> open() const { return open_sqlite_store(path_).value(); }

  static Operation put(std::string key, std::string value, std::optional<int64_t> expected = {}) {
    return {.key = std::move(key), .value = std::move(value), .expected_revision = expected};
  }
  static Operation erase(std::string key, std::optional<int64_t> expected = {}) {
    return {.kind = Operation::Kind::kDelete, .key = std::move(key), .expected_revision = expected};
  }
  // Adds one to the number at `key`, `times` times, however many others do the same.
  static void count_up(Store& store, const std::string& key, int times) {
    while (times > 0) {
      const auto entry = store.get(key).value();
      const int next = (entry ? std::stoi(entry->value) : 0) + 1;
      if (store.commit({put(key, std::to_string(next), entry ? entry->mod_revision : 0)}).value()) --times;
    }
  }
  static bool eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 300; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(10ms);
    }
    return false;
  }

  std::filesystem::path directory_;
  std::string path_;
};

TEST_F(SqliteStoreTest, a_new_store_is_empty_at_revision_zero_and_private) {
  const auto store = open();
  EXPECT_EQ(store->revision().value(), 0);
  EXPECT_FALSE(store->get("a").value());
  struct stat info{};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(SqliteStoreTest, every_commit_gets_the_next_revision_and_stamps_its_keys) {
  const auto store = open();
  EXPECT_EQ(store->commit({put("a", "1"), put("b", "2")}).value(), 1);
  EXPECT_EQ(store->commit({put("a", "3")}).value(), 2);
  EXPECT_EQ(store->get("a").value()->mod_revision, 2);
  EXPECT_EQ(store->get("b").value()->mod_revision, 1);
  EXPECT_EQ(open()->get("a").value()->value, "3");
}

TEST_F(SqliteStoreTest, values_keep_every_byte) {
  const auto store = open();
  const std::string value("\0\xff'\"\n\0", 6);
  ASSERT_TRUE(store->commit({put("a", value)}).value());
  EXPECT_EQ(store->get("a").value()->value, value);
}

TEST_F(SqliteStoreTest, a_failed_comparison_writes_nothing_at_all) {
  const auto store = open();
  ASSERT_TRUE(store->commit({put("a", "1")}).value());
  EXPECT_FALSE(store->commit({put("b", "2"), put("a", "3", 7)}).value());
  EXPECT_FALSE(store->commit({put("a", "3", 0)}).value());
  EXPECT_FALSE(store->commit({erase("missing", 5)}).value());
  EXPECT_FALSE(store->get("b").value());
  EXPECT_EQ(store->get("a").value()->value, "1");
  EXPECT_EQ(store->revision().value(), 1);
  EXPECT_TRUE(store->commit({put("a", "3", 1)}).value());
}

TEST_F(SqliteStoreTest, list_takes_a_prefix_literally_and_in_key_order) {
  const auto store = open();
  ASSERT_TRUE(
      store->commit({put("u/b", "2"), put("u/a", "1"), put("u0", "x"), put("u", "y"), put("u%a", "z")})
          .value());
  const auto entries = store->list("u/").value();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].key, "u/a");
  EXPECT_EQ(entries[1].key, "u/b");
  EXPECT_EQ(store->list("").value().size(), 5u);
  EXPECT_EQ(store->list("\xff").value().size(), 0u);
}

TEST_F(SqliteStoreTest, too_long_keys_and_values_are_refused) {
  const auto store = open();
  EXPECT_EQ(store->commit({put(std::string(kMaxKeyBytes + 1, 'k'), "")}).error().sqlstate, "54000");
  EXPECT_EQ(store->commit({put("", "")}).error().sqlstate, "54000");
  EXPECT_EQ(store->commit({put("k", std::string(kMaxValueBytes + 1, 'v'))}).error().sqlstate, "54000");
}

TEST_F(SqliteStoreTest, threads_that_race_lose_no_update) {
  const auto one = open();
  const auto two = open();
  {
    std::vector<std::jthread> threads;
    for (Store* store : {one.get(), one.get(), two.get()}) {
      threads.emplace_back([store] { count_up(*store, "counter", 40); });
    }
  }
  EXPECT_EQ(one->get("counter").value()->value, "120");
  EXPECT_EQ(one->revision().value(), 120);
}

TEST_F(SqliteStoreTest, processes_that_race_lose_no_update) {
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) {
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      auto store = open_sqlite_store(path_);  // they also race to make the file
      if (!store) ::_exit(1);
      count_up(**store, "counter", 30);
      ::_exit(0);
    }
    children.push_back(pid);
  }
  for (const pid_t pid : children) {
    int status = -1;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(open()->get("counter").value()->value, "90");
}

TEST_F(SqliteStoreTest, a_key_dies_with_its_lease) {
  const auto store = open();
  const int64_t lease = store->grant_lease(150ms).value();
  ASSERT_TRUE(store->commit({{.key = "node", .value = "me", .lease = lease}}).value());
  EXPECT_TRUE(store->get("node").value());
  EXPECT_TRUE(eventually([&] { return !store->get("node").value(); }));
  EXPECT_TRUE(store->list("node").value().empty());
  EXPECT_EQ(store->keep_alive(lease).error().sqlstate, "42704");
  EXPECT_TRUE(store->commit({put("node", "other", 0)}).value())
      << "an ended key does not exist for comparisons";
}

TEST_F(SqliteStoreTest, keep_alive_prolongs_and_revoke_ends_a_lease) {
  const auto store = open();
  const int64_t lease = store->grant_lease(400ms).value();
  ASSERT_TRUE(store->commit({{.key = "node", .value = "me", .lease = lease}}).value());
  for (int i = 0; i < 6; ++i) {
    std::this_thread::sleep_for(100ms);
    ASSERT_TRUE(store->keep_alive(lease));
  }
  EXPECT_TRUE(store->get("node").value());
  ASSERT_TRUE(store->revoke(lease));
  EXPECT_FALSE(store->get("node").value());
}

TEST_F(SqliteStoreTest, a_write_under_an_ended_lease_is_refused) {
  const auto store = open();
  const int64_t lease = store->grant_lease(1h).value();
  ASSERT_TRUE(store->revoke(lease));
  EXPECT_EQ(store->commit({{.key = "node", .value = "me", .lease = lease}}).error().sqlstate, "42704");
}

TEST_F(SqliteStoreTest, a_watch_sees_changes_of_other_connections_below_its_prefix_only) {
  const auto one = open();
  const auto two = open();
  std::atomic<int> units{0}, others{0};
  std::atomic<int64_t> revision{0};
  const auto watch = one->watch("units/", [&](int64_t r) { ++units, revision = r; });
  const auto other = one->watch("rules/", [&](int64_t) { ++others; });
  const int64_t written = *two->commit({put("units/a", "1")}).value();
  EXPECT_TRUE(eventually([&] { return revision == written; }));
  const int before = units;
  ASSERT_TRUE(two->commit({erase("units/a")}).value());
  EXPECT_TRUE(eventually([&] { return units > before; })) << "deletions are changes";
  EXPECT_EQ(others, 0);
}

TEST_F(SqliteStoreTest, a_watch_sees_the_end_of_a_lease) {
  const auto store = open();
  const int64_t lease = store->grant_lease(300ms).value();
  ASSERT_TRUE(store->commit({{.key = "nodes/1", .value = "", .lease = lease}}).value());
  std::atomic<int> calls{0};
  const auto watch = store->watch("nodes/", [&](int64_t) { ++calls; });
  EXPECT_TRUE(eventually([&] { return calls > 0; }));
  EXPECT_FALSE(store->get("nodes/1").value());
}

TEST_F(SqliteStoreTest, a_dead_handle_is_not_called_again_and_may_outlive_the_store) {
  auto store = open();
  std::atomic<int> calls{0};
  auto watch = store->watch("", [&](int64_t) { ++calls; });
  ASSERT_TRUE(store->commit({put("a", "1")}).value());
  EXPECT_TRUE(eventually([&] { return calls > 0; }));
  watch.reset();
  const int before = calls;
  ASSERT_TRUE(store->commit({put("a", "2")}).value());
  std::this_thread::sleep_for(250ms);
  EXPECT_EQ(calls, before);
  auto second = store->watch("", [](int64_t) {});
  store.reset();
  second.reset();
}

TEST_F(SqliteStoreTest, files_that_are_no_store_are_refused_and_left_alone) {
  {
    std::ofstream out(path_);
    out << std::string(5000, 'x');
  }
  EXPECT_EQ(open_sqlite_store(path_).error().sqlstate, "XX001");
  EXPECT_EQ(std::filesystem::file_size(path_), 5000u);
  EXPECT_EQ(open_sqlite_store("/nonexistent/meta.db").error().sqlstate, "58030");
}

}  // namespace
}  // namespace decan::meta
