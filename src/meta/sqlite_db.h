// Thin owner types over the SQLite C interface. Internal to this module. One Db belongs to one thread at a
// time.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace decan::meta {

struct DbCloser {
  void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
};
struct StatementCloser {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};

class Db;

// A prepared statement, stepped through its rows. Bind positions and columns count as SQLite does: from 1 and
// from 0.
class Statement {
 public:
  Statement& bind(int index, int64_t value);
  Statement& bind(int index, std::string_view value);  // the bytes must live until the last step
  Statement& bind_null(int index);
  Result<bool> step();  // true: a row is there
  Status run();         // steps to the end, then resets
  void reset();
  int64_t integer(int column) const;
  std::string text(int column) const;

 private:
  friend class Db;
  Statement(Db& db, sqlite3_stmt* statement) : db_(&db), statement_(statement) {}
  Db* db_;
  std::unique_ptr<sqlite3_stmt, StatementCloser> statement_;
};

class Db {
 public:
  // Opens for reading and writing with the busy time-out of this module. Does not create.
  static Result<std::unique_ptr<Db>> open(const std::string& path);
  Status execute(const char* sql);
  Result<Statement> prepare(std::string_view sql);
  Result<int64_t> integer(std::string_view sql);  // first column of the first row; 0 without rows
  Error error(int code) const;

 private:
  explicit Db(std::string path) : path_(std::move(path)) {}
  std::string path_;
  std::unique_ptr<sqlite3, DbCloser> db_;
};

// BEGIN IMMEDIATE … COMMIT; rolls back when it dies uncommitted.
class WriteTransaction {
 public:
  static Result<WriteTransaction> begin(Db& db);
  WriteTransaction(WriteTransaction&& other) noexcept : db_(std::exchange(other.db_, nullptr)) {}
  WriteTransaction& operator=(WriteTransaction&&) = delete;
  ~WriteTransaction();
  Status commit();

 private:
  explicit WriteTransaction(Db& db) : db_(&db) {}
  Db* db_;
};

}  // namespace decan::meta
