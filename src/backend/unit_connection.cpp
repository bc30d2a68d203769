#include "backend/unit_connection.h"

#include <openssl/ssl.h>

#include "base/log.h"

namespace decan::backend {

using async::Task;
using async::TimePoint;

UnitConnection::UnitConnection(meta::UnitRecord record, UnitId unit, Identity identity)
    : record_(std::move(record)), unit_(unit), identity_(std::move(identity)),
      applied_(std::make_shared<Settings>()) {}

UnitConnection::~UnitConnection() {
  if (stream_ && !broken_ && stream_->is_open()) {
    std::string bye;
    wire::Writer(bye).terminate();
    (void)stream_->try_write(bye);   // best effort: the unit also notices the closed socket
  }
}

Error UnitConnection::with_unit(Error error) const {
  if (error.sqlstate == async::kTimedOut) {
    return Error{std::string(sqlstate::kConnectionFailure), "storage unit \"" + record_.name + "\" did not answer in time",
                 {}, "Look at the unit with \"decan status\"."};
  }
  if (error.sqlstate == sqlstate::kConnectionFailure) {
    error.message = "connection to storage unit \"" + record_.name + "\" failed: " + error.message;
  }
  return error;
}

Task<Result<UnitConnection::Ptr>> UnitConnection::open(async::Loop& loop, meta::UnitRecord record, UnitId unit,
                                                       Identity identity, TimePoint deadline) {
  Ptr made(new UnitConnection(std::move(record), unit, std::move(identity)));
  auto stream = co_await async::Stream::connect(loop, made->record_.host, made->record_.port, deadline);
  if (!stream) co_return fail(made->with_unit(std::move(stream.error())));
  made->stream_ = std::move(*stream);
  made->stream_->set_deadline(deadline);
  if (auto logged_in = co_await made->log_in(deadline); !logged_in) {
    made->broken_ = true;
    co_return fail(made->with_unit(std::move(logged_in.error())));
  }
  made->stream_->set_deadline(async::kNoDeadline);
  made->opened_at_ = async::Clock::now();
  co_return std::move(made);
}

Task<Status> UnitConnection::start_tls() {
  static SSL_CTX* const context = [] {
    SSL_CTX* made = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(made, TLS1_2_VERSION);
    return made;
  }();
  std::string request;
  wire::Writer(request).ssl_request();
  if (auto sent = co_await stream_->write(request); !sent) co_return sent;
  char answer = 0;
  const auto n = co_await stream_->read_some(&answer, 1);
  if (!n) co_return fail(n.error());
  if (*n != 1 || answer != 'S') co_return fail(sqlstate::kConnectionFailure, "the unit does not offer TLS");
  co_return co_await stream_->handshake_client(context, record_.host);
}

Task<Status> UnitConnection::authenticate(const wire::Authentication& request,
                                          std::unique_ptr<auth::ScramClient>& scram) {
  constexpr int32_t kOk = 0, kSasl = 10, kSaslContinue = 11, kSaslFinal = 12;
  switch (request.code) {
    case kOk:
      co_return Status{};
    case kSasl: {
      std::vector<std::string> mechanisms;
      for (size_t at = 0; at < request.data.size() && request.data[at] != '\0';) {
        const std::string_view name(request.data.data() + at);   // the decoder has checked the terminators
        mechanisms.emplace_back(name);
        at += name.size() + 1;
      }
      scram = identity_.keys ? std::make_unique<auth::ScramClient>(identity_.role, *identity_.keys)
                             : std::make_unique<auth::ScramClient>(identity_.role, record_.service_password);
      auto first = scram->first(mechanisms, {});
      if (!first) co_return fail(first.error());
      writer().sasl_initial(scram->mechanism(), *first);
      co_return co_await flush();
    }
    case kSaslContinue: {
      if (!scram) co_return fail(sqlstate::kProtocolViolation, "SASL continuation without a start");
      auto last = scram->final(request.data);
      if (!last) co_return fail(last.error());
      writer().password(*last);
      co_return co_await flush();
    }
    case kSaslFinal:
      if (!scram) co_return fail(sqlstate::kProtocolViolation, "SASL end without a start");
      co_return scram->verify(request.data);
    default:
      // Anything weaker would hand a password to whoever answers on that port.
      co_return fail(sqlstate::kInvalidAuthorization,
                     "storage unit \"" + record_.name + "\" asks for an authentication method other than SCRAM-SHA-256",
                     {}, "Set password_encryption and pg_hba.conf of the unit to scram-sha-256.");
  }
}

Task<Status> UnitConnection::log_in(TimePoint deadline) {
  (void)deadline;
  if (record_.tls && !record_.host.starts_with('/')) {
    if (auto secured = co_await start_tls(); !secured) co_return secured;
  }
  const std::vector<std::pair<std::string, std::string>> parameters = {
      {"user", identity_.role}, {"database", identity_.database}, {"client_encoding", "UTF8"}};
  writer().startup(wire::kProtocol30, parameters);
  if (auto sent = co_await flush(); !sent) co_return sent;
  std::unique_ptr<auth::ScramClient> scram;
  bool authenticated = false;
  while (true) {
    auto frame = co_await next_frame();
    if (!frame) co_return fail(frame.error());
    switch (frame->type) {
      case 'R': {
        const auto request = wire::decode_authentication(frame->body);
        if (!request) co_return fail(request.error());
        if (auto step = co_await authenticate(*request, scram); !step) co_return step;
        authenticated = authenticated || request->code == 0;
        break;
      }
      case 'S':
        if (auto noted = note_parameter(frame->body); !noted) co_return noted;
        break;
      case 'K': {
        const auto key = wire::decode_backend_key(frame->body);
        if (!key) co_return fail(key.error());
        pid_ = key->pid;
        cancel_key_ = key->key;
        break;
      }
      case 'E': {
        const auto fields = wire::decode_error(frame->body);
        co_return fail(fields ? wire::to_error(*fields) : fields.error());
      }
      case 'N':
        break;
      case 'Z':
        if (!authenticated) co_return fail(sqlstate::kProtocolViolation, "the unit was ready before the login was done");
        consume_frame(*frame);
        co_return Status{};
      default:
        co_return fail(sqlstate::kProtocolViolation, "unexpected message from a unit during login");
    }
    consume_frame(*frame);
  }
}

Status UnitConnection::note_parameter(std::string_view body) {
  const auto status = wire::decode_parameter_status(body);
  if (!status) return fail(status.error());
  parameters_.insert_or_assign(std::string(status->first), std::string(status->second));
  return {};
}

bool UnitConnection::try_flush() {
  const auto taken = stream_->try_write(out_);
  if (!taken) return false;   // flush() will find the error again and tell it
  if (*taken == out_.size()) {
    out_.clear();
    return true;
  }
  out_.erase(0, *taken);
  return false;
}

Task<Status> UnitConnection::flush() {
  if (out_.empty() || try_flush()) co_return Status{};
  const auto taken = stream_->try_write(out_);
  if (!taken) {
    broken_ = true;
    co_return fail(with_unit(taken.error()));
  }
  if (*taken < out_.size()) {
    if (auto rest = co_await stream_->write(std::string_view(out_).substr(*taken)); !rest) {
      broken_ = true;
      co_return fail(with_unit(rest.error()));
    }
  }
  out_.clear();
  if (out_.capacity() > 64 * 1024) out_.shrink_to_fit();
  co_return Status{};
}

Task<Status> UnitConnection::fill(size_t least) {
  char* space = input_.space(std::min<size_t>(least, kReadBytes / 2));
  const auto n = co_await stream_->read_some(space, input_.space_bytes());
  if (!n) {
    broken_ = true;
    co_return fail(with_unit(n.error()));
  }
  if (*n == 0) {
    broken_ = true;
    co_return fail(with_unit(Error{std::string(sqlstate::kConnectionFailure), "the server closed the connection"}));
  }
  input_.produced(*n);
  co_return Status{};
}

Task<Result<UnitConnection::Frame>> UnitConnection::next_frame() {
  while (true) {
    const auto header = wire::decode_header(input_.readable(), wire::kMaxMessageBytes);
    if (!header) {
      broken_ = true;
      co_return fail(header.error());
    }
    if (*header && input_.size() >= wire::kHeaderBytes + (*header)->body_bytes) {
      co_return Frame{(*header)->type, input_.readable().substr(wire::kHeaderBytes, (*header)->body_bytes)};
    }
    if (auto more = co_await fill(); !more) co_return fail(more.error());
  }
}

Task<Result<std::vector<UnitConnection::TextResult>>> UnitConnection::query(std::string sql, size_t max_bytes) {
  writer().query(sql);
  if (auto sent = co_await flush(); !sent) co_return fail(sent.error());
  std::vector<TextResult> results;
  TextResult current;
  std::optional<Error> error;
  std::vector<std::optional<std::string_view>> values;
  size_t held = 0;
  while (true) {
    auto frame = co_await next_frame();
    if (!frame) co_return fail(frame.error());
    switch (frame->type) {
      case 'T': {
        auto description = wire::decode_row_description(frame->body);
        if (!description) co_return broken_ = true, fail(description.error());
        for (auto& field : description->fields) current.columns.push_back(std::move(field.name));
        break;
      }
      case 'D': {
        held += frame->body.size();
        if (auto decoded = wire::decode_data_row(frame->body, values); !decoded) co_return broken_ = true, fail(decoded.error());
        if (held > max_bytes) break;   // keep reading, report below
        auto& row = current.rows.emplace_back();
        for (const auto& value : values) row.push_back(value ? std::optional<std::string>(*value) : std::nullopt);
        break;
      }
      case 'C':
        if (const auto tag = wire::decode_command_complete(frame->body)) current.tag = *tag;
        results.push_back(std::exchange(current, {}));
        break;
      case 'I':
        results.push_back(std::exchange(current, {}));
        break;
      case 'E': {
        const auto fields = wire::decode_error(frame->body);
        if (!fields) co_return broken_ = true, fail(fields.error());
        if (!error) error = wire::to_error(*fields);
        break;
      }
      case 'S':
        if (auto noted = note_parameter(frame->body); !noted) co_return broken_ = true, fail(noted.error());
        break;
      case 'N':
      case 'A':
        break;
      case 'Z': {
        const auto status = wire::decode_ready_for_query(frame->body);
        if (!status) co_return broken_ = true, fail(status.error());
        tx_status_ = *status;
        consume_frame(*frame);
        if (held > max_bytes) error = Error{std::string(sqlstate::kProgramLimitExceeded), "result of an internal query is too large"};
        if (error) co_return fail(std::move(*error));
        co_return results;
      }
      default:
        broken_ = true;
        co_return fail(sqlstate::kProtocolViolation, "unexpected message from storage unit \"" + record_.name + "\"");
    }
    consume_frame(*frame);
  }
}

Task<Status> UnitConnection::apply(SettingsPtr wanted) {
  if (applied_ == wanted) co_return Status{};
  std::string sql = settings_difference(*applied_, *wanted);
  if (!sql.empty()) {
    auto done = co_await query(std::move(sql));
    if (!done) {
      broken_ = true;   // half applied: nobody else may get it
      co_return fail(done.error());
    }
  }
  applied_ = std::move(wanted);
  co_return Status{};
}

bool UnitConnection::has_prepared(const UnitStatement& statement) {
  const auto found = prepared_.find(statement.id);
  if (found == prepared_.end()) return false;
  prepared_order_.splice(prepared_order_.end(), prepared_order_, found->second);
  return true;
}

void UnitConnection::note_prepared(const UnitStatementPtr& statement) {
  if (prepared_.contains(statement->id)) return;
  prepared_order_.push_back(statement->id);
  prepared_[statement->id] = std::prev(prepared_order_.end());
}

void UnitConnection::forget_prepared(const UnitStatement& statement) {
  if (const auto found = prepared_.find(statement.id); found != prepared_.end()) {
    prepared_order_.erase(found->second);
    prepared_.erase(found);
  }
}

void UnitConnection::forget_all_prepared() {
  prepared_.clear();
  prepared_order_.clear();
}

void UnitConnection::evict_prepared(size_t limit) {
  while (prepared_.size() > limit) {
    const uint64_t oldest = prepared_order_.front();
    prepared_order_.pop_front();
    prepared_.erase(oldest);
    writer().close('S', "decan_" + std::to_string(oldest));
    expect(Expected::Kind::kClose, false);
  }
}

Task<void> UnitConnection::cancel(async::Loop& loop, meta::UnitRecord record, uint32_t pid, std::string key) {
  const TimePoint deadline = async::Clock::now() + std::chrono::seconds(5);
  auto stream = co_await async::Stream::connect(loop, record.host, record.port, deadline);
  if (!stream) {
    log::warning("cancel request could not be delivered", {{"unit", record.name}});
    co_return;
  }
  (*stream)->set_deadline(deadline);
  std::string request;
  wire::Writer(request).cancel_request(pid, key);
  if (const auto sent = co_await (*stream)->write(request); !sent) co_return;
  char byte = 0;
  (void)co_await (*stream)->read_some(&byte, 1);   // the unit closes the connection when the signal is sent
}

}  // namespace decan::backend
