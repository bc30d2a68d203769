// Our SCRAM against PostgreSQL 15 and against libpq, over sockets, plain and TLS.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <future>
#include <thread>

#include "auth/channel_pgtest.h"
#include "auth/scram.h"
#include "testing/pg.h"

namespace decan::auth {
namespace {

using test::Channel;
using test::Identity;
using test::Message;

// ASCII, Latin (composed and not), what SASLprep refuses (raw bytes), not UTF-8, long.
const std::vector<std::string>& passwords() {
  static const std::vector<std::string> all{"secret",
                                            "with space, = and 'quote'",
                                            "caf\xc3\xa9",
                                            "cafe\xcc\x81",
                                            "\xe5\xaf\x86\xe7\xa0\x81\xe3\x80\x80\xe7\xa9\xba",
                                            "emoji \xf0\x9f\x98\x80",
                                            "\xd7\x90 mixed latin",
                                            "soft\xc2\xadhyphen",
                                            std::string(900, 'x')};
  return all;
}

std::string quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("''") : std::string(1, c);
  return out + "'";
}

class ScramOnPostgres : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    server_ = std::make_unique<testing::PgFixture>(testing::PgOptions{.auth = testing::Auth::kScram});
  }
  static void TearDownTestSuite() { server_.reset(); }

  static std::string verifier_text(std::string_view role) {
    return server_->connect()
        .exec("SELECT rolpassword FROM pg_authid WHERE rolname = " + quoted(role))
        .scalar();
  }
  static void create_role(std::string_view role, std::string_view password_or_verifier) {
    server_->connect().exec("DROP ROLE IF EXISTS " + std::string(role));
    server_->connect().exec("CREATE ROLE " + std::string(role) + " LOGIN PASSWORD " +
                            quoted(password_or_verifier));
  }
  static void start_up(Channel& channel, std::string_view role);
  static Status log_in(Channel& channel, ScramClient& client, std::string_view binding = {});
  static std::string current_user(Channel& channel);
  static std::string turn_tls_on();

  static std::unique_ptr<testing::PgFixture> server_;
};
std::unique_ptr<testing::PgFixture> ScramOnPostgres::server_;

void ScramOnPostgres::start_up(Channel& channel, std::string_view role) {
  std::string out;
  const std::vector<std::pair<std::string, std::string>> parameters{{"user", std::string(role)},
                                                                    {"database", "postgres"}};
  wire::Writer(out).startup(wire::kProtocol30, parameters);
  channel.send(out);
}

// Authenticates and reads on to ReadyForQuery, or gives the server's error.
Status ScramOnPostgres::log_in(Channel& channel, ScramClient& client, std::string_view binding) {
  while (true) {
    const Message message = channel.receive();
    if (message.type == 'E') return fail(wire::to_error(wire::decode_error(message.body).value()));
    if (message.type == 'Z') return {};
    if (message.type != 'R') continue;
    const auto request = wire::decode_authentication(message.body).value();
    std::string out;
    if (request.code == 10) {
      const auto first = client.first(wire::decode_sasl_mechanisms(request.data).value(), binding);
      if (!first) return fail(first.error());
      wire::Writer(out).sasl_initial(client.mechanism(), *first);
    } else if (request.code == 11) {
      const auto last = client.final(request.data);
      if (!last) return fail(last.error());
      wire::Writer(out).password(*last);
    } else if (request.code == 12) {
      if (auto verified = client.verify(request.data); !verified) return verified;
    }
    if (!out.empty()) channel.send(out);
  }
}

std::string ScramOnPostgres::current_user(Channel& channel) {
  std::string out;
  wire::Writer(out).query("SELECT current_user");
  channel.send(out);
  std::string user;
  for (Message message = channel.receive(); message.type != 'Z'; message = channel.receive()) {
    if (message.type != 'D') continue;
    std::vector<std::optional<std::string_view>> values;
    EXPECT_TRUE(wire::decode_data_row(message.body, values));
    user = *values.at(0);
  }
  return user;
}

