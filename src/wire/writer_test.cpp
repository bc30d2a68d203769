// Encoders: against hand-made bytes, against the decoders, and at their limits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include "wire/message.h"
#include "wire/test_bytes.h"

namespace decan::wire {
namespace {

using namespace test;
using Values = std::vector<std::optional<std::string_view>>;

struct Output {
  std::string bytes = "before";  // messages are appended
  Writer writer{bytes};

  std::string appended() const { return bytes.substr(6); }
};

// Addresses without memory behind them: whoever reads them dies.
class Unreadable {
 public:
  explicit Unreadable(size_t bytes)
      : bytes_(bytes),
        at_(mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  ~Unreadable() { munmap(at_, bytes_); }
  std::string_view view() const { return {static_cast<const char*>(at_), bytes_}; }

 private:
  size_t bytes_;
  void* at_;
};

TEST(Writer, messages_to_a_unit_have_the_documented_bytes) {
  Output out;
  const std::vector<Oid> types{23, 25};
  const std::vector<int16_t> formats{1};
  const Values values{"ab", std::nullopt, ""};
  out.writer.query("select 1");
  out.writer.parse("s", "q", types);
  out.writer.bind("p", "s", formats, values, formats);
  out.writer.describe('S', "s");
  out.writer.execute("p", 5);
  out.writer.close('P', "p");
  out.writer.sync();
  out.writer.flush();
  out.writer.terminate();
  out.writer.copy_data("a\tb\n");
  out.writer.copy_done();
  out.writer.copy_fail("why");
  out.writer.password("c=biws");
  out.writer.sasl_initial("M", "n,,");
  EXPECT_TRUE(out.writer.status());
  EXPECT_EQ(out.appended(),
            message('Q', z("select 1")) + message('P', z("s") + z("q") + be16(2) + be32(23) + be32(25)) +
                message('B', z("p") + z("s") + be16(1) + be16(1) + be16(3) + be32(2) + "ab" +
                                 be32(0xffffffff) + be32(0) + be16(1) + be16(1)) +
                message('D', "S" + z("s")) + message('E', z("p") + be32(5)) + message('C', "P" + z("p")) +
                message('S', "") + message('H', "") + message('X', "") + message('d', "a\tb\n") +
                message('c', "") + message('f', z("why")) + message('p', "c=biws") +
                message('p', z("M") + be32(3) + "n,,"));
}

TEST(Writer, messages_to_a_client_have_the_documented_bytes) {
  Output out;
  const std::vector<std::string> unknown{"_pq_.x"};
  const std::vector<Oid> types{23};
  const std::vector<int16_t> formats{0, 0};
  const Values values{"v", std::nullopt};
  out.writer.authentication(0);
  out.writer.authentication(11, "r=x");
  out.writer.negotiate_protocol(kProtocol32, unknown);
  out.writer.parameter_status("a", "b");
  out.writer.backend_key(7, "abcd");
  out.writer.ready_for_query('T');
  out.writer.parameter_description(types);
  out.writer.data_row(values);
  out.writer.command_complete("SELECT 1");
  out.writer.notification(7, "c", "p");
  out.writer.copy_start('G', false, formats);
  out.writer.empty('1');
  out.writer.raw('K', "xyz");
  EXPECT_TRUE(out.writer.status());
  EXPECT_EQ(out.appended(), message('R', be32(0)) + message('R', be32(11) + "r=x") +
                                message('v', be32(kProtocol32) + be32(1) + z("_pq_.x")) +
                                message('S', z("a") + z("b")) + message('K', be32(7) + "abcd") +
                                message('Z', "T") + message('t', be16(1) + be32(23)) +
                                message('D', be16(2) + be32(1) + "v" + be32(0xffffffff)) +
                                message('C', z("SELECT 1")) + message('A', be32(7) + z("c") + z("p")) +
                                message('G', std::string(1, 0) + be16(2) + be16(0) + be16(0)) +
                                message('1', "") + message('K', "xyz"));
}

TEST(Writer, descriptions_and_errors_survive_a_round_trip) {
  Output out;
  RowDescription description;
  description.fields.push_back({"a", 16'500, 2, 1700, -1, 655'366, 1});
  description.fields.push_back({"", 0, 0, 25, -1, -1, 0});
  out.writer.row_description(description);
  const auto rows = decode_row_description(std::string_view(out.bytes).substr(6 + kHeaderBytes)).value();
  ASSERT_EQ(rows.fields.size(), 2U);
  EXPECT_EQ(rows.fields[0].typmod, 655'366);
  EXPECT_EQ(rows.fields[0].type_bytes, -1);
  EXPECT_EQ(rows.fields[1].type, 25U);

  Output error;
  error.writer.error(to_fields({.sqlstate = "22012", .message = "division by zero", .hint = "do not"}));
  EXPECT_EQ(error.bytes[6], 'E');
  const auto fields = decode_error(std::string_view(error.bytes).substr(6 + kHeaderBytes)).value();
  EXPECT_EQ(fields.get('H'), "do not");
}

TEST(Writer, texts_of_errors_are_cut_at_a_nul_and_stay_whole_messages) {
  Output out;
  ErrorFields fields = to_fields({.sqlstate = "42601", .message = std::string("near \"\0\"", 8)});
  fields.fields.emplace_back('\0', "would end the list");
  out.writer.notice(fields);
  EXPECT_TRUE(out.writer.status());
  EXPECT_EQ(decode_error(std::string_view(out.bytes).substr(6 + kHeaderBytes)).value().get('M'), "near \"");
}

TEST(Writer, a_nul_inside_a_statement_or_name_is_never_sent) {
  const std::string nul("a\0b", 3);
  const auto refused = [&](auto write) {
    Output out;
    write(out.writer);
    EXPECT_EQ(state_of(out.writer.status()), "22021");
    EXPECT_EQ(out.appended(), "");
  };
  refused([&](Writer& writer) { writer.query(nul); });
  refused([&](Writer& writer) { writer.parse(nul, "q", {}); });
  refused([&](Writer& writer) { writer.parse("s", nul, {}); });
  refused([&](Writer& writer) { writer.bind(nul, "s", {}, {}, {}); });
  refused([&](Writer& writer) { writer.bind("p", nul, {}, {}, {}); });
  refused([&](Writer& writer) { writer.describe('S', nul); });
  refused([&](Writer& writer) { writer.execute(nul, 0); });
  refused([&](Writer& writer) { writer.close('S', nul); });
  refused([&](Writer& writer) {
    const std::vector<std::pair<std::string, std::string>> parameters{{"user", nul}};
    writer.startup(kProtocol30, parameters);
  });
}

TEST(Writer, CVE_2026_107348_a_message_that_grew_past_the_limit_is_refused_with_54000_and_not_read) {
  const Unreadable huge(size_t{kMaxMessageBytes} + 1);
  const Unreadable wraps(size_t{0x1'0000'0005});
  for (const std::string_view text : {huge.view(), wraps.view()}) {
    const auto refused = [&](auto write) {
      Output out;
      write(out.writer);
      EXPECT_EQ(state_of(out.writer.status()), "54000");
      EXPECT_EQ(out.appended(), "");
    };
    const Values values{text};
    refused([&](Writer& writer) { writer.query(text); });
    refused([&](Writer& writer) { writer.parse("s", text, {}); });
    refused([&](Writer& writer) { writer.bind("p", "s", {}, values, {}); });
    refused([&](Writer& writer) { writer.data_row(values); });
    refused([&](Writer& writer) { writer.copy_data(text); });
    refused([&](Writer& writer) { writer.raw('d', text); });
  }
}

// Seventeen values of 2^28 bytes make 2^32 and more: as 32-bit arithmetic that would be a small message.
TEST(Writer, CVE_2024_27304_sizes_are_added_in_64_bits) {
  const Unreadable part(size_t{1} << 28);
  const Values values(17, part.view());
  Output out;
  out.writer.bind("", "", {}, values, {});
  EXPECT_EQ(state_of(out.writer.status()), "54000");
  out.writer.data_row(values);
  EXPECT_EQ(out.appended(), "");
}

TEST(Writer, CVE_2024_27304_65535_items_are_sent_and_65536_are_not) {
  const std::vector<int16_t> formats(65'536, 0);
  const std::vector<Oid> types(65'536, 25);
  const Values values(65'536, std::nullopt);
  const auto most = [](const auto& items) { return std::span(items).first(65'535); };
  Output good;
  good.writer.bind("", "", most(formats), most(values), most(formats));
  good.writer.parse("", "q", most(types));
  good.writer.data_row(most(values));
  EXPECT_TRUE(good.writer.status());
  const auto header = decode_header(good.appended(), kMaxMessageBytes).value();
  const auto bind = decode_bind(std::string_view(good.bytes).substr(6 + kHeaderBytes, header->body_bytes));
  ASSERT_TRUE(bind);
  EXPECT_EQ(bind->parameters.size(), 65'535U);

  const auto refused = [&](auto write) {
    Output out;
    write(out.writer);
    EXPECT_EQ(state_of(out.writer.status()), "54000");
    EXPECT_EQ(out.appended(), "");
  };
  refused([&](Writer& writer) { writer.bind("", "", formats, {}, {}); });
  refused([&](Writer& writer) { writer.bind("", "", {}, values, {}); });
  refused([&](Writer& writer) { writer.bind("", "", {}, {}, formats); });
  refused([&](Writer& writer) { writer.parse("", "q", types); });
  refused([&](Writer& writer) { writer.data_row(values); });
  refused([&](Writer& writer) { writer.parameter_description(types); });
}

TEST(Writer, a_refused_message_does_not_touch_the_ones_around_it) {
  Output out;
  out.writer.query("one");
  out.writer.query(std::string_view("t\0wo", 4));
  out.writer.query("three");
  EXPECT_EQ(out.appended(), message('Q', z("one")) + message('Q', z("three")));
  EXPECT_EQ(state_of(out.writer.status()), "22021") << "the refusal stays known";
}

TEST(Writer, a_start_up_packet_above_the_limit_is_refused) {
  Output out;
  std::vector<std::pair<std::string, std::string>> parameters{{"user", std::string(9'989, 'u')}};
  out.writer.startup(kProtocol30, parameters);
  EXPECT_TRUE(out.writer.status());
  EXPECT_TRUE(decode_startup(out.appended()).value());
  parameters[0].second += "u";
  out.writer.startup(kProtocol30, parameters);
  EXPECT_EQ(state_of(out.writer.status()), "54000");
}

}  // namespace
}  // namespace decan::wire
