#include "cli/command.h"

#include <fmt/format.h>

#include <cstdio>

namespace decan::cli {

void add_directory_option(CLI::App& command, std::string& directory) {
  command.add_option("--dir", directory, "Directory of the cluster. Default: " + agent::default_directory())
      ->type_name("D");
}

void add_output_option(CLI::App& command, std::string& output) {
  command.add_option("-o,--output", output, "text (default) or json")->check(CLI::IsMember({"text", "json"}));
}

int report(const Error& error, int code) {
  fmt::print(stderr, "decan: {}\n", error.message);
  if (!error.detail.empty()) {
    std::string_view rest = error.detail;
    while (!rest.empty()) {
      const size_t end = rest.find('\n');
      fmt::print(stderr, "  {}\n", rest.substr(0, end));
      rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    }
  }
  if (!error.hint.empty()) fmt::print(stderr, "  -> {}\n", error.hint);
  return code;
}

agent::Layout layout_of(const std::string& directory) {
  return agent::Layout(agent::absolute_path(directory.empty() ? agent::default_directory() : directory));
}

Result<Config> enter(const agent::Layout& layout) {
  if (Status done = agent::enter_directory(layout); !done) return fail(done.error());
  return load_config(layout.config());
}

}  // namespace decan::cli
