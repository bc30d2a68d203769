// What all sessions of a compute node share: configuration, loops with their pools and caches, the catalogs,
// the registry of sessions (for cancel, SHOW SESSIONS and KILL) and the login throttle.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "async/loop.h"
#include "async/worker.h"
#include "backend/pool.h"
#include "base/config.h"
#include "catalog/snapshot.h"
#include "catalog/unit_objects.h"
#include "meta/store.h"
#include "session/metrics.h"
#include "session/placement_gate.h"
#include "session/statement_cache.h"
#include "txn/transaction.h"

struct ssl_ctx_st;

namespace decan::session {

class Session;
struct Node;
class NotifyHub;

// One event loop and what belongs to it.
struct LoopContext {
  LoopContext(unsigned index, backend::UnitsPtr units, const backend::PoolLimits& limits, size_t cache_bytes);
  ~LoopContext();
  async::Loop loop;
  backend::Pool pool;
  StatementCache statements;
  PlacementGate gate;
  Metrics metrics;
  // What object ids of a database's units mean, as far as sessions had to ask. Entries stay where they are.
  std::map<std::pair<std::string, uint32_t>, catalog::UnitObjects> objects;
};

// A session as others see it. `session` is touched on its own loop only.
struct SessionEntry {
  uint32_t pid = 0;
  std::string key;  // 4 bytes for protocol 3.0, 32 for 3.2
  LoopContext* loop = nullptr;
  Session* session = nullptr;
  std::string role, database, address, application;
  async::TimePoint since{};
  // Changing parts, under `mutex`.
  mutable std::mutex mutex;
  std::string state = "startup";  // active, idle, idle in transaction
  std::string statement;
  async::TimePoint state_since{};
};
using SessionEntryPtr = std::shared_ptr<SessionEntry>;

class Registry {
 public:
  // Gives the session a random process id that no other session of this node has, and a random key.
  SessionEntryPtr add(Session* session, LoopContext* loop, size_t key_bytes);
  void remove(const SessionEntryPtr& entry);
  // Constant-time comparison of the key; nullptr when nobody matches.
  SessionEntryPtr find(uint32_t pid, std::string_view key) const;
  SessionEntryPtr find(uint32_t pid) const;
  std::vector<SessionEntryPtr> all() const;
  size_t size() const;

 private:
  mutable std::mutex mutex_;
  std::unordered_map<uint32_t, SessionEntryPtr> sessions_;
};

// Refuses logins for a while after too many failures of one address and role; no permanent lock-out.
class LoginThrottle {
 public:
  bool is_blocked(const std::string& address, const std::string& role, int64_t failures, Duration window);
  void failed(const std::string& address, const std::string& role);
  void succeeded(const std::string& address, const std::string& role);

 private:
  static constexpr size_t kMaxEntries = 100'000;
  std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, std::deque<async::TimePoint>> failures_;
};

// The newest keys that each role's password is known to have, from logins and ALTER ROLE on this node:
// sessions that logged in before a change go on with them. In memory only.
class RoleKeys {
 public:
  using Keys = std::shared_ptr<const auth::PassThroughKeys>;
  void learn(const std::string& role, Keys keys);
  Keys newest(const std::string& role) const;

 private:
  static constexpr size_t kMaxEntries = 10'000;
  mutable std::mutex mutex_;
  std::map<std::string, Keys> known_;
};

// The current catalog of each logical database. Any loop; loading runs on the caller's loop.
class Catalogs {
 public:
  explicit Catalogs(Node& node) : node_(node) {}
  // Loads at first use.
  async::Task<Result<catalog::SnapshotPtr>> current(LoopContext& loop, std::string database);
  // Loads anew and publishes, e.g. after DDL.
  async::Task<Result<catalog::SnapshotPtr>> refresh(LoopContext& loop, std::string database);
  // What `connection`, in the middle of a transaction on the home unit, sees: for the session's own use until
  // it commits.
  async::Task<Result<catalog::SnapshotPtr>> load(backend::UnitConnection* connection);
  void forget(const std::string& database);
  std::vector<std::string> databases() const;
  // Grows whenever any database's catalog changes: who remembers it need not look again while it stands.
  uint64_t changes() const { return changes_.load(std::memory_order_acquire); }

 private:
  Node& node_;
  mutable std::mutex mutex_;
  std::map<std::string, catalog::SnapshotPtr> current_;
  std::atomic<uint64_t> last_version_{0};
  std::atomic<uint64_t> changes_{1};
};

struct Node {
  Node(Config config, std::string config_path, std::unique_ptr<meta::Store> store, std::string name);
  ~Node();

  std::shared_ptr<const Config> config() const { return config_.load(); }
  void set_config(Config config) {
    buffer_bytes.store(config.limits.session_buffer_bytes.value, std::memory_order_relaxed);
    slow_statement_us.store(std::chrono::microseconds(config.log.slow_statement).count(),
                            std::memory_order_relaxed);
    prepared_statements.store(static_cast<size_t>(config.pool.prepared_statements_per_connection),
                              std::memory_order_relaxed);
    config_.store(std::make_shared<const Config>(std::move(config)));
  }
  backend::UnitsPtr units() const { return units_.load(); }
  std::vector<UnitId> unit_ids() const;  // in ascending order
  // Reads the units from the metadata store and hands them to all loops. Error: the store can not be read.
  Status reload_units();
  UnitId home() const { return home_.load(); }
  backend::Identity service_identity(std::string database) const;  // of the home unit's record
  backend::PoolLimits pool_limits() const;
  // Work that blocks (the metadata store) on a thread of its own.
  void run_blocking(std::function<void()> work);

  const std::string name;  // compute node id
  const std::string config_path;
  std::unique_ptr<meta::Store> store;
  std::vector<std::unique_ptr<LoopContext>> loops;
  Registry registry;
  LoginThrottle throttle;
  RoleKeys role_keys;
  Catalogs catalogs{*this};
  std::unique_ptr<auth::ProofKey> proofs;
  std::unique_ptr<txn::GidSource> gids;
  ssl_ctx_st* tls_context = nullptr;
  std::string certificate_hash;  // for SCRAM-SHA-256-PLUS
  std::string mock_secret;       // mock verifiers of roles that do not exist
  std::atomic<bool> shutting_down{false};
  // What is asked for with every message: limits.session_buffer_bytes, log.slow_statement,
  // pool.prepared_statements_per_connection.
  std::atomic<size_t> buffer_bytes{0};
  std::atomic<int64_t> slow_statement_us{0};
  std::atomic<size_t> prepared_statements{0};
  std::atomic<int64_t> login_slots{0};
  std::atomic<bool> changing_units{false};  // a session registers or unregisters units
  std::unique_ptr<NotifyHub> notifications;
  // DistSQL variables (SET DIST VARIABLE) that this node honours; under `variables_mutex`.
  mutable std::mutex variables_mutex;
  std::map<std::string, std::string> variables;
  std::atomic<bool> show_sql{false};  // variable sql_show: log every statement's template and units

 private:
  async::Worker blocking_;
  std::atomic<std::shared_ptr<const Config>> config_;
  std::atomic<backend::UnitsPtr> units_{std::make_shared<const backend::Units>()};
  std::atomic<UnitId> home_{};
};

}  // namespace decan::session
