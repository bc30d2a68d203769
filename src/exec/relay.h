// Carries a unit's replies to the client, untouched wherever possible, and checks each one against the queue
// of replies that the unit owes. DataRow bytes are decoded only where a RowDescription said that their binary
// values hold object ids; that one must come right before the rows. Anything unexpected breaks the unit
// connection rather than risk giving a client another client's rows.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "async/task.h"
#include "backend/unit_connection.h"
#include "exec/client_port.h"
#include "exec/map_oids.h"
#include "wire/message.h"

namespace decan::exec {

// What relaying needs to know of the session. Owned by the session; outlives the relay.
struct RelayHooks {
  // What the unit's object ids mean on the home unit. Null, or an identity: nothing is translated.
  const catalog::UnitObjects* objects = nullptr;
  // A setting that the unit reported changed by a visible statement.
  std::function<void(std::string_view name, std::string_view value)> parameter_changed;
  // Rewrites leaf and constraint names in an error or a notice to the logical ones.
  std::function<void(wire::ErrorFields&)> logical_names;
  // A notice that is about a leaf alone and says nothing to the client.
  std::function<bool(const wire::ErrorFields&)> about_leaf;
};

struct RelayOutcome {
  std::optional<wire::ErrorFields> error;  // the unit's first error; read, not yet told to the client
  bool hidden_failed = false;              // the error came from a statement of ours
  bool sent_rows = false;                  // part of the answer is on its way: no silent retry
  bool copy_in = false;                    // stopped because the unit waits for COPY data
  uint64_t rows = 0;                       // of a command tag that ends in a count
};

class Relay {
 public:
  Relay(backend::UnitConnection& unit, ClientPort& client, const RelayHooks& hooks)
      : unit_(unit), client_(client), hooks_(hooks) {}

  // Until nothing is owed any more, or the unit asks for COPY data. Error: one of the two connections was
  // lost (unit_.broken() tells which).
  async::Task<Result<RelayOutcome>> run();

 private:
  enum class Step { kContinue, kNeedMore, kStop };
  // Short answers without waiting: takes whole frames while each only has to be checked off and copied; the
  // bytes of one answer are gathered for a single write. What needs more is left to step().
  Status quick();
  async::Task<Result<Step>> step();
  async::Task<Result<Step>> special(const wire::Header& header, std::string_view frame);
  Status describe(std::string_view frame);
  Status forward_row(std::string_view frame);
  bool translates() const { return hooks_.objects != nullptr && !hooks_.objects->is_identity(); }
  Status take_error(std::string_view body);
  Status ready(std::string_view body);
  Status finished(backend::Expected::Kind a, backend::Expected::Kind b);
  size_t plain_frames(std::string_view in, bool query) const;
  std::unexpected<Error> unexpected(char type);
  std::unexpected<Error> lost(Error error);
  bool client_sees() const { return unit_.expected().front().visible; }

  backend::UnitConnection& unit_;
  ClientPort& client_;
  const RelayHooks& hooks_;
  RelayOutcome outcome_;
  IdColumns id_columns_;  // of the rows that come next
  size_t pass_left_ = 0;  // bytes of a large row still to come, forwarded as they arrive
};

}  // namespace decan::exec
