// COPY (query) TO STDOUT where the rows of several units have to be merged: the query runs as any SELECT, the
// home unit says what is in front of the rows, and exec/copy_rows.h writes them.
#include <cstdlib>

#include "base/text_map.h"
#include "exec/copy_rows.h"
#include "session/outcome.h"
#include "session/session.h"

namespace decan::session {
namespace {

constexpr std::string_view kNoRows = "SELECT * FROM (", kNoRowsEnd = "\n) q WHERE false";
constexpr size_t kBinaryHeader = 19;

}  // namespace

// The same COPY without rows, on the home unit: PostgreSQL checks the options, describes the columns and
// writes the header.
Task<Result<std::string>> Session::copy_head(const plan::CopySpec& spec, std::string_view sql) {
  auto home = co_await join(node_.home(), txn_->in_block());
  if (!home) co_return fail(home.error());
  if (auto ready = co_await run_on(**home, {}, false); !ready) co_return fail(ready.error());
  backend::UnitConnection& connection = *(*home)->connection;
  std::string empty(sql);
  empty.insert(spec.query_at + spec.query.size(), kNoRowsEnd);
  empty.insert(spec.query_at, kNoRows);
  connection.writer().query(empty);
  if (auto sent = co_await connection.flush(); !sent) co_return fail(sent.error());
  std::string head;
  std::optional<wire::ErrorFields> error;
  for (bool ready = false; !ready;) {
    auto frame = co_await connection.next_frame();
    if (!frame) co_return fail(frame.error());
    switch (frame->type) {
      case 'H':
        wire::Writer(head).raw('H', frame->body);
        break;
      case 'd':
        wire::Writer(head).raw('d', spec.format == plan::CopySpec::Format::kBinary
                                        ? frame->body.substr(0, kBinaryHeader)
                                        : frame->body);
        break;
      case 'E': {
        auto fields = wire::decode_error(frame->body);
        if (!fields) co_return fail(fields.error());
        if (!error) error = std::move(*fields);
        break;
      }
      case 'Z':
        connection.set_tx_status(wire::decode_ready_for_query(frame->body).value_or('E'));
        ready = true;
        break;
      default:
        break;
    }
    connection.consume_frame(*frame);
  }
  if (!error) co_return head;
  const auto position = std::strtoul(std::string(error->get('P')).c_str(), nullptr, 10);
  if (position > count_characters(sql.substr(0, spec.query_at)))
    error->set('P', std::to_string(position - kNoRows.size()));
  logical_names(*error);
  send_error(*error);
  co_return fail(kTold, {});
}

Task<Status> Session::copy_merged(Call& call) {
  const auto& spec = std::get<plan::CopySpec>(call.plan->detail);
  auto query = co_await shared_statement(spec.query, {});
  if (!query) co_return fail(query.error());
  Call inner;
  inner.plan = (*query)->plan;
  if (inner.plan->action != plan::Action::kScatter) co_return fail(placement_changed());
  inner.values.sql = (*query)->sql;
  inner.simple = false;  // no description
  inner.result_formats = {static_cast<int16_t>(spec.format == plan::CopySpec::Format::kBinary)};
  auto targets = targets_of(inner);
  if (!targets) co_return fail(targets.error());
  auto head = co_await copy_head(spec, call.values.sql);
  if (!head) co_return fail(head.error());
  exec::CopyRows rows(spec, std::move(*head));
  inner.copy_rows = &rows;
  const uint32_t before = count_characters(call.values.sql.substr(0, spec.query_at));
  error_offset_ += before;
  auto done = co_await scatter(inner, std::move(*targets));
  error_offset_ -= before;
  co_return done;
}

}  // namespace decan::session
