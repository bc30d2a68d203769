// Real PostgreSQL 15 servers for tests (_pgtest), and a small blocking libpq client. Not thread-safe; one
// object, one thread. Failures throw SqlError or std::runtime_error: only tests use this module, and gtest
// reports an exception as a failure.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

struct pg_conn;
struct pg_result;

namespace decan::testing {

// Rows of the last statement of a string, text format.
struct Rows {
  std::vector<std::string> columns;
  std::vector<std::vector<std::optional<std::string>>> rows;
  std::string tag;  // e.g. "INSERT 0 3"

  size_t size() const { return rows.size(); }
  // The value, or "NULL".
  std::string at(size_t row, size_t column) const { return rows.at(row).at(column).value_or("NULL"); }
  // Value of the first row and column; throws when there is no row.
  std::string scalar() const { return at(0, 0); }
  // "a|b\nc|d": handy for EXPECT_EQ.
  std::string text() const;
};

class SqlError : public std::runtime_error {
 public:
  explicit SqlError(Error error);
  const Error& error() const { return error_; }
  const std::string& sqlstate() const { return error_.sqlstate; }
  // Fields by code letter, for those that Error does not have: 's' schema, 't' table, 'c' column, 'n'
  // constraint.
  std::string schema, table, column, constraint;

 private:
  Error error_;
};

class Connection {
 public:
  explicit Connection(const std::string& dsn);
  Connection(Connection&&) = default;
  Connection& operator=(Connection&&) = default;

  // Simple protocol; several statements allowed; returns the last result. Throws SqlError.
  Rows exec(const std::string& sql);
  // All results of a string of statements.
  std::vector<Rows> exec_all(const std::string& sql);
  // The error of a statement that must fail; throws std::runtime_error when it succeeds.
  SqlError error_of(const std::string& sql);
  // Extended protocol, text parameters and results.
  Rows query(const std::string& sql, const std::vector<std::optional<std::string>>& parameters);
  // COPY … FROM STDIN / TO STDOUT with the raw data.
  std::string copy_in(const std::string& sql, std::string_view data);
  std::string copy_out(const std::string& sql);
  // COPY … TO STDOUT, each CopyData message to `sink`.
  std::string copy_out(const std::string& sql, const std::function<void(std::string_view)>& sink);
  // Notices since the last call.
  std::vector<std::string> take_notices();
  pg_conn* raw() const { return conn_.get(); }

 private:
  struct Closer {
    void operator()(pg_conn* conn) const;
  };
  std::unique_ptr<std::vector<std::string>> notices_;
  std::unique_ptr<pg_conn, Closer> conn_;
};

enum class Auth { kTrust, kScram };

struct PgOptions {
  Auth auth = Auth::kTrust;
  std::string locale = "C.UTF-8";
  std::string superuser = "postgres";
  std::string superuser_password = "decan-test";                   // kScram
  std::vector<std::pair<std::string, std::string>> settings = {};  // added to postgresql.conf
};

// A server of its own in a temporary directory, with port and socket directory of its own.
// max_prepared_transactions = 64, wal_level = logical, fsync off. Started by root, the server runs as user
// postgres. Stopped and deleted at the end; it also dies with the test process.
class PgFixture {
 public:
  explicit PgFixture(PgOptions options = {});
  ~PgFixture();
  PgFixture(const PgFixture&) = delete;
  PgFixture& operator=(const PgFixture&) = delete;

  uint16_t port() const { return port_; }
  const std::string& host() const { return host_; }  // 127.0.0.1
  const std::string& socket_directory() const { return directory_; }
  const std::string& data_directory() const { return data_; }
  std::string log() const;  // the server's log so far
  // libpq connection string over TCP; role empty = superuser.
  std::string dsn(std::string_view database = "postgres", std::string_view role = {},
                  std::string_view password = {}) const;
  Connection connect(std::string_view database = "postgres", std::string_view role = {},
                     std::string_view password = {}) const;
  void create_database(const std::string& name);

  void stop();   // fast shutdown
  void kill();   // immediate shutdown, as a crash
  void start();  // again, on the same port
  pid_t pid() const { return pid_; }

 private:
  void init_data_directory();
  void write_configuration();
  void wait_until_ready();
  PgOptions options_;
  std::string host_ = "127.0.0.1";
  std::string directory_, data_;
  uint16_t port_ = 0;
  pid_t pid_ = -1;
};

// Path of PostgreSQL 15's programs, e.g. program("pg_dump").
std::string program(std::string_view name);

// Runs a program as the current user and returns what it wrote to standard output; throws with its standard
// error when it fails.
std::string run_program(const std::vector<std::string>& arguments);

}  // namespace decan::testing
