#include "exec/scatter.h"

#include "async/gather.h"

#include <algorithm>
#include <charconv>

namespace decan::exec {

using async::Task;
using backend::UnitConnection;

namespace {

int16_t format_at(const std::vector<int16_t>& formats, size_t column) {
  if (formats.empty()) return 0;
  return formats.size() == 1 ? formats[0] : column < formats.size() ? formats[column] : int16_t{0};
}

// One unit's side of the statement.
struct Source {
  ScatterFragment fragment;
  std::optional<wire::RowDescription> columns;
  std::optional<wire::ErrorFields> error;
  uint64_t count = 0;     // of the command tag
  bool started = false;   // Execute and Sync were sent
  bool complete = false;  // CommandComplete or an error was read
  bool ready = false;     // ReadyForQuery was read
  IdColumns id_columns = {};
  std::string mapped = {};  // the row at hand, with the home unit's type ids
};

class Scatter {
 public:
  Scatter(async::Loop& loop, ScatterRequest request, ClientPort& client, const RelayHooks& hooks)
      : loop_(loop), request_(std::move(request)), client_(client), hooks_(hooks) {}

  Task<Result<ScatterOutcome>> run() {
    for (ScatterFragment& fragment : request_.fragments)
      sources_.push_back(Source{std::move(fragment), {}, {}});
    for (Source& source : sources_) {
      if (auto sent = co_await send(source); !sent) {
        // Replies of the units that have their part would be read by whoever uses the connections next.
        for (const Source& other : sources_) other.fragment.connection->mark_broken();
        co_return fail(sent.error());
      }
    }
    Status done = co_await answer();
    // Whatever happened, every connection is read to its ReadyForQuery, or it is broken.
    if (!done || failed()) co_await cancel_rest();
    for (Source& source : sources_) {
      if (auto drained = co_await drain(source); !drained && done) done = drained;
    }
    if (!done) co_return fail(done.error());
    for (size_t i = 0; i < sources_.size(); ++i) {
      if (!sources_[i].error) continue;
      if (outcome_.error && rank(*outcome_.error) <= rank(*sources_[i].error)) continue;
      outcome_.error = std::move(sources_[i].error);
      outcome_.failed = i;
    }
    co_return std::move(outcome_);
  }

 private:
  Task<Status> send(Source& source) {
    UnitConnection& unit = *source.fragment.connection;
    auto& writer = unit.writer();
    const catalog::UnitObjects* objects = source.fragment.objects;
    const UnitParameters parameters(request_.parameters, request_.parameter_formats, request_.parameter_types,
                                    objects);
    writer.parse("", source.fragment.sql, parameters.types());
    writer.bind("", "", request_.parameter_formats, parameters.values(),
                fragment_formats(request_.merge, request_.result_formats));
    writer.describe('P', "");
    if (!request_.in_turn) co_return co_await start(source, true);
    writer.flush();
    co_return co_await unit.flush();
  }

  // Lets the unit run what it has bound, or only brings its part to an end.
  Task<Status> start(Source& source, bool execute) {
    UnitConnection& unit = *source.fragment.connection;
    if (execute) unit.writer().execute("", 0);
    unit.writer().sync();
    source.started = true;
    co_return co_await unit.flush();
  }

  // One server tells what is wrong with the statement before what is wrong with a row; that a unit was asked
  // to stop is the other units' fault.
  static int rank(const wire::ErrorFields& error) {
    const std::string_view code = error.get('C');
    return code.starts_with("42") ? 0 : code == sqlstate::kQueryCanceled ? 2 : 1;
  }

  bool failed() const {
    return std::ranges::any_of(sources_, [](const Source& source) { return source.error.has_value(); });
  }

  // Units that still work for a statement that has failed elsewhere are asked to stop. The requests have
  // reached their units when this returns: one that came late would hit whoever uses the connection next.
  Task<void> cancel_rest() {
    std::vector<Task<bool>> requests;
    for (const Source& source : sources_) {
      UnitConnection& unit = *source.fragment.connection;
      if (source.complete || !source.started || unit.broken()) continue;
      requests.push_back(cancelled(loop_, unit));
    }
    (void)co_await async::gather(loop_, std::move(requests));
  }

  static Task<bool> cancelled(async::Loop& loop, UnitConnection& unit) {
    co_await UnitConnection::cancel(loop, unit.record(), unit.pid(), unit.cancel_key());
    co_return true;
  }