// Gives the server a certificate and returns its DER form.
std::string ScramOnPostgres::turn_tls_on() {
  const Identity identity = Identity::make();
  const std::string& data = server_->data_directory();
  struct stat owner{};
  stat(data.c_str(), &owner);
  for (const auto& [name, text] : {std::pair{data + "/server.key", identity.key_pem()},
                                   {data + "/server.crt", identity.certificate_pem()}}) {
    std::ofstream(name) << text;
    EXPECT_EQ(chmod(name.c_str(), 0600), 0);
    EXPECT_EQ(chown(name.c_str(), owner.st_uid, owner.st_gid), 0);
  }
  testing::Connection admin = server_->connect();
  admin.exec("ALTER SYSTEM SET ssl = on");
  admin.exec("SELECT pg_reload_conf()");
  for (int i = 0; i < 500 && server_->connect().exec("SHOW ssl").scalar() != "on"; ++i) usleep(10'000);
  return identity.der();
}

TEST_F(ScramOnPostgres, a_verifier_made_by_us_logs_in_with_libpq) {
  for (const std::string& password : passwords()) {
    create_role("ours", make_verifier(password).value().to_string());
    const std::string dsn = server_->dsn("postgres", "ours", "");
    const std::vector<const char*> keys{"dbname", "password", nullptr};
    const std::vector<const char*> values{dsn.c_str(), password.c_str(), nullptr};
    const std::unique_ptr<PGconn, decltype(&PQfinish)> conn(PQconnectdbParams(keys.data(), values.data(), 1),
                                                            &PQfinish);
    EXPECT_EQ(PQstatus(conn.get()), CONNECTION_OK) << password << ": " << PQerrorMessage(conn.get());
  }
}

TEST_F(ScramOnPostgres, a_verifier_made_by_postgresql_is_read_and_lets_the_right_password_in_only) {
  for (const std::string& password : passwords()) {
    create_role("theirs", password);
    const auto verifier = parse_verifier(verifier_text("theirs"));
    ASSERT_TRUE(verifier);
    EXPECT_EQ(verifier->to_string(), verifier_text("theirs"));
    for (const bool right : {true, false}) {
      ScramServer server({.role = "theirs", .verifier = *verifier});
      ScramClient client("theirs", right ? password : password + "x");
      const auto first = client.first(server.mechanisms(), {});
      const auto challenge = server.first(client.mechanism(), *first);
      const auto outcome = server.final(client.final(*challenge).value());
      EXPECT_EQ(outcome.has_value(), right) << password;
      if (right) EXPECT_TRUE(client.verify(*outcome));
    }
  }
}

TEST_F(ScramOnPostgres, our_client_logs_in_over_the_wire) {
  for (const std::string& password : passwords()) {
    create_role("wired", password);
    Channel channel = Channel::connect(server_->port());
    start_up(channel, "wired");
    ScramClient client("wired", password);
    ASSERT_TRUE(log_in(channel, client)) << password;
    EXPECT_EQ(current_user(channel), "wired");
  }
}

TEST_F(ScramOnPostgres, our_client_with_a_wrong_password_is_refused) {
  create_role("wired", "right");
  Channel channel = Channel::connect(server_->port());
  start_up(channel, "wired");
  ScramClient client("wired", "wrong");
  const auto outcome = log_in(channel, client);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().sqlstate, "28P01");
}

TEST_F(ScramOnPostgres, keys_from_a_clients_login_pass_through_to_the_unit) {
  create_role("tenant", "known to the client only");
  // The client logs in to us, with the unit's verifier.
  ScramServer here({.role = "tenant", .verifier = *parse_verifier(verifier_text("tenant"))});
  ScramClient client("tenant", "known to the client only");
  const auto first = client.first(here.mechanisms(), {});
  ASSERT_TRUE(here.final(client.final(here.first(client.mechanism(), *first).value()).value()));
  // And we log in to the unit as the same role, twice, since keys are no one-time secret.
  for (int i = 0; i < 2; ++i) {
    Channel channel = Channel::connect(server_->port());
    start_up(channel, "tenant");
    ScramClient upstream("tenant", here.keys());
    ASSERT_TRUE(log_in(channel, upstream));
    EXPECT_EQ(current_user(channel), "tenant");
  }
}

