#include "agent/supervisor.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <thread>
#include <vector>

#include "agent/bootstrap.h"
#include "agent/certificate.h"
#include "agent/component.h"
#include "agent/credentials.h"
#include "agent/demo.h"
#include "agent/files.h"
#include "agent/parts.h"
#include "agent/state.h"
#include "base/log.h"
#include "meta/sqlite_store.h"

namespace decan::agent {
namespace {

using namespace std::chrono_literals;
using Clock = Component::Clock;

constexpr int kFailuresAtStart = 3;  // then the start as a whole fails
constexpr auto kHousekeeping = 10s;
constexpr std::string_view kDemoKey = "agent/demo";  // loading, done, no

class Supervisor {
 public:
  explicit Supervisor(SupervisorOptions options) : options_(std::move(options)), config_(options_.config) {}
  Status run();

 private:
  Status start();
  Status create_units();
  Status await_initdb(std::vector<Process>& processes);
  Status start_units();
  Status bootstrap_units();
  Status start_compute();
  Status decide_demo();
  void begin_demo();
  void finish_demo();
  void serve();
  void stop_everything();
  void stop(std::vector<Component*> components);

  // Waits for at most `at_most` for something to do and does it. False: told to stop.
  bool tick(std::chrono::milliseconds at_most);
  void read_signals();
  void reload();
  void housekeeping();
  Status await_running(const std::vector<Component*>& components);
  void enter(Phase phase, std::string note = {});
  void publish();
  std::vector<Component*> components() const;

  SupervisorOptions options_;
  Config config_;
  Descriptor signals_;
  bool stop_ = false;
  std::unique_ptr<meta::Store> store_;
  std::vector<UnitPlan> plans_;
  std::vector<UnitServer> servers_;  // as planned; each part has its own copy
  std::vector<std::unique_ptr<UnitPart>> units_;
  std::unique_ptr<ComputePart> compute_;
  ClusterState state_;
  Clock::time_point next_housekeeping_{};
  std::thread demo_thread_;
  std::atomic<bool> demo_ended_{false};
  Status demo_outcome_;  // written by the thread before demo_ended_
};

std::unexpected<Error> interrupted() {
  return fail(sqlstate::kAdminShutdown, "interrupted", {}, "Run 'decan up' again; it goes on where it was.");
}

// A supervisor that was killed while it started a process leaves its lock to that process for an instant,
// until it executes.
Result<std::optional<FileLock>> lock_patiently(const std::string& path) {
  for (int attempt = 0;; ++attempt) {
    auto lock = FileLock::try_lock(path);
    if (!lock || *lock || attempt == 40) return lock;
    const auto holder = FileLock::holder(path);
    if (holder && Process::adopt(*holder)) return lock;
    std::this_thread::sleep_for(50ms);
  }
}

Status Supervisor::run() {
  auto lock = lock_patiently(options_.layout.supervisor_lock());
  if (!lock) return fail(lock.error());
  if (!*lock) return fail("55006", fmt::format("a supervisor already runs for {}", options_.layout.root));
  sigset_t set;
  ::sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&set, number);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  raise_file_limit();
  signals_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) return fail(system_error("can not receive signals", errno));
  state_.supervisor_pid = ::getpid();
  log::info("supervisor starts", {{"directory", options_.layout.root}, {"version", DECAN_VERSION}});
  Status started = start();
  if (started) serve();
  if (!started && stop_) started = {};  // told to stop while it started: no failure
  if (!started) log::error("start failed", {{"reason", started.error().message}});
  enter(Phase::kStopping);
  stop_everything();
  if (!started) state_.error = started.error();
  enter(started ? Phase::kStopped : Phase::kFailed);
  log::info("supervisor ends");
  return started;
}

Status Supervisor::start() {
  enter(Phase::kPreparing);
  if (Status done = UnitServer::check_programs(config_.units.binaries); !done) return done;
  if (Status done = stop_orphaned_compute(options_.layout); !done) return done;
  auto store = meta::open_sqlite_store(options_.layout.meta());
  if (!store) return fail(store.error());
  store_ = std::move(*store);
  const auto complete = is_bootstrapped(*store_);
  if (!complete) return fail(complete.error());
  state_.first_start = !*complete;
  if (config_.tls.mode != TlsMode::kOff && config_.tls.certificate == options_.layout.certificate()) {
    if (Status done = ensure_certificate(config_.tls.certificate, config_.tls.key); !done) return done;
  }
  if (Status done = create_units(); !done) return done;
  if (Status done = start_units(); !done) return done;
  if (Status done = bootstrap_units(); !done) return done;
  if (options_.compute) {
    if (Status done = start_compute(); !done) return done;
    begin_demo();
  }
  if (!demo_thread_.joinable()) enter(Phase::kReady, state_.note);
  return {};
}

