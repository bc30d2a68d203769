#include "session/node.h"

#include <openssl/ssl.h>

#include "auth/crypto.h"
#include "auth/scram.h"
#include "base/log.h"
#include "catalog/loader.h"
#include "meta/topology.h"
#include "session/notify_hub.h"

namespace decan::session {

using async::Task;

LoopContext::LoopContext(unsigned index, backend::UnitsPtr units, const backend::PoolLimits& limits,
                         size_t cache_bytes)
    : loop(index), pool(loop, std::move(units), limits), statements(cache_bytes) {}
LoopContext::~LoopContext() = default;

// --- Registry ---

SessionEntryPtr Registry::add(Session* session, LoopContext* loop, size_t key_bytes) {
  auto entry = std::make_shared<SessionEntry>();
  entry->session = session;
  entry->loop = loop;
  entry->key = auth::random_bytes(key_bytes);
  entry->since = entry->state_since = async::Clock::now();
  const std::lock_guard lock(mutex_);
  do {
    const std::string bytes = auth::random_bytes(4);
    uint32_t pid = 0;
    for (const char byte : bytes) pid = (pid << 8) | static_cast<unsigned char>(byte);
    entry->pid = pid & 0x7fffffff;  // clients print it as a signed number
  } while (entry->pid == 0 || sessions_.contains(entry->pid));
  sessions_.emplace(entry->pid, entry);
  return entry;
}

void Registry::remove(const SessionEntryPtr& entry) {
  const std::lock_guard lock(mutex_);
  sessions_.erase(entry->pid);
}

SessionEntryPtr Registry::find(uint32_t pid, std::string_view key) const {
  auto entry = find(pid);
  return entry && auth::constant_time_equal(entry->key, key) ? entry : nullptr;
}

SessionEntryPtr Registry::find(uint32_t pid) const {
  const std::lock_guard lock(mutex_);
  const auto found = sessions_.find(pid);
  return found == sessions_.end() ? nullptr : found->second;
}

std::vector<SessionEntryPtr> Registry::all() const {
  const std::lock_guard lock(mutex_);
  std::vector<SessionEntryPtr> entries;
  for (const auto& [pid, entry] : sessions_) entries.push_back(entry);
  return entries;
}

size_t Registry::size() const {
  const std::lock_guard lock(mutex_);
  return sessions_.size();
}

// --- LoginThrottle ---

bool LoginThrottle::is_blocked(const std::string& address, const std::string& role, int64_t failures,
                               Duration window) {
  if (failures <= 0) return false;
  const std::lock_guard lock(mutex_);
  const auto found = failures_.find({address, role});
  if (found == failures_.end()) return false;
  auto& times = found->second;
  while (!times.empty() && async::Clock::now() - times.front() > window) times.pop_front();
  if (times.empty())
    failures_.erase(found);
  else
    return static_cast<int64_t>(times.size()) >= failures;
  return false;
}

void LoginThrottle::failed(const std::string& address, const std::string& role) {
  const std::lock_guard lock(mutex_);
  if (failures_.size() >= kMaxEntries) failures_.erase(failures_.begin());
  auto& times = failures_[{address, role}];
  times.push_back(async::Clock::now());
  if (times.size() > 1000) times.pop_front();
}

void LoginThrottle::succeeded(const std::string& address, const std::string& role) {
  const std::lock_guard lock(mutex_);
  failures_.erase({address, role});
}

// --- RoleKeys ---

void RoleKeys::learn(const std::string& role, Keys keys) {
  const std::lock_guard lock(mutex_);
  if (known_.size() >= kMaxEntries && !known_.contains(role)) known_.erase(known_.begin());
  known_[role] = std::move(keys);
}

RoleKeys::Keys RoleKeys::newest(const std::string& role) const {
  const std::lock_guard lock(mutex_);
  const auto found = known_.find(role);
  return found == known_.end() ? nullptr : found->second;
}

// --- Catalogs ---

Task<Result<catalog::SnapshotPtr>> Catalogs::current(LoopContext& loop, std::string database) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = current_.find(database); found != current_.end()) co_return found->second;
  }
  co_return co_await refresh(loop, std::move(database));
}

Task<Result<catalog::SnapshotPtr>> Catalogs::refresh(LoopContext& loop, std::string database) {
  const backend::Identity service = node_.service_identity(database);
  auto connection = co_await loop.pool.acquire(node_.home(), service);
  if (!connection) co_return fail(connection.error());
  auto loaded = co_await load(connection->get());
  loop.pool.release(std::move(*connection));
  if (!loaded) co_return fail(loaded.error());
  const std::lock_guard lock(mutex_);
  auto& current = current_[database];
  // Two loads may overlap: the one that began later wins.
  if (!current || current->version < (*loaded)->version) current = *loaded;
  changes_.fetch_add(1, std::memory_order_release);
  co_return current;
}

