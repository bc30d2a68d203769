// Headers and the packets before the first typed message.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "wire/message.h"
#include "wire/test_bytes.h"

namespace decan::wire {
namespace {

using namespace test;
using Kind = StartupPacket::Kind;

std::string many_parameters(size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += z("k" + std::to_string(i)) + z("v");
  return out + '\0';
}

// A start-up packet whose declared length is `length`, made of one long parameter.
std::string startup_of_length(size_t length) {
  const std::string rest = z("user") + z(std::string(length - 8 - 5 - 1 - 1, 'u')) + '\0';
  EXPECT_EQ(rest.size() + 8, length);
  return packet(kProtocol30, rest);
}

TEST(Header, is_incomplete_below_five_bytes) {
  const std::string sync("S\0\0\0\4", 5);
  for (size_t n = 0; n < 5; ++n) {
    const auto header = decode_header(std::string_view(sync).substr(0, n), kMaxMessageBytes);
    ASSERT_TRUE(header);
    EXPECT_FALSE(header->has_value()) << n;
  }
  const auto header = decode_header(sync, kMaxMessageBytes).value();
  EXPECT_EQ(header->type, 'S');
  EXPECT_EQ(header->body_bytes, 0U);
}

// Lengths count themselves: 3 would be negative, 2^31 and above is negative in the protocol's signed type.
TEST(Header, CVE_2024_27304_impossible_declared_lengths_are_refused) {
  for (const uint32_t length :
       {0U, 1U, 3U, 0x40000004U, 0x7fffffffU, 0x80000000U, 0xfffffffeU, 0xffffffffU}) {
    EXPECT_EQ(state_of(decode_header("Q" + be32(length), kMaxMessageBytes)), "08P01") << length;
  }
  EXPECT_EQ(decode_header("Q" + be32(4), kMaxMessageBytes).value()->body_bytes, 0U);
  EXPECT_EQ(decode_header("Q" + be32(0x40000003U), kMaxMessageBytes).value()->body_bytes, kMaxMessageBytes);
}

TEST(Header, the_callers_limit_holds_before_login) {
  EXPECT_EQ(decode_header("p" + be32(kMaxAuthBytes + 4), kMaxAuthBytes).value()->body_bytes, kMaxAuthBytes);
  EXPECT_EQ(state_of(decode_header("p" + be32(kMaxAuthBytes + 5), kMaxAuthBytes)), "08P01");
  EXPECT_EQ(decode_header("p" + be32(4), 0).value()->body_bytes, 0U);
  EXPECT_EQ(state_of(decode_header("p" + be32(5), 0)), "08P01");
  EXPECT_EQ(decode_header("p" + be32(0xffffffffU), 0xffffffffU).value()->body_bytes, 0xfffffffbU);
}

TEST(Startup, parameters_arrive_in_order_and_the_packet_says_how_long_it_was) {
  const std::string in =
      packet(kProtocol30, z("user") + z("alice") + z("database") + z("") + '\0') + "Q more";
  const auto out = decode_startup(in).value();
  ASSERT_TRUE(out);
  EXPECT_EQ(out->kind, Kind::kStartup);
  EXPECT_EQ(out->protocol, kProtocol30);
  EXPECT_THAT(out->parameters,
              testing::ElementsAre(testing::Pair("user", "alice"), testing::Pair("database", "")));
  EXPECT_EQ(out->bytes, in.size() - 6);
}

TEST(Startup, fed_byte_by_byte_it_stays_incomplete_until_the_last_byte) {
  for (const std::string& in : {packet(kProtocol30, z("user") + z("alice") + '\0'), packet(kSslRequest, ""),
                                packet(kGssEncRequest, ""), packet(kCancelRequest, be32(7) + be32(9)),
                                packet(kProtocol32, std::string(1, '\0'))}) {
    for (size_t n = 0; n < in.size(); ++n) {
      const auto out = decode_startup(std::string_view(in).substr(0, n));
      ASSERT_TRUE(out);
      EXPECT_FALSE(out->has_value()) << n;
    }
    EXPECT_EQ(decode_startup(in).value()->bytes, in.size());
  }
}

TEST(Startup, a_minor_version_above_ours_is_decoded_for_the_negotiation) {
  EXPECT_EQ(decode_startup(packet(3 << 16 | 9999, std::string(1, '\0'))).value()->protocol, 3U << 16 | 9999U);
}

TEST(Startup, another_major_version_is_not_supported) {
  EXPECT_EQ(state_of(decode_startup(packet(2 << 16, "whatever it was"))), "0A000");
  EXPECT_EQ(state_of(decode_startup(packet(4 << 16, std::string(1, '\0')))), "0A000");
  EXPECT_EQ(state_of(decode_startup(packet(0, ""))), "0A000");
}

TEST(Startup, CVE_2024_27304_impossible_lengths_are_refused_before_the_bytes_arrive) {
  for (const uint32_t length : {0U, 3U, 4U, 7U, 10'005U, 0x7fffffffU, 0x80000000U, 0xffffffffU}) {
    EXPECT_EQ(state_of(decode_startup(be32(length))), "08P01") << length;
  }
}

// PostgreSQL's limit counts what follows the length word.
TEST(Startup, CVE_2026_107349_more_than_10000_bytes_are_refused) {
  EXPECT_TRUE(decode_startup(startup_of_length(10'004)).value());
  EXPECT_EQ(state_of(decode_startup(startup_of_length(10'005))), "08P01");
}

TEST(Startup, CVE_2025_12819_a_parameter_given_twice_is_refused) {
  const std::string twice =
      z("options") + z("-c a=b") + z("user") + z("u") + z("options") + z("-c c=d") + '\0';
  EXPECT_EQ(state_of(decode_startup(packet(kProtocol30, twice))), "08P01");
}

TEST(Startup, CVE_2026_107349_300_parameters_are_refused_and_256_are_not) {
  EXPECT_EQ(decode_startup(packet(kProtocol30, many_parameters(256))).value()->parameters.size(), 256U);
  EXPECT_EQ(state_of(decode_startup(packet(kProtocol30, many_parameters(257)))), "08P01");
  EXPECT_EQ(state_of(decode_startup(packet(kProtocol30, many_parameters(300)))), "08P01");
}

TEST(Startup, missing_terminators_are_refused) {
  for (const std::string& rest :
       {std::string(), std::string("user"), z("user"), z("user") + "alice", z("user") + z("alice"),
        z("user") + z("alice") + '\0' + '\0', z("user") + z("alice") + '\0' + "x", std::string(2, '\0')}) {
    EXPECT_EQ(state_of(decode_startup(packet(kProtocol30, rest))), "08P01") << rest;
  }
  EXPECT_TRUE(decode_startup(packet(kProtocol30, std::string(1, '\0'))).value());
}

TEST(Startup, CVE_2021_23214_bytes_behind_an_encryption_request_are_left_to_the_caller) {
  for (const uint32_t code : {kSslRequest, kGssEncRequest}) {
    const std::string in = packet(code, "") + packet(kProtocol30, z("user") + z("mallory") + '\0');
    const auto out = decode_startup(in).value();
    EXPECT_EQ(out->kind, code == kSslRequest ? Kind::kSslRequest : Kind::kGssEncRequest);
    EXPECT_EQ(out->bytes, 8U);
    EXPECT_TRUE(out->parameters.empty());
    // Bytes inside the request itself are no request at all.
    EXPECT_EQ(state_of(decode_startup(packet(code, "x"))), "08P01");
  }
}

TEST(Startup, cancel_requests_hold_keys_of_4_to_256_bytes) {
  const auto cancel = decode_startup(packet(kCancelRequest, be32(0x81020304) + "abcd")).value();
  EXPECT_EQ(cancel->kind, Kind::kCancel);
  EXPECT_EQ(cancel->cancel_pid, 0x81020304U);
  EXPECT_EQ(cancel->cancel_key, "abcd");
  const std::string long_key = std::string(255, '\0') + "k";
  EXPECT_EQ(decode_startup(packet(kCancelRequest, be32(1) + long_key)).value()->cancel_key, long_key);
  for (const std::string& rest :
       {std::string(), std::string("abc"), be32(1), be32(1) + "abc", be32(1) + std::string(257, 'k')}) {
    EXPECT_EQ(state_of(decode_startup(packet(kCancelRequest, rest))), "08P01") << rest.size();
  }
}

TEST(Startup, what_the_writer_sends_is_what_the_decoder_reads) {
  std::string out;
  Writer writer(out);
  const std::vector<std::pair<std::string, std::string>> parameters{{"user", "alice"}, {"options", ""}};
  writer.startup(kProtocol32, parameters);
  writer.ssl_request();
  writer.cancel_request(77, std::string(32, 'k'));
  ASSERT_TRUE(writer.status());
  std::string_view rest(out);
  const auto startup = decode_startup(rest).value();
  EXPECT_EQ(startup->parameters, parameters);
  rest.remove_prefix(startup->bytes);
  const auto ssl = decode_startup(rest).value();
  EXPECT_EQ(ssl->kind, Kind::kSslRequest);
  rest.remove_prefix(ssl->bytes);
  const auto cancel = decode_startup(rest).value();
  EXPECT_EQ(cancel->cancel_key, std::string(32, 'k'));
  EXPECT_EQ(cancel->bytes, rest.size());
}

}  // namespace
}  // namespace decan::wire
