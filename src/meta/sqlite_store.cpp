#include "meta/sqlite_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <ctime>
#include <fstream>
#include <mutex>
#include <thread>
#include <utility>

#include "base/log.h"
#include "meta/sqlite_db.h"

namespace decan::meta {
namespace {

using namespace std::chrono_literals;

constexpr auto kPollInterval = 100ms;
constexpr int64_t kFormat = 1;                  // PRAGMA user_version
constexpr int64_t kApplicationId = 0x4443414E;  // "DCAN"

constexpr const char* kSchema = R"(
CREATE TABLE entry (
  key TEXT PRIMARY KEY, value TEXT NOT NULL, mod_revision INTEGER NOT NULL, lease INTEGER
) WITHOUT ROWID;
CREATE INDEX entry_lease ON entry (lease) WHERE lease IS NOT NULL;
CREATE TABLE deletion (
  revision INTEGER NOT NULL, key TEXT NOT NULL, PRIMARY KEY (revision, key)
) WITHOUT ROWID;
CREATE TABLE lease (
  id INTEGER PRIMARY KEY AUTOINCREMENT, boot TEXT NOT NULL, ttl_ms INTEGER NOT NULL, ends_ms INTEGER NOT NULL
);
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counter VALUES ('revision', 0), ('forgotten', 0);
)";

// An entry is alive when it has no lease or its lease runs: ?1 is this boot's id, ?2 the boot time in ms.
constexpr std::string_view kAlive =
    "(lease IS NULL OR EXISTS (SELECT 1 FROM lease l WHERE l.id = entry.lease AND l.boot = ?1 AND l.ends_ms "
    "> ?2))";

const std::string& boot_id() {
  static const std::string id = [] {
    std::string text;
    std::ifstream in("/proc/sys/kernel/random/boot_id");
    std::getline(in, text);
    return text;
  }();
  return id;
}

int64_t boot_time_ms() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

// The least string greater than every string that starts with `prefix`; empty: there is none (no upper
// border).
std::string prefix_end(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && static_cast<unsigned char>(end.back()) == 0xff) end.pop_back();
  if (!end.empty()) end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

Status make_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    const int code = errno;
    const bool denied = code == EACCES || code == EPERM || code == EROFS;
    const bool full = code == ENOSPC || code == EDQUOT;
    return fail(denied ? sqlstate::kInsufficientPrivilege
                : full ? sqlstate::kDiskFull
                       : "58030",
                fmt::format("metadata store {}: the file can not be opened", path), std::strerror(code),
                denied ? "Run as the user who owns the directory." : "");
  }
  ::close(fd);
  return {};
}

std::unexpected<Error> not_ours(const std::string& path) {
  return fail(sqlstate::kDataCorrupted, fmt::format("{} is a SQLite file, but no metadata store", path), {},
              "Choose another directory, or move the file away.");
}

Status create_schema(Db& db, const std::string& path) {
  auto transaction = WriteTransaction::begin(db);
  if (!transaction) return fail(transaction.error());
  const auto format = db.integer("PRAGMA user_version");  // another process may have been faster
  if (!format) return fail(format.error());
  if (*format == 0) {
    const auto tables = db.integer("SELECT count(*) FROM sqlite_master");
    if (!tables) return fail(tables.error());
    if (*tables != 0) return not_ours(path);
    if (Status made = db.execute(kSchema); !made) return made;
    const std::string mark =
        fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}", kApplicationId, kFormat);
    if (Status marked = db.execute(mark.c_str()); !marked) return marked;
  }
  return transaction->commit();
}

// The switch to WAL does not wait for other openers as other statements do.
Status switch_to_wal(Db& db) {
  for (int attempt = 0;; ++attempt) {
    Status mode = db.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
    if (mode || mode.error().sqlstate != "55P03" || attempt == 100) return mode;
    std::this_thread::sleep_for(50ms);
  }
}

