#include "agent/sql.h"

#include <libpq-fe.h>

#include <algorithm>

namespace decan::agent {
namespace {

struct ResultCloser {
  void operator()(PGresult* result) const { PQclear(result); }
};
using ResultPtr = std::unique_ptr<PGresult, ResultCloser>;

std::string field(const PGresult* result, int code) {
  const char* text = PQresultErrorField(result, code);
  return text ? text : "";
}

std::string without_newline(const char* text) {
  std::string out = text ? text : "";
  while (out.ends_with('\n')) out.pop_back();
  return out;
}

// libpq keeps no SQLSTATE of a failed login; the server's text is not translated, since its lc_messages is C.
std::string_view login_state(const std::string& message) {
  if (message.find("password authentication failed") != std::string::npos) return sqlstate::kInvalidPassword;
  if (message.find("does not exist") != std::string::npos) return sqlstate::kInvalidCatalogName;
  if (message.find("starting up") != std::string::npos) return sqlstate::kCannotConnectNow;
  return sqlstate::kConnectionFailure;
}

Error to_error(const PGresult* result) {
  Error error{field(result, PG_DIAG_SQLSTATE), field(result, PG_DIAG_MESSAGE_PRIMARY),
              field(result, PG_DIAG_MESSAGE_DETAIL), field(result, PG_DIAG_MESSAGE_HINT)};
  if (error.sqlstate.empty()) error.sqlstate = sqlstate::kConnectionFailure;
  if (error.message.empty()) error.message = without_newline(PQresultErrorMessage(result));
  return error;
}

Result<SqlConnection::Rows> rows_of(ResultPtr result) {
  const ExecStatusType status = PQresultStatus(result.get());
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY) {
    return fail(to_error(result.get()));
  }
  SqlConnection::Rows rows;
  for (int row = 0; row < PQntuples(result.get()); ++row) {
    auto& out = rows.emplace_back();
    for (int column = 0; column < PQnfields(result.get()); ++column) {
      if (PQgetisnull(result.get(), row, column)) {
        out.emplace_back(std::nullopt);
      } else {
        out.emplace_back(std::string(PQgetvalue(result.get(), row, column),
                                     static_cast<size_t>(PQgetlength(result.get(), row, column))));
      }
    }
  }
  return rows;
}

}  // namespace

void SqlConnection::Closer::operator()(pg_conn* connection) const {
  PQfinish(connection);
}

Result<SqlConnection> SqlConnection::open(const std::string& dsn) {
  SqlConnection made(PQconnectdb(dsn.c_str()));
  if (PQstatus(made.connection_.get()) == CONNECTION_OK) {
    PQsetNoticeProcessor(made.connection_.get(), [](void*, const char*) {}, nullptr);
    return made;
  }
  return fail(made.last_error());
}

Error SqlConnection::last_error() const {
  const std::string message = without_newline(PQerrorMessage(connection_.get()));
  return Error{std::string(login_state(message)), message};
}

Result<SqlConnection::Rows> SqlConnection::run(const std::string& sql) {
  ResultPtr result(PQexec(connection_.get(), sql.c_str()));
  if (!result) return fail(last_error());
  return rows_of(std::move(result));
}

Result<SqlConnection::Rows> SqlConnection::run(const std::string& sql,
                                               const std::vector<std::string>& parameters) {
  std::vector<const char*> values;
  for (const std::string& parameter : parameters) values.push_back(parameter.c_str());
  ResultPtr result(PQexecParams(connection_.get(), sql.c_str(), static_cast<int>(values.size()), nullptr,
                                values.data(), nullptr, nullptr, 0));
  if (!result) return fail(last_error());
  return rows_of(std::move(result));
}

Status SqlConnection::copy_in(const std::string& sql, std::string_view data) {
  ResultPtr started(PQexec(connection_.get(), sql.c_str()));
  if (!started) return fail(last_error());
  if (PQresultStatus(started.get()) != PGRES_COPY_IN) return fail(to_error(started.get()));
  constexpr size_t kChunk = 64 << 10;
  while (!data.empty()) {
    const std::string_view chunk = data.substr(0, kChunk);
    if (PQputCopyData(connection_.get(), chunk.data(), static_cast<int>(chunk.size())) != 1)
      return fail(last_error());
    data.remove_prefix(chunk.size());
  }
  if (PQputCopyEnd(connection_.get(), nullptr) != 1) return fail(last_error());
  Status outcome;
  while (ResultPtr result{PQgetResult(connection_.get())}) {
    if (PQresultStatus(result.get()) == PGRES_FATAL_ERROR && outcome) outcome = fail(to_error(result.get()));
  }
  return outcome;
}

std::string SqlConnection::quote_identifier(std::string_view text) {
  const std::unique_ptr<char, decltype(&PQfreemem)> quoted(
      PQescapeIdentifier(connection_.get(), text.data(), text.size()), &PQfreemem);
  return quoted ? quoted.get() : "";
}

std::string SqlConnection::quote_literal(std::string_view text) {
  const std::unique_ptr<char, decltype(&PQfreemem)> quoted(
      PQescapeLiteral(connection_.get(), text.data(), text.size()), &PQfreemem);
  return quoted ? quoted.get() : "";
}

Result<std::string> SqlConnection::make_verifier(const std::string& role, const std::string& password) {
  const std::unique_ptr<char, decltype(&PQfreemem)> verifier(
      PQencryptPasswordConn(connection_.get(), password.c_str(), role.c_str(), "scram-sha-256"), &PQfreemem);
  if (!verifier) return fail(last_error());
  return std::string(verifier.get());
}

}  // namespace decan::agent
