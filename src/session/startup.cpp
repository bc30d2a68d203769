// From the first byte to the first ReadyForQuery: start-up packet, TLS, host rules, SCRAM, the session's
// settings.
#include <openssl/ssl.h>

#include <algorithm>

#include "base/access_rule.h"
#include "base/log.h"
#include "base/quote.h"
#include "base/utf8.h"
#include "session/session.h"

namespace decan::session {
namespace {

// Reported by PostgreSQL at start-up, in its order.
constexpr std::string_view kReported[] = {"application_name",
                                          "client_encoding",
                                          "DateStyle",
                                          "default_transaction_read_only",
                                          "in_hot_standby",
                                          "integer_datetimes",
                                          "IntervalStyle",
                                          "is_superuser",
                                          "server_encoding",
                                          "server_version",
                                          "session_authorization",
                                          "standard_conforming_strings",
                                          "TimeZone"};

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

// "-c name=value --other=value" with backslash-escaped spaces, as the postgres command line takes it.
Result<std::vector<std::pair<std::string, std::string>>> parse_options(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      word += text[++i], in_word = true;
    } else if (std::isspace(static_cast<unsigned char>(text[i]))) {
      if (in_word) words.push_back(std::exchange(word, {}));
      in_word = false;
    } else {
      word += text[i], in_word = true;
    }
  }
  if (in_word) words.push_back(word);
  std::vector<std::pair<std::string, std::string>> options;
  for (size_t i = 0; i < words.size(); ++i) {
    std::string assignment;
    if (words[i] == "-c" && i + 1 < words.size())
      assignment = words[++i];
    else if (words[i].starts_with("-c"))
      assignment = words[i].substr(2);
    else if (words[i].starts_with("--"))
      assignment = words[i].substr(2);
    const size_t equals = assignment.find('=');
    if (equals == std::string::npos || equals == 0) {
      return fail(sqlstate::kSyntaxError, "invalid command-line argument for server process: " + words[i], {},
                  "Only settings are understood: options=-c name=value.");
    }
    std::string name = assignment.substr(0, equals);
    std::ranges::replace(name, '-', '_');
    options.emplace_back(std::move(name), assignment.substr(equals + 1));
  }
  return options;
}

}  // namespace

Task<Result<wire::StartupPacket>> Session::read_startup() {
  while (true) {
    auto packet = wire::decode_startup(port_.input().readable());
    if (!packet) co_return fail(packet.error());
    if (*packet) {
      port_.input().consume((*packet)->bytes);
      co_return std::move(**packet);
    }
    if (port_.input().size() >= wire::kMaxStartupBytes)
      co_return fail(sqlstate::kProtocolViolation, "invalid length of startup packet");
    if (auto filled = co_await port_.fill(); !filled) co_return fail(filled.error());
  }
}

Task<bool> Session::start() {
  const auto config = node_.config();
  port_.stream().set_deadline(async::Clock::now() + config->limits.authentication_timeout);
  bool tls_asked = false, gss_asked = false;
  while (true) {
    auto packet = co_await read_startup();
    if (!packet) {
      // A client that just connects and leaves (a probe) is no error worth an answer.
      if (packet.error().sqlstate != sqlstate::kConnectionFailure) co_await fatal(packet.error());
      co_return false;
    }
    switch (packet->kind) {
      case wire::StartupPacket::Kind::kCancel:
        handle_cancel(*packet);
        co_return false;
      case wire::StartupPacket::Kind::kGssEncRequest:
      case wire::StartupPacket::Kind::kSslRequest: {
        const bool ssl = packet->kind == wire::StartupPacket::Kind::kSslRequest;
        bool& asked = ssl ? tls_asked : gss_asked;
        // Bytes sent before the handshake could have been injected by anyone (CVE-2021-23214, CVE-2021-3935).
        if (asked || port_.stream().is_tls() || !port_.input().empty()) {
          co_await fatal(Error{std::string(sqlstate::kProtocolViolation),
                               "received unencrypted data after SSL or GSS request, or a second request"});
          co_return false;
        }
        asked = true;
        const bool accept = ssl && node_.tls_context != nullptr;
        if (const auto sent = co_await port_.stream().write(accept ? "S" : "N"); !sent) co_return false;
        if (accept && !co_await port_.stream().handshake_server(node_.tls_context)) co_return false;
        break;
      }
      case wire::StartupPacket::Kind::kStartup:
        co_return co_await authenticate(*packet);
    }
  }
}