  // Reads until a row is at hand (its body is returned; consume_frame is due), or nullopt at the end of the
  // rows.
  Task<Result<std::optional<UnitConnection::Frame>>> next_row(Source& source) {
    UnitConnection& unit = *source.fragment.connection;
    if (described_ && !source.started) {
      if (auto sent = co_await start(source, true); !sent) co_return fail(sent.error());
    }
    while (!source.complete) {
      auto frame = co_await unit.next_frame();
      if (!frame) co_return fail(frame.error());
      switch (frame->type) {
        case '1':
        case '2':
          break;
        case 'T': {
          if (auto told = take_columns(source, frame->body); !told) co_return broken(unit, told.error());
          break;
        }
        case 'n':
          source.columns.reset();
          break;
        case 'D':
          if (!source.id_columns.empty()) {
            source.mapped.assign(unit.input().readable().substr(0, frame->bytes()));
            const auto body = std::span(source.mapped).subspan(wire::kHeaderBytes);
            if (auto done = map_data_row(body, *source.fragment.objects, source.id_columns); !done)
              co_return broken(unit, done.error());
          }
          co_return *frame;
        case 'C':
          source.count = count(wire::decode_command_complete(frame->body).value_or(""));
          source.complete = true;
          break;
        case 'I':
          source.complete = true;
          break;
        case 'E': {
          auto fields = wire::decode_error(frame->body);
          if (!fields) co_return broken(unit, fields.error());
          if (hooks_.logical_names) hooks_.logical_names(*fields);
          source.error = std::move(*fields);
          source.complete = true;
          break;
        }
        case 'N':
          notice(source, frame->body);
          break;
        case 'S':
          if (auto noted = unit.note_parameter(frame->body); !noted) co_return broken(unit, noted.error());
          break;
        case 'A':
          break;
        default:
          co_return broken(unit, Error{std::string(sqlstate::kProtocolViolation),
                                       "unexpected message from a storage unit"});
      }
      unit.consume_frame(*frame);
      if (frame->type == 'T' || frame->type == 'n') {
        if (!described_) co_return std::nullopt;  // the caller waits for the description first
      }
    }
    co_return std::nullopt;
  }

  static Status take_columns(Source& source, std::string_view body) {
    std::string own(body);
    if (source.fragment.objects != nullptr) {
      if (auto mapped = map_row_description(own, *source.fragment.objects, source.id_columns); !mapped)
        return mapped;
    }
    auto columns = wire::decode_row_description(own);
    if (!columns) return fail(columns.error());
    source.columns = std::move(*columns);
    return {};
  }

  // The row that next_row() has found, as one message.
  static std::string_view row_message(const Source& source, const UnitConnection::Frame& frame) {
    if (!source.id_columns.empty()) return source.mapped;
    return source.fragment.connection->input().readable().substr(0, frame.bytes());
  }

  static std::unexpected<Error> broken(UnitConnection& unit, Error error) {
    unit.mark_broken();
    return fail(std::move(error));
  }

  void notice(const Source& source, std::string_view body) {
    if (request_.one_answer && &source != &sources_.front()) return;
    if (auto fields = wire::decode_error(body)) {
      if (hooks_.logical_names) hooks_.logical_names(*fields);
      client_.writer().notice(*fields);
    }
  }

  static uint64_t count(std::string_view tag) {
    uint64_t n = 0;
    if (const size_t space = tag.rfind(' '); space != std::string_view::npos) {
      std::from_chars(tag.data() + space + 1, tag.data() + tag.size(), n);
    }
    return n;
  }

  Task<Status> drain(Source& source) {
    UnitConnection& unit = *source.fragment.connection;
    if (!source.started && !unit.broken()) {
      if (auto sent = co_await start(source, false); !sent) co_return sent;
    }
    while (!source.ready && !unit.broken()) {
      auto frame = co_await unit.next_frame();
      if (!frame) co_return fail(frame.error());
      if (frame->type == 'E' && !source.error) {
        if (auto fields = wire::decode_error(frame->body)) {
          if (hooks_.logical_names) hooks_.logical_names(*fields);
          source.error = std::move(*fields);
        }
      } else if (frame->type == 'C' && !source.complete) {
        source.count = count(wire::decode_command_complete(frame->body).value_or(""));
      } else if (frame->type == 'Z') {
        const auto status = wire::decode_ready_for_query(frame->body);
        if (!status) co_return broken(unit, status.error());
        unit.set_tx_status(*status);
        source.ready = true;
      }
      unit.consume_frame(*frame);
    }
    co_return Status{};
  }

