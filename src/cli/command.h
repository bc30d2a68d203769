// What all verbs share. A verb registers itself with CLI11 and sets what to run.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "agent/layout.h"
#include "base/config.h"
#include "base/error.h"

namespace decan::cli {

// Exit codes; documented in docs/reference.md.
inline constexpr int kSuccess = 0;
inline constexpr int kFailure = 1;
inline constexpr int kUsage = 2;
inline constexpr int kNotRunning = 3;

// What `main` runs after parsing: the verb's body, returning the exit code.
using Action = std::function<int()>;

void add_up(CLI::App& app, Action& action);
void add_status(CLI::App& app, Action& action);
void add_logs(CLI::App& app, Action& action);
void add_down(CLI::App& app, Action& action);
void add_dsn(CLI::App& app, Action& action);
void add_destroy(CLI::App& app, Action& action);
void add_doctor(CLI::App& app, Action& action);
void add_config(CLI::App& app, Action& action);
void add_compute(CLI::App& app, Action& action);
void add_version(CLI::App& app, Action& action);

// --dir D with its default.
void add_directory_option(CLI::App& command, std::string& directory);
void add_output_option(CLI::App& command, std::string& output);  // -o text|json

// "decan: sentence", detail and hint on standard error. Returns the exit code.
int report(const Error& error, int code = kFailure);
agent::Layout layout_of(const std::string& directory);
// Enters an existing cluster's directory as its owner and reads its configuration.
Result<Config> enter(const agent::Layout& layout);

}  // namespace decan::cli