void Session::handle_cancel(const wire::StartupPacket& packet) {
  loop_.metrics.cancels.add();
  const auto target = node_.registry.find(packet.cancel_pid, packet.cancel_key);
  if (!target) return;  // as PostgreSQL: no answer tells whether the key was right
  target->loop->loop.post([target] {
    if (target->session != nullptr) target->session->cancel();
  });
}

const AccessRule* Session::matching_rule(const std::string& database, const std::string& role) const {
  LoginAttempt attempt;
  attempt.address = parse_ip(entry_->address.empty() ? "127.0.0.1" : entry_->address).value_or(IpAddress{});
  attempt.database = database;
  attempt.role = role;
  attempt.tls = const_cast<Session*>(this)->port_.stream().is_tls();
  return find_rule(node_.config()->hosts, attempt);
}

Task<bool> Session::authenticate(const wire::StartupPacket& packet) {
  const auto config = node_.config();
  const auto get = [&](std::string_view name) -> std::string {
    for (const auto& [key, value] : packet.parameters) {
      if (key == name) return value;
    }
    return {};
  };
  const std::string role = get("user");
  const std::string database = get("database").empty() ? role : get("database");
  if ((packet.protocol >> 16) != 3) {
    co_await fatal(Error{std::string(sqlstate::kFeatureNotSupported),
                         "unsupported frontend protocol " + std::to_string(packet.protocol >> 16) + "." +
                             std::to_string(packet.protocol & 0xffff) + ": server supports 3.0 to 3.2"});
    co_return false;
  }
  if (role.empty()) {
    co_await fatal(Error{std::string(sqlstate::kInvalidAuthorization),
                         "no PostgreSQL user name specified in startup packet"});
    co_return false;
  }
  if (!get("replication").empty() && get("replication") != "false" && get("replication") != "off" &&
      get("replication") != "0") {
    co_await fatal(Error{std::string(sqlstate::kFeatureNotSupported),
                         "replication connections go to a storage unit, not through Decan"});
    co_return false;
  }
  const bool newer = packet.protocol > wire::kProtocol32 ||
                     (packet.protocol > wire::kProtocol30 && packet.protocol < wire::kProtocol32);
  std::vector<std::string> unknown_options;
  for (const auto& [name, value] : packet.parameters) {
    if (name.starts_with("_pq_.")) unknown_options.push_back(name);
  }
  if (newer || !unknown_options.empty()) {
    port_.writer().negotiate_protocol(
        packet.protocol >= wire::kProtocol32 ? wire::kProtocol32 : wire::kProtocol30, unknown_options);
  }
  entry_ = node_.registry.add(this, &loop_, packet.protocol >= wire::kProtocol32 ? 32 : 4);
  entry_->address = port_.stream().peer_address();
  entry_->role = role;
  entry_->database = database;

  if (config->tls.mode == TlsMode::kRequire && !port_.stream().is_tls()) {
    co_await fatal(Error{std::string(sqlstate::kInvalidAuthorization),
                         "this server requires TLS",
                         {},
                         "Connect with sslmode=require."});
    co_return false;
  }
  const AccessRule* rule = matching_rule(database, role);
  if (rule == nullptr || rule->method == LoginMethod::kReject) {
    co_await fatal(Error{std::string(sqlstate::kInvalidAuthorization),
                         "no host rule admits host \"" + entry_->address + "\", user \"" + role +
                             "\", database \"" + database + "\", " +
                             (port_.stream().is_tls() ? "SSL encryption" : "no encryption"),
                         {},
                         "See hosts in the configuration."});
    co_return false;
  }
  if (node_.throttle.is_blocked(entry_->address, role, config->limits.login_failures,
                                config->limits.login_window)) {
    loop_.metrics.logins_throttled.add();
    co_await fatal(Error{std::string(sqlstate::kInvalidAuthorization),
                         "too many failed logins of this role from this address",
                         {},
                         "Wait and try again."});
    co_return false;
  }
  if (static_cast<int64_t>(node_.registry.size()) > config->limits.max_client_connections) {
    co_await fatal(Error{std::string(sqlstate::kTooManyConnections), "sorry, too many clients already"});
    co_return false;
  }
  // The look-up runs with a fixed search_path by naming everything in full; the role's name is a literal.
  const backend::Identity service = node_.service_identity("postgres");
  auto connection = co_await loop_.pool.acquire(node_.home(), service);
  if (!connection) {
    co_await fatal(connection.error());
    co_return false;
  }
  auto found = co_await (*connection)
                   ->query(
                       "SELECT rolpassword, rolcanlogin AND (rolvaliduntil IS NULL OR rolvaliduntil > "
                       "pg_catalog.now()), rolconnlimit, oid FROM pg_catalog.pg_authid "
                       "WHERE rolname = " +
                       quote_literal(role));
  loop_.pool.release(std::move(*connection));
  if (!found) {
    co_await fatal(found.error());
    co_return false;
  }
  const auto& rows = found->front().rows;
  std::optional<auth::Verifier> verifier;
  bool may_log_in = !rows.empty() && rows[0][1] == "t";
  if (!rows.empty() && rows[0][0]) verifier = auth::parse_verifier(*rows[0][0]);
  if (!verifier) {
    verifier = auth::mock_verifier(role, node_.mock_secret);
    may_log_in = false;
  }
  auto keys = co_await scram(role, std::move(*verifier), may_log_in);
  if (!keys) {
    if (keys.error().sqlstate == sqlstate::kInvalidPassword) {
      node_.throttle.failed(entry_->address, role);
      loop_.metrics.logins_failed.add();
      log::info("login failed", {{"role", role}, {"address", entry_->address}});
    }
    if (keys.error().sqlstate != sqlstate::kConnectionFailure) co_await fatal(keys.error());
    co_return false;
  }
  node_.throttle.succeeded(entry_->address, role);
  identity_.role = role_now_ = role;
  identity_.database = database;
  identity_.keys = std::make_shared<auth::PassThroughKeys>(*keys);
  identity_.role_id = static_cast<Oid>(std::stoul(rows[0][3].value_or("0")));
  node_.role_keys.learn(role, identity_.keys);
  service_ = node_.service_identity(database);
  txn_ = std::make_unique<txn::Transaction>(
      txn::Transaction::Options{&loop_.pool, &identity_, &service_, node_.gids.get()});
  if (auto opened = co_await open_session(packet); !opened) {
    co_await fatal(opened.error());
    co_return false;
  }
  port_.stream().set_deadline(async::kNoDeadline);
  co_return true;
}

