// The two kinds of component, and what the supervisor has to do around them.
#pragma once

#include <string>

#include "agent/bootstrap.h"
#include "agent/component.h"
#include "agent/layout.h"
#include "agent/unit_server.h"
#include "base/config.h"
#include "meta/store.h"

namespace decan::agent {

class UnitPart final : public Component {
 public:
  UnitPart(UnitServer server, UnitPlan plan, meta::Store& store)
      : Component(plan.name, "unit"), server_(std::move(server)), plan_(std::move(plan)), store_(store) {}
  const UnitServer& server() const { return server_; }
  const UnitPlan& plan() const { return plan_; }
  std::string last_words() const override;
  void ask_to_stop(bool force) override;
  std::chrono::milliseconds patience() const override;

 protected:
  Result<Process> launch() override;
  bool is_ready() override;
  std::string address() const override;

 private:
  Status move_to_free_port();
  UnitServer server_;
  UnitPlan plan_;
  meta::Store& store_;
};

class ComputePart final : public Component {
 public:
  ComputePart(const Layout& layout, const Config& config, Command command);
  std::string last_words() const override;
  void ask_to_stop(bool force) override;
  std::chrono::milliseconds patience() const override;

 protected:
  Result<Process> launch() override;
  bool is_ready() override;
  std::string address() const override;

 private:
  Layout layout_;
  Config config_;
  Command command_;
};

// Ends a compute node whose supervisor was killed.
Status stop_orphaned_compute(const Layout& layout);
// A TCP connection is accepted there.
bool accepts(const ListenAddress& address);
// Keeps a log below kMaxLogBytes: what is there moves to <path>.1, and .1 to .2, .2 to .3.
inline constexpr uint64_t kMaxLogBytes = 64u << 20;
void rotate_log(const std::string& path);

}  // namespace decan::agent
