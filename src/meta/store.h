// The metadata store: a small versioned key-value store with compare-and-swap, watches and leases. Keys are
// paths ("units/ds_0"). Every write gets the next revision of the whole store. One machine: a SQLite file
// (meta/sqlite_store.h). Calls block for a few milliseconds at most: on an event loop, run them on the
// blocking pool. Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace decan::meta {

struct Entry {
  std::string key, value;
  int64_t mod_revision = 0;  // revision of the last write of this key
};

struct Operation {
  enum class Kind { kPut, kDelete } kind = Kind::kPut;
  std::string key = {}, value = {};
  // Compare: the key's mod_revision must be this; 0 = the key must not exist.
  std::optional<int64_t> expected_revision = {};
  std::optional<int64_t> lease = {};  // the key dies with this lease
};

class Store {
 public:
  virtual ~Store() = default;
  virtual Result<std::optional<Entry>> get(std::string_view key) = 0;
  virtual Result<std::vector<Entry>> list(std::string_view prefix) = 0;
  // All or nothing. nullopt: a comparison failed, nothing was written. Otherwise the new revision.
  virtual Result<std::optional<int64_t>> commit(const std::vector<Operation>& operations) = 0;
  virtual Result<int64_t> revision() = 0;
  virtual Result<int64_t> grant_lease(std::chrono::milliseconds ttl) = 0;
  virtual Status keep_alive(int64_t lease) = 0;
  virtual Status revoke(int64_t lease) = 0;
  // Calls back (on the store's own thread) after changes below `prefix`, also those made by other processes,
  // within 200 ms; changes may be coalesced. Stops when the returned handle dies.
  using WatchHandle = std::shared_ptr<void>;
  virtual WatchHandle watch(std::string prefix, std::function<void(int64_t revision)> on_change) = 0;
};

}  // namespace decan::meta
