// Rows of one server into another, as COPY text.
#pragma once

#include <cstdint>
#include <string>

#include "async/task.h"
#include "backend/unit_connection.h"
#include "base/error.h"

namespace decan::backend {

// Streams `copy_out` (COPY … TO STDOUT) into `copy_in` (COPY … FROM STDIN); returns rows. Both connections
// are idle or in a block, and outlive the call. An error of either server ends both commands.
async::Task<Result<uint64_t>> copy_between(UnitConnection& reader, std::string copy_out,
                                           UnitConnection& writer, std::string copy_in);

}  // namespace decan::backend