Status prepare_file(Db& db, const std::string& path) {
  if (Status mode = switch_to_wal(db); !mode) return mode;
  const auto format = db.integer("PRAGMA user_version");
  if (!format) return fail(format.error());
  if (*format == 0) return create_schema(db, path);
  const auto application = db.integer("PRAGMA application_id");
  if (!application) return fail(application.error());
  if (*application != kApplicationId) return not_ours(path);
  if (*format != kFormat) {
    return fail(
        sqlstate::kFeatureNotSupported,
        fmt::format("metadata store {} has format {}; this Decan knows format {}", path, *format, kFormat),
        {}, "Use the version of Decan that wrote it.");
  }
  return {};
}

struct Watch {
  std::string prefix, end;
  std::function<void(int64_t)> on_change;
  int64_t seen = 0;
  // Held while the callback runs, so that a dying handle waits for it. Recursive: a callback may drop its own
  // handle.
  std::recursive_mutex mutex;
  bool active = true;
};

struct WatchOwner {
  std::shared_ptr<Watch> watch;
  ~WatchOwner() {
    const std::scoped_lock lock(watch->mutex);
    watch->active = false;
  }
};

class SqliteStore final : public Store {
 public:
  SqliteStore(std::unique_ptr<Db> db, std::unique_ptr<Db> watch_db)
      : db_(std::move(db)), watch_db_(std::move(watch_db)) {}
  ~SqliteStore() override;

  Result<std::optional<Entry>> get(std::string_view key) override;
  Result<std::vector<Entry>> list(std::string_view prefix) override;
  Result<std::optional<int64_t>> commit(const std::vector<Operation>& operations) override;
  Result<int64_t> revision() override;
  Result<int64_t> grant_lease(std::chrono::milliseconds ttl) override;
  Status keep_alive(int64_t lease) override;
  Status revoke(int64_t lease) override;
  WatchHandle watch(std::string prefix, std::function<void(int64_t)> on_change) override;

 private:
  static Result<int64_t> next_revision(Db& db);
  static Status remember_deletion(Db& db, int64_t revision, std::string_view key);
  static Status forget_old_deletions(Db& db);
  static Result<bool> sweep(Db& db);
  Result<bool> compare(const Operation& operation);
  Status apply(const Operation& operation, int64_t revision);
  void poll_loop();
  bool poll_once(int64_t& data_version);
  Result<bool> changed_since(const Watch& watch);

  std::mutex mutex_;  // guards db_
  std::unique_ptr<Db> db_;
  std::unique_ptr<Db> watch_db_;  // used by the watch thread alone
  std::mutex watches_mutex_;      // guards what follows
  std::condition_variable stop_signal_;
  std::vector<std::weak_ptr<Watch>> watches_;
  std::thread thread_;
  bool stop_ = false;
  bool look_ = false;  // a watch is new: look even when nothing seems to have changed
};

