#include "attach/definitions.h"

#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <fstream>

#include "async/program.h"
#include "sql/parse.h"

namespace decan::attach {
namespace {

constexpr size_t kMaxScriptBytes = 256u << 20;
constexpr auto kAtMost = std::chrono::minutes(10);
constexpr std::string_view kLockTimeout = "30s";
constexpr std::string_view kRelated[] = {"COMMENT ", "ACL ", "SECURITY LABEL "};

// A directory for one dump, gone with it.
class Scratch {
 public:
  static Result<Scratch> make() {
    std::error_code error;
    std::string pattern = (std::filesystem::temp_directory_path(error) / "decan-XXXXXX").string();
    if (error || ::mkdtemp(pattern.data()) == nullptr)
      return fail("58030", "a temporary directory can not be made", pattern);
    return Scratch(std::move(pattern));
  }
  Scratch(Scratch&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  explicit Scratch(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// "3405; 1255 16390 FUNCTION public f(integer) owner": the ids, and the rest.
struct Line {
  ObjectId id;
  std::string_view rest;
};

std::optional<Line> read_line(std::string_view text) {
  const size_t semicolon = text.find("; ");
  if (text.starts_with(';') || semicolon == std::string_view::npos) return std::nullopt;
  Line line;
  std::string_view rest = text.substr(semicolon + 2);
  for (Oid* number : {&line.id.catalog, &line.id.object}) {
    const auto parsed = std::from_chars(rest.data(), rest.data() + rest.size(), *number);
    rest.remove_prefix(static_cast<size_t>(parsed.ptr - rest.data()));
    if (parsed.ec != std::errc() || !rest.starts_with(' ')) return std::nullopt;
    rest.remove_prefix(1);
  }
  line.rest = rest;
  return line;
}

template <class Visit>
void for_each_line(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    visit(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

// What stands behind "COMMENT " for an object listed as "FUNCTION public f(integer) owner": "public FUNCTION
// f(integer) owner". Names may hold blanks: every reading of the line counts.
void add_readings(std::string_view rest, std::set<std::string, std::less<>>& into) {
  size_t kind = 0;
  while (kind < rest.size() && (rest[kind] == ' ' || (rest[kind] >= 'A' && rest[kind] <= 'Z'))) ++kind;
  kind = rest.substr(0, kind).rfind(' ');
  if (kind == std::string_view::npos) return;
  const std::string_view names = rest.substr(kind + 1);
  for (size_t at = names.find(' '); at != std::string_view::npos; at = names.find(' ', at + 1))
    into.insert(std::string(names.substr(0, at)) + " " + std::string(rest.substr(0, kind)) +
                std::string(names.substr(at)));
}

// Newer versions put the script between two commands of psql.
void remove_psql_commands(std::string& script) {
  for (const std::string_view word : {"\\restrict ", "\\unrestrict "}) {
    const std::string needle = "\n" + std::string(word);
    const size_t at = word[1] == 'r' ? script.find(needle) : script.rfind(needle);
    if (at == std::string::npos) continue;
    const size_t end = std::min(script.find('\n', at + 1), script.size());
    script.erase(at, end - at);
  }
}

Result<std::vector<std::string>> statements_of(std::string script) {
  remove_psql_commands(script);
  const auto parsed = sql::parse(script, nullptr);
  if (!parsed)
    return fail(sqlstate::kInternalError, "the definitions of a database can not be read",
                parsed.error().message);
  std::vector<std::string> out;
  for (const sql::Statement& statement : parsed->statements())
    out.push_back(script.substr(statement.offset, statement.bytes));
  return out;
}

async::Program dump_program(const std::string& binaries, const meta::UnitRecord& unit,
                            const std::string& database, const std::string& archive) {
  async::Program program;
  program.path = binaries + "/pg_dump";
  program.arguments = {"--schema-only",
                       "--format=custom",
                       "--no-password",
                       "--no-publications",
                       "--no-tablespaces",
                       "--no-subscriptions",
                       "--exclude-schema=decan",
                       "--exclude-schema=decan_shard",
                       "--lock-wait-timeout=" + std::string(kLockTimeout),
                       "--file=" + archive};
  program.environment = {"PGHOST=" + unit.host,         "PGPORT=" + std::to_string(unit.port),
                         "PGUSER=" + unit.service_user, "PGPASSWORD=" + unit.service_password,
                         "PGDATABASE=" + database,      "PGCONNECT_TIMEOUT=10"};
  if (unit.tls) program.environment.emplace_back("PGSSLMODE=require");
  return program;
}

}  // namespace

std::string filtered_contents(std::string_view contents, const std::set<ObjectId>& left_out) {
  std::set<std::string, std::less<>> related;
  for_each_line(contents, [&](std::string_view text) {
    const auto line = read_line(text);
    if (line && left_out.contains(line->id)) add_readings(line->rest, related);
  });
  std::string out;
  for_each_line(contents, [&](std::string_view text) {
    const auto line = read_line(text);
    if (!line || left_out.contains(line->id)) return;
    for (const std::string_view word : kRelated) {
      if (line->rest.starts_with(word) && related.contains(line->rest.substr(word.size()))) return;
    }
    if (line->rest.starts_with("EVENT TRIGGER - decan_")) return;
    out.append(text).push_back('\n');
  });
  return out;
}

Result<Definitions> read_definitions(const std::string& binaries, const meta::UnitRecord& unit,
                                     const std::string& database, const LeftOut& left_out) {
  const auto scratch = Scratch::make();
  if (!scratch) return fail(scratch.error());
  const std::string archive = scratch->file("archive"), list = scratch->file("list");
  async::Program dump = dump_program(binaries, unit, database, archive);
  for (const std::string& relation : left_out.relations)
    dump.arguments.push_back("--exclude-table=" + relation);
  if (auto done = async::run_program(dump, kMaxScriptBytes, kAtMost); !done) return fail(done.error());
  async::Program restore{binaries + "/pg_restore", {"--list", archive}, {}};
  const auto contents = async::run_program(restore, kMaxScriptBytes, kAtMost);
  if (!contents) return fail(contents.error());
  std::ofstream(list, std::ios::binary) << filtered_contents(*contents, left_out.objects);
  Definitions out;
  for (auto* part : {&out.before, &out.after}) {
    restore.arguments = {"--use-list=" + list,
                         std::string("--section=") + (part == &out.before ? "pre-data" : "post-data"),
                         "--file=-", archive};
    auto script = async::run_program(restore, kMaxScriptBytes, kAtMost);
    if (!script) return fail(script.error());
    auto statements = statements_of(std::move(*script));
    if (!statements) return fail(statements.error());
    *part = std::move(*statements);
  }
  return out;
}

}  // namespace decan::attach
