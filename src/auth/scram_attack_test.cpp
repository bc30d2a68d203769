// Hostile SCRAM messages, both ways. Names hold the public report that a test answers to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "auth/crypto.h"
#include "auth/scram.h"
#include "auth/scram_message.h"

namespace decan::auth {
namespace {

constexpr std::string_view kPlain = "SCRAM-SHA-256";
constexpr std::string_view kPlus = "SCRAM-SHA-256-PLUS";
constexpr std::string_view kNonce = "client-nonce";

template <class R>
std::string state_of(const R& result) {
  return result ? std::string() : result.error().sqlstate;
}

const Verifier& verifier() {
  static const Verifier made = make_verifier("right").value();
  return made;
}

ScramServer server(bool tls = false) {
  ScramServer::Options options;
  options.role = "alice";
  options.verifier = verifier();
  options.tls = tls;
  if (tls) options.channel_binding = "our certificate";
  return ScramServer(options);
}

std::string state_of_first(std::string_view client_first, std::string_view mechanism = kPlain,
                           bool tls = false) {
  ScramServer side = server(tls);
  const auto result = side.first(mechanism, client_first);
  // Whatever went wrong, the exchange is over: nothing may follow.
  if (!result) EXPECT_EQ(state_of(side.final("c=biws,r=x,p=x")), "08P01");
  return state_of(result);
}

// A good client-final of a client that knows the password, changed by `change` before it is sent.
template <class Change>
std::string state_of_final(Change change, bool tls = false,
                           std::string_view client_binding = "our certificate") {
  ScramServer side = server(tls);
  ScramClient client("alice", "right");
  const auto first = client.first(side.mechanisms(), tls ? client_binding : std::string_view{});
  const auto last = client.final(side.first(client.mechanism(), *first).value());
  std::string message = *last;
  change(message);
  return state_of(side.final(message));
}

void replace(std::string& text, std::string_view what, std::string_view with) {
  const size_t at = text.find(what);
  ASSERT_NE(at, std::string::npos) << what << " is not in " << text;
  text.replace(at, what.size(), with);
}

// A client that has sent its first message with a known nonce.
ScramClient waiting_client() {
  ScramClient client("alice", "right");
  client.set_nonce(std::string(kNonce));
  EXPECT_TRUE(client.first({std::string(kPlain)}, {}));
  return client;
}
std::string state_of_challenge(std::string_view server_first) {
  ScramClient client = waiting_client();
  return state_of(client.final(server_first));
}

// --- a hostile client ---

TEST(ScramAttack, good_messages_pass_these_helpers) {
  EXPECT_EQ(state_of_first("n,,n=,r=abc"), "");
  EXPECT_EQ(state_of_first("y,,n=alice,r=abc"), "");
  EXPECT_EQ(state_of_first("p=tls-server-end-point,,n=,r=abc", kPlus, true), "");
  EXPECT_EQ(state_of_first("n,,n=,r=abc,x=extension"), "");
  EXPECT_EQ(state_of_final([](std::string&) {}), "");
  EXPECT_EQ(state_of_final([](std::string&) {}, true), "");
  EXPECT_EQ(state_of_challenge("r=client-nonce+server,s=c2FsdA==,i=1"), "");
}

TEST(ScramAttack, CVE_2026_6664_scram_overflowed_lengths_are_refused) {
  const std::string head = "n,,n=,r=";
  EXPECT_EQ(state_of_first(head + std::string(kMaxSaslMessageBytes - head.size(), 'a')), "");
  EXPECT_EQ(state_of_first(head + std::string(kMaxSaslMessageBytes - head.size() + 1, 'a')), "08P01");
  EXPECT_EQ(state_of_final([](std::string& message) { message.insert(0, std::string(1024, 'c')); }), "08P01");
  EXPECT_EQ(state_of_first(""), "08P01");
  EXPECT_EQ(state_of_final([](std::string& message) { message.clear(); }), "08P01");
}

TEST(ScramAttack, CVE_2026_6664_a_nonce_of_64_kilobytes_is_refused) {
  EXPECT_EQ(state_of_first("n,,n=,r=" + std::string(65'536, 'a')), "08P01");
  EXPECT_EQ(state_of_challenge("r=client-nonce" + std::string(65'536, 'a') + ",s=c2FsdA==,i=1"), "08P01");
}

TEST(ScramAttack, CVE_2026_6665_a_client_first_cut_anywhere_is_refused) {
  const std::string whole = "p=tls-server-end-point,,n=,r=a";
  ASSERT_EQ(state_of_first(whole, kPlus, true), "");
  for (size_t n = 0; n < whole.size(); ++n) {
    EXPECT_EQ(state_of_first(whole.substr(0, n), kPlus, true), "08P01") << n;
  }
}

TEST(ScramAttack, CVE_2026_6665_missing_or_misplaced_attributes_of_client_first_are_refused) {
  for (const char* message : {"n,,r=abc",
                              "n,,n=",
                              "n,,n=,",
                              "n,,n=,r=",
                              "n,,n=,r=abc,",
                              "n,,r=abc,n=",
                              "n,,n=,r=abc,x",
                              "n,,n=,r=abc,=x",
                              "n,,n=,r=abc,1=x",
                              "n,n=,r=abc",
                              ",,n=,r=abc",
                              "nn,,n=,r=abc",
                              "x,,n=,r=abc",
                              "n",
                              "n,",
                              "n,,",
                              "n,,n",
                              "p",
                              "p,,n=,r=abc",
                              "y"}) {
    EXPECT_EQ(state_of_first(message), "08P01") << message;
  }
}

TEST(ScramAttack, CVE_2026_6665_bytes_that_are_no_nonce_are_refused) {
  for (const std::string& nonce : {std::string("a b"), std::string("a\tb"), std::string("a\x7f"),
                                   std::string("\xc3\xa9"), std::string("a\0b", 3), std::string("\xff")}) {
    EXPECT_EQ(state_of_first("n,,n=,r=" + nonce), "08P01") << nonce;
  }
}

TEST(ScramAttack, an_authorization_identity_or_a_mandatory_extension_is_not_supported) {
  EXPECT_EQ(state_of_first("n,a=postgres,n=,r=abc"), "0A000");
  EXPECT_EQ(state_of_first("n,,m=future,n=,r=abc"), "0A000");
}

TEST(ScramAttack, CVE_2026_6665_missing_attributes_of_client_final_are_refused) {
  EXPECT_EQ(state_of_final([](std::string& m) { replace(m, "c=biws,", ""); }), "08P01");
  EXPECT_EQ(state_of_final([](std::string& m) { m.erase(m.find(",p=")); }), "08P01");
  EXPECT_EQ(state_of_final([](std::string& m) { m.erase(m.find("r="), m.find(",p=") - m.find("r=") + 1); }),
            "08P01");
  EXPECT_EQ(state_of_final([](std::string& m) { m = "p=" + std::string(44, 'A'); }), "08P01");
  EXPECT_EQ(state_of_final([](std::string& m) { m += ",x=trailing"; }), "08P01");
  EXPECT_EQ(state_of_final([](std::string& m) { m += ","; }), "08P01");
  EXPECT_EQ(state_of_final([](std::string& m) { m += '\0'; }), "08P01");
}

TEST(ScramAttack, CVE_2026_6665_a_client_final_cut_anywhere_is_refused) {
  for (size_t n = 0; n < 80; ++n) {
    EXPECT_EQ(state_of_final([&](std::string& message) { message.resize(n); }), "08P01") << n;
  }
}

TEST(ScramAttack, CVE_2026_42198_a_changed_nonce_is_refused) {
  EXPECT_EQ(state_of_final([](std::string& m) { m[m.find("r=") + 2] ^= 1; }), "08P01");
  EXPECT_EQ(state_of_final([](std::string& m) { m.insert(m.find(",p="), "x"); }), "08P01");
  EXPECT_EQ(state_of_final([](std::string& m) { m.erase(m.find(",p=") - 1, 1); }), "08P01");
}

TEST(ScramAttack, CVE_2026_42198_bad_base64_in_a_proof_is_refused) {
  const auto with_proof = [](std::string_view proof) {
    return state_of_final([&](std::string& m) { m.replace(m.find(",p=") + 3, std::string::npos, proof); });
  };
  EXPECT_EQ(with_proof(""), "08P01");
  EXPECT_EQ(with_proof("AAAA"), "08P01") << "too short";
  EXPECT_EQ(with_proof(std::string(44, 'A')), "08P01") << "33 bytes";
  EXPECT_EQ(with_proof(std::string(43, 'A')), "08P01") << "no padding";
  EXPECT_EQ(with_proof(std::string(42, 'A') + "A="), "28P01") << "32 bytes, but not the proof";
  EXPECT_EQ(with_proof(std::string(41, 'A') + "*A="), "08P01");
  EXPECT_EQ(with_proof("====" + std::string(39, 'A') + "="), "08P01");
}

TEST(ScramAttack, every_changed_bit_of_the_proof_fails_the_password) {
  for (size_t i = 0; i < 42; ++i) {
    const std::string state = state_of_final([&](std::string& m) {
      char& c = m[m.find(",p=") + 3 + i];
      c = c == 'A' ? 'B' : 'A';
    });
    EXPECT_EQ(state, "28P01") << i;
  }
}

TEST(ScramAttack, CVE_2026_42198_a_gs2_header_that_changed_is_refused) {
  // "y,," where the first message said "n,,"; and no header at all.
  EXPECT_EQ(state_of_final([](std::string& m) { replace(m, "c=biws", "c=eSws"); }), "08P01");
  EXPECT_EQ(state_of_final([](std::string& m) { replace(m, "c=biws", "c="); }), "08P01");
  EXPECT_EQ(state_of_final([](std::string& m) { replace(m, "c=biws", "c=!!!!"); }), "08P01");
}

TEST(ScramAttack, CVE_2025_49146_y_is_a_downgrade_when_plus_was_offered) {
  EXPECT_EQ(state_of_first("y,,n=,r=abc", kPlain, true), "28000");
  EXPECT_EQ(state_of_first("y,,n=,r=abc", kPlain, false), "") << "without TLS nothing was offered";
  EXPECT_EQ(state_of_first("n,,n=,r=abc", kPlain, true), "") << "a client that can not bind may still log in";
}

TEST(ScramAttack, CVE_2025_49146_mechanism_and_gs2_flag_must_agree) {
  EXPECT_EQ(state_of_first("p=tls-server-end-point,,n=,r=abc", kPlain, true), "08P01");
  EXPECT_EQ(state_of_first("n,,n=,r=abc", kPlus, true), "08P01");
  EXPECT_EQ(state_of_first("y,,n=,r=abc", kPlus, true), "08P01");
  EXPECT_EQ(state_of_first("p=tls-unique,,n=,r=abc", kPlus, true), "08P01");
}

TEST(ScramAttack, CVE_2026_54291_a_mechanism_that_was_not_offered_is_refused) {
  EXPECT_EQ(state_of_first("p=tls-server-end-point,,n=,r=abc", kPlus, false), "08P01");
  EXPECT_EQ(state_of_first("n,,n=,r=abc", "SCRAM-SHA-1"), "08P01");
  EXPECT_EQ(state_of_first("n,,n=,r=abc", ""), "08P01");
}

TEST(ScramAttack, CVE_2026_54291_another_certificate_fails_the_channel_binding) {
  EXPECT_EQ(state_of_final([](std::string&) {}, true, "a relay's certificate"), "28000");
  EXPECT_EQ(state_of_final([](std::string& m) { m.replace(0, m.find(','), "c=biws"); }, true), "28000");
}

TEST(ScramAttack, CVE_2026_107350_an_exchange_accepts_each_message_once) {
  ScramServer side = server();
  ASSERT_TRUE(side.first(kPlain, "n,,n=,r=abc"));
  EXPECT_EQ(state_of(side.first(kPlain, "n,,n=,r=abc")), "08P01");

  ScramServer early = server();
  EXPECT_EQ(state_of(early.final("c=biws,r=abc,p=AAAA")), "08P01");

  ScramServer late = server();
  ScramClient client("alice", "right");
  const auto first = client.first(late.mechanisms(), {});
  const auto last = client.final(late.first(kPlain, *first).value());
  ASSERT_TRUE(late.final(*last));
  EXPECT_EQ(state_of(late.final(*last)), "08P01");
}

TEST(ScramAttack, a_failed_proof_can_not_be_tried_again_in_the_same_exchange) {
  ScramServer side = server();
  ScramClient client("alice", "right");
  const auto first = client.first(side.mechanisms(), {});
  const std::string good = client.final(side.first(kPlain, *first).value()).value();
  std::string bad = good;
  bad[bad.find(",p=") + 3] = bad[bad.find(",p=") + 3] == 'A' ? 'B' : 'A';
  EXPECT_EQ(state_of(side.final(bad)), "28P01");
  EXPECT_EQ(state_of(side.final(good)), "08P01");
}

TEST(ScramAttack, CVE_2025_2291_a_role_that_may_not_log_in_fails_with_the_right_password_and_leaks_no_keys) {
  ScramServer::Options options;
  options.role = "nologin";
  options.verifier = verifier();
  options.role_may_log_in = false;
  ScramServer side(options);
  ScramClient client("nologin", "right");
  const auto first = client.first(side.mechanisms(), {});
  const auto outcome = side.final(client.final(side.first(kPlain, *first).value()).value());
  ASSERT_EQ(state_of(outcome), "28P01");
  EXPECT_EQ(outcome.error().message, "password authentication failed for user \"nologin\"");
  EXPECT_EQ(side.keys().client_key, Key{});
}

TEST(ScramAttack, an_unknown_role_is_challenged_like_a_known_one) {
  const Verifier mock = mock_verifier("nobody", "secret of this process");
  EXPECT_EQ(mock.salt, mock_verifier("nobody", "secret of this process").salt)
      << "a changing salt would tell";
  EXPECT_NE(mock.salt, mock_verifier("nobody2", "secret of this process").salt);
  EXPECT_NE(mock.salt, mock_verifier("nobody", "another secret").salt);
  EXPECT_EQ(mock.salt.size(), verifier().salt.size());
  EXPECT_EQ(mock.iterations, verifier().iterations);
  EXPECT_NE(mock.stored_key, Key{});
}

TEST(ScramAttack, nonces_and_salts_differ_from_exchange_to_exchange) {
  ScramServer one = server();
  ScramServer two = server();
  EXPECT_NE(one.first(kPlain, "n,,n=,r=abc").value(), two.first(kPlain, "n,,n=,r=abc").value());
  EXPECT_NE(make_verifier("x").value().salt, make_verifier("x").value().salt);
  ScramClient a("u", "p");
  ScramClient b("u", "p");
  EXPECT_NE(a.first({std::string(kPlain)}, {}).value(), b.first({std::string(kPlain)}, {}).value());
}

// --- a hostile unit ---

TEST(ScramAttack, CVE_2026_42198_iteration_counts_are_capped_before_any_work) {
  for (const char* count : {"1000001", "2147483647"}) {
    EXPECT_EQ(state_of_challenge("r=client-nonceX,s=c2FsdA==,i=" + std::string(count)), "28000") << count;
  }
  for (const char* count :
       {"0", "-1", "2147483648", "4294967296", "99999999999999999999", "", "1x", " 1", "+1", "0x10"}) {
    EXPECT_EQ(state_of_challenge("r=client-nonceX,s=c2FsdA==,i=" + std::string(count)), "08P01") << count;
  }
}

TEST(ScramAttack, CVE_2026_42198_a_server_nonce_that_does_not_continue_ours_is_refused) {
  EXPECT_EQ(state_of_challenge("r=other-nonce-X,s=c2FsdA==,i=1"), "08P01");
  EXPECT_EQ(state_of_challenge("r=client-nonce,s=c2FsdA==,i=1"), "08P01") << "nothing of the server's own";
  EXPECT_EQ(state_of_challenge("r=client-nonc,s=c2FsdA==,i=1"), "08P01");
}

TEST(ScramAttack, CVE_2026_42198_a_malformed_server_first_is_refused) {
  for (const char* message : {"r=client-nonceX", "s=c2FsdA==,i=1", "r=client-nonceX,i=1",
                              "r=client-nonceX,s=c2FsdA==", "r=client-nonceX,s=c2FsdA,i=1",
                              "r=client-nonceX,s=,i=1", "r=client-nonceX,s=c2F*dA==,i=1",
                              "r=client-nonceX,s=c2FsdA==,i=1,", "r=client-nonceX,s=c2FsdA==,i=1,x=y",
                              "m=x,r=client-nonceX,s=c2FsdA==,i=1", "e=other-error", "", ","}) {
    EXPECT_EQ(state_of_challenge(message), "08P01") << message;
  }
}

TEST(ScramAttack, CVE_2025_49146_the_client_binds_whenever_the_unit_offers_it) {
  ScramClient client("alice", "right");
  EXPECT_TRUE(client.first({std::string(kPlain), std::string(kPlus)}, "hash").value().starts_with("p="));
  EXPECT_EQ(client.mechanism(), kPlus);
}

// The server sees "y" and knows that somebody cut its offer out.
TEST(ScramAttack, CVE_2026_54291_a_stripped_offer_is_told_to_the_server) {
  ScramClient client("alice", "right");
  const std::string first = client.first({std::string(kPlain)}, "our certificate").value();
  EXPECT_TRUE(first.starts_with("y,,"));
  EXPECT_EQ(state_of(server(true).first(kPlain, first)), "28000");
}

TEST(ScramAttack, an_offer_that_we_can_not_take_is_refused) {
  EXPECT_EQ(state_of(ScramClient("a", "b").first({std::string(kPlus)}, {})), "28000");
  EXPECT_EQ(state_of(ScramClient("a", "b").first({"SCRAM-SHA-1"}, {})), "0A000");
  EXPECT_EQ(state_of(ScramClient("a", "b").first({}, {})), "0A000");
}

TEST(ScramAttack, a_unit_that_does_not_know_the_verifier_is_refused) {
  for (const char* message : {"v=AAAA", "v=", "v", "", "x=abc", "v=****"}) {
    ScramClient client = waiting_client();
    ASSERT_TRUE(client.final("r=client-nonceX,s=c2FsdA==,i=1"));
    EXPECT_FALSE(client.verify(message)) << message;
    EXPECT_FALSE(client.verified()) << message;
  }
  ScramClient client = waiting_client();
  ASSERT_TRUE(client.final("r=client-nonceX,s=c2FsdA==,i=1"));
  EXPECT_EQ(state_of(client.verify("v=" + base64_encode(std::string(32, 'x')))), "28000");
  EXPECT_EQ(state_of(client.verify("e=invalid-proof")), "28P01");
}

TEST(ScramAttack, the_client_takes_its_messages_in_order_only) {
  EXPECT_EQ(state_of(ScramClient("a", "b").final("r=x,s=c2FsdA==,i=1")), "08P01");
  EXPECT_EQ(state_of(ScramClient("a", "b").verify("v=AAAA")), "08P01");
  ScramClient client = waiting_client();
  ASSERT_TRUE(client.final("r=client-nonceX,s=c2FsdA==,i=1"));
  EXPECT_EQ(state_of(client.final("r=client-nonceX,s=c2FsdA==,i=1")), "08P01");
}

}  // namespace
}  // namespace decan::auth