SqliteStore::~SqliteStore() {
  {
    const std::scoped_lock lock(watches_mutex_);
    stop_ = true;
  }
  stop_signal_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Result<std::optional<Entry>> SqliteStore::get(std::string_view key) {
  const std::scoped_lock lock(mutex_);
  auto query =
      db_->prepare(fmt::format("SELECT key, value, mod_revision FROM entry WHERE key = ?3 AND {}", kAlive));
  if (!query) return fail(query.error());
  query->bind(1, boot_id()).bind(2, boot_time_ms()).bind(3, key);
  const auto row = query->step();
  if (!row) return fail(row.error());
  if (!*row) return std::nullopt;
  return Entry{query->text(0), query->text(1), query->integer(2)};
}

Result<std::vector<Entry>> SqliteStore::list(std::string_view prefix) {
  const std::scoped_lock lock(mutex_);
  const std::string end = prefix_end(prefix);
  auto query =
      db_->prepare(fmt::format("SELECT key, value, mod_revision FROM entry WHERE key >= ?3 AND (?4 = '' OR "
                               "key < ?4) AND {} ORDER BY key",
                               kAlive));
  if (!query) return fail(query.error());
  query->bind(1, boot_id()).bind(2, boot_time_ms()).bind(3, prefix).bind(4, end);
  std::vector<Entry> entries;
  for (;;) {
    const auto row = query->step();
    if (!row) return fail(row.error());
    if (!*row) return entries;
    entries.push_back({query->text(0), query->text(1), query->integer(2)});
  }
}

Result<int64_t> SqliteStore::revision() {
  const std::scoped_lock lock(mutex_);
  return db_->integer("SELECT value FROM counter WHERE name = 'revision'");
}

Result<int64_t> SqliteStore::next_revision(Db& db) {
  if (Status done = db.execute("UPDATE counter SET value = value + 1 WHERE name = 'revision'"); !done) {
    return fail(done.error());
  }
  return db.integer("SELECT value FROM counter WHERE name = 'revision'");
}

Status SqliteStore::remember_deletion(Db& db, int64_t revision, std::string_view key) {
  auto insert = db.prepare("INSERT OR REPLACE INTO deletion VALUES (?1, ?2)");
  if (!insert) return fail(insert.error());
  return insert->bind(1, revision).bind(2, key).run();
}

// Keeps the deletions of the last 1,000 deleting revisions; 'forgotten' tells watchers from where on the list
// is whole.
Status SqliteStore::forget_old_deletions(Db& db) {
  return db.execute(
      "UPDATE counter SET value = max(value, coalesce((SELECT revision FROM deletion ORDER BY revision DESC "
      "LIMIT 1 OFFSET 1000), 0)) WHERE name = 'forgotten';"
      "DELETE FROM deletion WHERE revision <= (SELECT value FROM counter WHERE name = 'forgotten')");
}

// Removes leases that have ended, with their keys, as one revision. Inside a write transaction. True:
// something was removed.
Result<bool> SqliteStore::sweep(Db& db) {
  auto dead = db.prepare("SELECT key FROM entry WHERE lease IS NOT NULL AND NOT " + std::string(kAlive));
  if (!dead) return fail(dead.error());
  dead->bind(1, boot_id()).bind(2, boot_time_ms());
  std::vector<std::string> keys;
  for (;;) {
    const auto row = dead->step();
    if (!row) return fail(row.error());
    if (!*row) break;
    keys.push_back(dead->text(0));
  }
  if (!keys.empty()) {
    const auto revision = next_revision(db);
    if (!revision) return fail(revision.error());
    auto erase = db.prepare("DELETE FROM entry WHERE key = ?1");
    if (!erase) return fail(erase.error());
    for (const std::string& key : keys) {
      if (Status done = erase->bind(1, key).run(); !done) return fail(done.error());
      if (Status done = remember_deletion(db, *revision, key); !done) return fail(done.error());
    }
    if (Status done = forget_old_deletions(db); !done) return fail(done.error());
  }
  auto leases = db.prepare(
      "DELETE FROM lease WHERE NOT (boot = ?1 AND ends_ms > ?2) AND NOT EXISTS (SELECT 1 FROM entry e WHERE "
      "e.lease = id)");
  if (!leases) return fail(leases.error());
  if (Status done = leases->bind(1, boot_id()).bind(2, boot_time_ms()).run(); !done)
    return fail(done.error());
  return !keys.empty();
}

Result<bool> SqliteStore::compare(const Operation& operation) {
  if (!operation.expected_revision) return true;
  auto query = db_->prepare("SELECT mod_revision FROM entry WHERE key = ?1");
  if (!query) return fail(query.error());
  query->bind(1, operation.key);
  const auto row = query->step();
  if (!row) return fail(row.error());
  return (*row ? query->integer(0) : 0) == *operation.expected_revision;
}

Status SqliteStore::apply(const Operation& operation, int64_t revision) {
  if (operation.kind == Operation::Kind::kDelete) {
    auto erase = db_->prepare("DELETE FROM entry WHERE key = ?1");
    if (!erase) return fail(erase.error());
    if (Status done = erase->bind(1, operation.key).run(); !done) return done;
    return remember_deletion(*db_, revision, operation.key);
  }
  if (operation.lease) {
    auto alive = db_->prepare("SELECT 1 FROM lease WHERE id = ?1 AND boot = ?2 AND ends_ms > ?3");
    if (!alive) return fail(alive.error());
    const auto row = alive->bind(1, *operation.lease).bind(2, boot_id()).bind(3, boot_time_ms()).step();
    if (!row) return fail(row.error());
    if (!*row) {
      return fail(sqlstate::kUndefinedObject, fmt::format("lease {} has ended", *operation.lease));
    }
  }
  auto put = db_->prepare(
      "INSERT INTO entry VALUES (?1, ?2, ?3, ?4) ON CONFLICT (key) DO UPDATE SET value = excluded.value, "
      "mod_revision = excluded.mod_revision, lease = excluded.lease");
  if (!put) return fail(put.error());
  put->bind(1, operation.key).bind(2, operation.value).bind(3, revision);
  if (operation.lease) {
    put->bind(4, *operation.lease);
  } else {
    put->bind_null(4);
  }
  return put->run();
}

Result<std::optional<int64_t>> SqliteStore::commit(const std::vector<Operation>& operations) {
  if (operations.size() > kMaxOperations) {
    return fail(sqlstate::kProgramLimitExceeded, "too many operations in one commit of the metadata store");
  }
  for (const Operation& operation : operations) {
    if (operation.key.empty() || operation.key.size() > kMaxKeyBytes ||
        operation.value.size() > kMaxValueBytes) {
      return fail(sqlstate::kProgramLimitExceeded, "key or value too long for the metadata store",
                  operation.key.substr(0, 80));
    }
  }
  const std::scoped_lock lock(mutex_);
  auto transaction = WriteTransaction::begin(*db_);
  if (!transaction) return fail(transaction.error());
  if (const auto swept = sweep(*db_); !swept) return fail(swept.error());
  for (const Operation& operation : operations) {
    const auto equal = compare(operation);
    if (!equal) return fail(equal.error());
    if (!*equal) return std::nullopt;
  }
  const auto revision = next_revision(*db_);
  if (!revision) return fail(revision.error());
  for (const Operation& operation : operations) {
    if (Status done = apply(operation, *revision); !done) return fail(done.error());
  }
  if (Status done = forget_old_deletions(*db_); !done) return fail(done.error());
  if (Status done = transaction->commit(); !done) return fail(done.error());
  return *revision;
}

Result<int64_t> SqliteStore::grant_lease(std::chrono::milliseconds ttl) {
  const std::scoped_lock lock(mutex_);
  auto grant = db_->prepare("INSERT INTO lease (boot, ttl_ms, ends_ms) VALUES (?1, ?2, ?3) RETURNING id");
  if (!grant) return fail(grant.error());
  const auto row =
      grant->bind(1, boot_id()).bind(2, ttl.count()).bind(3, boot_time_ms() + ttl.count()).step();
  if (!row) return fail(row.error());
  const int64_t id = grant->integer(0);
  if (const auto end = grant->step(); !end) return fail(end.error());  // completes the autocommit
  return id;
}

Status SqliteStore::keep_alive(int64_t lease) {
  const std::scoped_lock lock(mutex_);
  const int64_t now = boot_time_ms();
  auto renew = db_->prepare(
      "UPDATE lease SET ends_ms = ?3 + ttl_ms WHERE id = ?1 AND boot = ?2 AND ends_ms > ?3 RETURNING id");
  if (!renew) return fail(renew.error());
  const auto row = renew->bind(1, lease).bind(2, boot_id()).bind(3, now).step();
  if (!row) return fail(row.error());
  if (!*row) return fail(sqlstate::kUndefinedObject, fmt::format("lease {} has ended", lease));
  if (const auto end = renew->step(); !end) return fail(end.error());
  return {};
}

Status SqliteStore::revoke(int64_t lease) {
  const std::scoped_lock lock(mutex_);
  auto transaction = WriteTransaction::begin(*db_);
  if (!transaction) return fail(transaction.error());
  auto end = db_->prepare("UPDATE lease SET ends_ms = 0 WHERE id = ?1");
  if (!end) return fail(end.error());
  if (Status done = end->bind(1, lease).run(); !done) return done;
  if (const auto swept = sweep(*db_); !swept) return fail(swept.error());
  return transaction->commit();
}

Store::WatchHandle SqliteStore::watch(std::string prefix, std::function<void(int64_t)> on_change) {
  auto watch = std::make_shared<Watch>();
  watch->end = prefix_end(prefix);
  watch->prefix = std::move(prefix);
  watch->on_change = std::move(on_change);
  watch->seen = revision().value_or(0);
  auto owner = std::make_shared<WatchOwner>();
  owner->watch = watch;
  const std::scoped_lock lock(watches_mutex_);
  // The handle owns the Watch; the list only looks, so a dropped handle leaves nothing behind.
  std::erase_if(watches_, [](const std::weak_ptr<Watch>& old) { return old.expired(); });
  watches_.push_back(watch);
  look_ = true;
  if (!thread_.joinable()) thread_ = std::thread([this] { poll_loop(); });
  return owner;
}

Result<bool> SqliteStore::changed_since(const Watch& watch) {
  auto query = watch_db_->prepare(
      "SELECT EXISTS (SELECT 1 FROM entry WHERE key >= ?1 AND (?2 = '' OR key < ?2) AND mod_revision > ?3)"
      " OR EXISTS (SELECT 1 FROM deletion WHERE revision > ?3 AND key >= ?1 AND (?2 = '' OR key < ?2))"
      " OR ?3 < (SELECT value FROM counter WHERE name = 'forgotten')");
  if (!query) return fail(query.error());
  const auto row = query->bind(1, watch.prefix).bind(2, watch.end).bind(3, watch.seen).step();
  if (!row) return fail(row.error());
  return *row && query->integer(0) != 0;
}

// False: the store could not be read; the caller tries again later.
bool SqliteStore::poll_once(int64_t& data_version) {
  auto version = watch_db_->integer("PRAGMA data_version");
  if (!version) return false;
  auto ended =
      watch_db_->prepare("SELECT EXISTS (SELECT 1 FROM lease WHERE NOT (boot = ?1 AND ends_ms > ?2))");
  if (!ended) return false;
  const auto row = ended->bind(1, boot_id()).bind(2, boot_time_ms()).step();
  if (!row) return false;
  bool look = *version != data_version;
  {
    const std::scoped_lock lock(watches_mutex_);
    look = std::exchange(look_, false) || look;
  }
  const bool must_sweep = *row && ended->integer(0) != 0;
  ended->reset();
  if (must_sweep) {
    auto transaction = WriteTransaction::begin(*watch_db_);
    if (!transaction) return false;
    const auto swept = sweep(*watch_db_);
    if (!swept || !transaction->commit()) return false;
    look = look || *swept;
  }
  if (!look) return true;
  const auto now = watch_db_->integer("SELECT value FROM counter WHERE name = 'revision'");
  if (!now) return false;
  std::vector<std::shared_ptr<Watch>> watches;
  {
    const std::scoped_lock lock(watches_mutex_);
    for (const auto& weak : watches_) {
      if (auto watch = weak.lock()) watches.push_back(std::move(watch));
    }
  }
  for (const auto& watch : watches) {
    const auto changed = changed_since(*watch);
    if (!changed) return false;
    if (*changed) {
      const std::scoped_lock lock(watch->mutex);
      if (watch->active) watch->on_change(*now);
    }
    watch->seen = std::max(watch->seen, *now);
  }
  data_version = *version;
  return true;
}

void SqliteStore::poll_loop() {
  int64_t data_version = -1;
  bool healthy = true;
  for (;;) {
    {
      std::unique_lock lock(watches_mutex_);
      if (stop_signal_.wait_for(lock, kPollInterval, [this] { return stop_; })) return;
    }
    const bool ok = poll_once(data_version);
    if (ok != healthy) {
      ok ? log::info("metadata store is readable again")
         : log::warning("metadata store can not be read; watches wait");
      healthy = ok;
    }
  }
}

}  // namespace

Result<std::unique_ptr<Store>> open_sqlite_store(const std::string& path) {
  if (Status made = make_file(path); !made) return fail(made.error());
  auto db = Db::open(path);
  if (!db) return fail(db.error());
  if (Status ready = prepare_file(**db, path); !ready) return fail(ready.error());
  auto watch_db = Db::open(path);
  if (!watch_db) return fail(watch_db.error());
  return std::make_unique<SqliteStore>(std::move(*db), std::move(*watch_db));
}

}  // namespace decan::meta
