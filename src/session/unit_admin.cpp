// Storage units that are registered, altered and unregistered: what attach/ does, between the gates of this
// node and the metadata store.
#include <algorithm>

#include "attach/join.h"
#include "attach/load.h"
#include "base/log.h"
#include "session/session_admin.h"

namespace decan::session {
namespace {

constexpr auto kQuietFor = std::chrono::seconds(2);  // before progress is told

// One session of a node at a time.
class OnlyOne {
 public:
  explicit OnlyOne(std::atomic<bool>& taken) : taken_(taken), mine_(!taken.exchange(true)) {}
  ~OnlyOne() {
    if (mine_) taken_.store(false);
  }
  OnlyOne(const OnlyOne&) = delete;
  OnlyOne& operator=(const OnlyOne&) = delete;
  explicit operator bool() const { return mine_; }

 private:
  std::atomic<bool>& taken_;
  bool mine_;
};

std::unexpected<Error> taken() {
  return fail(sqlstate::kLockNotAvailable, "another session registers or unregisters storage units", {},
              "Try again when it is done.");
}

}  // namespace

attach::Ground SessionAdmin::ground() {
  Session& session = session_;
  return {
      session.loop_.loop,
      session.node_.units(),
      session.node_.home(),
      *session.node_.proofs,
      session.node_.config()->units.binaries,
      [&node = session.node_](backend::UnitConnection* connection) { return node.catalogs.load(connection); },
      [&session, since = async::Clock::now()](std::string text) {
        if (async::Clock::now() - since < kQuietFor) return;
        session.send_notice("NOTICE", Error{"00000", std::move(text)});
        (void)session.port_.try_flush();
      }};
}

Task<Result<meta::UnitRecord>> SessionAdmin::check_unit(meta::UnitRecord unit,
                                                        std::optional<meta::UnitRecord> before) {
  attach::Ground here = ground();
  co_return co_await attach::check_server(here, std::move(unit), std::move(before));
}

template <class T>
Task<Result<T>> SessionAdmin::alone(Task<Result<T>> change) {
  const OnlyOne only(session_.node_.changing_units);
  if (!only) co_return taken();
  Result<T> done;
  if (auto shut_out = co_await session_.shut_out_all_units(); !shut_out)
    done = fail(shut_out.error());
  else
    done = co_await std::move(change);
  session_.open_gate();
  co_return done;
}

Task<Result<std::vector<std::string>>> SessionAdmin::add_unit(meta::UnitRecord unit) {
  co_return co_await alone(add_shut_out(std::move(unit)));
}

Task<Result<std::vector<std::string>>> SessionAdmin::add_shut_out(meta::UnitRecord unit) {
  const auto claim = [&unit](meta::Store& store) -> Status {
    const auto ordinal = meta::claim_ordinal(store);
    if (!ordinal) return fail(ordinal.error());
    unit.ordinal = *ordinal;
    return {};
  };
  if (auto claimed = co_await with_store(claim); !claimed) co_return fail(claimed.error());
  attach::Ground here = ground();
  attach::HomeLocks locks(here);
  if (auto locked = co_await locks.take(); !locked) co_return fail(locked.error());
  attach::Join join(here, locks, unit);
  if (auto prepared = co_await join.prepare(); !prepared) {
    co_await join.undo();
    co_return fail(prepared.error());
  }
  if (auto committed = co_await join.commit(); !committed) co_return fail(committed.error());
  const auto save = [unit](meta::Store& store) { return meta::save_unit(store, unit, true); };
  if (auto saved = co_await with_store(save); !saved) co_return fail(saved.error());
  if (auto changed = co_await units_changed(); !changed) co_return fail(changed.error());
  auto loaded = co_await load_shut_out(unit);
  if (!loaded) {
    (void)co_await with_store([unit](meta::Store& store) { return meta::remove_unit(store, unit.name); });
    (void)co_await units_changed();
    attach::Ground after = ground();
    (void)co_await attach::leave(after, unit);
    co_return fail(loaded.error());
  }
  log::info("storage unit registered", {{"unit", unit.name}, {"tables", std::to_string(*loaded)}});
  std::vector<std::string> notices;
  if (*loaded > 0)
    notices.push_back(std::to_string(*loaded) + " tables of storage unit \"" + unit.name +
                      "\" are single tables of the cluster now");
  co_return notices;
}

// What the unit came with, in every database.
Task<Result<uint64_t>> SessionAdmin::load_shut_out(meta::UnitRecord unit) {
  attach::Ground here = ground();
  auto databases = co_await attach::logical_databases(here);
  if (!databases) co_return fail(databases.error());
  uint64_t tables = 0;
  for (const std::string& database : *databases) {
    Node& node = session_.node_;
    auto loaded = co_await attach::load_tables(
        here, {session_.loop_.pool, *node.gids, node.service_identity(database)}, database, unit);
    if (!loaded) {
      Error error = loaded.error();
      error.message = "the tables of storage unit \"" + unit.name + "\" can not be taken over, database \"" +
                      database + "\": " + error.message;
      co_return fail(std::move(error));
    }
    tables += *loaded;
    auto refreshed = co_await node.catalogs.refresh(session_.loop_, database);
    if (!refreshed) co_return fail(refreshed.error());
  }
  co_return tables;
}

Task<Result<uint64_t>> SessionAdmin::load_tables(meta::UnitRecord unit) {
  co_return co_await alone(load_shut_out(std::move(unit)));
}

Task<Result<std::vector<std::string>>> SessionAdmin::remove_unit(meta::UnitRecord unit, MayLeave may_leave) {
  co_return co_await alone(remove_shut_out(std::move(unit), std::move(may_leave)));
}

Task<Result<std::vector<std::string>>> SessionAdmin::remove_shut_out(meta::UnitRecord unit,
                                                                     MayLeave may_leave) {
  attach::Ground here = ground();
  attach::HomeLocks locks(here);
  if (auto locked = co_await locks.take(); !locked) co_return fail(locked.error());
  std::vector<catalog::SnapshotPtr> catalogs;
  for (auto& database : locks.databases()) {
    auto snapshot = co_await session_.node_.catalogs.load(database.home.get());
    if (!snapshot) co_return fail(snapshot.error());
    catalogs.push_back(std::move(*snapshot));
  }
  if (auto may = may_leave(catalogs); !may) co_return fail(may.error());
  for (auto& database : locks.databases()) {
    if (auto gone =
            co_await attach::run(*database.home, "SELECT decan.detach(" + std::to_string(unit.ordinal) + ")");
        !gone)
      co_return fail(gone.error());
  }
  // Home first: it must not name a unit that does not exist.
  if (auto committed = co_await locks.commit(); !committed) co_return fail(committed.error());
  const auto remove = [name = unit.name](meta::Store& store) { return meta::remove_unit(store, name); };
  if (auto removed = co_await with_store(remove); !removed) co_return fail(removed.error());
  if (auto changed = co_await units_changed(); !changed) co_return fail(changed.error());
  log::info("storage unit unregistered", {{"unit", unit.name}});
  std::vector<std::string> notices;
  auto left = co_await attach::leave(here, unit);
  if (!left) {
    notices.push_back("the server of storage unit \"" + unit.name + "\" was not cleaned (" +
                      left.error().message +
                      "): its event triggers decan_ddl_end and decan_drop and its schemas decan and "
                      "decan_shard may be dropped");
    co_return notices;
  }
  for (const std::string& object : *left)
    notices.push_back("left on the server of storage unit \"" + unit.name +
                      "\", since other objects depend on it: " + object);
  co_return notices;
}

Task<Status> SessionAdmin::units_changed() {
  Node& node = session_.node_;
  if (auto reloaded = node.reload_units(); !reloaded) co_return reloaded;
  for (const std::string& database : node.catalogs.databases()) {
    auto refreshed = co_await node.catalogs.refresh(session_.loop_, database);
    if (!refreshed) co_return fail(refreshed.error());
  }
  co_return Status{};
}

}  // namespace decan::session
