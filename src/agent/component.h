// A process that the supervisor keeps running: a storage unit or the compute node. One thread.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "agent/backoff.h"
#include "agent/process.h"
#include "agent/state.h"
#include "base/error.h"

namespace decan::agent {

class Component {
 public:
  using Clock = std::chrono::steady_clock;
  virtual ~Component() = default;

  ComponentState state() const;
  const std::string& name() const { return name_; }
  ComponentPhase phase() const { return phase_; }
  int failures() const { return failures_; }  // deaths since it was last running
  Process* process() { return process_ ? &*process_ : nullptr; }
  const std::string& message() const { return message_; }
  // When `step` has to be called again at the latest.
  Clock::time_point due() const;

  // Takes one action if one is due: notices that the process ended, starts it again, notices that it is
  // ready. True: the state changed.
  bool step(Clock::time_point now);
  void begin();  // from stopped: start at the next step
  void rest();   // after it was stopped: do not start it again

  virtual std::string last_words() const = 0;  // the end of its log
  // Asks it to end; `force` when it did not in time.
  virtual void ask_to_stop(bool force) = 0;
  virtual std::chrono::milliseconds patience() const = 0;

 protected:
  Component(std::string name, std::string kind) : name_(std::move(name)), kind_(std::move(kind)) {}
  virtual Result<Process> launch() = 0;  // starts or adopts
  virtual bool is_ready() = 0;
  virtual std::string address() const = 0;

 private:
  void enter(ComponentPhase phase, Clock::time_point now);
  void died(std::string message, Clock::time_point now);

  std::string name_, kind_, message_;
  ComponentPhase phase_ = ComponentPhase::kStopped;
  std::optional<Process> process_;
  Backoff backoff_;
  Clock::time_point entered_{}, next_start_{};
  int64_t since_ = 0, restarts_ = 0;
  int failures_ = 0;
  bool wanted_ = false, was_running_ = false;
};

}  // namespace decan::agent
