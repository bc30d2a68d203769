#include "txn/wait_graph.h"

#include <algorithm>
#include <map>
#include <set>

namespace decan::txn {
namespace {

// Vertices are transactions; a process of nobody's session is a vertex of its own.
class Graph {
 public:
  Graph(const std::vector<LockHolder>& transactions, std::vector<Wait> waits) : waits_(std::move(waits)) {
    for (size_t i = 0; i < transactions.size(); ++i) {
      for (const ServerProcess& process : transactions[i].processes) vertex_of_.emplace(process, i);
    }
    sessions_ = vertices_ = transactions.size();
    for (const Wait& wait : waits_) {
      for (const ServerProcess& process : {wait.waiter, wait.holder}) {
        if (vertex_of_.emplace(process, vertices_).second) ++vertices_;
      }
    }
    out_.resize(vertices_);
    for (size_t i = 0; i < waits_.size(); ++i) out_[vertex_of_.at(waits_[i].waiter)].push_back(i);
    state_.resize(vertices_, State::kNew);
  }

  std::vector<Deadlock> cycles() {
    std::vector<Deadlock> found;
    for (size_t vertex = 0; vertex < vertices_; ++vertex) {
      if (state_[vertex] == State::kNew) search(vertex, found);
    }
    return found;
  }

 private:
  enum class State : uint8_t { kNew, kOnPath, kDone };
  struct Step {
    size_t vertex;
    size_t next = 0;  // wait of the vertex to follow next
  };

  // Depth first, without recursion: chains may be long.
  void search(size_t start, std::vector<Deadlock>& found) {
    std::vector<Step> path = {{start}};
    state_[start] = State::kOnPath;
    while (!path.empty()) {
      Step& step = path.back();
      if (step.next == out_[step.vertex].size()) {
        state_[step.vertex] = State::kDone;
        path.pop_back();
        continue;
      }
      const Wait& wait = waits_[out_[step.vertex][step.next++]];
      const size_t holder = vertex_of_.at(wait.holder);
      if (state_[holder] == State::kNew) {
        state_[holder] = State::kOnPath;
        path.push_back({holder});
      } else if (state_[holder] == State::kOnPath) {
        close(path, holder, found);
      }
    }
  }

  // The path's end waits for `first`, which is on it.
  void close(std::vector<Step>& path, size_t first, std::vector<Deadlock>& found) {
    const auto from = std::ranges::find(path, first, &Step::vertex);
    Deadlock deadlock;
    for (auto step = from; step != path.end(); ++step) {
      if (broken_.contains(step->vertex)) return;
      deadlock.waits.push_back(waits_[out_[step->vertex][step->next - 1]]);
      deadlock.waiters.push_back(step->vertex < sessions_ ? step->vertex : Deadlock::kOther);
    }
    const UnitId unit = deadlock.waits.front().waiter.unit;
    if (std::ranges::all_of(deadlock.waits, [&](const Wait& wait) { return wait.waiter.unit == unit; }))
      return;
    for (auto step = from; step != path.end(); ++step) broken_.insert(step->vertex);
    found.push_back(std::move(deadlock));
  }

  std::vector<Wait> waits_;
  std::map<ServerProcess, size_t> vertex_of_;
  size_t sessions_ = 0, vertices_ = 0;
  std::vector<std::vector<size_t>> out_;  // per vertex: its waits
  std::vector<State> state_;
  std::set<size_t> broken_;  // vertices of a deadlock that was found
};

}  // namespace

std::vector<Deadlock> find_deadlocks(const std::vector<LockHolder>& transactions, std::vector<Wait> waits) {
  return Graph(transactions, std::move(waits)).cycles();
}

bool still_stands(const Deadlock& deadlock, const std::vector<LockHolder>& before,
                  const std::vector<LockHolder>& now, const std::vector<Wait>& waits_now) {
  for (size_t i = 0; i < deadlock.waits.size(); ++i) {
    if (std::ranges::find(waits_now, deadlock.waits[i]) == waits_now.end()) return false;
    if (deadlock.waiters[i] == Deadlock::kOther) continue;
    const LockHolder& earlier = before[deadlock.waiters[i]];
    const auto later = std::ranges::find(now, earlier.session, &LockHolder::session);
    if (later == now.end() || later->began != earlier.began) return false;
  }
  return true;
}

size_t victim_of(const Deadlock& deadlock, const std::vector<LockHolder>& transactions) {
  size_t victim = Deadlock::kOther;
  for (const size_t waiter : deadlock.waiters) {
    if (waiter == Deadlock::kOther || !transactions[waiter].may_be_ended) continue;
    if (victim == Deadlock::kOther || transactions[waiter].began > transactions[victim].began)
      victim = waiter;
  }
  return victim;
}

std::string describe(const Deadlock& deadlock, const std::vector<LockHolder>& transactions,
                     const std::vector<std::string>& unit_names) {
  const auto process = [&](size_t wait) {
    const size_t waiter = deadlock.waiters[wait];
    if (waiter != Deadlock::kOther) return "Process " + std::to_string(transactions[waiter].session);
    return "Server process " + std::to_string(deadlock.waits[wait].waiter.pid);
  };
  std::string text;
  for (size_t i = 0; i < deadlock.waits.size(); ++i) {
    const uint32_t unit = deadlock.waits[i].waiter.unit.value;
    std::string holder = process((i + 1) % deadlock.waits.size());
    holder[0] = static_cast<char>(holder[0] | 0x20);
    text += (text.empty() ? "" : "\n") + process(i) + " waits for " + holder + " on storage unit " +
            (unit < unit_names.size() ? unit_names[unit] : std::to_string(unit)) + ".";
  }
  return text;
}

}  // namespace decan::txn