// The role's password has changed since the login, which does not end a session: whether there are keys for
// the new one. A role of the same name that was made since is another one.
Task<bool> Session::learn_new_keys() {
  const auto newest = node_.role_keys.newest(identity_.role);
  if (!newest || newest == identity_.keys) co_return false;
  auto connection = co_await loop_.pool.acquire(node_.home(), node_.service_identity("postgres"));
  if (!connection) co_return false;
  auto found =
      co_await (*connection)
          ->query("SELECT FROM pg_catalog.pg_authid WHERE oid = " + std::to_string(identity_.role_id) +
                  " AND rolname = " + quote_literal(identity_.role));
  loop_.pool.release(std::move(*connection));
  if (!found || found->front().rows.empty()) co_return false;
  identity_.keys = newest;
  co_return true;
}

Task<Result<auth::PassThroughKeys>> Session::scram(const std::string& role, auth::Verifier verifier,
                                                   bool may_log_in) {
  auth::ScramServer::Options options;
  options.role = role;
  options.verifier = std::move(verifier);
  options.role_may_log_in = may_log_in;
  options.tls = port_.stream().is_tls();
  options.channel_binding = options.tls ? node_.certificate_hash : std::string();
  auth::ScramServer server(std::move(options));
  std::string mechanisms;
  for (const std::string& mechanism : server.mechanisms()) mechanisms += mechanism + '\0';
  mechanisms += '\0';
  port_.writer().authentication(10, mechanisms);
  for (int step = 0; step < 2; ++step) {
    if (auto sent = co_await port_.flush(); !sent) co_return fail(sent.error());
    wire::Header header;
    if (auto read = co_await read_frame(header); !read) co_return fail(read.error());
    if (header.type != 'p')
      co_return fail(sqlstate::kProtocolViolation, "expected SASL response, got message type " +
                                                       std::to_string(static_cast<int>(header.type)));
    const std::string body(port_.input().readable().substr(wire::kHeaderBytes, header.body_bytes));
    port_.input().consume(wire::kHeaderBytes + header.body_bytes);
    if (step == 0) {
      const auto initial = wire::decode_sasl_initial(body);
      if (!initial) co_return fail(initial.error());
      auto answer = server.first(initial->mechanism, initial->data.value_or(""));
      if (!answer) co_return fail(answer.error());
      port_.writer().authentication(11, *answer);
    } else {
      auto answer = server.final(body);
      if (!answer) co_return fail(answer.error());
      port_.writer().authentication(12, *answer);
    }
  }
  co_return server.keys();
}

