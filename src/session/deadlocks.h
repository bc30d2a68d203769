// Deadlocks of transactions over several units, which no server sees: the youngest of the transactions that
// wait for each other in a circle gets 40P01. Transactions of this compute node only.
#pragma once

#include "session/node.h"

namespace decan::session {

// Looks once in a while until the node shuts down. On the first loop.
async::Task<void> break_deadlocks(Node* node);

}  // namespace decan::session
