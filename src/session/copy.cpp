// COPY: passed through on one unit; split by bucket on the way in and concatenated on the way out over
// several. Memory stays bounded: a unit that does not take its rows stops the client, a client that does not
// read stops the units.
#include "catalog/partition_hash.h"
#include "catalog/value_binary.h"
#include "exec/copy_line_map.h"
#include "exec/copy_split.h"

#include <algorithm>

#include "backend/copy_between.h"
#include "session/outcome.h"
#include "session/session.h"

namespace decan::session {

using Kind = backend::Expected::Kind;

namespace {

constexpr size_t kFlushUnitAt = 64 * 1024;

int16_t copy_format(const plan::CopySpec& spec) {
  return spec.format == plan::CopySpec::Format::kBinary ? 1 : 0;
}

}  // namespace

// What a unit says while rows are still being sent: notices (of triggers) go on to the client. True when it
// said anything else, which in the middle of COPY is an error; that stays in input().
Task<Result<bool>> Session::hear_unit(backend::UnitConnection& connection, bool tell) {
  while (true) {
    const auto header = wire::decode_header(connection.input().readable(), wire::kMaxMessageBytes);
    if (!header) {
      connection.mark_broken();
      co_return fail(header.error());
    }
    const size_t whole = *header ? wire::kHeaderBytes + (*header)->body_bytes : wire::kHeaderBytes;
    if (*header && (*header)->type != 'N' && (*header)->type != 'S') co_return true;
    if (connection.input().size() < whole) {
      if (!connection.stream().can_read()) co_return false;
      if (auto filled = co_await connection.fill(); !filled) co_return fail(filled.error());
      continue;
    }
    const std::string_view body =
        connection.input().readable().substr(wire::kHeaderBytes, (*header)->body_bytes);
    if ((*header)->type == 'S') {
      if (auto noted = connection.note_parameter(body); !noted) co_return fail(noted.error());
    } else if (auto fields = wire::decode_error(body); fields && tell) {
      logical_names(*fields);
      port_.writer().notice(*fields);
    }
    connection.input().consume(whole);
    if (auto relieved = co_await port_.relieve(); !relieved) co_return fail(relieved.error());
  }
}

// Sends COPY data, hearing the unit meanwhile: one that can not get rid of its notices takes no rows. True
// when it said something that ends the COPY.
Task<Result<bool>> Session::feed_unit(backend::UnitConnection& connection, bool tell) {
  while (true) {
    if (connection.stream().may_have_input() || !connection.input().empty()) {
      auto heard = co_await hear_unit(connection, tell);
      if (!heard || *heard) co_return heard;
    }
    const auto pushed = connection.push();
    if (!pushed && !connection.stream().can_read()) co_return fail(pushed.error());
    if (pushed && *pushed) co_return false;
    if (pushed) {
      if (auto waited = co_await connection.wait_either(); !waited) co_return fail(waited.error());
    }
  }
}

// The client's COPY data goes to the unit as it comes, until CopyDone, CopyFail or an error of the unit.
Task<Status> Session::pump_copy_in(txn::Participant& participant) {
  backend::UnitConnection& connection = *participant.connection;
  participant.may_have_written = true;
  if (auto flushed = co_await port_.flush(); !flushed) co_return flushed;
  while (true) {
    wire::Header header;
    if (auto read = co_await read_frame(header); !read) {
      connection.mark_broken();  // the client is gone in the middle of its data: the unit rolls back
      co_return read;
    }
    const size_t whole = wire::kHeaderBytes + header.body_bytes;
    const std::string_view frame = port_.input().readable().substr(0, whole);
    const bool known = header.type == 'd' || header.type == 'c' || header.type == 'f';
    const bool ignored = header.type == 'H' || header.type == 'S';
    if (!known && !ignored) {
      std::string reason;
      wire::Writer(connection.out())
          .copy_fail("unexpected message type " + std::to_string(static_cast<int>(header.type)) +
                     " during COPY from stdin");
      co_return Status{};
    }
    if (known) connection.out() += frame;
    port_.input().consume(whole);
    // What is queued at the end goes out while the relay reads.
    if (header.type == 'c' || header.type == 'f') co_return Status{};
    if (connection.out().size() < kFlushUnitAt && !connection.stream().may_have_input()) continue;
    auto spoke = co_await feed_unit(connection, true);
    if (!spoke) co_return fail(spoke.error());
    if (*spoke) co_return Status{};
  }
}

namespace {

// One unit's side of a COPY IN.
struct Feed {
  txn::Participant* participant = nullptr;
  const catalog::UnitObjects* objects = nullptr;  // null: values need no translation
  exec::CopyLineMap lines = exec::CopyLineMap();
  uint64_t rows = 0;
};

// Units that wait for rows answer nothing else: when one can not be started, no other's connection is used
// again.
class StartingFeeds {
 public:
  explicit StartingFeeds(const std::vector<Feed>& feeds) : feeds_(feeds) {}
  StartingFeeds(const StartingFeeds&) = delete;
  StartingFeeds& operator=(const StartingFeeds&) = delete;
  ~StartingFeeds() {
    for (const Feed& feed : feeds_) {
      if (!settled_ && feed.participant != nullptr) feed.participant->connection->mark_broken();
    }
  }
  void settled() { settled_ = true; }

