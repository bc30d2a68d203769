// A unit connection against servers that lie: it must fail with a true SQLSTATE, within its deadline, and
// never crash.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <random>
#include <thread>

#include "async/test_loop.h"
#include "backend/unit_connection.h"

namespace decan::backend {
namespace {

using namespace std::chrono_literals;
using async::Task;
using async::TestLoop;

constexpr char kPassword[] = "right";

// Serves one connection at a time with a script, on a thread of its own.
class FakeUnit {
 public:
  using Script = std::function<void(int fd)>;
  explicit FakeUnit(Script script)
      : script_(std::move(script)), listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof address;
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), bytes) != 0 || listen(listener_, 8) != 0 ||
        getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &bytes) != 0) {
      throw std::runtime_error("no port for the fake unit");
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeUnit() {
    shutdown(listener_, SHUT_RDWR);
    if (const int fd = current_; fd >= 0) shutdown(fd, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  meta::UnitRecord record(bool tls = false) const {
    meta::UnitRecord record;
    record.name = "liar";
    record.host = "127.0.0.1";
    record.port = port_;
    record.service_user = "app";
    record.service_password = kPassword;
    record.tls = tls;
    return record;
  }

 private:
  void serve() {
    while (true) {
      const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      current_ = fd;
      script_(fd);
      current_ = -1;
      close(fd);
    }
  }
  Script script_;
  int listener_;
  uint16_t port_ = 0;
  std::atomic<int> current_{-1};
  std::thread thread_;
};

void send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

std::string receive(int fd, size_t bytes) {
  std::string got(bytes, '\0');
  const ssize_t n = recv(fd, got.data(), bytes, MSG_WAITALL);
  got.resize(n < 0 ? 0 : static_cast<size_t>(n));
  return got;
}

uint32_t length_of(std::string_view four) {
  uint32_t length = 0;
  for (const char c : four) length = length << 8 | static_cast<unsigned char>(c);
  return length;
}

void take_startup(int fd) {
  const std::string length = receive(fd, 4);
  if (length.size() == 4) receive(fd, length_of(length) - 4);
}

// The body of a typed message.
std::string take_message(int fd) {
  const std::string header = receive(fd, 5);
  return header.size() == 5 ? receive(fd, length_of(std::string_view(header).substr(1)) - 4) : std::string();
}

std::string bytes_of(const std::function<void(wire::Writer&)>& write) {
  std::string out;
  wire::Writer writer(out);
  write(writer);
  return out;
}

constexpr std::string_view kMechanisms("SCRAM-SHA-256\0\0", 15);

void ready(int fd) {
  send_all(fd, bytes_of([](auto& w) {
             w.authentication(0);
             w.parameter_status("server_version", "15.0");
             w.backend_key(1, "abcd");
             w.ready_for_query('I');
           }));
}

// A complete login; afterwards the script goes on.
bool log_in(int fd) {
  take_startup(fd);
  auth::ScramServer scram({.role = "app", .verifier = auth::make_verifier(kPassword).value()});
  send_all(fd, bytes_of([](auto& w) { w.authentication(10, kMechanisms); }));
  const std::string body = take_message(fd);
  const auto initial = wire::decode_sasl_initial(body);
  if (!initial || !initial->data) return false;
  const auto challenge = scram.first(initial->mechanism, *initial->data);
  if (!challenge) return false;
  send_all(fd, bytes_of([&](auto& w) { w.authentication(11, *challenge); }));
  const auto last = scram.final(take_message(fd));
  if (!last) return false;
  send_all(fd, bytes_of([&](auto& w) { w.authentication(12, *last); }));
  ready(fd);
  return true;
}

void wait_for_close(int fd) {
  char byte = 0;
  while (recv(fd, &byte, 1, 0) > 0) {
  }
}

Result<UnitConnection::Ptr> open(TestLoop& loop, meta::UnitRecord record,
                                 std::chrono::milliseconds patience = 3s) {
  return loop.run(UnitConnection::open(loop.loop(), std::move(record), UnitId{0}, {"app", "db", nullptr},
                                       async::Clock::now() + patience));
}

void close_on(TestLoop& loop, Result<UnitConnection::Ptr>& connection) {
  loop.call([&] { connection = fail("00000", ""); });
}

void expect_refused(const FakeUnit::Script& script, std::string_view sqlstate, bool tls = false) {
  TestLoop loop;
  FakeUnit unit(script);
  const auto begun = async::Clock::now();
  auto opened = open(loop, unit.record(tls));
  EXPECT_LT(async::Clock::now() - begun, 10s);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().sqlstate, sqlstate) << opened.error().message;
}

TEST(HostileLogin, TrustIsRefusedBecauseNothingWasProved) {
  expect_refused([](int fd) { take_startup(fd), ready(fd), wait_for_close(fd); }, "28000");
}

TEST(HostileLogin, OkInTheMiddleOfScramIsRefused) {
  expect_refused(
      [](int fd) {
        take_startup(fd);
        send_all(fd, bytes_of([](auto& w) { w.authentication(10, kMechanisms); }));
        take_message(fd);
        ready(fd);
        wait_for_close(fd);
      },
      "28000");
}

TEST(HostileLogin, WeakerMethodsAreRefused) {
  for (const int method : {3, 5, 7, 9, 99, -1}) {
    expect_refused(
        [method](int fd) {
          take_startup(fd);
          send_all(fd, bytes_of([&](auto& w) { w.authentication(method, "salt"); }));
          wait_for_close(fd);
        },
        "28000");
  }
}

TEST(HostileLogin, MechanismListsWithoutTerminatorsAreRefused) {
  for (const std::string_view list :
       {std::string_view("SCRAM-SHA-256"), std::string_view(""), std::string_view("X\0", 2)}) {
    expect_refused(
        [list](int fd) {
          take_startup(fd);
          send_all(fd, bytes_of([&](auto& w) { w.authentication(10, list); }));
          wait_for_close(fd);
        },
        "08P01");
  }
}

TEST(HostileLogin, HugeAndImpossibleLengthsAreRefused) {
  for (const std::string_view length :
       {std::string_view("\x7f\xff\xff\xff", 4), std::string_view("\xff\xff\xff\xff", 4),
        std::string_view("\0\0\0\0", 4), std::string_view("\0\0\0\3", 4), std::string_view("\0\2\0\0", 4)}) {
    expect_refused(
        [length](int fd) {
          take_startup(fd);
          send_all(fd, "R" + std::string(length));
          wait_for_close(fd);
        },
        "08P01");
  }
}

TEST(HostileLogin, EndlessNoticesAndSettingsAreRefused) {
  expect_refused(
      [](int fd) {
        take_startup(fd);
        const std::string notice =
            bytes_of([](auto& w) { w.notice(wire::to_fields(Error{"00000", "hello"}, "NOTICE")); });
        for (int i = 0; i < 5000; ++i) send_all(fd, notice);
        wait_for_close(fd);
      },
      "08P01");
  expect_refused(
      [](int fd) {
        take_startup(fd);
        for (int i = 0; i < 900; ++i) {
          send_all(fd, bytes_of([&](auto& w) { w.parameter_status("name" + std::to_string(i), "x"); }));
        }
        wait_for_close(fd);
      },
      "08P01");
}

TEST(HostileLogin, SilenceAndDripsEndAtTheDeadline) {
  expect_refused([](int fd) { wait_for_close(fd); }, "08006");
  expect_refused([](int fd) { wait_for_close(fd); }, "08006", true);
  expect_refused(
      [](int fd) {
        take_startup(fd);
        for (int i = 0; i < 80; ++i) {
          if (send(fd, i == 0 ? "N" : "\0", 1, MSG_NOSIGNAL) != 1) return;
          if (i == 4) i = 5;
          std::this_thread::sleep_for(100ms);
        }
      },
      "08P01");
}

TEST(HostileLogin, RefusedTlsIsNotReplacedByClearText) {
  expect_refused([](int fd) { receive(fd, 8), send_all(fd, "N"), wait_for_close(fd); }, "08006", true);
  expect_refused([](int fd) { receive(fd, 8), send_all(fd, "SR\0\0\0\10"), wait_for_close(fd); }, "08006",
                 true);
}

TEST(HostileLogin, TheUnitsOwnRefusalIsTold) {
  expect_refused(
      [](int fd) {
        take_startup(fd);
        send_all(fd, bytes_of([](auto& w) {
                   w.error(wire::to_fields(Error{"53300", "too many clients"}, "FATAL"));
                 }));
      },
      "53300");
}

TEST(HostileLogin, GarbageNeverCrashes) {
  const unsigned seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  TestLoop loop;
  std::string garbage;
  FakeUnit unit([&](int fd) {
    take_startup(fd);
    send_all(fd, garbage);
  });
  constexpr std::string_view kTypes = "RSKEZN";
  for (int i = 0; i < 200; ++i) {
    garbage.clear();
    for (int m = 0; m < 4; ++m) {
      std::string body(random() % 40, '\0');
      for (char& c : body) c = static_cast<char>(random() % 4 == 0 ? random() % 256 : random() % 16);
      garbage += bytes_of([&](auto& w) { w.raw(kTypes[random() % kTypes.size()], body); });
    }
    EXPECT_FALSE(open(loop, unit.record()));
  }
}

// --- after an honest login ---

Result<std::vector<UnitConnection::TextResult>> answer(std::string reply, bool& broken,
                                                       bool close_after = false) {
  TestLoop loop;
  FakeUnit unit([&](int fd) {
    if (!log_in(fd)) return;
    take_message(fd);
    send_all(fd, reply);
    if (!close_after) wait_for_close(fd);
  });
  auto opened = open(loop, unit.record());
  if (!opened) return fail(opened.error());
  auto done = loop.run((*opened)->query_until("SELECT 1", async::Clock::now() + 1s));
  broken = (*opened)->broken();
  close_on(loop, opened);
  return done;
}

std::string one_column(size_t values) {
  return bytes_of([&](auto& w) {
    w.row_description({{{"a", 0, 0, 25, -1, -1, 0}}});
    const std::vector<std::optional<std::string_view>> row(values, "x");
    w.data_row(row);
    w.command_complete("SELECT 1");
    w.ready_for_query('I');
  });
}

TEST(HostileUnit, AnHonestAnswerIsRead) {
  bool broken = true;
  const auto done = answer(one_column(1), broken);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(done->front().rows[0][0], "x");
  EXPECT_FALSE(broken);
}

TEST(HostileUnit, RepliesThatDoNotFitBreakTheConnection) {
  const std::vector<std::string> replies = {
      one_column(2),
      one_column(0),
      bytes_of([](auto& w) { w.ready_for_query('I'); }),
      bytes_of([](auto& w) { w.ready_for_query('?'); }),
      bytes_of([](auto& w) { w.raw('C', "no terminator"); }),
      bytes_of([](auto& w) { w.raw('T', std::string_view("\xff\xff", 2)); }),
      bytes_of([](auto& w) { w.raw('D', std::string_view("\0\1\xff\xff\xff\xfe", 6)); }),
      bytes_of([](auto& w) { w.raw('E', "nothing"); }),
      bytes_of([](auto& w) { w.authentication(0); }),
      bytes_of([](auto& w) { w.empty('1'); }),
      bytes_of([](auto& w) { w.copy_start('G', false, {}); }),
      std::string("D\x7f\xff\xff\xff", 5),
      std::string(64, '\0'),
  };
  for (size_t i = 0; i < replies.size(); ++i) {
    bool broken = false;
    const auto done = answer(replies[i], broken);
    EXPECT_FALSE(done) << i;
    EXPECT_TRUE(broken) << i;
    if (!done) {
      EXPECT_EQ(done.error().sqlstate, "08P01") << i << done.error().message;
    }
  }
}

TEST(HostileUnit, HalfAnAnswerEndsAtTheDeadline) {
  bool broken = false;
  const auto done = answer(one_column(1).substr(0, 20), broken);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().sqlstate, "08006");
  EXPECT_TRUE(broken);
}

