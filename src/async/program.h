// Runs another program to its end. Blocks: for a worker's thread.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/error.h"

namespace decan::async {

struct Program {
  std::string path;                      // absolute
  std::vector<std::string> arguments;    // without argv[0]; everybody on the machine may read them
  std::vector<std::string> environment;  // NAME=value, besides PATH and LANG; nothing else is inherited
};

// What it wrote to standard output, when it ended with 0. Errors: 58P01 it can not be started; 58000 with the
// first lines that it wrote to standard error as detail; 54000 more than `max_bytes`; 57014 not done in time:
// it is killed.
Result<std::string> run_program(const Program& program, size_t max_bytes, std::chrono::milliseconds at_most);

}  // namespace decan::async