Task<Result<catalog::SnapshotPtr>> Catalogs::load(backend::UnitConnection* connection) {
  const uint64_t version = ++last_version_;
  // All of it as of one moment: an epoch that is newer than the tables would make every guard pass in vain.
  // Inside a client's transaction, whose isolation is its own, it is read again when a change came between.
  const bool block = connection->tx_status() != 'I';
  const std::string epoch = "SELECT epoch FROM decan.map;";
  const std::string before = block ? epoch : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;";
  const std::string sql = before + catalog::snapshot_query() + ";" + (block ? epoch : "COMMIT");
  constexpr int kTries = 10;
  catalog::CatalogRows rows;
  for (int i = 0; i < kTries; ++i) {
    auto results = co_await connection->query(sql);
    if (!results) co_return fail(results.error());
    rows.results.clear();
    for (size_t k = 1; k + 1 < results->size(); ++k) rows.results.push_back(std::move((*results)[k].rows));
    if (!block || results->front().rows == results->back().rows) break;
  }
  co_return catalog::build_snapshot(rows, version, connection->identity().database, node_.unit_ids(),
                                    node_.home());
}

void Catalogs::forget(const std::string& database) {
  const std::lock_guard lock(mutex_);
  current_.erase(database);
  changes_.fetch_add(1, std::memory_order_release);
}

std::vector<std::string> Catalogs::databases() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [name, snapshot] : current_) names.push_back(name);
  return names;
}

// --- Node ---

Node::Node(Config config, std::string path, std::unique_ptr<meta::Store> metadata, std::string node_name)
    : name(std::move(node_name)),
      config_path(std::move(path)),
      store(std::move(metadata)),
      mock_secret(auth::random_bytes(32)) {
  set_config(std::move(config));
  const auto start = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::system_clock::now().time_since_epoch());
  variables["sql_show"] = "false";
  if (const auto stored = store->get("variables/sql_show"); stored && *stored) {
    variables["sql_show"] = (*stored)->value;
    show_sql = (*stored)->value == "true";
  }
  variables["max_unit_connections"] = std::to_string(this->config()->limits.max_unit_connections);
  variables["merge_memory_bytes"] = std::to_string(this->config()->limits.merge_memory.value);
  const auto secret = meta::cluster_secret(*store, auth::hex(auth::random_bytes(32)));
  if (!secret) log::error("the cluster's secret can not be read", {{"reason", secret.error().message}});
  proofs = std::make_unique<auth::ProofKey>(secret ? *secret : std::string());
  gids = std::make_unique<txn::GidSource>(name, start.count(), *proofs);
}

Node::~Node() {
  SSL_CTX_free(tls_context);
}

Status Node::reload_units() {
  auto records = meta::load_units(*store);
  if (!records) return fail(records.error());
  auto home_name = meta::home_unit(*store);
  if (!home_name) return fail(home_name.error());
  auto units = std::make_shared<backend::Units>();
  for (auto& record : *records) {
    const uint32_t ordinal = record.ordinal;
    if (units->size() <= ordinal) units->resize(ordinal + 1);
    if (record.name == *home_name) home_.store(UnitId{ordinal});
    (*units)[ordinal] = std::move(record);
  }
  const backend::UnitsPtr shared = units;
  units_.store(shared);
  for (const auto& loop : loops) {
    loop->loop.post([context = loop.get(), shared] { context->pool.update_units(shared); });
  }
  return {};
}

std::vector<UnitId> Node::unit_ids() const {
  std::vector<UnitId> all;
  const auto units = this->units();
  for (uint32_t i = 0; i < units->size(); ++i) {
    if ((*units)[i]) all.push_back(UnitId{i});
  }
  return all;
}

void Node::run_blocking(std::function<void()> work) {
  blocking_.post(std::move(work));
}

backend::Identity Node::service_identity(std::string database) const {
  backend::Identity identity;
  const backend::UnitsPtr all = units();
  const auto& record = (*all)[home().value];
  identity.role = record ? record->service_user : "postgres";
  identity.database = std::move(database);
  // Each unit has its own service password; the connection takes it from the unit's record.
  return identity;
}

backend::PoolLimits Node::pool_limits() const {
  const auto current = config();
  const auto threads = static_cast<size_t>(effective_threads(*current));
  backend::PoolLimits limits;
  limits.max_per_unit =
      std::max<size_t>(1, static_cast<size_t>(current->limits.max_unit_connections) / threads);
  limits.queue_timeout = current->pool.queue_timeout;
  limits.idle_timeout = current->pool.idle_timeout;
  limits.max_lifetime = current->pool.max_lifetime;
  limits.connect_timeout = current->pool.connect_timeout;
  return limits;
}

}  // namespace decan::session
