#include "exec/relay.h"

#include <charconv>

namespace decan::exec {

using async::Task;
using backend::Expected;
using Kind = backend::Expected::Kind;

namespace {

constexpr size_t kStreamAbove = 32 * 1024;  // rows larger than this are forwarded in pieces

uint64_t count_of_tag(std::string_view tag) {
  const size_t space = tag.rfind(' ');
  uint64_t count = 0;
  if (space != std::string_view::npos)
    std::from_chars(tag.data() + space + 1, tag.data() + tag.size(), count);
  return count;
}

}  // namespace

Task<Result<RelayOutcome>> Relay::run() {
  outcome_.copy_in = false;
  auto& expected = unit_.expected();
  while (!expected.empty()) {
    if (expected.front().kind == Kind::kLocal) {
      if (expected.front().visible) client_.out() += expected.front().local;
      expected.pop_front();
      continue;
    }
    if (auto taken = quick(); !taken) co_return fail(taken.error());
    if (expected.empty() || expected.front().kind == Kind::kLocal) continue;
    // The usual wait, without a look at what is not there.
    if (pass_left_ == 0 && unit_.input().empty() && unit_.nothing_to_send() &&
        client_.out().size() < ClientPort::kWriteAt) {
      if (auto filled = co_await unit_.read_more(); !filled) co_return lost(std::move(filled.error()));
      continue;
    }
    auto stepped = co_await step();
    if (!stepped) co_return fail(stepped.error());
    if (*stepped == Step::kStop) co_return outcome_;
    if (*stepped == Step::kNeedMore) {
      if (auto relieved = co_await client_.relieve(); !relieved) co_return fail(relieved.error());
      if (auto filled = co_await unit_.fill(); !filled) co_return lost(std::move(filled.error()));
    }
  }
  co_return outcome_;
}

Status Relay::quick() {
  auto& expected = unit_.expected();
  while (!expected.empty() && pass_left_ == 0 && client_.out().size() < ClientPort::kWriteAt) {
    const Kind kind = expected.front().kind;
    const bool visible = expected.front().visible;
    if (kind == Kind::kLocal) return {};  // run() puts it in its place
    const std::string_view in = unit_.input().readable();
    if (in.size() < wire::kHeaderBytes) return {};
    const auto* p = reinterpret_cast<const unsigned char*>(in.data()) + 1;
    const size_t bytes = 1 + ((size_t{p[0]} << 24) | (size_t{p[1]} << 16) | (size_t{p[2]} << 8) | p[3]);
    if (bytes < wire::kHeaderBytes || bytes > in.size() || bytes > ClientPort::kWriteAt) return {};
    const std::string_view body = in.substr(wire::kHeaderBytes, bytes - wire::kHeaderBytes);
    Status done;
    bool forward = visible;
    switch (in[0]) {
      case '1':
        done = finished(Kind::kParse, Kind::kParse);
        break;
      case '2':
        done = finished(Kind::kBind, Kind::kBind);
        break;
      case 'T':
        if (kind != Kind::kQuery && kind != Kind::kDescribePortal) return {};
        if (translates()) {
          forward = false;
          done = describe(in.substr(0, bytes));
        }
        if (done && kind == Kind::kDescribePortal) expected.pop_front();
        break;
      case 'n':
        if (kind != Kind::kDescribePortal) return {};
        expected.pop_front();
        break;
      case 'D':
        if ((kind != Kind::kQuery && kind != Kind::kExecute) || !id_columns_.empty()) return {};
        outcome_.sent_rows |= visible;
        break;
      case 'C':
        outcome_.rows += count_of_tag(body.substr(0, body.empty() ? 0 : body.size() - 1));
        outcome_.sent_rows |= visible;
        done = finished(Kind::kExecute, Kind::kQuery);
        break;
      case 'Z':
        forward = false;
        done = ready(body);
        break;
      default:
        return {};
    }
    if (!done) {
      unit_.mark_broken();
      return done;
    }
    if (forward) client_.out() += in.substr(0, bytes);
    unit_.input().consume(bytes);
  }
  return {};
}

// Bytes of the whole frames at the front of `in` that need no look: rows, and what surrounds them in a simple
// query.
size_t Relay::plain_frames(std::string_view in, bool query) const {
  size_t at = 0;
  while (in.size() - at >= wire::kHeaderBytes) {
    const char type = in[at];
    if (type != 'D' && type != 'd' && !(query && type == 'I')) break;
    const auto* p = reinterpret_cast<const unsigned char*>(in.data()) + at + 1;
    const size_t length = (size_t{p[0]} << 24) | (size_t{p[1]} << 16) | (size_t{p[2]} << 8) | p[3];
    if (length < 4 || in.size() - at < 1 + length) break;
    at += 1 + length;
  }
  return at;
}

Task<Result<Relay::Step>> Relay::step() {
  const std::string_view in = unit_.input().readable();
  const Expected& front = unit_.expected().front();
  if (pass_left_ > 0) {
    const size_t n = std::min(pass_left_, in.size());
    if (n == 0) co_return Step::kNeedMore;
    if (auto sent = co_await client_.forward(in.substr(0, n)); !sent) co_return fail(sent.error());
    unit_.input().consume(n);
    pass_left_ -= n;
    co_return Step::kContinue;
  }
  if (id_columns_.empty() && (front.kind == Kind::kQuery || front.kind == Kind::kExecute)) {
    if (const size_t n = plain_frames(in, front.kind == Kind::kQuery); n > 0) {
      if (front.visible) {
        outcome_.sent_rows = true;
        if (auto sent = co_await client_.forward(in.substr(0, n)); !sent) co_return fail(sent.error());
      }
      unit_.input().consume(n);
      co_return Step::kContinue;
    }
  }
  const auto header = wire::decode_header(in, wire::kMaxMessageBytes);
  if (!header) {
    unit_.mark_broken();
    co_return fail(header.error());
  }
  if (!*header) co_return Step::kNeedMore;
  const size_t frame_bytes = wire::kHeaderBytes + (*header)->body_bytes;
  if (in.size() < frame_bytes) {
    const bool row = (*header)->type == 'D' || (*header)->type == 'd';
    if (row && frame_bytes > kStreamAbove && front.visible && id_columns_.empty() &&
        (front.kind == Kind::kQuery || front.kind == Kind::kExecute)) {
      outcome_.sent_rows = true;
      pass_left_ = frame_bytes;
      co_return Step::kContinue;
    }
    if (auto filled = co_await unit_.fill(frame_bytes - in.size()); !filled)
      co_return lost(std::move(filled.error()));
    co_return Step::kContinue;
  }
  auto result = co_await special(**header, in.substr(0, frame_bytes));
  if (result) unit_.input().consume(frame_bytes);
  co_return result;
}

// A unit that closes a connection says why before (57P01 …): that is the better answer. Never tried again,
// since the statement may have been run.
std::unexpected<Error> Relay::lost(Error error) {
  // Half a row is with the client: whatever followed would be taken for the rest of it.
  if (pass_left_ > 0) client_.stream().close();
  if (!outcome_.error) return fail(std::move(error));
  Error own = wire::to_error(*outcome_.error);
  own.retry = Retry::kNever;
  return fail(std::move(own));
}

std::unexpected<Error> Relay::unexpected(char type) {
  unit_.mark_broken();
  return fail(sqlstate::kProtocolViolation,
              "unexpected message from storage unit \"" + unit_.unit_name() + "\"",
              "Message type " + std::to_string(static_cast<int>(type)) + ".",
              "The connection to the unit was closed.");
}

// The reply of the expected kind has come whole.
Status Relay::finished(Kind a, Kind b) {
  auto& expected = unit_.expected();
  const Kind kind = expected.front().kind;
  if (kind != a && kind != b) return unexpected('?');
  id_columns_.columns.clear();
  if (kind == Kind::kQuery) return {};  // ends with ReadyForQuery only
  expected.pop_front();
  return {};
}

Task<Result<Relay::Step>> Relay::special(const wire::Header& header, std::string_view frame) {
  const std::string_view body = frame.substr(wire::kHeaderBytes);
  const bool visible = client_sees();
  const Kind kind = unit_.expected().front().kind;
  Status done;
  bool forward = visible;
  switch (header.type) {
    case '1':
      done = finished(Kind::kParse, Kind::kParse);
      break;
    case '2':
      done = finished(Kind::kBind, Kind::kBind);
      break;
    case '3':
      done = finished(Kind::kClose, Kind::kClose);
      break;
    case 'T':
    case 'n':
      if (kind != Kind::kQuery && kind != Kind::kDescribePortal) co_return unexpected(header.type);
      if (header.type == 'T' && translates()) {
        forward = false;
        done = describe(frame);
      }
      if (done && kind != Kind::kQuery) unit_.expected().pop_front();
      break;
    case 'C':
      outcome_.rows += count_of_tag(wire::decode_command_complete(body).value_or(""));
      if (visible) outcome_.sent_rows = true;
      done = finished(Kind::kExecute, Kind::kQuery);
      break;
    case 'I':
    case 's':
      done = finished(Kind::kExecute, Kind::kQuery);
      break;
    case 'H':
    case 'c':
      if (kind != Kind::kExecute && kind != Kind::kQuery) co_return unexpected(header.type);
      if (visible) outcome_.sent_rows = true;
      break;
    case 'G':
      if (!visible || (kind != Kind::kExecute && kind != Kind::kQuery)) co_return unexpected(header.type);
      if (auto sent = co_await client_.forward(frame); !sent) co_return fail(sent.error());
      outcome_.copy_in = true;
      co_return Step::kStop;
    case 'D':
    case 'd':
      if (kind != Kind::kExecute && kind != Kind::kQuery) co_return unexpected(header.type);
      if (header.type == 'D' && visible && !id_columns_.empty()) {
        forward = false;
        done = forward_row(frame);
        if (done) done = co_await client_.relieve();
      }
      break;
    case 'E':
      forward = false;
      done = take_error(body);
      break;
    case 'N': {
      auto fields = wire::decode_error(body);
      if (!fields) co_return unexpected('N');
      forward = false;
      if (visible && !(hooks_.about_leaf && hooks_.about_leaf(*fields))) {
        if (hooks_.logical_names) hooks_.logical_names(*fields);
        client_.writer().notice(*fields);
      }
      break;
    }
    case 'S':
      done = unit_.note_parameter(body);
      if (done && visible && hooks_.parameter_changed) {
        const auto status = wire::decode_parameter_status(body);
        hooks_.parameter_changed(status->first, status->second);
      }
      break;
    case 'A':
      forward = false;
      break;  // unit connections never listen: notifications come by the hub
    case 'Z':
      forward = false;
      done = ready(body);
      break;
    default:
      co_return unexpected(header.type);
  }
  if (!done) {
    unit_.mark_broken();
    co_return fail(done.error());
  }
  if (forward) {
    if (auto sent = co_await client_.forward(frame); !sent) co_return fail(sent.error());
  }
  co_return Step::kContinue;
}

// A RowDescription, told in the home unit's ids. What it says of ids in values holds for the rows of a simple
// query, and for those of the Execute that a hidden Describe goes ahead of.
Status Relay::describe(std::string_view frame) {
  const Expected& front = unit_.expected().front();
  if (front.kind == Kind::kQuery && !front.visible) return {};
  const bool rows_follow = front.kind == Kind::kQuery || !front.visible;
  std::string hidden;
  std::string& out = front.visible ? client_.out() : hidden;
  const size_t start = out.size();
  out += frame;
  IdColumns columns;
  auto mapped =
      map_row_description(std::span(out).subspan(start + wire::kHeaderBytes), *hooks_.objects, columns);
  if (!mapped) out.resize(start);
  if (rows_follow) id_columns_ = std::move(columns);
  return mapped;
}

Status Relay::forward_row(std::string_view frame) {
  std::string& out = client_.out();
  const size_t start = out.size();
  out += frame;
  auto mapped =
      map_data_row(std::span(out).subspan(start + wire::kHeaderBytes), *hooks_.objects, id_columns_);
  if (!mapped) {
    out.resize(start);
    mapped.error().retry = Retry::kNever;  // the description is with the client
    return mapped;
  }
  outcome_.sent_rows = true;
  return {};
}

// After an error the unit skips everything up to the next Sync, or to the end of the simple query.
Status Relay::take_error(std::string_view body) {
  auto fields = wire::decode_error(body);
  if (!fields) return fail(fields.error());
  id_columns_.columns.clear();
  auto& expected = unit_.expected();
  const bool extended = expected.front().kind != Kind::kSync && expected.front().kind != Kind::kQuery;
  if (!outcome_.error) {
    // A Parse of ours carries the client's own text: its error is the client's.
    outcome_.hidden_failed = !expected.front().visible && !expected.front().statement;
    if (hooks_.logical_names) hooks_.logical_names(*fields);
    if (expected.front().statement) tell_position(*fields, expected.front().statement->client_text);
    outcome_.error = std::move(*fields);
  }
  // A prepared statement whose result type changed under it stays unusable: the connection is not used again.
  if (outcome_.error->get('C') == sqlstate::kFeatureNotSupported &&
      outcome_.error->get('M').find("cached plan") != std::string_view::npos) {
    unit_.mark_dirty();
  }
  while (!expected.empty() && expected.front().kind != Kind::kSync && expected.front().kind != Kind::kQuery) {
    const Expected& skipped = expected.front();
    unit_.forget_skipped(skipped);
    expected.pop_front();
  }
  if (extended) unit_.set_skips_to_sync(true);
  return {};
}

Status Relay::ready(std::string_view body) {
  const auto status = wire::decode_ready_for_query(body);
  if (!status) return fail(status.error());
  auto& expected = unit_.expected();
  if (expected.front().kind != Kind::kSync && expected.front().kind != Kind::kQuery) return unexpected('Z');
  expected.pop_front();
  unit_.set_skips_to_sync(false);
  unit_.set_tx_status(*status);
  return {};
}

}  // namespace decan::exec