Status Supervisor::create_units() {
  auto plans = plan_units(*store_, {options_.units, static_cast<uint16_t>(config_.units.first_port)});
  if (!plans) return fail(plans.error());
  plans_ = std::move(*plans);
  std::vector<UnitServer> missing;
  for (const UnitPlan& plan : plans_) {
    servers_.emplace_back(UnitServer::Options{.name = plan.name,
                                              .directory = options_.layout.unit(plan.name),
                                              .socket_directory = options_.layout.socket_directory,
                                              .port = plan.port,
                                              .superuser_password = plan.password,
                                              .settings = config_.units});
    if (Status done = servers_.back().check_version(); !done) return done;
    if (servers_.back().is_made()) continue;
    if (!state_.first_start) {
      return fail(sqlstate::kDataCorrupted,
                  fmt::format("the data of storage unit {} is gone: there is no {}", plan.name,
                              servers_.back().data()),
                  {}, "Restore the directory from a copy, or 'decan destroy' the cluster.");
    }
    missing.push_back(servers_.back());
  }
  if (missing.empty()) return {};
  enter(Phase::kCreatingUnits, fmt::format("{} of {}", missing.size(), plans_.size()));
  std::vector<Process> processes;
  for (const UnitServer& server : missing) {
    auto process = server.start_initdb();
    if (!process) return fail(process.error());
    processes.push_back(std::move(*process));
  }
  if (Status done = await_initdb(processes); !done) return done;
  for (size_t i = 0; i < missing.size(); ++i) {
    if (Status done = missing[i].finish_initdb(*processes[i].poll()); !done) return done;
    log::info("storage unit is created", {{"unit", missing[i].name()}, {"directory", missing[i].data()}});
  }
  return {};
}

Status Supervisor::await_initdb(std::vector<Process>& processes) {
  while (std::ranges::any_of(processes, [](Process& p) { return !p.poll(); })) {
    if (tick(100ms)) continue;
    for (Process& process : processes) process.signal(SIGTERM);
    for (Process& process : processes) {
      if (!process.wait(5s)) process.signal(SIGKILL);
    }
    return interrupted();
  }
  return {};
}

Status Supervisor::start_units() {
  enter(Phase::kStartingUnits);
  for (size_t i = 0; i < servers_.size(); ++i) {
    units_.push_back(std::make_unique<UnitPart>(servers_[i], plans_[i], *store_));
    units_.back()->begin();
  }
  publish();
  std::vector<Component*> all;
  for (const auto& unit : units_) all.push_back(unit.get());
  return await_running(all);
}

Status Supervisor::bootstrap_units() {
  enter(Phase::kBootstrapping);
  const auto password = ensure_owner_password(options_.layout);
  if (!password) return fail(password.error());
  std::vector<UnitServer> servers;
  std::vector<UnitPlan> plans;
  for (const auto& unit : units_) {  // a port may have changed at the start
    servers.push_back(unit->server());
    plans.push_back(unit->plan());
  }
  if (Status done = decide_demo(); !done) return done;
  const BootstrapOptions options{*password, options_.schema_sql, [this] { return !tick(0ms); }};
  return bootstrap(*store_, servers, plans, options);
}

// Whether demo data is wanted is decided once, before anybody could have made tables of his own.
Status Supervisor::decide_demo() {
  const auto decided = store_->get(kDemoKey);
  if (!decided) return fail(decided.error());
  if (!state_.first_start || *decided) return {};
  const auto revision = store_->commit(
      {meta::Operation{.key = std::string(kDemoKey), .value = options_.demo ? "loading" : "no"}});
  if (!revision) return fail(revision.error());
  return {};
}

Status Supervisor::start_compute() {
  enter(Phase::kStartingCompute);
  compute_ = std::make_unique<ComputePart>(options_.layout, config_, *options_.compute);
  compute_->begin();
  return await_running({compute_.get()});
}

std::unexpected<Error> does_not_start(const Component& component) {
  const std::string words = component.last_words();
  if (words.find("No space left on device") != std::string::npos) {
    return fail(sqlstate::kDiskFull, fmt::format("{} does not start: the disk is full", component.name()),
                words, "Free some space and run 'decan up' again.");
  }
  return fail(sqlstate::kObjectNotInPrerequisiteState,
              fmt::format("{} does not start: {}", component.name(), component.message()), words,
              fmt::format("'decan logs {}' shows more.", component.name()));
}

Status Supervisor::await_running(const std::vector<Component*>& awaited) {
  const auto started = Clock::now();
  auto last_note = started;
  for (;;) {
    std::string waits_for;
    for (Component* component : awaited) {
      if (component->phase() == ComponentPhase::kRunning) continue;
      waits_for += (waits_for.empty() ? "" : ", ") + component->name();
      if (component->failures() < kFailuresAtStart) continue;
      return does_not_start(*component);
    }
    if (waits_for.empty()) return {};
    if (Clock::now() - last_note > 2s) {
      last_note = Clock::now();
      const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(last_note - started).count();
      state_.note = fmt::format("waiting for {}, {} s", waits_for, seconds);
      publish();
    }
    if (!tick(100ms)) return interrupted();
  }
}