  // DDL reaches the units one after another; a statement that comes between sees two definitions.
  bool same_columns() const {
    const auto& first = sources_.front().columns;
    return std::ranges::all_of(sources_, [&](const Source& source) {
      if (source.columns.has_value() != first.has_value()) return false;
      if (!first) return true;
      return std::ranges::equal(source.columns->fields, first->fields, [](const auto& a, const auto& b) {
        return a.name == b.name && (a.type == b.type || (a.type >= kFirstUserOid && b.type >= kFirstUserOid));
      });
    });
  }

  Task<Status> describe() {
    for (Source& source : sources_) {
      auto first = co_await next_row(source);
      if (!first) co_return fail(first.error());
      if (source.error) co_return Status{};
    }
    described_ = true;
    if (!same_columns()) {
      co_return fail(sqlstate::kSerializationFailure,
                     "the definition of a table changed on one storage unit before the other", {},
                     "Run the transaction again.");
    }
    if (!sources_.front().columns) co_return Status{};
    co_return Status{};
  }

  Task<Status> answer() {
    if (auto described = co_await describe(); !described || failed()) co_return described;
    if (!sources_.front().columns) co_return co_await counts();
    if (request_.one_answer) co_return co_await first_only();
    const bool ordered =
        std::ranges::any_of(sources_, [](const Source& s) { return !s.fragment.input_rows.empty(); });
    if (ordered) co_return co_await in_input_order();
    co_return co_await merged();
  }

  Task<Status> counts() {
    for (Source& source : sources_) {
      if (auto end = co_await next_row(source); !end) co_return fail(end.error());
      if (source.error) co_return Status{};
      if (!request_.one_answer || &source == &sources_.front()) outcome_.rows += source.count;
    }
    co_return Status{};
  }

  void send_columns(const wire::RowDescription& columns) {
    outcome_.columns = columns;
    if (request_.copy_rows != nullptr) request_.copy_rows->columns(columns);
    if (request_.send_description && !failed()) client_.writer().row_description(*outcome_.columns);
  }

  Task<Status> give(std::string_view rows) {
    if (rows.empty()) co_return Status{};
    outcome_.sent_rows = true;
    if (request_.buffer_rows != nullptr) {
      if (request_.buffer_rows->size() + rows.size() > request_.limits.max_bytes) {
        co_return fail(sqlstate::kOutOfMemory,
                       "rows of a limited fetch over several units exceed " + request_.limits.setting, {},
                       "Fetch without a row limit, or add a condition on the sharding key.");
      }
      *request_.buffer_rows += rows;
      co_return Status{};
    }
    if (request_.copy_rows != nullptr) {
      if (auto added = request_.copy_rows->add(rows); !added) co_return added;
      const std::string data = request_.copy_rows->take();
      co_return co_await client_.forward(data);
    }
    co_return co_await client_.forward(rows);
  }

  Task<Status> merged() {
    plan::MergeSpec concatenation;
    MergeInput input;
    input.spec = request_.merge;
    if (input.spec == nullptr) {
      concatenation.visible = static_cast<uint32_t>(sources_.front().columns->fields.size());
      for (uint32_t i = 0; i < concatenation.visible; ++i) {
        plan::OutputColumn column;
        column.column = i;
        column.name = sources_.front().columns->fields[i].name;
        concatenation.output.push_back(std::move(column));
      }
      input.spec = &concatenation;
    }
    input.fragment = *sources_.front().columns;
    for (size_t i = 0; i < input.spec->output.size(); ++i)
      input.result_formats.push_back(format_at(request_.result_formats, i));
    input.sources = sources_.size();
    input.limit = request_.limit;
    input.offset = request_.offset;
    input.having_values = request_.having_values;
    input.limits = request_.limits;
    auto merge = make_merge(std::move(input));
    if (!merge) co_return fail(merge.error());
    send_columns((*merge)->description());
    std::vector<bool> ended(sources_.size(), false);
    std::string out;
    size_t any = 0;
    while (true) {
      const auto wanted = (*merge)->wanted();
      if (wanted.need == MergeNeed::kDone) break;
      if (wanted.any) {
        while (any < sources_.size() && ended[any]) ++any;
        if (any == sources_.size()) break;
      }
      const size_t index = wanted.any ? any : wanted.source;
      Source& source = sources_[index];
      auto row = co_await next_row(source);
      if (!row) co_return fail(row.error());
      Status stepped;
      if (*row) {
        stepped = (*merge)->row(index, row_message(source, **row).substr(wire::kHeaderBytes), out);
        source.fragment.connection->consume_frame(**row);
      } else {
        if (source.error) co_return Status{};
        ended[index] = true;
        stepped = (*merge)->end_of(index, out);
      }
      if (!stepped) co_return stepped;
      if (out.size() >= ClientPort::kWriteAt) {
        if (auto given = co_await give(out); !given) co_return given;
        out.clear();
      }
    }
    // Errors that a unit reports after its last row still count (division by zero in the last group, …).
    for (size_t i = 0; i < sources_.size(); ++i) {
      if (!ended[i]) continue;
      if (sources_[i].error) co_return Status{};
    }
    if (auto given = co_await give(out); !given) co_return given;
    outcome_.rows = (*merge)->rows_out();
    if (request_.merge == nullptr) {
      outcome_.rows = 0;
      for (const Source& source : sources_) outcome_.rows += source.count;
    }
    co_return Status{};
  }

