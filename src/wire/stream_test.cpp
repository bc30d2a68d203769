// A stream of messages cut in every way gives the same messages: byte by byte, two at a time, all at once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "wire/frame_scan.h"
#include "wire/message.h"
#include "wire/test_bytes.h"

namespace decan::wire {
namespace {

using namespace test;

std::string pipeline() {
  std::string out;
  Writer writer(out);
  const std::vector<std::optional<std::string_view>> values{"1", std::nullopt, "three"};
  const std::vector<int16_t> formats{0};
  writer.parse("s1", "select $1, $2, $3", {});
  writer.bind("", "s1", formats, values, formats);
  writer.describe('P', "");
  writer.execute("", 0);
  writer.query("select 1");
  writer.copy_data("x\n");
  writer.sync();
  return out;
}

// What a reader of a socket does: append what came, take whole messages off the front.
class Receiver {
 public:
  void feed(std::string_view bytes) {
    buffer_ += bytes;
    while (true) {
      const auto header = decode_header(buffer_, kMaxMessageBytes);
      ASSERT_TRUE(header);
      if (!*header || buffer_.size() - kHeaderBytes < (*header)->body_bytes) return;
      describe((*header)->type, std::string_view(buffer_).substr(kHeaderBytes, (*header)->body_bytes));
      buffer_.erase(0, kHeaderBytes + (*header)->body_bytes);
    }
  }
  const std::string& buffer() const { return buffer_; }
  const std::vector<std::string>& seen() const { return seen_; }

 private:
  void describe(char type, std::string_view body) {
    std::string text(1, type);
    if (type == 'P') text += ":" + std::string(decode_parse(body).value().query);
    if (type == 'B') text += ":" + std::string(*decode_bind(body).value().parameters[2]);
    if (type == 'Q') text += ":" + std::string(decode_query(body).value());
    if (type == 'D') text += ":" + std::string(1, decode_describe(body).value().kind);
    if (type == 'E') text += ":" + std::to_string(decode_execute(body).value().max_rows);
    if (type == 'd') text += ":" + std::string(body);
    seen_.push_back(text);
  }
  std::string buffer_;
  std::vector<std::string> seen_;
};

const std::vector<std::string> kExpected{"P:select $1, $2, $3", "B:three", "D:P", "E:0",
                                         "Q:select 1",          "d:x\n",   "S"};

TEST(Stream, fed_in_pieces_of_every_size_it_gives_the_same_messages) {
  const std::string in = pipeline();
  for (size_t piece = 1; piece <= in.size(); ++piece) {
    Receiver receiver;
    for (size_t at = 0; at < in.size(); at += piece) receiver.feed(std::string_view(in).substr(at, piece));
    EXPECT_EQ(receiver.seen(), kExpected) << "pieces of " << piece;
    EXPECT_EQ(receiver.buffer(), "");
  }
}

TEST(Stream, two_messages_at_a_time_and_the_start_of_a_third) {
  const std::string in = pipeline() + pipeline();
  for (size_t cut = 0; cut < in.size(); ++cut) {
    Receiver receiver;
    receiver.feed(std::string_view(in).substr(0, cut));
    receiver.feed(std::string_view(in).substr(cut));
    EXPECT_EQ(receiver.seen().size(), 14U) << "cut at " << cut;
  }
}

std::string rows() {
  return message('T', be16(0)) + message('D', be16(1) + be32(3) + "abc") + message('D', be16(0)) +
         message('d', "copy") + message('C', z("SELECT 2")) + message('Z', "I");
}
const size_t kDescriptionBytes = 7;

TEST(FrameScan, whole_rows_pass_and_the_first_other_message_stops) {
  const std::string in = rows();
  const auto first = scan_frames(in);
  EXPECT_EQ(first.bytes, 0U);
  EXPECT_EQ(first.stop, FrameScan::Stop::kAttention);
  EXPECT_EQ(first.next.type, 'T');
  EXPECT_EQ(first.next.body_bytes, 2U);

  const auto second = scan_frames(std::string_view(in).substr(kDescriptionBytes));
  EXPECT_EQ(second.frames, 3U);
  EXPECT_EQ(second.stop, FrameScan::Stop::kAttention);
  EXPECT_EQ(second.next.type, 'C');
  EXPECT_EQ(in[kDescriptionBytes + second.bytes], 'C');
}

TEST(FrameScan, the_callers_mask_decides) {
  const std::string in = rows();
  const auto all = scan_frames(in, kRowsOnly.with('T').with('C').with('Z'));
  EXPECT_EQ(all.bytes, in.size());
  EXPECT_EQ(all.frames, 6U);
  EXPECT_EQ(all.stop, FrameScan::Stop::kEnd);
  EXPECT_EQ(scan_frames(in, FrameMask{}).bytes, 0U);
  EXPECT_EQ(scan_frames("\xff" + be32(4), FrameMask{'\xff'}).frames, 1U) << "types are bytes, not characters";
}

TEST(FrameScan, an_incomplete_frame_is_never_passed) {
  const std::string row = message('D', be16(1) + be32(3) + "abc");
  const std::string in = row + row;
  for (size_t n = 0; n < in.size(); ++n) {
    const auto scan = scan_frames(std::string_view(in).substr(0, n));
    const size_t whole = n / row.size();
    EXPECT_EQ(scan.frames, whole) << n;
    EXPECT_EQ(scan.bytes, whole * row.size()) << n;
    const size_t rest = n % row.size();
    EXPECT_EQ(scan.stop, rest == 0 ? FrameScan::Stop::kEnd : FrameScan::Stop::kIncomplete) << n;
    EXPECT_EQ(scan.next.type, rest >= kHeaderBytes ? 'D' : '\0') << n;
  }
}

TEST(FrameScan, a_message_that_needs_attention_stops_it_before_its_body_is_there) {
  const auto scan = scan_frames("E" + be32(100) + "S");
  EXPECT_EQ(scan.stop, FrameScan::Stop::kAttention);
  EXPECT_EQ(scan.next.body_bytes, 96U);
}

TEST(FrameScan, impossible_lengths_are_malformed_and_what_came_before_still_counts) {
  const std::string row = message('D', be16(0));
  for (const uint32_t length : {0U, 3U, 0x40000004U, 0x7fffffffU, 0x80000000U, 0xffffffffU}) {
    const auto scan = scan_frames(row + "D" + be32(length) + "xx");
    EXPECT_EQ(scan.stop, FrameScan::Stop::kMalformed) << length;
    EXPECT_EQ(scan.bytes, row.size());
  }
  EXPECT_EQ(scan_frames("D" + be32(15), kRowsOnly, 10).stop, FrameScan::Stop::kMalformed);
  EXPECT_EQ(scan_frames("D" + be32(14), kRowsOnly, 10).stop, FrameScan::Stop::kIncomplete);
}

}  // namespace
}  // namespace decan::wire