Status Session::startup_settings(const wire::StartupPacket& packet, backend::Settings::Map& settings) {
  std::vector<std::pair<std::string, std::string>> wanted;
  for (const auto& [name, value] : packet.parameters) {
    if (name == "user" || name == "database" || name == "replication" || name.starts_with("_pq_.")) continue;
    if (name == "options") {
      auto options = parse_options(value);
      if (!options) return fail(options.error());
      wanted.insert(wanted.begin(), options->begin(), options->end());  // named parameters win over options
    } else {
      wanted.emplace_back(name, value);
    }
  }
  for (const auto& [name, value] : wanted) {
    const std::string key = lower(name);
    if (key == "client_encoding") {
      if (is_unsupported_encoding(value)) {
        return fail(sqlstate::kFeatureNotSupported, "client_encoding \"" + value + "\" is not supported", {},
                    "Use UTF8.");
      }
      const std::string bare = bare_encoding_name(value);
      if (bare == "utf8" || bare == "unicode") continue;  // what units are opened with
    }
    if (key == "role" || key == "session_authorization") {
      settings[key == "role" ? "role" : "session authorization"] = backend::set_config_sql(key, value);
      continue;
    }
    settings[key] = backend::set_config_sql(key, value);
    if (key == "application_name") entry_->application = value;
  }
  return {};
}

Task<Status> Session::open_session(const wire::StartupPacket& packet) {
  backend::Settings::Map map;
  if (auto understood = startup_settings(packet, map); !understood) co_return understood;
  base_settings_ = settings_ = map.empty() ? std::make_shared<const backend::Settings>()
                                           : std::make_shared<const backend::Settings>(std::move(map));
  // This also proves that the keys from the exchange log in to the unit, and that database and settings
  // exist.
  auto participant = co_await txn_->join(node_.home(), false, settings_);
  if (!participant) co_return fail(participant.error());
  backend::UnitConnection* connection = (*participant)->connection.get();
  if (auto learned = co_await learn_session_values(connection); !learned) co_return learned;
  auto current = co_await node_.catalogs.current(loop_, identity_.database);
  if (!current) co_return fail(current.error());
  snapshot_ = *current;
  for (const std::string_view name : kReported) {
    if (const auto value = connection->parameters().find(name); value != connection->parameters().end())
      note_reported(name, value->second);
  }
  if (auto allowed = check_encodings(); !allowed) co_return allowed;
  port_.writer().authentication(0);
  for (const std::string_view name : kReported) {
    if (const auto value = reported_.find(name); value != reported_.end())
      port_.writer().parameter_status(name, value->second);
  }
  reported_settings_ = settings_;
  txn_->release_participants();
  port_.writer().backend_key(entry_->pid, entry_->key);
  hooks_ = make_hooks();
  send_ready();
  co_return co_await port_.flush();
}

}  // namespace decan::session