  Task<Status> first_only() {
    send_columns(*sources_.front().columns);
    for (Source& source : sources_) {
      const bool first = &source == &sources_.front();
      while (true) {
        auto row = co_await next_row(source);
        if (!row) co_return fail(row.error());
        if (!*row) break;
        if (first) {
          if (auto given = co_await give(row_message(source, **row)); !given) co_return given;
        }
        source.fragment.connection->consume_frame(**row);
      }
      if (source.error) co_return Status{};
      if (first) outcome_.rows = source.count;
    }
    co_return Status{};
  }

  // INSERT … VALUES … RETURNING: rows come back in the order they were written in, as from one server, where
  // every input row gave one row. Where a unit gave another number (ON CONFLICT DO NOTHING, triggers), its
  // rows follow in its own order.
  Task<Status> in_input_order() {
    send_columns(*sources_.front().columns);
    std::vector<std::vector<std::string>> rows(sources_.size());
    std::vector<std::pair<uint32_t, std::pair<size_t, size_t>>> order;
    bool exact = true;
    size_t held = 0;
    for (size_t i = 0; i < sources_.size(); ++i) {
      Source& source = sources_[i];
      while (true) {
        auto row = co_await next_row(source);
        if (!row) co_return fail(row.error());
        if (!*row) break;
        rows[i].emplace_back(row_message(source, **row));
        held += rows[i].back().size();
        source.fragment.connection->consume_frame(**row);
        if (held > request_.limits.max_bytes)
          co_return fail(sqlstate::kOutOfMemory, "RETURNING rows exceed " + request_.limits.setting);
      }
      if (source.error) co_return Status{};
      outcome_.rows += source.count;
      exact = exact && rows[i].size() == source.fragment.input_rows.size();
    }
    for (size_t i = 0; i < rows.size(); ++i) {
      for (size_t k = 0; k < rows[i].size(); ++k)
        order.push_back({exact ? sources_[i].fragment.input_rows[k] : 0, {i, k}});
    }
    std::ranges::stable_sort(order, {}, &std::pair<uint32_t, std::pair<size_t, size_t>>::first);
    for (const auto& [position, at] : order) {
      if (auto given = co_await give(rows[at.first][at.second]); !given) co_return given;
    }
    co_return Status{};
  }

  async::Loop& loop_;
  ScatterRequest request_;
  ClientPort& client_;
  const RelayHooks& hooks_;
  std::vector<Source> sources_;
  ScatterOutcome outcome_;
  bool described_ = false;
};

}  // namespace

std::vector<int16_t> fragment_formats(const plan::MergeSpec* merge,
                                      const std::vector<int16_t>& client_formats) {
  if (merge == nullptr) return client_formats;
  std::vector<int16_t> formats(merge->visible + merge->hidden, 1);
  for (size_t i = 0; i < merge->visible; ++i) formats[i] = 0;
  for (size_t i = 0; i < merge->output.size(); ++i) {
    const uint32_t column = merge->output[i].column;
    if (column < merge->visible) formats[column] = format_at(client_formats, i);
  }
  return formats;
}

Task<Result<ScatterOutcome>> scatter(async::Loop& loop, ScatterRequest request, ClientPort& client,
                                     const RelayHooks& hooks) {
  Scatter run(loop, std::move(request), client, hooks);
  co_return co_await run.run();
}

}  // namespace decan::exec
