// Demo data: a small shop, made through the compute node like any client would.
#pragma once

#include <string>

#include "base/error.h"

namespace decan::agent {

// May be repeated after it was interrupted: what is there is left alone, what is missing is made. Never drops
// or changes a table. `dsn` is that of the compute node.
Status load_demo(const std::string& dsn);

}  // namespace decan::agent
