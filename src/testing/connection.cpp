#include <libpq-fe.h>

#include "testing/pg.h"

namespace decan::testing {
namespace {

struct ResultDeleter {
  void operator()(PGresult* result) const { PQclear(result); }
};
using ResultPtr = std::unique_ptr<PGresult, ResultDeleter>;

std::string field(const PGresult* result, int code) {
  const char* text = PQresultErrorField(result, code);
  return text == nullptr ? std::string() : std::string(text);
}

SqlError to_sql_error(const PGresult* result, const PGconn* conn) {
  Error error{field(result, PG_DIAG_SQLSTATE), field(result, PG_DIAG_MESSAGE_PRIMARY),
              field(result, PG_DIAG_MESSAGE_DETAIL), field(result, PG_DIAG_MESSAGE_HINT)};
  if (error.sqlstate.empty()) {
    error.sqlstate = sqlstate::kConnectionFailure;
    error.message = PQerrorMessage(conn);
  }
  SqlError made(std::move(error));
  made.schema = field(result, PG_DIAG_SCHEMA_NAME);
  made.table = field(result, PG_DIAG_TABLE_NAME);
  made.column = field(result, PG_DIAG_COLUMN_NAME);
  made.constraint = field(result, PG_DIAG_CONSTRAINT_NAME);
  return made;
}

Rows to_rows(const PGresult* result) {
  Rows out;
  const int columns = PQnfields(result);
  for (int c = 0; c < columns; ++c) out.columns.emplace_back(PQfname(result, c));
  for (int r = 0; r < PQntuples(result); ++r) {
    auto& row = out.rows.emplace_back();
    for (int c = 0; c < columns; ++c) {
      if (PQgetisnull(result, r, c) != 0) {
        row.emplace_back(std::nullopt);
      } else {
        row.emplace_back(
            std::string(PQgetvalue(result, r, c), static_cast<size_t>(PQgetlength(result, r, c))));
      }
    }
  }
  out.tag = PQcmdStatus(const_cast<PGresult*>(result));
  return out;
}

void keep_notice(void* sink, const PGresult* result) {
  static_cast<std::vector<std::string>*>(sink)->push_back(field(result, PG_DIAG_MESSAGE_PRIMARY));
}

// Reads results to the end; throws the first error once the connection is idle again.
std::vector<Rows> drain(PGconn* conn) {
  std::vector<Rows> out;
  std::optional<SqlError> first;
  while (ResultPtr result{PQgetResult(conn)}) {
    switch (PQresultStatus(result.get())) {
      case PGRES_COMMAND_OK:
      case PGRES_TUPLES_OK:
      case PGRES_EMPTY_QUERY:
        out.push_back(to_rows(result.get()));
        break;
      case PGRES_COPY_IN:
        PQputCopyEnd(conn, "exec() does not feed COPY");
        break;
      case PGRES_COPY_OUT: {
        char* data = nullptr;
        while (PQgetCopyData(conn, &data, 0) > 0) PQfreemem(data);
        break;
      }
      default:
        if (!first) first = to_sql_error(result.get(), conn);
    }
    if (PQstatus(conn) == CONNECTION_BAD) break;
  }
  if (first) throw *first;
  return out;
}

}  // namespace

std::string Rows::text() const {
  std::string out;
  for (const auto& row : rows) {
    if (!out.empty()) out += '\n';
    for (size_t c = 0; c < row.size(); ++c) {
      if (c > 0) out += '|';
      out += row[c].value_or("NULL");
    }
  }
  return out;
}

SqlError::SqlError(Error error)
    : std::runtime_error(error.sqlstate + " " + error.message +
                         (error.detail.empty() ? "" : " DETAIL: " + error.detail)),
      error_(std::move(error)) {}

void Connection::Closer::operator()(pg_conn* conn) const {
  PQfinish(conn);
}

Connection::Connection(const std::string& dsn)
    : notices_(std::make_unique<std::vector<std::string>>()), conn_(PQconnectdb(dsn.c_str())) {
  if (PQstatus(conn_.get()) != CONNECTION_OK) {
    throw SqlError(Error{std::string(sqlstate::kConnectionException), PQerrorMessage(conn_.get())});
  }
  PQsetNoticeReceiver(conn_.get(), keep_notice, notices_.get());
}

std::vector<Rows> Connection::exec_all(const std::string& sql) {
  if (PQsendQuery(conn_.get(), sql.c_str()) == 0) {
    throw SqlError(Error{std::string(sqlstate::kConnectionFailure), PQerrorMessage(conn_.get())});
  }
  return drain(conn_.get());
}

Rows Connection::exec(const std::string& sql) {
  auto all = exec_all(sql);
  return all.empty() ? Rows{} : std::move(all.back());
}

SqlError Connection::error_of(const std::string& sql) {
  try {
    exec(sql);
  } catch (const SqlError& error) {
    return error;
  }
  throw std::runtime_error("succeeded, but an error was expected: " + sql);
}

Rows Connection::query(const std::string& sql, const std::vector<std::optional<std::string>>& parameters) {
  std::vector<const char*> values;
  for (const auto& parameter : parameters) values.push_back(parameter ? parameter->c_str() : nullptr);
  if (PQsendQueryParams(conn_.get(), sql.c_str(), static_cast<int>(values.size()), nullptr, values.data(),
                        nullptr, nullptr, 0) == 0) {
    throw SqlError(Error{std::string(sqlstate::kConnectionFailure), PQerrorMessage(conn_.get())});
  }
  auto all = drain(conn_.get());
  return all.empty() ? Rows{} : std::move(all.back());
}

std::string Connection::copy_in(const std::string& sql, std::string_view data) {
  const ResultPtr start{PQexec(conn_.get(), sql.c_str())};
  if (PQresultStatus(start.get()) != PGRES_COPY_IN) throw to_sql_error(start.get(), conn_.get());
  constexpr size_t kChunkBytes = 1 << 20;
  for (size_t at = 0; at < data.size(); at += kChunkBytes) {
    const auto chunk = data.substr(at, kChunkBytes);
    if (PQputCopyData(conn_.get(), chunk.data(), static_cast<int>(chunk.size())) != 1) break;
  }
  PQputCopyEnd(conn_.get(), nullptr);
  const auto all = drain(conn_.get());
  return all.empty() ? std::string() : all.back().tag;
}

std::string Connection::copy_out(const std::string& sql) {
  std::string out;
  copy_out(sql, [&out](std::string_view chunk) { out += chunk; });
  return out;
}

std::string Connection::copy_out(const std::string& sql, const std::function<void(std::string_view)>& sink) {
  const ResultPtr start{PQexec(conn_.get(), sql.c_str())};
  if (PQresultStatus(start.get()) != PGRES_COPY_OUT) throw to_sql_error(start.get(), conn_.get());
  char* data = nullptr;
  int bytes = 0;
  while ((bytes = PQgetCopyData(conn_.get(), &data, 0)) > 0) {
    sink(std::string_view(data, static_cast<size_t>(bytes)));
    PQfreemem(data);
  }
  const auto all = drain(conn_.get());
  return all.empty() ? std::string() : all.back().tag;
}

std::vector<std::string> Connection::take_notices() {
  return std::exchange(*notices_, {});
}

}  // namespace decan::testing
