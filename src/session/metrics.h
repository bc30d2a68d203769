// Counters of one loop, written by its thread only and read by the metrics endpoint: relaxed atomics.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace decan::session {

class Counter {
 public:
  void add(uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void sub(uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) - n, std::memory_order_relaxed);
  }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// Latencies in powers of two from 16 µs on.
class LatencyHistogram {
 public:
  static constexpr size_t kBuckets = 22;
  static constexpr uint64_t kFirstUs = 16;
  void record(uint64_t microseconds) {
    size_t bucket = 0;
    while (bucket + 1 < kBuckets && microseconds > (kFirstUs << bucket)) ++bucket;
    buckets_[bucket].add();
    sum_us_.add(microseconds);
  }
  uint64_t bucket(size_t i) const { return buckets_[i].value(); }
  uint64_t sum_us() const { return sum_us_.value(); }

 private:
  std::array<Counter, kBuckets> buckets_;
  Counter sum_us_;
};

// A query or batch of several statements is timed as the last of these that it holds.
enum class StatementTier { kSession, kRoute, kMerge, kDdl, kRefused };
inline constexpr size_t kTiers = 5;

struct Metrics {
  Counter sessions_open, sessions_total, logins_failed, logins_throttled;
  std::array<Counter, kTiers> statements;
  std::array<LatencyHistogram, kTiers> latency;
  Counter bytes_from_clients, bytes_to_clients;
  Counter plan_cache_hits, plan_cache_misses;
  Counter cancels, catalog_retries, deadlocks;
  // SQLSTATEs are few but open-ended: under a mutex, errors are not the hot path.
  void count_error(const std::string& sqlstate) {
    const std::lock_guard lock(mutex_);
    if (errors_.size() < 512) ++errors_[sqlstate];
  }
  std::map<std::string, uint64_t> errors() const {
    const std::lock_guard lock(mutex_);
    return errors_;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, uint64_t> errors_;
};

}  // namespace decan::session
