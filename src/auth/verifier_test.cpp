// Verifiers, base64, SASLprep and certificates.
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>

#include "auth/crypto.h"
#include "auth/saslprep.h"
#include "auth/scram.h"

namespace decan::auth {
namespace {

// Made by PostgreSQL 15 for the password "secret".
constexpr std::string_view kFromPostgres =
    "SCRAM-SHA-256$4096:tzb1p7Nu0jGxw79MGqF5zQ==$"
    "6wb80/R1n+Zv6ui3itL1BpAbsTHrAt8ld0VwliCLPRI=:ZNEGL6k6E5QtXxYXVS5NiBWJeHp5oqoNIGIq1VEzd3k=";

std::string text_with(std::string_view iterations, std::string_view salt, std::string_view stored,
                      std::string_view server) {
  return "SCRAM-SHA-256$" + std::string(iterations) + ":" + std::string(salt) + "$" + std::string(stored) +
         ":" + std::string(server);
}
const std::string kKey = base64_encode(std::string(32, 'k'));

TEST(Verifier, one_made_by_postgresql_is_read_and_written_unchanged) {
  const auto verifier = parse_verifier(kFromPostgres);
  ASSERT_TRUE(verifier);
  EXPECT_EQ(verifier->iterations, 4096);
  EXPECT_EQ(verifier->salt.size(), 16U);
  EXPECT_EQ(verifier->to_string(), kFromPostgres);
  const Key salted = salted_password("secret", verifier->salt, verifier->iterations).value();
  EXPECT_EQ(hmac_sha256(view(salted), "Server Key").value(), verifier->server_key);
  EXPECT_EQ(sha256(view(hmac_sha256(view(salted), "Client Key").value())).value(), verifier->stored_key);
}

TEST(Verifier, ours_survives_its_text) {
  const Verifier made = make_verifier("secret").value();
  const auto read = parse_verifier(made.to_string());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->iterations, 4096);
  EXPECT_EQ(read->salt, made.salt);
  EXPECT_EQ(read->stored_key, made.stored_key);
  EXPECT_EQ(read->server_key, made.server_key);
}

TEST(Verifier, other_texts_are_not_verifiers) {
  ASSERT_TRUE(parse_verifier(text_with("1", "c2FsdA==", kKey, kKey)));
  ASSERT_TRUE(parse_verifier(text_with("2147483647", "c2FsdA==", kKey, kKey)));
  for (const std::string& text :
       {std::string(), std::string("md5f36a3d9e1a6d3a5e2e5b3a1b2c3d4e5f"), std::string("plain"),
        text_with("0", "c2FsdA==", kKey, kKey), text_with("-1", "c2FsdA==", kKey, kKey),
        text_with("2147483648", "c2FsdA==", kKey, kKey), text_with("", "c2FsdA==", kKey, kKey),
        text_with("1x", "c2FsdA==", kKey, kKey), text_with("1", "", kKey, kKey),
        text_with("1", "c2F", kKey, kKey), text_with("1", "c2FsdA==", "c2FsdA==", kKey),
        text_with("1", "c2FsdA==", kKey, "c2FsdA=="), text_with("1", "c2FsdA==", kKey, ""),
        text_with("1", "c2FsdA==", kKey, kKey + " "), text_with("1", "c2FsdA==", kKey, kKey) + ":x",
        std::string("SCRAM-SHA-256$1:c2FsdA=="),
        "SCRAM-SHA-1" + text_with("1", "c2FsdA==", kKey, kKey).substr(13),
        text_with("1", base64_encode(std::string(5'000, 's')), kKey, kKey)}) {
    EXPECT_FALSE(parse_verifier(text)) << text;
  }
}

TEST(Verifier, an_empty_password_makes_none) {
  const auto made = make_verifier("");
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().sqlstate, "22023");
}

TEST(Base64, the_vectors_of_rfc_4648) {
  const std::pair<std::string, std::string> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : vectors) {
    EXPECT_EQ(base64_encode(bytes), text);
    EXPECT_EQ(base64_decode(text), bytes);
  }
}

TEST(Base64, every_byte_survives_at_every_place) {
  for (size_t size = 0; size < 40; ++size) {
    std::string bytes;
    for (size_t i = 0; i < size; ++i) bytes += static_cast<char>(i * 37 + size * 11);
    EXPECT_EQ(base64_decode(base64_encode(bytes)), bytes);
  }
}

TEST(Base64, only_the_one_right_text_is_decoded) {
  for (const std::string& text :
       {std::string("Zg"), std::string("Zg="), std::string("Zg==="), std::string("Zh=="), std::string("Zm9="),
        std::string("Z==="), std::string("===="), std::string("Zg==Zg=="), std::string("Zm 9v"),
        std::string("Zm9v\n"), std::string("Zm-v"), std::string("Zm9\0", 4), std::string("Zm9\xff"),
        std::string("Z=9v")}) {
    EXPECT_FALSE(base64_decode(text)) << text;
  }
}

TEST(ConstantTime, equality_is_equality) {
  EXPECT_TRUE(constant_time_equal("", ""));
  EXPECT_TRUE(constant_time_equal("abc", "abc"));
  EXPECT_FALSE(constant_time_equal("abc", "abd"));
  EXPECT_FALSE(constant_time_equal("abc", "ab"));
}

TEST(SaslPrep, the_examples_of_rfc_4013) {
  EXPECT_EQ(saslprep("I\xc2\xadX"), "IX") << "soft hyphen mapped to nothing";
  EXPECT_EQ(saslprep("user"), "user");
  EXPECT_EQ(saslprep("USER"), "USER");
  EXPECT_EQ(saslprep("\xc2\xaa"), "a") << "feminine ordinal, by NFKC";
  EXPECT_EQ(saslprep("\xe2\x85\xa8"), "IX") << "roman numeral nine";
  EXPECT_EQ(saslprep("\xd8\xa7\x31"), std::nullopt) << "begins right to left, ends with a digit";
}

TEST(SaslPrep, ascii_stays_as_it_is_even_with_control_characters) {
  EXPECT_EQ(saslprep("\x07"), "\x07");
  EXPECT_EQ(saslprep(""), "");
  EXPECT_EQ(saslprep("\x07\xc3\xa9"), std::nullopt) << "but not beside other characters";
}

TEST(SaslPrep, spaces_become_a_space_and_what_maps_to_nothing_goes) {
  EXPECT_EQ(saslprep("a\xc2\xa0"
                     "b\xe3\x80\x80"
                     "c"),
            "a b c");
  EXPECT_EQ(saslprep("a\xe2\x80\x8b"
                     "b"),
            "a b")
      << "U+200B is in both tables: a space";
  EXPECT_EQ(saslprep("\xc2\xad"), std::nullopt) << "nothing is left";
}

TEST(SaslPrep, decomposed_and_composed_text_give_the_same_password) {
  EXPECT_EQ(saslprep("cafe\xcc\x81"), "caf\xc3\xa9");
  EXPECT_EQ(saslprep("\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab"), "\xed\x95\x9c");
}

TEST(SaslPrep, prohibited_and_unassigned_characters_are_refused) {
  EXPECT_EQ(saslprep("a\xee\x80\x80"), std::nullopt) << "private use";
  EXPECT_EQ(saslprep("a\xf0\x9f\x98\x80"), std::nullopt) << "an emoji: not assigned in Unicode 3.2";
  EXPECT_EQ(saslprep("a\xef\xbf\xbd"), std::nullopt) << "replacement character";
  EXPECT_EQ(saslprep("a\xc2\x85"), std::nullopt) << "control";
}

TEST(SaslPrep, right_to_left_text_must_be_so_at_both_ends_and_have_no_latin) {
  EXPECT_EQ(saslprep("\xd7\x90\xd7\x91"), "\xd7\x90\xd7\x91");
  EXPECT_EQ(saslprep("\xd7\x90"
                     "1\xd7\x91"),
            "\xd7\x90"
            "1\xd7\x91");
  EXPECT_EQ(saslprep("\xd7\x90"
                     "a\xd7\x91"),
            std::nullopt);
  EXPECT_EQ(saslprep("1\xd7\x90"), std::nullopt);
}

TEST(SaslPrep, what_is_not_utf8_is_used_as_raw_bytes) {
  for (const std::string& text :
       {std::string("\xff"), std::string("a\xc3"), std::string("\xc0\x80"), std::string("\xed\xa0\x80"),
        std::string("\xf4\x90\x80\x80"), std::string("\xe2\x82")}) {
    EXPECT_EQ(saslprep(text), std::nullopt) << text;
    EXPECT_EQ(prepared_password(text), text);
  }
}

// --- certificates ---

std::string make_certificate(int key_type, const EVP_MD* digest) {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      key_type == EVP_PKEY_RSA  ? EVP_RSA_gen(2048)
      : key_type == EVP_PKEY_EC ? EVP_EC_gen("P-256")
                                : EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"),
      &EVP_PKEY_free);
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(X509_new(), &X509_free);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key.get());
  EXPECT_GT(X509_sign(certificate.get(), key.get(), digest), 0);
  unsigned char* der = nullptr;
  const int bytes = i2d_X509(certificate.get(), &der);
  std::string out(reinterpret_cast<char*>(der), static_cast<size_t>(bytes));
  OPENSSL_free(der);
  return out;
}

std::string digest_of(const std::string& der, const EVP_MD* algorithm) {
  std::string out(EVP_MAX_MD_SIZE, '\0');
  unsigned int bytes = 0;
  EVP_Digest(der.data(), der.size(), reinterpret_cast<unsigned char*>(out.data()), &bytes, algorithm,
             nullptr);
  out.resize(bytes);
  return out;
}

TEST(CertificateHash, is_the_digest_of_the_signature) {
  for (const EVP_MD* digest : {EVP_sha256(), EVP_sha384(), EVP_sha512()}) {
    const std::string der = make_certificate(EVP_PKEY_EC, digest);
    EXPECT_EQ(certificate_hash(der).value(), digest_of(der, digest));
  }
  const std::string rsa = make_certificate(EVP_PKEY_RSA, EVP_sha512());
  EXPECT_EQ(certificate_hash(rsa).value(), digest_of(rsa, EVP_sha512()));
}

TEST(CertificateHash, sha1_is_replaced_by_sha256) {
  const std::string der = make_certificate(EVP_PKEY_RSA, EVP_sha1());
  EXPECT_EQ(certificate_hash(der).value(), digest_of(der, EVP_sha256()));
}

TEST(CertificateHash, CVE_2025_49146_a_signature_without_a_digest_fails_closed) {
  const auto hash = certificate_hash(make_certificate(EVP_PKEY_ED25519, nullptr));
  ASSERT_FALSE(hash);
  EXPECT_EQ(hash.error().sqlstate, "28000");
}

TEST(CertificateHash, what_is_no_certificate_is_refused) {
  const std::string der = make_certificate(EVP_PKEY_EC, EVP_sha256());
  EXPECT_FALSE(certificate_hash(""));
  EXPECT_FALSE(certificate_hash("-----BEGIN CERTIFICATE-----"));
  EXPECT_FALSE(certificate_hash(der.substr(0, der.size() - 1)));
  EXPECT_FALSE(certificate_hash(der + "x"));
}

}  // namespace
}  // namespace decan::auth