TEST_F(ScramOnPostgres, keys_die_with_the_password_they_came_from) {
  create_role("tenant", "old");
  ScramServer here({.role = "tenant", .verifier = *parse_verifier(verifier_text("tenant"))});
  ScramClient client("tenant", "old");
  const auto first = client.first(here.mechanisms(), {});
  ASSERT_TRUE(here.final(client.final(here.first(client.mechanism(), *first).value()).value()));
  server_->connect().exec("ALTER ROLE tenant PASSWORD 'old'");  // the same, with another salt
  Channel channel = Channel::connect(server_->port());
  start_up(channel, "tenant");
  ScramClient upstream("tenant", here.keys());
  const auto outcome = log_in(channel, upstream);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().sqlstate, "28000");
  EXPECT_THAT(outcome.error().message, ::testing::HasSubstr("verifiers differ between units"));
}

TEST_F(ScramOnPostgres, our_client_binds_the_channel_over_tls) {
  const std::string der = turn_tls_on();
  create_role("bound", "secret");
  const auto attempt = [&](bool right_binding) {
    Channel channel = Channel::connect(server_->port());
    std::string request;
    wire::Writer(request).ssl_request();
    channel.send(request);
    EXPECT_EQ(channel.read(1), "S");
    channel.start_tls_as_client();
    EXPECT_EQ(channel.peer_certificate_der(), der);
    const std::string binding = certificate_hash(channel.peer_certificate_der()).value();
    start_up(channel, "bound");
    ScramClient client("bound", "secret");
    auto outcome = log_in(channel, client, right_binding ? binding : std::string(48, 'x'));
    EXPECT_EQ(client.mechanism(), "SCRAM-SHA-256-PLUS");
    return outcome;
  };
  EXPECT_TRUE(attempt(true));
  const auto refused = attempt(false);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().sqlstate, "28000");
}

TEST_F(ScramOnPostgres, saslprep_agrees_with_libpq_at_the_borders_of_its_tables) {
  testing::Connection admin = server_->connect();
  const std::vector<std::string> around{"a\xc2\x9f",
                                        "a\xc2\xa0",
                                        "a\xc2\xa1",
                                        "a\xc2\xad",
                                        "a\xcd\x8f",
                                        "a\xe1\x9a\x80",
                                        "a\xe1\xa0\x86",
                                        "a\xe1\xa0\x8e",
                                        "a\xe2\x80\x8b",
                                        "a\xe2\x80\x8c",
                                        "a\xe2\x80\x8e",
                                        "a\xe2\x81\xa0",
                                        "a\xe2\x81\xaa",
                                        "a\xe3\x80\x80",
                                        "a\xee\x80\x80",
                                        "a\xef\xb8\x8f",
                                        "a\xef\xbb\xbf",
                                        "a\xef\xbf\xb9",
                                        "a\xef\xbf\xbd",
                                        "a\xf0\x9d\x85\xb3",
                                        "a\xf3\xa0\x80\x81",
                                        "\xd7\x90",
                                        "\xd7\x90"
                                        "1",
                                        "1\xd7\x90"
                                        "1",
                                        "\xd8\xa7\xd8\xa8",
                                        "\xc8\xa1",
                                        "\xc8\xa0",
                                        "\xef\xac\x81",
                                        "\xe2\x84\xab",
                                        "\xea\xb0\x80",
                                        "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8",
                                        "\xc2\xbd",
                                        "\xef\xbc\xa1",
                                        "\xc3\xa9\x01",
                                        "\xff\xfe",
                                        "\xc3"};
  for (const std::string& password : around) {
    char* made = PQencryptPasswordConn(admin.raw(), password.c_str(), "someone", "scram-sha-256");
    ASSERT_NE(made, nullptr);
    const Verifier verifier = *parse_verifier(made);
    PQfreemem(made);
    ScramServer server({.role = "someone", .verifier = verifier});
    ScramClient client("someone", password);
    const auto first = client.first(server.mechanisms(), {});
    EXPECT_TRUE(server.final(client.final(server.first(client.mechanism(), *first).value()).value()))
        << password;
  }
}

// --- our server's side, against libpq ---

struct Listener {
  int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  uint16_t port = 0;

  Listener() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof(address);
    if (bind(socket, reinterpret_cast<sockaddr*>(&address), bytes) != 0 || listen(socket, 4) != 0 ||
        getsockname(socket, reinterpret_cast<sockaddr*>(&address), &bytes) != 0) {
      throw std::runtime_error("listen");
    }
    port = ntohs(address.sin_port);
  }
  ~Listener() { close(socket); }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
};