TEST(HostileUnit, LastWordsBeforeAClosedConnectionAreKept) {
  bool broken = false;
  const auto done =
      answer(bytes_of([](auto& w) { w.error(wire::to_fields(Error{"57P01", "shutting down"}, "FATAL")); }),
             broken, true);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().sqlstate, "57P01");
  EXPECT_TRUE(broken);
}

TEST(HostileUnit, RepliesUnaskedForMakeTheConnectionUnclean) {
  TestLoop loop;
  FakeUnit unit([&](int fd) {
    if (!log_in(fd)) return;
    take_message(fd);
    send_all(fd, one_column(1) + one_column(1));
    wait_for_close(fd);
  });
  auto opened = open(loop, unit.record());
  ASSERT_TRUE(opened) << opened.error().message;
  ASSERT_TRUE(loop.run((*opened)->query("SELECT 1")));
  EXPECT_TRUE(!(*opened)->is_clean() || (*opened)->stream().idle_is_broken());
  close_on(loop, opened);
}

TEST(UnsendableMessage, LeavesTheConnectionUsableAndIsTold) {
  TestLoop loop;
  FakeUnit unit([&](int fd) {
    if (!log_in(fd)) return;
    take_message(fd);
    send_all(fd, one_column(1));
    wait_for_close(fd);
  });
  auto opened = open(loop, unit.record());
  ASSERT_TRUE(opened) << opened.error().message;
  UnitConnection& connection = **opened;
  const auto refused = loop.run(connection.query(std::string("SELECT '\0'", 10)));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().sqlstate, "22021");

  loop.call([&] {
    auto statement = std::make_shared<UnitStatement>();
    statement->id = 7;
    connection.writer().parse("decan_7", std::string_view("SELECT '\0'", 10), {});
    connection.expect({Expected::Kind::kParse, false, statement, {}});
    connection.note_prepared(statement);
    connection.writer().sync();
    connection.expect(Expected::Kind::kSync, true);
    EXPECT_FALSE(connection.try_flush());
  });
  const Status flushed = loop.run(connection.flush());
  ASSERT_FALSE(flushed);
  EXPECT_EQ(flushed.error().sqlstate, "22021");
  EXPECT_TRUE(connection.is_clean());
  UnitStatement statement;
  statement.id = 7;
  EXPECT_FALSE(connection.has_prepared(statement));
  EXPECT_TRUE(loop.run(connection.query("SELECT 1")));

  // A lost BEGIN of ours would let the client's statement run outside its block.
  loop.call([&] {
    connection.writer().query("BEGIN");
    connection.expect(Expected::Kind::kQuery, false);
    connection.writer().query(std::string_view("\0", 1));
    connection.expect(Expected::Kind::kQuery, true);
  });
  const Status filled = loop.run(connection.fill());
  ASSERT_FALSE(filled);
  EXPECT_EQ(filled.error().sqlstate, "22021");
  EXPECT_TRUE(connection.broken());
  close_on(loop, opened);
}

}  // namespace
}  // namespace decan::backend
