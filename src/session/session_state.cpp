// What statements leave in a unit's session besides rows: sequences used, settings changed by code, advisory
// locks, temporary objects. It follows the client's session or pins the connection, and nobody else sees it.
#include <algorithm>
#include <atomic>

#include "base/quote.h"
#include "catalog/session_code.h"
#include "session/outcome.h"
#include "session/session.h"

namespace decan::session {

using Kind = backend::Expected::Kind;

namespace {

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

bool is_custom_setting_name(std::string_view text) {
  constexpr size_t kLongest = 2 * 63 + 1;
  return text.size() <= kLongest && backend::is_custom_setting(text) &&
         std::ranges::all_of(text, [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '_' || c == '$' || c == '.' || c >= 0x80;
         });
}

}  // namespace

uint64_t next_sequence_user() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

// Before a statement runs: also one that fails leaves its advisory locks.
void Session::note_effects(const Call& call, txn::Participant& participant) {
  const plan::Plan& plan = *call.plan;
  if (plan.effects.session_advisory_lock) participant.pinned = true;
  if (!plan.effects.changes_settings && !plan.effects.session_advisory_lock) return;
  participant.check_state = true;
  catalog::CustomSettings found;
  catalog::find_custom_settings(call.values.sql, found);
  if (std::exchange(found.by_parameter, false)) {
    for (const plan::ParameterValue& parameter : call.values.parameters) {
      const std::string name = lower_case(parameter.bytes);
      if (!parameter.is_null && is_custom_setting_name(name)) found.names.insert(name);
    }
  }
  code_settings_.merge(found);
  if (plan.effects.changes_settings && snapshot_) code_settings_.merge(snapshot_->code_settings);
}

// --- sequences ---

// A connection remembers the values of sequences for whoever uses it. What others have left is forgotten
// before this session adds its own; currval() and lastval() are answered only where this session used
// sequences last.
Status Session::claim_sequences(const plan::Effects& effects, txn::Participant& participant, bool extended) {
  if (!effects.uses_sequences && !effects.reads_sequences) return {};
  backend::UnitConnection& connection = *participant.connection;
  const auto& user = connection.sequence_user();
  if (effects.reads_sequences && sequences_.turn > 0 && user != sequences_) {
    return fail(
        sqlstate::kFeatureNotSupported,
        "currval() and lastval() are not known here: this session used sequences on another connection", {},
        "Use them in the transaction of nextval() or the INSERT, or write INSERT … RETURNING.");
  }
  if (user.session != 0 && user.session != sequences_.session) {
    static constexpr std::string_view kForget = "DISCARD SEQUENCES";
    if (extended) {  // not by a simple query: it would end the batch's implicit transaction
      auto& writer = connection.writer();
      writer.parse("", kForget, {});
      writer.bind("decan_discard", "", {}, {}, {});
      writer.execute("decan_discard", 0);
      writer.close('P', "decan_discard");
      for (const auto kind : {Kind::kParse, Kind::kBind, Kind::kExecute, Kind::kClose})
        connection.expect(kind, false);
    } else {
      connection.writer().query(kForget);
      connection.expect(Kind::kQuery, false);
    }
  }
  if (effects.uses_sequences) {
    ++sequences_.turn;
    txn_->prefer_sequences(sequences_);
    connection.set_sequence_user(sequences_);
  } else {
    connection.set_sequence_user({sequences_.session, sequences_.turn});
  }
  return {};
}

void Session::forget_sequences() {
  sequences_ = {next_sequence_user(), 0};
  txn_->prefer_sequences({});
}

// --- settings, locks and temporary objects of code ---

// When no transaction is open.
Task<void> Session::adopt_states() {
  for (size_t i = 0; i < txn_->participants().size(); ++i) {
    txn::Participant& participant = *txn_->participants()[i];
    if (!std::exchange(participant.check_state, false)) continue;
    backend::UnitConnection& connection = *participant.connection;
    if (connection.broken()) continue;
    if (auto adopted = co_await adopt_settings(participant); !adopted) connection.mark_broken();
  }
  code_settings_ = {};
}

// A DO block, a CALL or a user's function may have changed settings without our knowing: what differs now is
// taken over as the session's own, so that it follows the session and the connection can be given back clean.
Task<Status> Session::adopt_settings(txn::Participant& participant) {
  backend::UnitConnection* connection = participant.connection.get();
  catalog::CustomSettings custom = code_settings_;
  for (const auto& [name, statement] : settings_->statements()) {
    if (backend::is_custom_setting(name)) custom.names.insert(name);
  }
  std::string names = "ARRAY[";  // pg_settings does not show what no module defines
  for (const std::string& name : custom.names)
    names += (names.back() == '[' ? "" : ", ") + quote_literal(name);
  auto state = co_await connection->query(
      "SELECT pg_catalog.lower(name), setting FROM pg_catalog.pg_settings WHERE source = 'session' AND "
      "context IN ('user', 'superuser') UNION ALL "
      "SELECT name, value FROM pg_catalog.unnest(" +
      names +
      "]::pg_catalog.text[]) name, pg_catalog.current_setting(name, true) value WHERE value IS NOT NULL;"
      "SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema()) "
      "OR "
      "EXISTS (SELECT FROM pg_catalog.pg_proc WHERE pronamespace = pg_catalog.pg_my_temp_schema()) OR "
      "EXISTS (SELECT FROM pg_catalog.pg_type WHERE typnamespace = pg_catalog.pg_my_temp_schema()), "
      "EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = "
      "pg_catalog.pg_backend_pid()), "
      "EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable), pg_catalog.current_setting('role')");
  if (!state) co_return fail(state.error());
  backend::Settings::Map map;
  for (const auto& row : (*state)[0].rows) {
    const std::string& name = *row[0];
    if (name == "application_name" && *row[1] == "decan") continue;
    if (name.starts_with("transaction_")) continue;  // of the transaction, which is over
    if (name == "client_encoding" && *row[1] == "UTF8") continue;
    map[name] = backend::set_config_sql(name, row[1].value_or(""));
  }
  const auto& flags = (*state)[1].rows.at(0);
  if (flags[3] != "none" && flags[3]) map["role"] = "SET ROLE " + quote_identifier(*flags[3]);
  participant.pinned = flags[0] == "t" || flags[1] == "t" || flags[2] == "t";
  if (custom.unknown && !participant.pinned) connection->mark_dirty();
  settings_ = std::make_shared<const backend::Settings>(std::move(map));
  connection->set_applied(settings_);
  txn_->note_settings(settings_);
  co_return co_await learn_session_values(connection);
}

// A custom setting exists from its first SET on, for this session wherever its statements run.
void Session::define_setting(const std::string& name) {
  if (txn_->in_block()) {
    for (const auto& participant : txn_->participants()) {
      if (participant->in_block) participant->connection->note_custom_setting(name);
    }
    txn_->define_setting(name);
    settings_ = txn_->settings_now();
  } else if (!settings_->defines(name)) {
    backend::Settings::Map map = settings_->statements();
    map.emplace(name, backend::set_config_sql(name, ""));
    settings_ = std::make_shared<const backend::Settings>(std::move(map));
  }
}

// What start-up asked for, and '' for the custom settings that were made since: RESET ALL, DISCARD ALL.
backend::Settings::Map Session::reset_settings() const {
  backend::Settings::Map map = base_settings_->statements();
  for (const auto& [name, statement] : settings_->statements()) {
    if (backend::is_custom_setting(name)) map.emplace(name, backend::set_config_sql(name, ""));
  }
  return map;
}

}  // namespace decan::session