void send_error(Channel& channel, const Error& error) {
  std::string out;
  wire::Writer(out).error(wire::to_fields(error, "FATAL"));
  channel.send(out);
}

// Serves one login and reads on until the client says goodbye. With an identity, only over TLS.
void serve_login(int listener, const Verifier& verifier, const Identity* identity,
                 const std::string& binding) {
  Channel channel(accept(listener, nullptr, nullptr));
  auto startup = channel.receive_startup();
  if (startup.kind == wire::StartupPacket::Kind::kSslRequest) {
    channel.send(identity == nullptr ? "N" : "S");
    if (identity != nullptr) channel.start_tls_as_server(*identity);
    startup = channel.receive_startup();
  }
  ScramServer server({.role = "guest",
                      .verifier = verifier,
                      .tls = identity != nullptr,
                      .channel_binding = identity == nullptr ? std::string() : binding});
  std::string out;
  std::string mechanisms;
  for (const std::string& name : server.mechanisms()) mechanisms += name + '\0';
  wire::Writer(out).authentication(10, mechanisms + '\0');
  channel.send(out);
  const Message initial = channel.receive();
  const auto sasl = wire::decode_sasl_initial(initial.body).value();
  const auto challenge = server.first(sasl.mechanism, *sasl.data);
  if (!challenge) return send_error(channel, challenge.error());
  out.clear();
  wire::Writer(out).authentication(11, *challenge);
  channel.send(out);
  const auto outcome = server.final(channel.receive().body);
  if (!outcome) return send_error(channel, outcome.error());
  out.clear();
  wire::Writer writer(out);
  writer.authentication(12, *outcome);
  writer.authentication(0);
  writer.parameter_status("server_version", "15.0");
  writer.backend_key(1, "abcd");
  writer.ready_for_query('I');
  channel.send(out);
  EXPECT_EQ(channel.receive().type, 'X');
}

// libpq's own words when it connects to serve_login(); "" when it is logged in.
std::string libpq_says(const Verifier& verifier, const std::string& password, const Identity* identity,
                       const std::string& binding, const std::string& settings) {
  const Listener listener;
  auto served =
      std::async(std::launch::async, [&] { serve_login(listener.socket, verifier, identity, binding); });
  const std::string dsn =
      "host=127.0.0.1 connect_timeout=10 user=guest port=" + std::to_string(listener.port) + " " + settings;
  const std::vector<const char*> keys{"dbname", "password", nullptr};
  const std::vector<const char*> values{dsn.c_str(), password.c_str(), nullptr};
  PGconn* conn = PQconnectdbParams(keys.data(), values.data(), 1);
  const std::string said = PQstatus(conn) == CONNECTION_OK ? "" : PQerrorMessage(conn);
  PQfinish(conn);
  served.get();
  return said;
}

TEST(ScramServesLibpq, with_the_right_password_only) {
  for (const std::string& password : passwords()) {
    const Verifier verifier = make_verifier(password).value();
    EXPECT_EQ(libpq_says(verifier, password, nullptr, {}, "sslmode=disable"), "");
    EXPECT_THAT(libpq_says(verifier, password + "x", nullptr, {}, "sslmode=disable"),
                ::testing::HasSubstr("password authentication failed for user \"guest\""));
  }
}

TEST(ScramServesLibpq, over_tls_a_client_that_does_not_bind_logs_in_too) {
  const Identity identity = Identity::make();
  const std::string binding = certificate_hash(identity.der()).value();
  const Verifier verifier = make_verifier("secret").value();
  EXPECT_EQ(libpq_says(verifier, "secret", &identity, binding, "sslmode=require channel_binding=disable"),
            "");
}

TEST(ScramServesLibpq, with_channel_binding_required) {
  const Identity identity = Identity::make();
  const std::string binding = certificate_hash(identity.der()).value();
  const Verifier verifier = make_verifier("secret").value();
  const std::string settings = "sslmode=require channel_binding=require";
  EXPECT_EQ(libpq_says(verifier, "secret", &identity, binding, settings), "");
  EXPECT_THAT(libpq_says(verifier, "secret", &identity, std::string(48, 'x'), settings),
              ::testing::HasSubstr("SCRAM channel binding check failed"));
}

}  // namespace
}  // namespace decan::auth
