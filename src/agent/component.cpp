#include "agent/component.h"

#include <fmt/format.h>

#include "base/log.h"

namespace decan::agent {
namespace {

using namespace std::chrono_literals;

constexpr auto kReadinessInterval = 100ms;

}  // namespace

ComponentState Component::state() const {
  ComponentState out;
  out.name = name_;
  out.kind = kind_;
  out.phase = phase_;
  out.pid = process_ ? process_->pid() : 0;
  out.address = address();
  out.restarts = restarts_;
  out.since = since_;
  out.adopted = process_ && process_->adopted();
  out.message = message_;
  return out;
}

Component::Clock::time_point Component::due() const {
  switch (phase_) {
    case ComponentPhase::kStarting:
      return Clock::now() + kReadinessInterval;
    case ComponentPhase::kWaiting:
      return next_start_;
    case ComponentPhase::kStopped:
      return wanted_ ? Clock::now() : Clock::time_point::max();
    case ComponentPhase::kRunning:
      return Clock::time_point::max();
  }
  return Clock::time_point::max();
}

void Component::enter(ComponentPhase phase, Clock::time_point now) {
  phase_ = phase;
  entered_ = now;
  since_ = unix_time();
}

void Component::begin() {
  wanted_ = true;
}

void Component::rest() {
  wanted_ = false;
  process_.reset();
  message_.clear();
  enter(ComponentPhase::kStopped, Clock::now());
}

void Component::died(std::string message, Clock::time_point now) {
  const auto ran_for = std::chrono::duration_cast<std::chrono::milliseconds>(now - entered_);
  const bool was_running = phase_ == ComponentPhase::kRunning;
  const auto delay = backoff_.next(was_running ? ran_for : 0ms);
  process_.reset();
  message_ = std::move(message);
  ++failures_;
  next_start_ = now + delay;
  enter(ComponentPhase::kWaiting, now);
  log::warning("component is down",
               {{"component", name_}, {"reason", message_}, {"start_in_ms", delay.count()}});
}

bool Component::step(Clock::time_point now) {
  if (process_) {
    if (const auto exit = process_->poll()) {
      died(fmt::format("ended with {}", exit->to_string()), now);
      return true;
    }
    if (phase_ != ComponentPhase::kStarting || !is_ready()) return false;
    enter(ComponentPhase::kRunning, now);
    failures_ = 0;
    was_running_ = true;
    log::info("component is running", {{"component", name_}, {"pid", process_->pid()}});
    return true;
  }
  const bool start = phase_ == ComponentPhase::kWaiting ? now >= next_start_ : wanted_;
  if (!start) return false;
  if (was_running_ || failures_ > 0) ++restarts_;
  auto launched = launch();
  if (!launched) {
    died(launched.error().message, now);
    return true;
  }
  process_ = std::move(*launched);
  message_.clear();
  enter(ComponentPhase::kStarting, now);
  log::info(process_->adopted() ? "component was running and is adopted" : "component is started",
            {{"component", name_}, {"pid", process_->pid()}});
  return true;
}

}  // namespace decan::agent
