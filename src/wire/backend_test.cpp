// Bodies of unit messages: a unit is not trusted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "wire/message.h"
#include "wire/test_bytes.h"

namespace decan::wire {
namespace {

using namespace test;
using Values = std::vector<std::optional<std::string_view>>;

Status data_row(std::string_view body) {
  Values values;
  return decode_data_row(body, values);
}

template <class Decode>
void only_whole(const std::string& body, Decode decode) {
  EXPECT_EQ(state_of(decode(body)), "");
  for (size_t n = 0; n < body.size(); ++n) {
    EXPECT_EQ(state_of(decode(std::string_view(body).substr(0, n))), "08P01") << "prefix of " << n;
  }
  EXPECT_EQ(state_of(decode(body + '\0')), "08P01");
}

std::string field(std::string_view name, uint32_t format = 0) {
  return z(name) + be32(16'500) + be16(3) + be32(25) + be16(0xffff) + be32(0xffffffff) + be16(format);
}
const std::string kError = "S" + z("ERROR") + "C" + z("42P01") + "M" + z("no such table");

TEST(Backend, bodies_cut_or_lengthened_anywhere_are_refused) {
  only_whole(be16(2) + field("a") + field("b"), decode_row_description);
  only_whole(be16(3) + be32(1) + "x" + be32(0xffffffff) + be32(0), data_row);
  only_whole(kError + '\0', decode_error);
  only_whole(z("SELECT 1"), decode_command_complete);
  only_whole("I", decode_ready_for_query);
  only_whole(z("TimeZone") + z("UTC"), decode_parameter_status);
  only_whole(be32(9) + z("channel") + z("payload"), decode_notification);
  only_whole(std::string(1, 0) + be16(2) + be16(0) + be16(0), decode_copy_start);
  only_whole(be16(2) + be32(23) + be32(25), decode_parameter_description);
  only_whole(z("SCRAM-SHA-256-PLUS") + z("SCRAM-SHA-256") + '\0', decode_sasl_mechanisms);
}

TEST(Backend, row_description_gives_every_number_of_a_field) {
  const auto out = decode_row_description(be16(1) + field("col", 1)).value();
  ASSERT_EQ(out.fields.size(), 1U);
  const FieldDescription& got = out.fields[0];
  EXPECT_EQ(got.name, "col");
  EXPECT_EQ(got.table, 16'500U);
  EXPECT_EQ(got.attnum, 3);
  EXPECT_EQ(got.type, 25U);
  EXPECT_EQ(got.type_bytes, -1);
  EXPECT_EQ(got.typmod, -1);
  EXPECT_EQ(got.format, 1);
  EXPECT_TRUE(decode_row_description(be16(0)).value().fields.empty());
  EXPECT_EQ(state_of(decode_row_description(be16(1) + field("col", 2))), "08P01");
}

TEST(Backend, a_row_tells_null_from_empty) {
  const std::string body = be16(3) + be32(2) + "ab" + be32(0xffffffff) + be32(0);
  Values values{"left", "over", "from", "before"};
  ASSERT_TRUE(decode_data_row(body, values));
  EXPECT_THAT(values, testing::ElementsAre("ab", std::nullopt, ""));
}

TEST(Backend, CVE_2026_4427_a_row_with_length_minus_two_is_refused) {
  EXPECT_EQ(state_of(data_row(be16(1) + be32(0xfffffffe))), "08P01");
  EXPECT_EQ(state_of(data_row(be16(1) + be32(0x80000000) + "x")), "08P01");
  EXPECT_EQ(state_of(data_row(be16(1) + be32(0x7fffffff) + "x")), "08P01");
}

TEST(Backend, CVE_2026_4427_65535_columns_with_a_body_of_one_byte_are_refused_without_memory) {
  Values values;
  EXPECT_EQ(state_of(decode_data_row(be16(65'535) + "x", values)), "08P01");
  EXPECT_EQ(values.capacity(), 0U);
  EXPECT_EQ(state_of(decode_data_row("x", values)), "08P01");
  EXPECT_EQ(state_of(decode_row_description(be16(65'535) + "x")), "08P01");
  EXPECT_EQ(state_of(decode_parameter_description(be16(65'535) + "x")), "08P01");
  EXPECT_EQ(state_of(decode_copy_start(std::string(1, 0) + be16(65'535) + "x")), "08P01");
}

TEST(Backend, CVE_2026_6666_an_error_without_sqlstate_severity_or_text_is_refused) {
  EXPECT_EQ(state_of(decode_error("S" + z("ERROR") + "M" + z("text") + '\0')), "08P01");
  EXPECT_EQ(state_of(decode_error("S" + z("ERROR") + "C" + z("42P01") + '\0')), "08P01");
  EXPECT_EQ(state_of(decode_error("C" + z("42P01") + "M" + z("text") + '\0')), "08P01");
  EXPECT_EQ(state_of(decode_error(std::string(1, '\0'))), "08P01");
  EXPECT_EQ(state_of(decode_error("")), "08P01");
}

TEST(Backend, CVE_2026_6666_an_sqlstate_of_another_form_is_refused) {
  for (const std::string& code : {"", "42P0", "42P011", "42p01", "42 01", "\xff\xff\xff\xff\xff"}) {
    EXPECT_EQ(state_of(decode_error("S" + z("ERROR") + "C" + z(code) + "M" + z("text") + '\0')), "08P01")
        << code;
  }
}

TEST(Backend, a_field_given_twice_is_refused) {
  EXPECT_EQ(state_of(decode_error(kError + "M" + z("other text") + '\0')), "08P01");
}

TEST(Backend, fields_that_we_do_not_know_are_kept) {
  const auto out = decode_error(kError + "?" + z("new") + '\0').value();
  EXPECT_EQ(out.get('?'), "new");
  EXPECT_EQ(out.get('C'), "42P01");
  EXPECT_EQ(out.get('H'), "");
}

TEST(Backend, CVE_2026_6666_ready_for_query_knows_three_states) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string body(1, static_cast<char>(byte));
    const bool known = body == "I" || body == "T" || body == "E";
    EXPECT_EQ(decode_ready_for_query(body).has_value(), known) << byte;
  }
}

TEST(Backend, authentication_gives_code_and_data) {
  EXPECT_EQ(decode_authentication(be32(0)).value().code, 0);
  EXPECT_EQ(decode_authentication(be32(5) + "salt").value().data, "salt");
  EXPECT_EQ(state_of(decode_authentication(be32(0) + "x")), "08P01");
  EXPECT_EQ(state_of(decode_authentication("abc")), "08P01");
}

TEST(Backend, sasl_mechanisms_are_a_closed_list_that_is_not_empty) {
  EXPECT_THAT(decode_sasl_mechanisms(z("SCRAM-SHA-256") + '\0').value(),
              testing::ElementsAre("SCRAM-SHA-256"));
  EXPECT_EQ(state_of(decode_sasl_mechanisms(std::string(1, '\0'))), "08P01");
  EXPECT_EQ(state_of(decode_sasl_mechanisms("")), "08P01");
}

TEST(Backend, cancel_keys_have_4_to_256_bytes) {
  const std::string body = be32(0xdeadbeef) + "abcd";
  const auto key = decode_backend_key(body).value();
  EXPECT_EQ(key.pid, 0xdeadbeefU);
  EXPECT_EQ(key.key, "abcd");
  EXPECT_TRUE(decode_backend_key(be32(1) + std::string(256, 'k')));
  EXPECT_EQ(state_of(decode_backend_key(be32(1) + std::string(257, 'k'))), "08P01");
  EXPECT_EQ(state_of(decode_backend_key(be32(1) + "abc")), "08P01");
  EXPECT_EQ(state_of(decode_backend_key("abc")), "08P01");
}

TEST(Backend, copy_formats_agree_with_the_format_of_the_copy) {
  const auto binary = decode_copy_start(std::string(1, 1) + be16(2) + be16(1) + be16(1)).value();
  EXPECT_TRUE(binary.binary);
  EXPECT_THAT(binary.formats, testing::ElementsAre(1, 1));
  EXPECT_EQ(state_of(decode_copy_start(std::string(1, 2) + be16(0))), "08P01");
  EXPECT_EQ(state_of(decode_copy_start(std::string(1, 0) + be16(1) + be16(1))), "08P01");
}

TEST(ErrorFields, set_replaces_appends_and_removes) {
  ErrorFields fields = decode_error(kError + '\0').value();
  fields.set('M', "other");
  fields.set('H', "do this");
  EXPECT_EQ(fields.get('M'), "other");
  EXPECT_EQ(fields.fields.back(), (std::pair<char, std::string>('H', "do this")));
  fields.set('H', "");
  fields.set('D', "");
  EXPECT_EQ(fields.fields.size(), 3U);
}

TEST(ErrorFields, errors_survive_the_way_to_fields_and_back) {
  const Error error{.sqlstate = "42P01", .message = "text", .detail = "detail", .hint = "hint"};
  const ErrorFields fields = to_fields(error, "FATAL");
  EXPECT_EQ(fields.get('S'), "FATAL");
  EXPECT_EQ(fields.get('V'), "FATAL");
  const Error back = to_error(fields);
  EXPECT_EQ(back.sqlstate, error.sqlstate);
  EXPECT_EQ(back.message, error.message);
  EXPECT_EQ(back.detail, error.detail);
  EXPECT_EQ(back.hint, error.hint);
  EXPECT_EQ(to_fields(Error{"XX000", "text"}).fields.size(), 4U);
}

}  // namespace
}  // namespace decan::wire
