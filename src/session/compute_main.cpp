#include "session/compute_main.h"

#include <malloc.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <csignal>
#include <set>
#include <thread>

#include "async/listener.h"
#include "async/signals.h"
#include "async/stream.h"
#include "auth/scram.h"
#include "base/log.h"
#include "meta/sqlite_store.h"
#include "session/deadlocks.h"
#include "session/http_endpoint.h"
#include "session/notify_hub.h"
#include "session/session.h"
#include "txn/resolver.h"

namespace decan::session {
namespace {

constexpr auto kResolveEvery = std::chrono::seconds(2);
constexpr auto kOrphanAge = std::chrono::seconds(5);
constexpr auto kEpochWithin = std::chrono::seconds(10);

int select_alpn(SSL*, const unsigned char** out, unsigned char* out_length, const unsigned char* in,
                unsigned in_length, void*) {
  static constexpr unsigned char kProtocol[] = "\x0apostgresql";
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_length, kProtocol, sizeof kProtocol - 1, in, in_length) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

Status load_tls(Node& node, const Config::Tls& tls) {
  if (tls.mode == TlsMode::kOff) return {};
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_alpn_select_cb(context, select_alpn, nullptr);
  if (SSL_CTX_use_certificate_chain_file(context, tls.certificate.c_str()) != 1 ||
      SSL_CTX_use_PrivateKey_file(context, tls.key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context) != 1) {
    SSL_CTX_free(context);
    return fail("F0000", "the TLS certificate or key can not be used", tls.certificate,
                "See tls.certificate and tls.key in the configuration.");
  }
  unsigned char* der = nullptr;
  const int bytes = i2d_X509(SSL_CTX_get0_certificate(context), &der);
  if (bytes > 0) {
    if (auto hash = auth::certificate_hash({reinterpret_cast<char*>(der), static_cast<size_t>(bytes)}))
      node.certificate_hash = *hash;
    OPENSSL_free(der);
  }
  node.tls_context = context;
  return {};
}

// Accepts on loop 0 and hands connections to the loops in turn.
class Server {
 public:
  explicit Server(Node& node) : node_(node) {}

  Status listen(const ListenAddress& address, bool http) {
    auto listener = async::Listener::open(loop(), address.address, address.port, [this, http](int fd) {
      if (http)
        loop().spawn(serve_http(&node_, std::make_unique<async::Stream>(loop(), fd)));
      else
        hand_over(fd);
    });
    if (!listener) {
      return fail("58030", "can not listen on " + to_string(address) + ": " + listener.error().message, {},
                  "Is another server using the port? Change compute.listen or compute.metrics_listen.");
    }
    listeners_.push_back(std::move(*listener));
    return {};
  }
  void close() { listeners_.clear(); }

 private:
  async::Loop& loop() { return node_.loops.front()->loop; }

  void hand_over(int fd) {
    LoopContext* context = node_.loops[next_++ % node_.loops.size()].get();
    context->loop.post([this, context, fd] {
      auto session =
          std::make_shared<Session>(node_, *context, std::make_unique<async::Stream>(context->loop, fd));
      context->loop.spawn(session->run(), [session] {});
    });
  }

