// The home unit's verdict on a statement's own text: what it is described as, and PostgreSQL's own error
// where Decan refuses a statement that PostgreSQL would not take either.
#include <algorithm>

#include "backend/settings.h"
#include "base/quote.h"
#include "catalog/loader_fields.h"
#include "catalog/type_oids.h"
#include "session/session.h"

#include "session/outcome.h"

namespace decan::session {

namespace type = catalog::type;
using Kind = backend::Expected::Kind;

namespace {

// Statements whose names and types PostgreSQL resolves when it parses them.
bool may_be_judged(const plan::Plan& plan) {
  if (std::holds_alternative<plan::AdminCall>(plan.detail)) return false;
  switch (plan.action) {
    case plan::Action::kRefuse:
    case plan::Action::kDeclareCursor:
    case plan::Action::kExplain:
      return true;
    default:
      return goes_to_unit_whole(plan);
  }
}

// SELECT set_config(…): run by the session, described by a unit.
bool calls_set_config(const plan::Plan& plan) {
  const auto* spec = std::get_if<plan::SetSpec>(&plan.detail);
  return spec != nullptr && !spec->calls.empty();
}

// How a key's type is named, and which function gives its binary form.
struct BinaryForm {
  Oid type;
  std::string_view name, send;
};
constexpr BinaryForm kBinaryForms[] = {
    {type::kBool, "bool", "boolsend"},
    {type::kBytea, "bytea", "byteasend"},
    {type::kInt2, "int2", "int2send"},
    {type::kInt4, "int4", "int4send"},
    {type::kInt8, "int8", "int8send"},
    {type::kText, "text", "textsend"},
    {type::kVarchar, "varchar", "varcharsend"},
    {type::kBpchar, "bpchar", "bpcharsend"},
    {type::kDate, "date", "date_send"},
    {type::kTimestamp, "timestamp", "timestamp_send"},
    {type::kTimestamptz, "timestamptz", "timestamptz_send"},
    {type::kNumeric, "numeric", "numeric_send"},
    {type::kUuid, "uuid", "uuid_send"},
};
const BinaryForm* find_binary_form(Oid oid) {
  const auto* found = std::ranges::find(kBinaryForms, oid, &BinaryForm::type);
  return found == std::end(kBinaryForms) ? nullptr : found;
}

}  // namespace

bool goes_to_unit_whole(const plan::Plan& plan) {
  switch (plan.action) {
    case plan::Action::kRoute:
    case plan::Action::kScatter:
    case plan::Action::kScatterWrite:
    case plan::Action::kInsertRows:
    case plan::Action::kShow:
    case plan::Action::kDeclareCursor:
    case plan::Action::kFetch:
    case plan::Action::kCloseCursor:
      return true;
    default:
      return false;
  }
}

std::optional<UnitId> Session::only_unit_for(const plan::Plan& plan) const {
  if (!txn_->in_block() || txn_->read_committed(default_isolation_)) return std::nullopt;
  const auto& all = txn_->participants();
  const auto used = std::ranges::find_if(all, [](const auto& participant) { return participant->in_block; });
  if (used == all.end()) return std::nullopt;
  const plan::RouteTo to = plan.routing.to;
  const bool anywhere =
      plan.action == plan::Action::kShow || to == plan::RouteTo::kAnyUnit ||
      ((to == plan::RouteTo::kByKey || to == plan::RouteTo::kAllUnits) && !plan.routing.only_unit);
  if (!anywhere || plan.effects.uses_temp) return std::nullopt;
  return (*used)->connection->unit();
}

// Parses and describes a text on a unit, without running it. `into` learns the description.
Task<Result<std::optional<wire::ErrorFields>>> Session::parse_on(txn::Participant& participant,
                                                                 std::string sql, std::vector<Oid> types,
                                                                 SharedStatement* into) {
  backend::UnitConnection& connection = *participant.connection;
  // Without a Sync when the batch's implicit transaction is open on this unit: a Sync would commit it.
  const bool unsynced = participant.unsynced;
  const catalog::UnitObjects& known = objects(connection.unit());
  connection.writer().parse("", sql, exec::unit_types(types, known));
  connection.writer().describe('S', "");
  if (unsynced)
    connection.writer().flush();
  else
    connection.writer().sync();
  if (auto sent = co_await connection.flush(); !sent) co_return fail(sent.error());
  std::optional<wire::ErrorFields> error;
  for (bool done = false; !done;) {
    auto frame = co_await connection.next_frame();
    if (!frame) co_return fail(frame.error());
    switch (frame->type) {
      case 't': {
        auto described = wire::decode_parameter_description(frame->body);
        if (!described) co_return fail(described.error());
        if (auto mapped = exec::types_to_home(*described, known); !mapped) co_return fail(mapped.error());
        if (into != nullptr) into->parameter_types = std::move(*described);
        break;
      }
      case 'T': {
        std::string own(frame->body);
        exec::IdColumns ids;
        if (auto mapped = exec::map_row_description(own, known, ids); !mapped) co_return fail(mapped.error());
        auto columns = wire::decode_row_description(own);
        if (!columns) co_return fail(columns.error());
        if (into != nullptr) into->columns = std::move(*columns);
        done = unsynced;
        break;
      }
      case 'n':
        done = unsynced;
        break;
      case 'E': {
        auto fields = wire::decode_error(frame->body);
        if (!fields) co_return fail(fields.error());
        error = std::move(*fields);
        done = unsynced;
        connection.set_skips_to_sync(unsynced);
        break;
      }
      case 'Z':
        connection.set_tx_status(wire::decode_ready_for_query(frame->body).value_or('E'));
        done = true;
        break;
      default:
        break;
    }
    connection.consume_frame(*frame);
  }
  co_return error;
}

// Lets the home unit (or one that works for the transaction already) check and describe the statement's own
// text.
Task<Status> Session::validate(SharedStatement& statement) {
  if (statement.described || (!goes_to_unit_whole(*statement.plan) && !calls_set_config(*statement.plan))) {
    statement.validated = true;
    co_return Status{};
  }
  if (auto drained = co_await drain(); !drained) co_return drained;
  UnitId unit = node_.home();
  if (const auto* cursor = std::get_if<plan::CursorSpec>(&statement.plan->detail)) {
    if (const auto* merged = merged_cursor(cursor->name); merged != nullptr) {
      if (statement.plan->returns_rows) {
        auto columns = merged->description({});
        if (!columns) co_return fail(columns.error());
        statement.columns = std::move(*columns);
      }
      statement.described = statement.validated = true;
      co_return Status{};
    }
    if (const auto known = cursors_.find(cursor->name); known != cursors_.end()) unit = known->second;
  } else if (const auto only = only_unit_for(*statement.plan)) {
    unit = *only;
  }
  const bool block = txn_->in_block();
  auto participant = co_await join(unit, block);
  if (!participant) co_return fail(participant.error());
  if (auto ready = co_await run_on(**participant, {}, false); !ready) co_return ready;
  if (!knows_objects(*statement.plan, unit, false, true)) {
    if (auto learned = co_await learn_objects(statement.plan, **participant); !learned) co_return learned;
  }
  if (!statement.whole)
    statement.whole = loop_.statements.make_unit_statement(statement.sql, statement.declared_types);
  auto error = co_await parse_on(**participant, statement.sql, statement.declared_types, &statement);
  if (!error) co_return fail(error.error());
  if (*error) {
    logical_names(**error);
    send_error(**error);
    co_return fail(kTold, {});
  }
  statement.described = statement.validated = true;
  co_return Status{};
}

// A refusal stands only for what PostgreSQL would take: else the client gets PostgreSQL's error.
Task<Status> Session::judged(Status refusal, const plan::Plan& plan, std::string sql,
                             std::vector<Oid> types) {
  if (refusal || refusal.error().sqlstate != sqlstate::kFeatureNotSupported || txn_->status() == 'E' ||
      !may_be_judged(plan))
    co_return refusal;
  if (auto drained = co_await drain(); !drained) co_return drained;
  auto participant = co_await join(node_.home(), txn_->in_block());
  if (!participant) co_return refusal;
  if (auto ready = co_await run_on(**participant, {}, false); !ready) co_return ready;
  auto error = co_await parse_on(**participant, std::move(sql), std::move(types), nullptr);
  if (!error) co_return fail(error.error());
  // Parsing a literal of a domain runs the domain's CHECK, which may be what was refused.
  if (!*error || (*error)->get('C').starts_with("23")) co_return refusal;
  logical_names(**error);
  send_error(**error);
  co_return fail(kTold, {});
}

Task<Status> Session::refused(SharedStatement& statement) {
  if (auto allowed = check_place(*statement.plan); !allowed) co_return allowed;
  co_return co_await judged(fail(statement.plan->refusal), *statement.plan, statement.sql,
                            statement.declared_types);
}

Task<Status> Session::read_values(Status refusal, Call& call) {
  refusal.error().retry = Retry::kNever;
  auto types = call.statement ? call.statement->declared_types : std::vector<Oid>();
  // Literals that PostgreSQL does not take are told as its own error of the whole statement.
  auto verdict =
      co_await judged(std::move(refusal), *call.plan, std::string(call.values.sql), std::move(types));
  if (verdict.error().sqlstate != sqlstate::kFeatureNotSupported) co_return verdict;
  auto home = co_await join(node_.home(), txn_->in_block());
  if (!home) co_return verdict;
  std::string sql;
  for (const plan::UnreadValue& value : call.read.wanted) {
    const auto* key = find_binary_form(value.key);
    const auto* read_as = find_binary_form(value.read_as);
    if (key == nullptr || read_as == nullptr) co_return verdict;
    sql += (sql.empty() ? "VALUES (pg_catalog.encode(pg_catalog." : ", (pg_catalog.encode(pg_catalog.") +
           std::string(key->send) + "((" + (value.is_sql ? value.text : quote_literal(value.text)) +
           ")::pg_catalog." + std::string(read_as->name) + "::pg_catalog." + std::string(key->name) +
           "), 'hex') || ',')";
  }
  auto rows = co_await hidden_rows(**home, std::move(sql));
  if (!rows) co_return fail(rows.error());
  if (rows->size() != call.read.wanted.size()) co_return verdict;
  for (auto at = rows->begin(); const plan::UnreadValue& value : call.read.wanted) {
    catalog::Fields row(*at++);
    const auto bytes = row.values(0);
    if (!row.ok() || bytes.size() != 1 || !bytes[0]) co_return verdict;
    call.read.known.emplace(value, *bytes[0]);
  }
  call.read.wanted.clear();
  co_return Status{};
}

// What only runs inside a transaction block, or only outside of one.
Status Session::check_place(const plan::Plan& plan) const {
  const std::string& words = plan.words.empty() ? plan.tag : plan.words;
  if (plan.place == plan::Place::kInBlock && !txn_->in_block())
    return fail(sqlstate::kNoActiveTransaction, words + " can only be used in transaction blocks");
  if (plan.place == plan::Place::kOutsideBlock && txn_->in_block())
    return fail(sqlstate::kActiveTransaction, words + " cannot run inside a transaction block");
  return {};
}

}  // namespace decan::session