void Supervisor::begin_demo() {
  const auto decided = store_->get(kDemoKey);
  if (!decided || !*decided || (*decided)->value != "loading") return;
  const auto password = stored_password(options_.layout, kOwnerRole);
  if (!password || !*password) return;
  enter(Phase::kLoadingDemo);
  UrlOptions url;
  url.password = **password;
  url.connect_timeout_s = 10;
  demo_thread_ = std::thread([this, dsn = client_url(config_, url)] {
    demo_outcome_ = load_demo(dsn);
    demo_ended_.store(true);
  });
}

void Supervisor::finish_demo() {
  demo_thread_.join();
  demo_ended_ = false;
  std::string note;
  if (demo_outcome_) {
    (void)store_->commit({meta::Operation{.key = std::string(kDemoKey), .value = "done"}});
  } else {
    note = "demo data could not be loaded: " + demo_outcome_.error().message;
    log::warning("demo data could not be loaded",
                 {{"reason", demo_outcome_.error().message}, {"hint", "the next 'decan up' tries again"}});
  }
  if (!stop_) enter(Phase::kReady, note);
}

void Supervisor::serve() {
  log::info("cluster is up");
  while (tick(1s)) {
    if (demo_thread_.joinable() && demo_ended_) finish_demo();
  }
}

std::vector<Component*> Supervisor::components() const {
  std::vector<Component*> out;
  for (const auto& unit : units_) out.push_back(unit.get());
  if (compute_) out.push_back(compute_.get());
  return out;
}

bool Supervisor::tick(std::chrono::milliseconds at_most) {
  const std::vector<Component*> all = components();
  auto until = Clock::now() + at_most;
  std::vector<pollfd> events = {{signals_.get(), POLLIN, 0}};
  for (Component* component : all) {
    until = std::min(until, component->due());
    if (component->process()) events.push_back({component->process()->pidfd(), POLLIN, 0});
  }
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
  ::poll(events.data(), events.size(), static_cast<int>(std::max(wait, 0ms).count()));
  read_signals();
  if (stop_) return false;
  bool changed = false;
  for (Component* component : all) changed = component->step(Clock::now()) || changed;
  if (changed) publish();
  if (Clock::now() >= next_housekeeping_) housekeeping();
  return true;
}

void Supervisor::read_signals() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGHUP) {
      reload();
    } else if (!stop_) {
      log::info("supervisor is told to stop", {{"signal", info.ssi_signo}});
      stop_ = true;
    }
  }
}

void Supervisor::reload() {
  const auto loaded = load_config(options_.layout.config());
  if (!loaded) {
    log::error("configuration is not reloaded", {{"reason", loaded.error().message}});
    return;
  }
  Reload plan = plan_reload(config_, *loaded);
  for (const std::string& key : plan.changed) log::info("configuration is changed", {{"key", key}});
  for (const std::string& key : plan.need_restart)
    log::warning("key takes effect at the next start", {{"key", key}});
  config_ = std::move(plan.config);
  log::configure(config_.log.level, config_.log.format);
  if (compute_ && compute_->process()) compute_->process()->signal(SIGHUP);
}

void Supervisor::housekeeping() {
  next_housekeeping_ = Clock::now() + kHousekeeping;
  for (const char* name : {"supervisor", "compute"}) rotate_log(options_.layout.log(name));
}

void Supervisor::stop(std::vector<Component*> stopping) {
  auto deadline = Clock::now();
  for (Component* component : stopping) {
    if (!component->process()) continue;
    deadline = std::max(deadline, Clock::now() + component->patience());
    component->ask_to_stop(false);
  }
  for (const bool force : {false, true}) {
    for (Component* component : stopping) {
      if (!component->process()) continue;
      if (force) component->ask_to_stop(true);
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
      if (component->process()->wait(force ? 10s : std::max(left, 0ms))) {
        log::info("component is stopped", {{"component", component->name()}});
        component->rest();
        publish();
      }
    }
  }
}

void Supervisor::stop_everything() {
  if (compute_) stop({compute_.get()});
  if (demo_thread_.joinable()) demo_thread_.join();  // its connection is gone
  std::vector<Component*> all;
  for (const auto& unit : units_) all.push_back(unit.get());
  stop(all);
}

void Supervisor::enter(Phase phase, std::string note) {
  state_.phase = phase;
  state_.since = unix_time();
  state_.note = std::move(note);
  publish();
}

void Supervisor::publish() {
  state_.components.clear();
  for (const Component* component : components()) state_.components.push_back(component->state());
  if (Status done = write_state(options_.layout.state(), state_); !done) {
    log::warning("the state file can not be written", {{"reason", done.error().message}});
  }
}

}  // namespace

Status run_supervisor(SupervisorOptions options) {
  return Supervisor(std::move(options)).run();
}

}  // namespace decan::agent