 private:
  const std::vector<Feed>& feeds_;
  bool settled_ = false;
};

// Types of the columns that are copied, on the home unit; empty when no binary value of them holds object
// ids.
std::vector<Oid> types_with_ids(const plan::CopySpec& spec) {
  std::vector<Oid> types;
  if (copy_format(spec) == 0 || spec.relation == nullptr) return types;
  for (const int16_t attnum : spec.attnums) {
    const auto column = std::ranges::find(spec.relation->columns, attnum, &catalog::Column::attnum);
    types.push_back(column == spec.relation->columns.end() ? Oid{0} : column->type);
  }
  if (std::ranges::none_of(types, exec::may_hold_ids)) types.clear();
  return types;
}

// "COPY t, line 2, column v" belongs where the server tells it.
wire::ErrorFields copy_fields(const Error& error) {
  wire::ErrorFields fields = wire::to_fields(error);
  if (!error.detail.starts_with("COPY ")) return fields;
  fields.set('D', {});
  fields.set('W', error.detail);
  return fields;
}

std::string key_context(const plan::CopySpec& spec, const exec::CopySplitter::Row& row, size_t key) {
  std::string context = "COPY " + spec.relation->name + ", line " + std::to_string(row.line);
  for (const catalog::Column& column : spec.relation->columns) {
    if (column.attnum == spec.relation->key_attnums[key]) context += ", column " + column.name;
  }
  return context + ": " + exec::shown_copy_data(*row.key[key]);
}

}  // namespace

Task<Status> Session::copy_in(Call& call) {
  const plan::Plan& plan = *call.plan;
  const auto& spec = std::get<plan::CopySpec>(plan.detail);
  if (plan.routing.to == plan::RouteTo::kHome || plan.routing.to == plan::RouteTo::kUnit ||
      spec.relation == nullptr) {
    auto targets = targets_of(call);
    if (!targets) co_return fail(targets.error());
    co_return co_await route(call, targets->front(), 1);
  }
  const bool broadcast = spec.relation->placement == catalog::Placement::kBroadcast;
  if (auto opened = co_await begin_implicit(); !opened) co_return opened;
  if (auto allowed = check_isolation(); !allowed) co_return allowed;
  std::vector<Feed> feeds(node_.units()->size());
  std::vector<bool> used(feeds.size(), false);
  if (broadcast) {
    for (const UnitId unit : units()) used[unit.value] = true;
  } else {
    for (const catalog::Bucket& bucket : spec.relation->group->buckets) used[bucket.unit.value] = true;
  }
  const std::string sql = spec.unit_sql.empty() ? std::string(call.values.sql) : spec.unit_sql;
  const std::vector<Oid> types = types_with_ids(spec);
  StartingFeeds starting(feeds);
  for (uint32_t i = 0; i < feeds.size(); ++i) {
    if (!used[i]) continue;
    auto participant = co_await join(UnitId{i}, true);
    if (!participant) co_return fail(participant.error());
    if (auto claimed = claim_sequences(plan.effects, **participant, false); !claimed) co_return claimed;
    note_effects(call, **participant);
    if (auto ready = co_await run_on(**participant, {}, false); !ready) co_return ready;
    feeds[i].participant = *participant;
    (*participant)->may_have_written = true;
    if (!types.empty()) {
      if (auto learned = co_await learn_types(plan.snapshot, **participant); !learned) co_return learned;
      if (!objects(UnitId{i}).is_home()) feeds[i].objects = &objects(UnitId{i});
    }
    backend::UnitConnection& connection = *(*participant)->connection;
    connection.writer().query(sql);
    if (auto sent = co_await connection.flush(); !sent) co_return sent;
    auto answer = co_await connection.next_frame();
    while (answer && (answer->type == 'N' || answer->type == 'S')) {
      connection.consume_frame(*answer);
      answer = co_await connection.next_frame();
    }
    if (!answer) co_return fail(answer.error());
    if (answer->type != 'G') {
      // The unit refuses (no right, no such column): its words go to the client; the other units are told to
      // stop.
      starting.settled();
      connection.expect(Kind::kQuery, true);
      Status refused = co_await relay(**participant);
      for (uint32_t k = 0; k < i; ++k) {
        if (feeds[k].participant == nullptr) continue;
        backend::UnitConnection& other = *feeds[k].participant->connection;
        other.writer().copy_fail("COPY was refused by another storage unit");
        other.expect(Kind::kQuery, false);
        (void)co_await relay(*feeds[k].participant);
      }
      co_return refused ? fail(sqlstate::kProtocolViolation, "the unit did not start COPY") : refused;
    }
    connection.consume_frame(*answer);
  }
  starting.settled();
  const std::vector<int16_t> formats(spec.attnums.size(), copy_format(spec));
  port_.writer().copy_start('G', copy_format(spec) == 1, formats);
  if (auto flushed = co_await port_.flush(); !flushed) co_return flushed;

  exec::CopySplitter splitter(spec);
  const catalog::ShardGroup* group = broadcast ? nullptr : spec.relation->group;
  std::vector<int32_t> key_typmods;
  for (const int16_t attnum : spec.relation->key_attnums) {
    for (const catalog::Column& column : spec.relation->columns) {
      if (column.attnum == attnum) key_typmods.push_back(column.typmod);
    }
  }
  uint64_t line = 0;  // of the row before
  const auto send = [&](Feed& feed, const exec::CopySplitter::Row& row) {
    if (!broadcast && row.line > line) feed.lines.sent(row.line, row.line - line);
    auto& writer = feed.participant->connection->writer();
    if (feed.objects == nullptr || row.header || row.trailer) return writer.copy_data(row.bytes);
    std::string own(row.bytes);
    (void)exec::map_copy_tuples(own, types, *feed.objects,
                                exec::MapTo::kUnit);  // the unit says what is wrong
    writer.copy_data(own);
  };
  const auto sink = [&](const exec::CopySplitter::Row& row) -> Status {
    if (broadcast || row.header || row.trailer) {
      for (Feed& feed : feeds) {
        if (feed.participant != nullptr) send(feed, row);
      }
      line = std::max(line, row.line);
      if (broadcast && !row.header && !row.trailer) ++feeds[0].rows;
      return {};
    }
    std::vector<std::string> binary(row.key.size());
    std::vector<catalog::KeyValue> key(row.key.size());
    for (size_t i = 0; i < row.key.size(); ++i) {
      if (!row.key[i]) continue;
      if (copy_format(spec) == 1) {
        key[i] = *row.key[i];
        continue;
      }
      auto value = catalog::binary_from_text(group->key_types[i], *row.key[i]);
      if (!value)
        return fail(Error{value.error().sqlstate, value.error().message, key_context(spec, row, i)});
      if (!*value) {
        return fail(sqlstate::kFeatureNotSupported,
                    "this form of a sharding key's value can not be routed in COPY: \"" + *row.key[i] + "\"",
                    key_context(spec, row, i),
                    "Write dates and times in ISO form, with a time zone for timestamptz.");
      }
      binary[i] = std::move(**value);
      key[i] = binary[i];
    }
    for (size_t i = 0; i < key.size(); ++i) {  // what storing makes of the value decides its bucket
      if (!key[i] || key_typmods[i] < 0) continue;
      auto stored = catalog::apply_typmod(group->key_types[i], key_typmods[i], *key[i]);
      if (!stored)
        return fail(Error{stored.error().sqlstate, stored.error().message,
                          copy_format(spec) == 1 ? std::string() : key_context(spec, row, i)});
      binary[i] = std::move(*stored);
      key[i] = binary[i];
    }
    auto bucket = catalog::bucket_of(*group, key);
    if (!bucket) return fail(bucket.error());
    if (!*bucket) {
      return fail("23514", "no partition of relation \"" + spec.relation->name + "\" found for row",
                  "COPY " + spec.relation->name + ", line " + std::to_string(row.line));
    }
    Feed& feed = feeds[group->buckets[(*bucket)->value].unit.value];
    send(feed, row);
    line = row.line;
    ++feed.rows;
    return {};
  };

  // Every unit's triggers say the same about a broadcast table: one of them is heard.
  const Feed& first =
      *std::ranges::find_if(feeds, [](const Feed& feed) { return feed.participant != nullptr; });
  Status failure;
  bool client_failed = false;
  std::string client_reason;
  while (true) {
    wire::Header header;
    if (auto read = co_await read_frame(header); !read) {
      for (Feed& feed : feeds) {
        if (feed.participant != nullptr) feed.participant->connection->mark_broken();
      }
      co_return read;
    }
    const std::string_view body = port_.input().readable().substr(wire::kHeaderBytes, header.body_bytes);
    bool end = false;
    if (header.type == 'd') {
      if (failure) failure = splitter.feed(body, sink);
    } else if (header.type == 'c') {
      if (failure) failure = splitter.finish(sink);
      end = true;
    } else if (header.type == 'f') {
      client_failed = end = true;
      client_reason = wire::decode_copy_fail(body).value_or("");
    } else if (header.type != 'H' && header.type != 'S') {
      failure = fail(sqlstate::kProtocolViolation, "unexpected message type " +
                                                       std::to_string(static_cast<int>(header.type)) +
                                                       " during COPY from stdin");
      end = true;
    }
    if (!(end && !failure && header.type != 'c'))
      port_.input().consume(wire::kHeaderBytes + header.body_bytes);
    bool unit_spoke = false;
    for (Feed& feed : feeds) {
      if (feed.participant == nullptr) continue;
      backend::UnitConnection& connection = *feed.participant->connection;
      if (connection.out().size() < kFlushUnitAt && !connection.stream().may_have_input()) continue;
      if (connection.broken()) continue;
      auto spoke = co_await feed_unit(connection, !broadcast || &feed == &first);
      if (!spoke && failure) failure = fail(spoke.error());
      unit_spoke = unit_spoke || (spoke && *spoke);
    }
    if (end || !failure || unit_spoke) break;
  }

  // The end: done everywhere, or failed everywhere. The client sees the first unit's complaint, or ours.
  const bool give_up = !failure || client_failed;
  uint64_t rows = 0;
  Status told;
  for (Feed& feed : feeds) {
    if (feed.participant == nullptr) continue;
    backend::UnitConnection& connection = *feed.participant->connection;
    if (connection.broken()) continue;
    if (give_up || !told)
      connection.writer().copy_fail(client_failed ? client_reason : "COPY failed on another storage unit");
    else
      connection.writer().copy_done();
    connection.expect(Kind::kQuery, false);
    if (!connection.try_flush() && connection.unsendable()) {
      if (auto sent = co_await connection.flush(); !sent && told) told = sent;
      continue;
    }
    Result<bool> heard = co_await hear_unit(connection, !broadcast || &feed == &first);
    while (heard && !*heard) {
      if (auto filled = co_await connection.fill(); !filled) break;
      heard = co_await hear_unit(connection, !broadcast || &feed == &first);
    }
    exec::Relay relay(connection, port_, hooks_);
    auto outcome = co_await relay.run();
    if (!outcome) {
      if (told) told = fail(outcome.error());
      continue;
    }
    if (outcome->error && told && failure) {
      if (!broadcast)
        outcome->error->set(
            'W', exec::with_client_line(outcome->error->get('W'), spec.relation->name, feed.lines));
      send_error(*outcome->error);
      told = fail(kTold, {});
    }
    rows += broadcast ? (rows == 0 ? outcome->rows : 0) : outcome->rows;
  }
  if (!failure && failure.error().detail.starts_with("COPY ")) {
    send_error(copy_fields(failure.error()));
    co_return fail(kTold, {});
  }
  if (!failure) co_return failure;
  if (!told) co_return told;
  complete("COPY " + std::to_string(rows));
  co_return Status{};
}

// Types of the columns of a COPY OUT, as types_with_ids(); those of a query are asked for.
Task<Result<std::vector<Oid>>> Session::copied_types(const plan::CopySpec& spec) {
  if (copy_format(spec) == 0 || spec.query.empty()) co_return types_with_ids(spec);
  auto query = co_await shared_statement(spec.query, {});
  if (!query) co_return fail(query.error());
  if (auto valid = co_await validate(**query); !valid) co_return fail(valid.error());
  std::vector<Oid> types;
  if ((*query)->columns) {
    for (const auto& field : (*query)->columns->fields) types.push_back(field.type);
  }
  if (std::ranges::none_of(types, exec::may_hold_ids)) types.clear();
  co_return types;
}

// Rows of all units one after another; one header in front, one trailer behind.
Task<Status> Session::copy_out(Call& call) {
  const plan::Plan& plan = *call.plan;
  const auto& spec = std::get<plan::CopySpec>(plan.detail);
  auto targets = targets_of(call);
  if (!targets) co_return fail(targets.error());
  auto types = co_await copied_types(spec);
  if (!types) co_return fail(types.error());
  const bool whole = targets->size() == 1;
  if (!whole && spec.merged) co_return co_await copy_merged(call);
  if (whole && (types->empty() || targets->front().unit == node_.home()))
    co_return co_await route(call, targets->front(), 1);
  if (!whole) {
    if (auto allowed = check_isolation(); !allowed) co_return allowed;
  }
  const std::string sql = spec.unit_sql.empty() ? std::string(call.values.sql) : spec.unit_sql;
  uint64_t rows = 0;
  bool first_unit = true;
  for (size_t i = 0; i < targets->size(); ++i) {
    auto participant = co_await join((*targets)[i].unit, txn_->in_block());
    if (!participant) co_return fail(participant.error());
    if (auto ready = co_await run_on(**participant, {}, false); !ready) co_return ready;
    if (!types->empty()) {
      if (auto learned = co_await learn_types(plan.snapshot, **participant); !learned) co_return learned;
    }
    const catalog::UnitObjects& known = objects((*targets)[i].unit);
    backend::UnitConnection& connection = *(*participant)->connection;
    connection.writer().query(whole ? plan::render(plan, call.values, targets->front(), 1) : sql);
    if (auto sent = co_await connection.flush(); !sent) co_return sent;
    std::optional<wire::ErrorFields> error;
    bool first_data = true, ready = false;
    while (!ready) {
      auto frame = co_await connection.next_frame();
      if (!frame) co_return fail(frame.error());
      std::string_view body = frame->body;
      switch (frame->type) {
        case 'H':
          if (first_unit && !error) port_.writer().raw('H', body);
          break;
        case 'd': {
          const bool binary = copy_format(spec) == 1;
          constexpr size_t kBinaryHeader = 19;
          if (first_data && !first_unit && binary) body.remove_prefix(std::min(body.size(), kBinaryHeader));
          const bool trailer = binary && body == std::string_view("\xff\xff", 2);
          const bool header_line = first_data && !first_unit && spec.header;
          const bool header_first = std::exchange(first_data, false);
          if (!trailer && !header_line && !body.empty()) {
            if (types->empty() || known.is_home()) {
              port_.writer().raw('d', body);
            } else {
              std::string own(body);
              const size_t head = first_unit && header_first ? std::min(own.size(), kBinaryHeader) : 0;
              if (auto mapped =
                      exec::map_copy_tuples(std::span(own).subspan(head), *types, known, exec::MapTo::kHome);
                  !mapped) {
                connection.mark_broken();
                co_return mapped;
              }
              port_.writer().raw('d', own);
            }
            if (auto relieved = co_await port_.relieve(); !relieved) {
              connection.mark_broken();
              co_return relieved;
            }
          }
          break;
        }
        case 'C': {
          const std::string_view tag = wire::decode_command_complete(body).value_or("");
          rows += std::strtoull(std::string(tag.substr(tag.rfind(' ') + 1)).c_str(), nullptr, 10);
          break;
        }
        case 'E': {
          auto fields = wire::decode_error(body);
          if (fields && !error) error = std::move(*fields);
          break;
        }
        case 'Z':
          connection.set_tx_status(wire::decode_ready_for_query(body).value_or('E'));
          ready = true;
          break;
        default:
          break;  // CopyDone, notices, parameters
      }
      connection.consume_frame(*frame);
    }
    if (error) {
      if (hooks_.logical_names) hooks_.logical_names(*error);
      send_error(*error);
      co_return fail(kTold, {});
    }
    first_unit = false;
  }
  if (copy_format(spec) == 1) port_.writer().raw('d', std::string_view("\xff\xff", 2));
  port_.writer().empty('c');
  complete("COPY " + std::to_string(rows));
  co_return Status{};
}

// Rows from one unit to another inside the session's transaction.
Task<Result<uint64_t>> Session::copy_between(UnitId from, std::string copy_out, UnitId to,
                                             std::string copy_in) {
  auto source = co_await join(from, true);
  if (!source) co_return fail(source.error());
  if (auto ready = co_await run_on(**source, {}, false); !ready) co_return fail(ready.error());
  auto sink = co_await join(to, true);
  if (!sink) co_return fail(sink.error());
  if (auto ready = co_await run_on(**sink, {}, false); !ready) co_return fail(ready.error());
  (*sink)->may_have_written = true;
  co_return co_await backend::copy_between(*(*source)->connection, std::move(copy_out), *(*sink)->connection,
                                           std::move(copy_in));
}

}  // namespace decan::session
