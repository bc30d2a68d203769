#include "backend/copy_between.h"

#include <cstdlib>
#include <optional>

namespace decan::backend {
namespace {

constexpr size_t kFlushAt = 64 * 1024;

}  // namespace

async::Task<Result<uint64_t>> copy_between(UnitConnection& reader, std::string copy_out,
                                           UnitConnection& writer, std::string copy_in) {
  reader.writer().query(copy_out);
  writer.writer().query(copy_in);
  if (auto sent = co_await reader.flush(); !sent) co_return fail(sent.error());
  if (auto sent = co_await writer.flush(); !sent) co_return fail(sent.error());
  std::optional<Error> error;
  uint64_t rows = 0;
  for (bool ready = false; !ready;) {
    auto frame = co_await reader.next_frame();
    if (!frame) co_return fail(frame.error());
    if (frame->type == 'd' || frame->type == 'c') {
      if (frame->type == 'd') writer.writer().copy_data(frame->body);
      if (writer.out().size() >= kFlushAt) {
        if (auto sent = co_await writer.flush(); !sent) co_return fail(sent.error());
      }
    } else if (frame->type == 'E') {
      const auto fields = wire::decode_error(frame->body);
      error = fields ? wire::to_error(*fields) : fields.error();
    }
    ready = frame->type == 'Z';
    if (ready) reader.set_tx_status(wire::decode_ready_for_query(frame->body).value_or('E'));
    reader.consume_frame(*frame);
  }
  if (error)
    writer.writer().copy_fail("the source failed");
  else
    writer.writer().copy_done();
  if (auto sent = co_await writer.flush(); !sent) co_return fail(sent.error());
  for (bool ready = false; !ready;) {
    auto frame = co_await writer.next_frame();
    if (!frame) co_return fail(frame.error());
    if (frame->type == 'E' && !error) {
      const auto fields = wire::decode_error(frame->body);
      error = fields ? wire::to_error(*fields) : fields.error();
    } else if (frame->type == 'C') {
      const std::string_view tag = wire::decode_command_complete(frame->body).value_or("");
      rows = std::strtoull(std::string(tag.substr(tag.rfind(' ') + 1)).c_str(), nullptr, 10);
    }
    ready = frame->type == 'Z';
    if (ready) writer.set_tx_status(wire::decode_ready_for_query(frame->body).value_or('E'));
    writer.consume_frame(*frame);
  }
  if (error) co_return fail(std::move(*error));
  co_return rows;
}

}  // namespace decan::backend
