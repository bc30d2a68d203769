// The exchange between our two sides, and with RFC 7677's example.
#include "auth/scram.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "auth/crypto.h"

namespace decan::auth {
namespace {

// RFC 7677 section 3: user "user", password "pencil".
constexpr std::string_view kClientNonce = "rOprNGfwEbeRWgbNEkqO";
constexpr std::string_view kServerNonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
constexpr std::string_view kClientFirst = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
constexpr std::string_view kServerFirst =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
constexpr std::string_view kClientFinal =
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+"
    "Ute9ytag9zjfMHgsqmmiz7AndVQ=";
constexpr std::string_view kServerFinal = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

// The verifier of "pencil" with the RFC's salt.
Verifier rfc_verifier() {
  Verifier verifier;
  verifier.iterations = 4096;
  verifier.salt = *base64_decode("W22ZaJ0SNY7soEsUEjb6gQ==");
  const Key salted = *salted_password("pencil", verifier.salt, 4096);
  verifier.stored_key = *sha256(view(*hmac_sha256(view(salted), "Client Key")));
  verifier.server_key = *hmac_sha256(view(salted), "Server Key");
  return verifier;
}

ScramServer::Options options_with(Verifier verifier) {
  ScramServer::Options options;
  options.role = "alice";
  options.verifier = std::move(verifier);
  return options;
}

struct Exchange {
  Status status;
  PassThroughKeys keys;
  std::string mechanism;
};

// Runs a whole exchange between the two sides.
Exchange run(ScramServer::Options options, ScramClient client, std::string_view client_binding = {}) {
  ScramServer server(std::move(options));
  auto first = client.first(server.mechanisms(), client_binding);
  if (!first) return {fail(first.error()), {}, {}};
  auto challenge = server.first(client.mechanism(), *first);
  if (!challenge) return {fail(challenge.error()), {}, {}};
  auto response = client.final(*challenge);
  if (!response) return {fail(response.error()), {}, {}};
  auto outcome = server.final(*response);
  if (!outcome) return {fail(outcome.error()), {}, {}};
  return {client.verify(*outcome), server.keys(), std::string(client.mechanism())};
}

TEST(Scram, the_client_speaks_the_example_of_rfc_7677) {
  ScramClient client("user", "pencil");
  client.set_nonce(std::string(kClientNonce));
  EXPECT_EQ(client.first({"SCRAM-SHA-256"}, {}).value(), kClientFirst);
  EXPECT_EQ(client.final(kServerFirst).value(), kClientFinal);
  EXPECT_FALSE(client.verified());
  EXPECT_TRUE(client.verify(kServerFinal));
  EXPECT_TRUE(client.verified());
}

TEST(Scram, the_server_speaks_the_example_of_rfc_7677) {
  auto options = options_with(rfc_verifier());
  options.nonce = kServerNonce;
  ScramServer server(options);
  EXPECT_EQ(server.first("SCRAM-SHA-256", kClientFirst).value(), kServerFirst);
  EXPECT_EQ(server.final(kClientFinal).value(), kServerFinal);
  EXPECT_EQ(*sha256(view(server.keys().client_key)), rfc_verifier().stored_key);
}

TEST(Scram, the_right_password_logs_in_with_and_without_channel_binding) {
  const Verifier verifier = make_verifier("s3cret, =word").value();
  auto options = options_with(verifier);
  EXPECT_TRUE(run(options, ScramClient("al,ic=e", "s3cret, =word")).status);
  options.tls = true;
  options.channel_binding = "hash of a certificate";
  const auto bound = run(options, ScramClient("alice", "s3cret, =word"), "hash of a certificate");
  EXPECT_TRUE(bound.status);
  EXPECT_EQ(bound.mechanism, "SCRAM-SHA-256-PLUS");
}

TEST(Scram, a_wrong_password_is_refused_with_28P01) {
  const auto outcome = run(options_with(make_verifier("right").value()), ScramClient("alice", "wrong"));
  ASSERT_FALSE(outcome.status);
  EXPECT_EQ(outcome.status.error().sqlstate, "28P01");
  EXPECT_EQ(outcome.status.error().message, "password authentication failed for user \"alice\"");
}

TEST(Scram, keys_of_one_exchange_log_in_again_without_the_password) {
  const auto options = options_with(make_verifier("right").value());
  const auto once = run(options, ScramClient("alice", "right"));
  ASSERT_TRUE(once.status);
  const auto again = run(options, ScramClient("alice", once.keys));
  ASSERT_TRUE(again.status);
  EXPECT_EQ(again.keys.client_key, once.keys.client_key);
}

TEST(Scram, keys_for_another_salt_are_refused_as_differing_verifiers) {
  const auto once = run(options_with(make_verifier("right").value()), ScramClient("alice", "right"));
  const auto other = run(options_with(make_verifier("right").value()), ScramClient("alice", once.keys));
  ASSERT_FALSE(other.status);
  EXPECT_EQ(other.status.error().sqlstate, "28000");
  EXPECT_THAT(other.status.error().message, testing::HasSubstr("verifiers differ between units"));
}

}  // namespace
}  // namespace decan::auth
