#include "meta/sqlite_db.h"

#include <fmt/format.h>

namespace decan::meta {
namespace {

constexpr int kBusyTimeoutMs = 5000;

}  // namespace

Statement& Statement::bind(int index, int64_t value) {
  sqlite3_bind_int64(statement_.get(), index, value);
  return *this;
}

Statement& Statement::bind(int index, std::string_view value) {
  sqlite3_bind_text64(statement_.get(), index, value.data() ? value.data() : "", value.size(), SQLITE_STATIC,
                      SQLITE_UTF8);
  return *this;
}

Statement& Statement::bind_null(int index) {
  sqlite3_bind_null(statement_.get(), index);
  return *this;
}

Result<bool> Statement::step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return fail(db_->error(code));
}

Status Statement::run() {
  for (;;) {
    const Result<bool> row = step();
    if (!row) {
      reset();
      return fail(row.error());
    }
    if (!*row) break;
  }
  reset();
  return {};
}

void Statement::reset() {
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
}

int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

std::string Statement::text(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_.get(), column));
  const int size = sqlite3_column_bytes(statement_.get(), column);
  return bytes ? std::string(bytes, static_cast<size_t>(size)) : std::string();
}

Result<std::unique_ptr<Db>> Db::open(const std::string& path) {
  std::unique_ptr<Db> made(new Db(path));
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  made->db_.reset(raw);
  if (code != SQLITE_OK) return fail(made->error(code));
  sqlite3_extended_result_codes(raw, 1);
  sqlite3_busy_timeout(raw, kBusyTimeoutMs);
  return made;
}

Status Db::execute(const char* sql) {
  const int code = sqlite3_exec(db_.get(), sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return fail(error(code));
  return {};
}

Result<Statement> Db::prepare(std::string_view sql) {
  sqlite3_stmt* raw = nullptr;
  const int code = sqlite3_prepare_v2(db_.get(), sql.data(), static_cast<int>(sql.size()), &raw, nullptr);
  if (code != SQLITE_OK) return fail(error(code));
  return Statement(*this, raw);
}

Result<int64_t> Db::integer(std::string_view sql) {
  Result<Statement> statement = prepare(sql);
  if (!statement) return fail(statement.error());
  const Result<bool> row = statement->step();
  if (!row) return fail(row.error());
  return *row ? statement->integer(0) : 0;
}

Error Db::error(int code) const {
  const std::string detail = db_ ? sqlite3_errmsg(db_.get()) : sqlite3_errstr(code);
  const auto made = [&](std::string_view state, std::string_view text, std::string_view hint) {
    return Error{std::string(state), fmt::format("metadata store {}: {}", path_, text), detail,
                 std::string(hint)};
  };
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return made("55P03", "another process kept it locked for too long", "Try again; see 'decan doctor'.");
    case SQLITE_FULL:
      return made(sqlstate::kDiskFull, "the disk is full", "Free some space and try again.");
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_READONLY:
      return made(sqlstate::kInsufficientPrivilege, "permission denied",
                  "Run as the user who owns the file.");
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
      return made(sqlstate::kDataCorrupted, "the file is damaged or no metadata store",
                  "Restore it from a copy, or move it away.");
    default:
      return made("58030", "it can not be used", "See the detail.");
  }
}

Result<WriteTransaction> WriteTransaction::begin(Db& db) {
  if (Status begun = db.execute("BEGIN IMMEDIATE"); !begun) return fail(begun.error());
  return WriteTransaction(db);
}

WriteTransaction::~WriteTransaction() {
  if (db_) (void)db_->execute("ROLLBACK");
}

Status WriteTransaction::commit() {
  Status done = db_->execute("COMMIT");
  if (done) db_ = nullptr;
  return done;
}

}  // namespace decan::meta
