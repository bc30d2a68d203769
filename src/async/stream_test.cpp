#include "async/stream.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>

#include "async/listener.h"
#include "async/test_loop.h"

namespace decan::async {
namespace {

using namespace std::chrono_literals;

// A stream on a loop and the other end as a plain blocking descriptor.
class StreamOverAPair : public ::testing::Test {
 protected:
  void SetUp() override {
    int fds[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    peer_ = fds[1];
    ASSERT_EQ(::fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    loop_.call([&] { stream_ = std::make_unique<Stream>(loop_.loop(), fds[0]); });
  }
  void TearDown() override {
    loop_.call([&] { stream_.reset(); });
    close_peer();
  }
  void close_peer() {
    if (peer_ >= 0) ::close(std::exchange(peer_, -1));
  }
  void say(std::string_view text) { ASSERT_EQ(::write(peer_, text.data(), text.size()), std::ssize(text)); }

  static Task<std::string> read(Stream* stream, size_t bytes) {
    std::string text(bytes, 0);
    const auto n = co_await stream->read_some(text.data(), bytes);
    if (!n) co_return "error " + n.error().sqlstate;
    text.resize(*n);
    co_return text;
  }
  static Task<std::string> read_all(Stream* stream, size_t piece) {
    std::string all;
    while (true) {
      auto got = co_await read(stream, piece);
      if (got.empty()) co_return all;
      all += got;
    }
  }
  static Task<Status> write(Stream* stream, std::string data) { co_return co_await stream->write(data); }

  TestLoop loop_;
  std::unique_ptr<Stream> stream_;
  int peer_ = -1;
};

TEST_F(StreamOverAPair, AReadWaitsForBytes) {
  loop_.loop().post([this] { say("late"); });
  EXPECT_EQ(loop_.run(read(stream_.get(), 100)), "late");
}

TEST_F(StreamOverAPair, BytesThatDidNotFitAreReadNext) {
  say("abcdef");
  EXPECT_EQ(loop_.run(read(stream_.get(), 4)), "abcd");
  EXPECT_EQ(loop_.run(read(stream_.get(), 4)), "ef");
  say("gh");
  EXPECT_EQ(loop_.run(read(stream_.get(), 2)), "gh");  // exactly what there was
  say("i");
  EXPECT_EQ(loop_.run(read(stream_.get(), 2)), "i");
}

TEST_F(StreamOverAPair, WhatAPeerSaysBeforeItClosesIsRead) {
  say("bye");
  close_peer();
  EXPECT_EQ(loop_.run(read_all(stream_.get(), 100)), "bye");
  EXPECT_EQ(loop_.run(read(stream_.get(), 100)), "");  // and again
}

TEST_F(StreamOverAPair, ACloseWhileSomebodyReadsIsTheEnd) {
  loop_.loop().post([this] { close_peer(); });
  EXPECT_EQ(loop_.run(read(stream_.get(), 100)), "");
}

TEST_F(StreamOverAPair, AWriteWaitsForARoomyPeer) {
  const std::string data(4u << 20, 'x');
  std::string got;
  std::thread reader([&] {
    char buffer[65536];
    std::this_thread::sleep_for(20ms);
    while (got.size() < data.size()) {
      const ssize_t n = ::read(peer_, buffer, sizeof buffer);
      if (n <= 0) break;
      got.append(buffer, static_cast<size_t>(n));
    }
  });
  EXPECT_TRUE(loop_.run(write(stream_.get(), data)));
  reader.join();
  EXPECT_EQ(got.size(), data.size());
}

TEST_F(StreamOverAPair, ReadsAndWritesEndAtTheDeadline) {
  loop_.call([&] { stream_->set_deadline(Clock::now() + 50ms); });
  EXPECT_EQ(loop_.run(read(stream_.get(), 10)), "error " + std::string(kTimedOut));
  EXPECT_TRUE(stream_->timed_out());
  EXPECT_EQ(loop_.run(read(stream_.get(), 10)), "error " + std::string(kTimedOut));
  loop_.call([&] { stream_->set_deadline(Clock::now() + 50ms); });
  const auto written = loop_.run(write(stream_.get(), std::string(4u << 20, 'x')));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().sqlstate, kTimedOut);
  loop_.call([&] { stream_->set_deadline(kNoDeadline); });
  say("again");
  EXPECT_EQ(loop_.run(read(stream_.get(), 10)), "again");
}

TEST_F(StreamOverAPair, WhoWaitsHearsOfAClose) {
  loop_.loop().post([this] { stream_->close(); });
  EXPECT_EQ(loop_.run(read(stream_.get(), 10)), "error 08006");
  EXPECT_FALSE(stream_->try_write("x"));
}

TEST_F(StreamOverAPair, AnIdleStreamThatWasSpokenToIsBroken) {
  loop_.call([&] { EXPECT_FALSE(stream_->idle_is_broken()); });
  say("unasked");
  loop_.call([&] { EXPECT_TRUE(stream_->idle_is_broken()); });
}

Task<int> reads_bytes(Stream* stream, int count, const bool* others_ran) {
  char byte = 0;
  int before_others = 0;
  for (int i = 0; i < count; ++i) {
    (void)co_await stream->read_some(&byte, 1);
    if (!*others_ran) ++before_others;
  }
  co_return before_others;
}

TEST_F(StreamOverAPair, AReaderThatNeverHasToWaitLetsOthersRun) {
  say(std::string(1000, 'x'));
  bool others_ran = false;
  std::atomic<int> before_others{-1};
  loop_.call([&] {
    loop_.loop().spawn([](Stream* stream, const bool* others, std::atomic<int>* out) -> Task<void> {
      *out = co_await reads_bytes(stream, 1000, others);
    }(stream_.get(), &others_ran, &before_others));
    loop_.loop().post([&] { loop_.loop().post([&] { others_ran = true; }); });
  });
  while (before_others < 0) std::this_thread::sleep_for(1ms);
  EXPECT_LE(before_others, 4 * static_cast<int>(Stream::kAtOnce));
}

Task<Status> either(Stream* stream) {
  co_return co_await stream->wait_either();
}

TEST_F(StreamOverAPair, EitherWayOutOfAStallIsNoticed) {
  loop_.call([&] {
    const std::string piece(65536, 'x');
    while (*stream_->try_write(piece) == piece.size()) continue;  // until the kernel takes no more
  });
  loop_.loop().post([this] { say("first take mine"); });
  EXPECT_TRUE(loop_.run(either(stream_.get())));
  EXPECT_EQ(loop_.run(read(stream_.get(), 100)), "first take mine");
  std::thread reader([&] {
    std::string buffer(1u << 20, 0);
    std::this_thread::sleep_for(20ms);
    (void)!::read(peer_, buffer.data(), buffer.size());
  });
  EXPECT_TRUE(loop_.run(either(stream_.get())));
  reader.join();
  loop_.call([&] { EXPECT_GT(*stream_->try_write("x"), 0u); });
}

Task<std::string> connected(Loop* loop, std::string host, uint16_t port) {
  auto stream = co_await Stream::connect(*loop, host, port, Clock::now() + 5s);
  if (!stream) co_return stream.error().sqlstate;
  (void)co_await (*stream)->write("hello");
  char byte = 0;
  (void)co_await (*stream)->read_some(&byte, 1);
  co_return (*stream)->peer_address() + std::string(1, byte);
}

TEST(Connect, ByAddressAndByName) {
  TestLoop loop;
  uint16_t port = 0;
  std::unique_ptr<Listener> listener;
  std::vector<std::unique_ptr<Stream>> accepted;
  loop.call([&] {
    auto made = Listener::open(loop.loop(), "127.0.0.1", 0, [&](int fd) {
      accepted.push_back(std::make_unique<Stream>(loop.loop(), fd));
      EXPECT_TRUE(accepted.back()->try_write("!"));
    });
    ASSERT_TRUE(made) << made.error().message;
    listener = std::move(*made);
    port = listener->port();
  });
  EXPECT_EQ(loop.run(connected(&loop.loop(), "127.0.0.1", port)), "127.0.0.1!");
  EXPECT_EQ(loop.run(connected(&loop.loop(), "localhost", port)), "127.0.0.1!");
  EXPECT_EQ(accepted.size(), 2u);
  loop.call([&] {
    listener.reset();
    accepted.clear();
  });
  EXPECT_EQ(loop.run(connected(&loop.loop(), "127.0.0.1", port)), "08006");
  EXPECT_EQ(loop.run(connected(&loop.loop(), "no-such-host.invalid", port)), "08006");
}

}  // namespace
}  // namespace decan::async
