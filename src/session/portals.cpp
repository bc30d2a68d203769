// Portals of the extended protocol beyond Bind and Execute: Close, MOVE, rows that are handed out in pieces.
#include "session/outcome.h"
#include "session/session.h"

namespace decan::session {

using Kind = backend::Expected::Kind;

int64_t skip_rows(Portal& portal, int64_t most) {
  int64_t rows = 0;
  for (; rows < most && portal.buffered_at < portal.buffered.size(); ++rows) {
    const auto header = wire::decode_header(std::string_view(portal.buffered).substr(portal.buffered_at),
                                            wire::kMaxMessageBytes);
    portal.buffered_at += wire::kHeaderBytes + (*header)->body_bytes;
  }
  return rows;
}

// MOVE and CLOSE of a portal that the extended protocol has opened over several units.
Status Session::portal_statement(const plan::Plan& plan, const std::string& name) {
  const auto found = portals_.find(name);
  if (plan.action == plan::Action::kCloseCursor) {
    portals_.erase(found);
    complete(plan.tag);
    return {};
  }
  const auto& spec = std::get<plan::CursorSpec>(plan.detail);
  const bool forward = spec.direction == plan::CursorSpec::Direction::kForward && spec.count >= 0;
  if (!spec.is_move || !forward || found->second.buffered_tag.empty()) {
    return fail(sqlstate::kFeatureNotSupported,
                "of a portal over several storage units only MOVE FORWARD behind its first rows is supported",
                {}, "Fetch the rows with Execute messages.");
  }
  complete("MOVE " + std::to_string(skip_rows(found->second, spec.count)));
  return {};
}

Task<Status> Session::on_close(std::string_view body) {
  auto close = wire::decode_close(body);
  if (!close) co_return fail(close.error());
  const std::string name(close->name);
  if (close->kind == 'S') {
    prepared_.erase(name);
  } else if (const auto found = portals_.find(name); found != portals_.end()) {
    if (found->second.open_on) {
      if (txn::Participant* participant = txn_->find(*found->second.open_on); participant != nullptr) {
        if (batch_unit_ && *batch_unit_ != *found->second.open_on) {
          if (auto drained = co_await drain(); !drained) co_return drained;
        }
        batch_unit_ = found->second.open_on;
        participant->connection->writer().close('P', name);
        participant->connection->expect(Kind::kClose, true);
        participant->unsynced = true;
        portals_.erase(found);
        co_return Status{};
      }
    }
    portals_.erase(found);
  }
  std::string reply;
  wire::Writer(reply).empty('3');
  local_reply(std::move(reply));
  co_return Status{};
}

}  // namespace decan::session
