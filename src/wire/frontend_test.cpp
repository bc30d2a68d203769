// Bodies of client messages.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "wire/message.h"
#include "wire/test_bytes.h"

namespace decan::wire {
namespace {

using namespace test;

// A Bind body with empty names; counts are given apart from what follows them.
std::string bind_body(const std::string& formats, const std::string& parameters, const std::string& results) {
  return z("") + z("") + formats + parameters + results;
}
const std::string kNone = be16(0);

// Every proper prefix of a good body must be refused, and so must one byte more.
template <class Decode>
void only_whole(const std::string& body, Decode decode) {
  EXPECT_EQ(state_of(decode(body)), "");
  for (size_t n = 0; n < body.size(); ++n) {
    EXPECT_EQ(state_of(decode(std::string_view(body).substr(0, n))), "08P01") << "prefix of " << n;
  }
  EXPECT_EQ(state_of(decode(body + '\0')), "08P01");
}

TEST(Frontend, bodies_cut_or_lengthened_anywhere_are_refused) {
  only_whole(z("select 1"), decode_query);
  only_whole(z("name") + z("select $1") + be16(2) + be32(23) + be32(25), decode_parse);
  only_whole(z("p") + z("s") + be16(2) + be16(0) + be16(1) + be16(2) + be32(3) + "abc" + be32(0xffffffff) +
                 be16(1) + be16(1),
             [](std::string_view body) { return decode_bind(body); });
  only_whole("S" + z("name"), decode_describe);
  only_whole("P" + z("portal"), decode_close);
  only_whole(z("portal") + be32(100), decode_execute);
  only_whole(z("reason"), decode_copy_fail);
  only_whole(z("secret"), decode_password);
  only_whole(z("SCRAM-SHA-256") + be32(5) + "n,,n=", decode_sasl_initial);
}

TEST(Frontend, parse_reads_names_text_and_types) {
  const std::string body = z("stmt") + z("select $1") + be16(2) + be32(23) + be32(0);
  const auto parse = decode_parse(body).value();
  EXPECT_EQ(parse.name, "stmt");
  EXPECT_EQ(parse.query, "select $1");
  EXPECT_THAT(parse.parameter_types, testing::ElementsAre(23, 0));
}

TEST(Frontend, a_nul_inside_a_query_is_refused) {
  EXPECT_EQ(state_of(decode_query(std::string("select 1\0; drop table t\0", 24))), "08P01");
}

TEST(Frontend, bind_tells_null_from_empty) {
  const std::string body =
      z("p") + z("s") + be16(0) + be16(3) + be32(0xffffffff) + be32(0) + be32(2) + "hi" + be16(0);
  const auto bind = decode_bind(body).value();
  EXPECT_EQ(bind.portal, "p");
  EXPECT_EQ(bind.statement, "s");
  EXPECT_THAT(bind.parameters, testing::ElementsAre(std::nullopt, "", "hi"));
  EXPECT_TRUE(bind.result_formats.empty());
}

TEST(Frontend, one_format_holds_for_all_parameters_and_none_means_text) {
  const std::string two = be16(2) + be32(0) + be32(0);
  const auto none = decode_bind(bind_body(be16(0), two, kNone)).value();
  EXPECT_FALSE(none.parameter_is_binary(0));
  const auto one = decode_bind(bind_body(be16(1) + be16(1), two, kNone)).value();
  EXPECT_TRUE(one.parameter_is_binary(0));
  EXPECT_TRUE(one.parameter_is_binary(1));
  const auto each = decode_bind(bind_body(be16(2) + be16(1) + be16(0), two, kNone)).value();
  EXPECT_TRUE(each.parameter_is_binary(0));
  EXPECT_FALSE(each.parameter_is_binary(1));
  EXPECT_FALSE(each.parameter_is_binary(2));
}

TEST(Frontend, parameter_formats_must_fit_the_parameters) {
  const std::string three = be16(3) + be32(0) + be32(0) + be32(0);
  const auto refused = decode_bind(bind_body(be16(2) + be16(0) + be16(0), three, kNone));
  ASSERT_EQ(state_of(refused), "08P01");
  EXPECT_EQ(refused.error().message, "bind message has 2 parameter formats but 3 parameters");
}

TEST(Frontend, unknown_format_codes_are_refused) {
  EXPECT_EQ(state_of(decode_bind(bind_body(be16(1) + be16(2), be16(1) + be32(0), kNone))), "22023");
  EXPECT_EQ(state_of(decode_bind(bind_body(kNone, kNone, be16(1) + be16(0xffff)))), "22023");
}

TEST(Frontend, bind_accepts_65535_parameters) {
  std::string parameters = be16(65'535);
  for (int i = 0; i < 65'535; ++i) parameters += be32(1) + "x";
  const std::string body = bind_body(be16(1) + be16(0), parameters, kNone);
  EXPECT_EQ(decode_bind(body).value().parameters.size(), 65'535U);
}

// 65,536 parameters wrap to a count of 0: the bytes of the parameters are then left over.
TEST(Frontend, a_parameter_count_that_wrapped_is_refused) {
  std::string parameters = be16(65'536 & 0xffff);
  for (int i = 0; i < 65'536; ++i) parameters += be32(1) + "x";
  EXPECT_EQ(state_of(decode_bind(bind_body(kNone, parameters, kNone))), "08P01");
  std::string types = be16(65'536 & 0xffff);
  for (int i = 0; i < 65'536; ++i) types += be32(23);
  EXPECT_EQ(state_of(decode_parse(z("") + z("select 1") + types)), "08P01");
}

TEST(Frontend, CVE_2024_27304_parameter_lengths_that_wrap_or_pass_the_end_are_refused) {
  for (const uint32_t length :
       {3U, 0x7fffffffU, 0x80000000U, 0xfffffffeU, 0xfffffffdU, 0xfffffff0U, 0x40000000U}) {
    EXPECT_EQ(state_of(decode_bind(bind_body(kNone, be16(1) + be32(length) + "ab", kNone))), "08P01")
        << length;
  }
}

// A count of 65,535 with nothing behind it must not reserve room for 65,535 values.
TEST(Frontend, nothing_is_reserved_for_a_count_whose_bytes_are_not_there) {
  Bind bind;
  EXPECT_EQ(state_of(decode_bind(bind_body(be16(65'535), "", ""), bind)), "08P01");
  EXPECT_EQ(bind.parameter_formats.capacity(), 0U);
  EXPECT_EQ(state_of(decode_bind(bind_body(kNone, be16(65'535), ""), bind)), "08P01");
  EXPECT_EQ(bind.parameters.capacity(), 0U);
  EXPECT_EQ(state_of(decode_bind(bind_body(kNone, kNone, be16(65'535)), bind)), "08P01");
  EXPECT_EQ(bind.result_formats.capacity(), 0U);
}

TEST(Frontend, decoding_into_a_used_bind_leaves_nothing_of_the_last_one) {
  Bind bind;
  ASSERT_TRUE(
      decode_bind(bind_body(be16(1) + be16(1), be16(2) + be32(0) + be32(0), be16(1) + be16(1)), bind));
  const auto* room = bind.parameters.data();
  const std::string second = z("q") + z("t") + kNone + be16(1) + be32(1) + "x" + kNone;
  ASSERT_TRUE(decode_bind(second, bind));
  EXPECT_EQ(bind.portal, "q");
  EXPECT_THAT(bind.parameters, testing::ElementsAre("x"));
  EXPECT_TRUE(bind.parameter_formats.empty());
  EXPECT_TRUE(bind.result_formats.empty());
  EXPECT_EQ(bind.parameters.data(), room) << "the vector was not reused";
}

TEST(Frontend, describe_and_close_know_statements_and_portals_only) {
  EXPECT_EQ(decode_describe("S" + z("a")).value().kind, 'S');
  EXPECT_EQ(decode_close("P" + z("")).value().kind, 'P');
  EXPECT_EQ(state_of(decode_describe("X" + z("a"))), "08P01");
  EXPECT_EQ(state_of(decode_close("s" + z("a"))), "08P01");
}

TEST(Frontend, execute_gives_the_row_limit_as_sent) {
  EXPECT_EQ(decode_execute(z("") + be32(0)).value().max_rows, 0);
  EXPECT_EQ(decode_execute(z("") + be32(0x7fffffff)).value().max_rows, 2'147'483'647);
  EXPECT_EQ(decode_execute(z("") + be32(0xffffffff)).value().max_rows, -1);
}

TEST(Frontend, a_sasl_response_may_be_absent_but_not_of_negative_length) {
  EXPECT_FALSE(decode_sasl_initial(z("M") + be32(0xffffffff)).value().data);
  EXPECT_EQ(decode_sasl_initial(z("M") + be32(0)).value().data, "");
  EXPECT_EQ(decode_sasl_initial(z("M") + be32(2) + "ab").value().data, "ab");
  for (const uint32_t length : {1U, 3U, 0x7fffffffU, 0x80000000U, 0xfffffffeU}) {
    EXPECT_EQ(state_of(decode_sasl_initial(z("M") + be32(length) + "ab")), "08P01") << length;
  }
  EXPECT_EQ(state_of(decode_sasl_initial(z("M") + be32(0xffffffff) + "ab")), "08P01");
}

}  // namespace
}  // namespace decan::wire
