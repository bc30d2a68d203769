#include "backend/unit_connection.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>

#include "base/log.h"

namespace decan::backend {

using async::Task;
using async::TimePoint;

UnitConnection::UnitConnection(meta::UnitRecord record, UnitId unit, Identity identity)
    : record_(std::move(record)),
      unit_(unit),
      identity_(std::move(identity)),
      applied_(std::make_shared<Settings>()) {}

UnitConnection::~UnitConnection() {
  if (stream_ && !broken_ && stream_->is_open()) {
    std::string bye;
    wire::Writer(bye).terminate();
    (void)stream_->try_write(bye);  // best effort: the unit also notices the closed socket
  }
}

Error UnitConnection::with_unit(Error error) const {
  if (error.sqlstate == async::kTimedOut) {
    return Error{std::string(sqlstate::kConnectionFailure),
                 "storage unit \"" + record_.name + "\" did not answer in time",
                 {},
                 "Look at the unit with \"decan status\"."};
  }
  if (error.sqlstate == sqlstate::kConnectionFailure) {
    error.message = "connection to storage unit \"" + record_.name + "\" failed: " + error.message;
  }
  return error;
}

Task<Result<UnitConnection::Ptr>> UnitConnection::open(async::Loop& loop, meta::UnitRecord record,
                                                       UnitId unit, Identity identity, TimePoint deadline) {
  Ptr made(new UnitConnection(std::move(record), unit, std::move(identity)));
  made->opened_at_ = async::Clock::now();  // before the login: what changes meanwhile may not have been seen
  auto stream = co_await async::Stream::connect(loop, made->record_.host, made->record_.port, deadline);
  if (!stream) co_return fail(made->with_unit(std::move(stream.error())));
  made->stream_ = std::move(*stream);
  made->stream_->set_deadline(deadline);
  if (auto logged_in = co_await made->log_in(); !logged_in) {
    made->broken_ = true;
    co_return fail(made->with_unit(std::move(logged_in.error())));
  }
  made->stream_->set_deadline(async::kNoDeadline);
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

// Binds the exchange to the unit's certificate, so that nobody in between can pass it on
// (tls-server-end-point).
Result<std::string> UnitConnection::channel_binding(const std::vector<std::string>& mechanisms) const {
  if (!stream_->is_tls()) return std::string();
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(SSL_get1_peer_certificate(stream_->tls()),
                                                                &X509_free);
  unsigned char* bytes = nullptr;
  const int length = certificate ? i2d_X509(certificate.get(), &bytes) : -1;
  if (length < 0)
    return fail(sqlstate::kInvalidAuthorization,
                "storage unit \"" + record_.name + "\" shows no TLS certificate");
  auto hash = auth::certificate_hash(
      std::string_view(reinterpret_cast<const char*>(bytes), static_cast<size_t>(length)));
  OPENSSL_free(bytes);
  // Not every signature has a digest; without an offer of PLUS none is needed.
  if (!hash && std::ranges::find(mechanisms, "SCRAM-SHA-256-PLUS") == mechanisms.end()) return std::string();
  return hash;
}

Task<Status> UnitConnection::authenticate(const wire::Authentication& request,
                                          std::unique_ptr<auth::ScramClient>& scram) {
  constexpr int32_t kOk = 0, kSasl = 10, kSaslContinue = 11, kSaslFinal = 12;
  switch (request.code) {
    case kOk:
      if (scram && scram->verified()) co_return Status{};
      co_return fail(sqlstate::kInvalidAuthorization,
                     "storage unit \"" + record_.name + "\" let role \"" + identity_.role +
                         "\" in without SCRAM-SHA-256",
                     {}, "Its pg_hba.conf must say scram-sha-256 for connections from compute nodes.");
    case kSasl: {
      if (scram) co_return fail(sqlstate::kProtocolViolation, "a second SASL exchange during login");
      const auto mechanisms = wire::decode_sasl_mechanisms(request.data);
      if (!mechanisms) co_return fail(mechanisms.error());
      const auto binding = channel_binding(*mechanisms);
      if (!binding) co_return fail(binding.error());
      scram = identity_.keys ? std::make_unique<auth::ScramClient>(identity_.role, *identity_.keys)
                             : std::make_unique<auth::ScramClient>(login_role(), record_.service_password);
      auto first = scram->first(*mechanisms, *binding);
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
      co_return fail(
          sqlstate::kInvalidAuthorization,
          "storage unit \"" + record_.name + "\" asks for an authentication method other than SCRAM-SHA-256",
          {}, "Set password_encryption and pg_hba.conf of the unit to scram-sha-256.");
  }
}

// Each unit has its own service user.
const std::string& UnitConnection::login_role() const {
  return identity_.keys || record_.service_user.empty() ? identity_.role : record_.service_user;
}

Task<Status> UnitConnection::log_in() {
  if (record_.tls && !record_.host.starts_with('/')) {
    if (auto secured = co_await start_tls(); !secured) co_return secured;
  }
  const std::vector<std::pair<std::string, std::string>> parameters = {
      {"user", login_role()}, {"database", identity_.database}, {"client_encoding", "UTF8"}};
  writer().startup(wire::kProtocol30, parameters);
  if (auto sent = co_await flush(); !sent) co_return sent;
  std::unique_ptr<auth::ScramClient> scram;
  bool authenticated = false;
  for (size_t messages = 0; messages < kMaxLoginMessages; ++messages) {
    auto frame = co_await next_frame(kMaxLoginMessageBytes);
    if (!frame) co_return fail(frame.error());
    switch (frame->type) {
      case 'R': {
        if (authenticated)
          co_return fail(sqlstate::kProtocolViolation, "authentication goes on after its end");
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
        if (!authenticated)
          co_return fail(sqlstate::kProtocolViolation, "the unit was ready before the login was done");
        set_tx_status(wire::decode_ready_for_query(frame->body).value_or('E'));
        consume_frame(*frame);
        co_return Status{};
      default:
        co_return fail(sqlstate::kProtocolViolation, "unexpected message from a unit during login");
    }
    consume_frame(*frame);
  }
  co_return fail(sqlstate::kProtocolViolation, "a unit sends too many messages during login");
}

Status UnitConnection::note_parameter(std::string_view body) {
  const auto status = wire::decode_parameter_status(body);
  if (!status) return fail(status.error());
  if (body.size() > kMaxParameterBytes ||
      (parameters_.size() >= kMaxParameters && !parameters_.contains(status->first))) {
    return violation("reports too many settings");
  }
  parameters_.insert_or_assign(std::string(status->first), std::string(status->second));
  return {};
}

// Whoever queued messages counts on all of them, so all that was not sent goes with the one that could not be
// framed.
Status UnitConnection::drop_unsendable() {
  Error why = std::move(writer_->status().error());
  writer_.emplace(out_);
  bool lost_ours = false;
  for (; unsent_expected_ > 0 && !expected_.empty(); --unsent_expected_) {
    const Expected& last = expected_.back();
    forget_skipped(last);
    lost_ours |=
        !last.visible && (last.kind == Expected::Kind::kQuery || last.kind == Expected::Kind::kExecute);
    expected_.pop_back();
  }
  unsent_expected_ = 0;
  out_.clear();
  if (sent_ > 0 || lost_ours) broken_ = true;
  sent_ = 0;
  return fail(std::move(why));
}

void UnitConnection::set_stalled(bool stalled) {
  if (stalled_ != stalled) stream_->set_may_stall(stalled);
  stalled_ = stalled;
}

void UnitConnection::all_sent() {
  set_stalled(false);
  awaits_ready_ = awaits_ready_ || !out_.empty();
  out_.clear();
  sent_ = 0;
  unsent_expected_ = 0;
  if (out_.capacity() > 64 * 1024) out_.shrink_to_fit();
}

Result<bool> UnitConnection::push() {
  const auto taken = stream_->try_write(std::string_view(out_).substr(sent_));
  if (!taken) {
    broken_ = true;
    return fail(with_unit(taken.error()));
  }
  sent_ += *taken;
  if (sent_ < out_.size()) return false;
  all_sent();
  return true;
}

bool UnitConnection::try_flush() {
  if (unsendable()) return false;
  const auto taken = stream_->try_write(std::string_view(out_).substr(sent_));
  if (!taken) return false;  // flush() and fill() will find the error again and tell it
  sent_ += *taken;
  if (sent_ < out_.size()) return false;
  all_sent();
  return true;
}

Task<Status> UnitConnection::flush() {
  if (unsendable()) co_return drop_unsendable();
  if (out_.empty() || try_flush()) co_return Status{};
  if (auto rest = co_await stream_->write(std::string_view(out_).substr(sent_)); !rest) {
    broken_ = true;
    co_return fail(with_unit(rest.error()));
  }
  all_sent();
  co_return Status{};
}

Task<Status> UnitConnection::wait_either() {
  set_stalled(true);
  auto waited = co_await stream_->wait_either();
  if (waited) co_return waited;
  broken_ = true;
  co_return fail(with_unit(waited.error()));
}

Task<Status> UnitConnection::fill(size_t least) {
  if (unsendable()) co_return drop_unsendable();  // its reply would be waited for in vain
  while (!out_.empty()) {
    const auto pushed = push();
    if (!pushed && !stream_->can_read()) co_return fail(pushed.error());
    if (!pushed || *pushed || stream_->can_read()) break;  // a unit that closes says why before
    if (auto waited = co_await wait_either(); !waited) co_return waited;
  }
  char* space = input_.space(std::min<size_t>(least, kReadBytes / 2));
  co_return filled(co_await stream_->read_some(space, input_.space_bytes()));
}

Status UnitConnection::filled(Result<size_t> read) {
  if (read && *read > 0) [[likely]] {
    input_.produced(*read);
    return {};
  }
  broken_ = true;
  if (!read) return fail(with_unit(std::move(read.error())));
  return fail(
      with_unit(Error{std::string(sqlstate::kConnectionFailure), "the server closed the connection"}));
}

Task<Result<UnitConnection::Frame>> UnitConnection::next_frame(uint32_t max_body_bytes) {
  while (true) {
    const auto header = wire::decode_header(input_.readable(), max_body_bytes);
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

std::unexpected<Error> UnitConnection::violation(std::string what) {
  broken_ = true;
  return fail(sqlstate::kProtocolViolation, "storage unit \"" + record_.name + "\" " + std::move(what), {},
              "The connection to the unit was closed.");
}

// Reads the replies to hidden messages that were queued before a query of ours. The first error among them is
// the answer.
Task<Status> UnitConnection::settle_owed() {
  Status result;
  while (!expected_.empty()) {
    auto frame = co_await next_frame();
    if (!frame) co_return fail(result ? frame.error() : result.error());
    switch (frame->type) {
      case 'E': {
        const auto fields = wire::decode_error(frame->body);
        if (!fields) co_return violation("sent a malformed error");
        if (result) result = fail(wire::to_error(*fields));
        while (!expected_.empty() && expected_.front().kind != Expected::Kind::kSync &&
               expected_.front().kind != Expected::Kind::kQuery) {
          forget_skipped(expected_.front());
          expected_.pop_front();
        }
        break;
      }
      case 'Z': {
        const auto status = wire::decode_ready_for_query(frame->body);
        if (!status) co_return violation("sent a malformed ReadyForQuery");
        set_tx_status(*status);
        while (expected_.front().kind != Expected::Kind::kSync &&
               expected_.front().kind != Expected::Kind::kQuery) {
          expected_.pop_front();
        }
        expected_.pop_front();
        break;
      }
      case 'S':
        if (auto noted = note_parameter(frame->body); !noted) co_return broken_ = true, noted;
        break;
      case 'G':
        co_return violation("asks for COPY data where none was announced");
      default:
        break;
    }
    consume_frame(*frame);
  }
  co_return result;
}

Status UnitConnection::take_row(std::string_view body, TextResult& into, size_t& held, size_t max_bytes) {
  constexpr size_t kValueOverhead = sizeof(std::optional<std::string>);
  if (auto decoded = wire::decode_data_row(body, values_); !decoded) return decoded;
  if (values_.size() != into.columns.size()) return violation("sent a row that does not fit its description");
  held += body.size() + kValueOverhead * (values_.size() + 1);
  if (held > max_bytes) return {};  // the rest is read and reported at the end
  auto& row = into.rows.emplace_back();
  for (const auto& value : values_) row.push_back(value ? std::optional<std::string>(*value) : std::nullopt);
  return {};
}

Task<Result<std::vector<UnitConnection::TextResult>>> UnitConnection::query(std::string sql,
                                                                            size_t max_bytes) {
  using Kind = Expected::Kind;
  const bool whole =
      expected_.empty() || expected_.back().kind == Kind::kSync || expected_.back().kind == Kind::kQuery;
  if (!whole || std::ranges::any_of(expected_, &Expected::visible)) {
    broken_ = true;  // its replies would be taken for the query's
    co_return fail(sqlstate::kInternalError, "a query of Decan's own was sent into the middle of a client's");
  }
  writer().query(sql);
  if (auto sent = co_await flush(); !sent) co_return fail(sent.error());
  std::optional<Error> error;
  if (auto settled = co_await settle_owed(); !settled) {
    if (broken_) co_return fail(settled.error());
    error = std::move(settled.error());
  }
  std::vector<TextResult> results;
  TextResult current;
  bool described = false;
  size_t held = 0;
  while (true) {
    auto frame = co_await next_frame();
    if (!frame)
      co_return fail(error ? std::move(*error) : frame.error());  // a unit that closes says why before
    Status taken;
    switch (frame->type) {
      case 'T': {
        auto description = wire::decode_row_description(frame->body);
        if (!description || described) co_return violation("sent a malformed description of rows");
        described = true;
        for (auto& field : description->fields) current.columns.push_back(std::move(field.name));
        break;
      }
      case 'D':
        taken = take_row(frame->body, current, held, max_bytes);
        break;
      case 'C':
      case 'I': {
        const auto tag = frame->type == 'C' ? wire::decode_command_complete(frame->body) : "";
        if (!tag) co_return violation("sent a malformed command tag");
        held += sizeof(TextResult) + tag->size();
        current.tag = *tag;
        if (held <= max_bytes) results.push_back(std::move(current));
        current = {};
        described = false;
        break;
      }
      case 'E': {
        const auto fields = wire::decode_error(frame->body);
        if (!fields) co_return violation("sent a malformed error");
        if (!error) error = wire::to_error(*fields);
        break;
      }
      case 'S':
        taken = note_parameter(frame->body);
        break;
      case 'N':
      case 'A':
        break;
      case 'Z': {
        const auto status = wire::decode_ready_for_query(frame->body);
        if (!status) co_return violation("sent a malformed ReadyForQuery");
        set_tx_status(*status);
        consume_frame(*frame);
        if (error) co_return fail(std::move(*error));
        if (held > max_bytes)
          co_return fail(sqlstate::kProgramLimitExceeded, "result of an internal query is too large");
        if (results.empty()) co_return violation("did not answer a query");
        co_return results;
      }
      default:
        co_return violation("sent an unexpected message");
    }
    if (!taken) co_return broken_ = true, fail(taken.error());
    consume_frame(*frame);
  }
}

Task<Result<std::vector<UnitConnection::TextResult>>> UnitConnection::query_until(std::string sql,
                                                                                  TimePoint deadline) {
  stream_->set_deadline(deadline);
  auto done = co_await query(std::move(sql));
  if (!broken_) stream_->set_deadline(async::kNoDeadline);
  co_return done;
}

Task<Status> UnitConnection::apply(SettingsPtr wanted) {
  if (applied_ == wanted) co_return Status{};
  std::string sql = settings_difference(*applied_, *wanted);
  if (!sql.empty()) {
    auto done = co_await query(std::move(sql));
    if (!done) {
      broken_ = true;  // half applied: nobody else may get it
      co_return fail(done.error());
    }
  }
  set_applied(std::move(wanted));
  co_return Status{};
}

void UnitConnection::set_applied(SettingsPtr settings) {
  if (applied_ == settings) return;
  applied_ = std::move(settings);
  for (const auto& [name, statement] : applied_->statements()) {
    if (is_custom_setting(name)) note_custom_setting(name);
  }
}

bool UnitConnection::has_prepared(const UnitStatement& statement) {
  const auto found = prepared_.find(statement.id);
  if (found == prepared_.end()) return false;
  prepared_order_.splice(prepared_order_.end(), prepared_order_, found->second);
  return true;
}

void UnitConnection::note_prepared(uint64_t id) {
  if (prepared_.contains(id)) return;
  prepared_order_.push_back(id);
  prepared_[id] = std::prev(prepared_order_.end());
}

void UnitConnection::forget_skipped(const Expected& skipped) {
  if (skipped.kind == Expected::Kind::kParse && skipped.statement) forget_prepared(*skipped.statement);
  if (skipped.kind == Expected::Kind::kLocal && skipped.local.starts_with('1')) ++skipped_parses_;
  if (skipped.kind == Expected::Kind::kClose && skipped.closes != 0) note_prepared(skipped.closes);
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
    Expected closed{Expected::Kind::kClose, false, {}, {}};
    closed.closes = oldest;
    expect(std::move(closed));
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
  (void)co_await (*stream)->read_some(&byte, 1);  // the unit closes the connection when the signal is sent
}

}  // namespace decan::backend
