#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <thread>
#include <vector>

#include "agent/files.h"
#include "agent/unit_server.h"
#include "cli/command.h"

namespace decan::cli {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

struct LogsOptions {
  std::string directory, component;
  bool follow = false;
  size_t lines = 50;
};

struct Source {
  std::string component = {};
  std::string unit_directory = {};  // of a storage unit: the newest of its log files counts
  std::string path = {};            // the file that is read
  off_t offset = 0;
  std::string rest = {};  // an unfinished line

  std::string current_path() const {
    if (unit_directory.empty()) return path;
    agent::UnitServer::Options options;
    options.directory = unit_directory;
    return agent::UnitServer(options).newest_log();
  }
};

std::vector<Source> sources_of(const agent::Layout& layout, const std::string& only) {
  std::vector<Source> out;
  const auto wanted = [&](const std::string& name) { return only.empty() || only == name; };
  for (const char* name : {"supervisor", "compute"}) {
    if (wanted(name)) out.push_back({.component = name, .path = layout.log(name)});
  }
  std::vector<std::string> units;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(layout.root + "/units", code))
    units.push_back(entry.path().filename());
  std::ranges::sort(units);
  for (const std::string& name : units) {
    if (wanted(name)) out.push_back({.component = name, .unit_directory = layout.unit(name)});
  }
  return out;
}

void print_lines(Source& source, std::string_view text, bool with_name) {
  source.rest += text;
  size_t start = 0;
  for (size_t end; (end = source.rest.find('\n', start)) != std::string::npos; start = end + 1) {
    const std::string_view line = std::string_view(source.rest).substr(start, end - start);
    fmt::print("{}{}{}\n", with_name ? source.component : "", with_name ? " | " : "", line);
  }
  source.rest.erase(0, start);
}

void follow(Source& source, bool with_name) {
  const std::string path = source.current_path();
  if (path.empty()) return;
  if (path != source.path) {
    source.path = path;
    source.offset = 0;
  }
  const agent::Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info{};
  if (!fd || ::fstat(fd.get(), &info) != 0) return;
  if (info.st_size < source.offset) source.offset = 0;  // rotated
  std::string buffer(64 << 10, '\0');
  for (ssize_t n; (n = ::pread(fd.get(), buffer.data(), buffer.size(), source.offset)) > 0;
       source.offset += n) {
    print_lines(source, std::string_view(buffer).substr(0, static_cast<size_t>(n)), with_name);
  }
}

int run_logs(const LogsOptions& options) {
  const agent::Layout layout = layout_of(options.directory);
  if (Status done = agent::enter_directory(layout); !done) return report(done.error(), kNotRunning);
  std::vector<Source> sources = sources_of(layout, options.component);
  if (sources.empty()) {
    std::string known;
    for (const Source& source : sources_of(layout, ""))
      known += (known.empty() ? "" : ", ") + source.component;
    return report(Error{std::string(sqlstate::kUndefinedObject),
                        fmt::format("there is no component {}", options.component),
                        {},
                        "Components: " + known + "."},
                  kUsage);
  }
  const bool with_name = sources.size() > 1;
  for (Source& source : sources) {
    source.path = source.current_path();
    if (source.path.empty()) continue;
    struct stat info{};
    if (::stat(source.path.c_str(), &info) == 0) source.offset = info.st_size;
    print_lines(source, agent::tail_of(source.path, options.lines), with_name);
  }
  while (options.follow) {
    std::fflush(stdout);
    std::this_thread::sleep_for(200ms);
    for (Source& source : sources) follow(source, with_name);
  }
  return kSuccess;
}

}  // namespace

void add_logs(CLI::App& app, Action& action) {
  auto options = std::make_shared<LogsOptions>();
  CLI::App* command = app.add_subcommand("logs", "Show the logs of all components, or of one");
  add_directory_option(*command, options->directory);
  command->add_option("component", options->component, "supervisor, compute, or a storage unit such as ds_0");
  command->add_flag("-f,--follow", options->follow, "Go on until interrupted");
  command->add_option("-n,--lines", options->lines, "How many lines of each at first (default 50)")
      ->check(CLI::Range(0, 100'000));
  command->callback([options, &action] { action = [options] { return run_logs(*options); }; });
}

}  // namespace decan::cli
