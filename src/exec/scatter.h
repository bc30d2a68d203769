// One statement on several units at once: fragments are sent to all, the answers are merged (tier 2) or
// concatenated, in bounded memory: rows are read from a unit only when the merge wants them or the client
// takes them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backend/unit_connection.h"
#include "exec/client_port.h"
#include "exec/copy_rows.h"
#include "exec/merge.h"
#include "exec/relay.h"
#include "plan/merge_spec.h"

namespace decan::exec {

struct ScatterFragment {
  backend::UnitConnection* connection = nullptr;
  const catalog::UnitObjects* objects = nullptr;  // of the connection's unit
  std::string sql;
  std::vector<uint32_t> input_rows;  // INSERT … VALUES: which rows of the statement this unit gets
};

struct ScatterRequest {
  std::vector<ScatterFragment> fragments;
  const plan::MergeSpec* merge = nullptr;  // null: rows are concatenated, counts are added
  std::vector<Oid> parameter_types;
  std::vector<int16_t> parameter_formats;
  std::vector<std::optional<std::string_view>> parameters;
  std::vector<int16_t> result_formats;  // the client's: none, one, or one per output column
  std::optional<int64_t> limit, offset;
  std::vector<std::optional<std::string>> having_values;
  MergeLimits limits;
  bool send_description = true;  // RowDescription before the rows (simple protocol)
  bool one_answer = false;       // every unit does the same: only the first one's answer counts
  // Each unit runs its fragment when the one before it is done. Writers of the same rows then wait for each
  // other on the first unit that they share, and never crosswise; a statement that fails runs no further.
  bool in_turn = false;
  std::string* buffer_rows = nullptr;  // rows go there instead of to the client
  CopyRows* copy_rows = nullptr;       // what rows become before they go to the client
};

struct ScatterOutcome {
  std::optional<wire::ErrorFields> error;  // first error of a unit; all units have been read to the end
  size_t failed = 0;                       // fragment that the error is of
  std::optional<wire::RowDescription> columns;
  uint64_t rows = 0;  // rows of the answer, or rows written
  bool sent_rows = false;
};

// Error: a connection was lost, or the merge refuses (0A000, 53200): the units' work has been asked to stop.
async::Task<Result<ScatterOutcome>> scatter(async::Loop& loop, ScatterRequest request, ClientPort& client,
                                            const RelayHooks& hooks);

// Result formats for a fragment: the client's for visible columns, binary for hidden ones.
std::vector<int16_t> fragment_formats(const plan::MergeSpec* merge,
                                      const std::vector<int16_t>& client_formats);

}  // namespace decan::exec
