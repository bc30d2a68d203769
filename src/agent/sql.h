// A small blocking libpq client for the agent's own sessions. One thread per object.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"

struct pg_conn;

namespace decan::agent {

class SqlConnection {
 public:
  using Rows = std::vector<std::vector<std::optional<std::string>>>;

  static Result<SqlConnection> open(const std::string& dsn);
  // Simple protocol, several statements allowed; the rows of the last one.
  Result<Rows> run(const std::string& sql);
  // Extended protocol with text parameters.
  Result<Rows> run(const std::string& sql, const std::vector<std::string>& parameters);
  Status copy_in(const std::string& sql, std::string_view data);
  std::string quote_identifier(std::string_view text);
  std::string quote_literal(std::string_view text);
  // What ALTER ROLE … PASSWORD takes: a SCRAM verifier with a fresh salt.
  Result<std::string> make_verifier(const std::string& role, const std::string& password);

 private:
  struct Closer {
    void operator()(pg_conn* connection) const;
  };
  explicit SqlConnection(pg_conn* connection) : connection_(connection) {}
  Error last_error() const;
  std::unique_ptr<pg_conn, Closer> connection_;
};

}  // namespace decan::agent