  Node& node_;
  std::vector<std::unique_ptr<async::Listener>> listeners_;
  size_t next_ = 0;
};

// Until stop: finishes what dead coordinators left, and follows changes of the metadata store.
async::Task<void> housekeeping(Node* node) {
  LoopContext& loop = *node->loops.front();
  txn::Resolver resolver(loop.pool, node->service_identity("postgres"), *node->gids, "postgres");
  // What is prepared now was prepared by a former life of this node or belongs to a live transaction of
  // another one, which the tombstone's unique key protects: still, leave young ones alone.
  co_await resolver.pass(std::chrono::milliseconds(0));
  while (!node->shutting_down) {
    co_await async::sleep_for(loop.loop, kResolveEvery);
    co_await resolver.pass(kOrphanAge);
  }
}

// Another compute node, or a DBA on the home unit, may have changed the catalog: its epoch tells.
async::Task<void> watch_catalogs(Node* node) {
  LoopContext& loop = *node->loops.front();
  while (!node->shutting_down) {
    co_await async::sleep_for(loop.loop, std::chrono::milliseconds(1000));
    for (const std::string& database : node->catalogs.databases()) {
      auto current = co_await node->catalogs.current(loop, database);
      auto connection = co_await loop.pool.acquire(node->home(), node->service_identity(database));
      if (!connection) {
        if (connection.error().sqlstate == sqlstate::kInvalidCatalogName) node->catalogs.forget(database);
        continue;
      }
      auto epoch = co_await (*connection)
                       ->query_until("SELECT epoch FROM decan.map", async::Clock::now() + kEpochWithin);
      loop.pool.release(std::move(*connection));
      if (!epoch || !current || epoch->front().rows.empty()) continue;
      if (std::to_string((*current)->epoch) != epoch->front().rows[0][0])
        (void)co_await node->catalogs.refresh(loop, database);
    }
  }
}

// What many sessions leave behind lies in holes between what the others have: the system gets it back when
// many have gone.
async::Task<void> give_memory_back(Node* node) {
  constexpr size_t kMany = 1000;
  LoopContext& loop = *node->loops.front();
  size_t most = 0;
  while (!node->shutting_down) {
    co_await async::sleep_for(loop.loop, std::chrono::seconds(2));
    const size_t now = node->registry.size();
    most = std::max(most, now);
    if (most - now < kMany) continue;
    ::malloc_trim(0);
    most = now;
  }
}

void reload(Node& node) {
  auto loaded = load_config(node.config_path);
  if (!loaded) {
    log::error("the configuration was not reloaded", {{"reason", loaded.error().message}});
    return;
  }
  const Reload change = plan_reload(*node.config(), *loaded);
  node.set_config(change.config);
  log::configure(change.config.log.level, change.config.log.format);
  const auto limits = node.pool_limits();
  for (const auto& loop : node.loops)
    loop->loop.post([context = loop.get(), limits] { context->pool.update_limits(limits); });
  for (const std::string& key : change.changed) log::info("setting reloaded", {{"key", key}});
  for (const std::string& key : change.need_restart)
    log::warning("setting changed, but needs a restart", {{"key", key}});
}

void shut_down(Node& node, Server& server) {
  if (node.shutting_down.exchange(true)) return;
  log::info("shutting down");
  server.close();
  for (const SessionEntryPtr& entry : node.registry.all()) {
    entry->loop->loop.post([entry] {
      if (entry->session != nullptr && (entry->session->is_idle() && !entry->session->in_transaction())) {
        entry->session->terminate("terminating connection due to administrator command");
      }
    });
  }
}

async::Task<void> finish(Node* node) {
  LoopContext& loop = *node->loops.front();
  const auto until = async::Clock::now() + node->config()->compute.shutdown_grace;
  while (node->registry.size() > 0 && async::Clock::now() < until)
    co_await async::sleep_for(loop.loop, std::chrono::milliseconds(50));
  for (const SessionEntryPtr& entry : node->registry.all()) {
    entry->loop->loop.post([entry] {
      if (entry->session != nullptr)
        entry->session->terminate("terminating connection due to administrator command");
    });
  }
  co_await async::sleep_for(loop.loop, std::chrono::milliseconds(300));
  for (const auto& context : node->loops) context->loop.stop();
}

}  // namespace

int run_compute(const ComputeOptions& options) {
  std::signal(SIGPIPE, SIG_IGN);
  // Large values come and go: their memory goes back to the system at once, and does not pile up in holes.
  ::mallopt(M_MMAP_THRESHOLD, 256 * 1024);
  log::configure(options.config.log.level, options.config.log.format);
  auto store = meta::open_sqlite_store(options.meta_path);
  if (!store) {
    log::error("the metadata store can not be opened",
               {{"path", options.meta_path}, {"reason", store.error().message}});
    return 1;
  }
  const std::string address = to_string(options.config.compute.listen.front());
  std::string name = "cn";
  for (const char c : address) name += std::isalnum(static_cast<unsigned char>(c)) ? c : '-';
  Node node(options.config, options.config_path, std::move(*store), name);
  if (auto loaded = node.reload_units(); !loaded) {
    log::error("the storage units are not known", {{"reason", loaded.error().message}});
    return 1;
  }
  if (auto tls = load_tls(node, options.config.tls); !tls) {
    log::error(tls.error().message, {{"certificate", tls.error().detail}});
    return 1;
  }
  const int threads = effective_threads(options.config);
  for (int i = 0; i < threads; ++i) {
    node.loops.push_back(std::make_unique<LoopContext>(
        static_cast<unsigned>(i), node.units(), node.pool_limits(),
        options.config.limits.plan_cache_bytes.value / static_cast<size_t>(threads)));
  }
  node.notifications = std::make_unique<NotifyHub>(node, *node.loops.front());
  Server server(node);
  for (const ListenAddress& listen : options.config.compute.listen) {
    if (auto bound = server.listen(listen, false); !bound) {
      log::error(bound.error().message, {{"hint", bound.error().hint}});
      return 1;
    }
    log::info("listening for clients", {{"address", to_string(listen)}});
  }
  for (const ListenAddress& listen : options.config.compute.metrics_listen) {
    if (auto bound = server.listen(listen, true); !bound) {
      log::error(bound.error().message, {{"hint", bound.error().hint}});
      return 1;
    }
    log::info("listening for scrapes", {{"address", to_string(listen)}});
  }
  async::Loop& first = node.loops.front()->loop;
  const async::Signals signals(first, {SIGTERM, SIGINT, SIGHUP}, [&](int signal) {
    if (signal == SIGHUP) return reload(node);
    if (node.shutting_down) return;
    shut_down(node, server);
    first.spawn(finish(&node));
  });
  const auto watch = node.store->watch("units/", [&node](int64_t) { (void)node.reload_units(); });
  first.spawn(housekeeping(&node));
  first.spawn(watch_catalogs(&node));
  first.spawn(break_deadlocks(&node));
  first.spawn(give_memory_back(&node));
  std::vector<std::thread> others;
  for (size_t i = 1; i < node.loops.size(); ++i) {
    others.emplace_back([&node, i] { node.loops[i]->loop.run(); });
  }
  first.run();
  for (std::thread& thread : others) thread.join();
  log::info("stopped");
  // The loops still hold suspended coroutines that point into the node: the process ends here, nothing is
  // worth unwinding.
  std::_Exit(0);
}

}  // namespace decan::session
