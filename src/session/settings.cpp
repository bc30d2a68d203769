// SET and RESET in all their spellings: on every unit of the transaction, and kept for those that come later.
#include <algorithm>

#include "base/quote.h"
#include "base/utf8.h"
#include "session/outcome.h"
#include "session/session.h"

namespace decan::session {

namespace {

// The value's place in SET client_encoding = x, SET NAMES x. What is not understood is found by what the unit
// reports.
std::string encoding_asked(std::string statement) {
  std::ranges::transform(statement, statement.begin(), [](unsigned char c) {
    return static_cast<char>(std::isspace(c) ? ' ' : std::tolower(c));
  });
  size_t at = std::string::npos;
  for (const std::string_view sign : {"=", " to ", "names"}) {
    if (at == std::string::npos && (at = statement.find(sign)) != std::string::npos) at += sign.size();
  }
  return at == std::string::npos ? std::string() : statement.substr(at);
}

}  // namespace

Task<Result<txn::Participant*>> Session::setting_place() {
  for (const auto& participant : txn_->participants()) {
    if (participant->in_block) co_return participant.get();
  }
  co_return co_await join(node_.home(), txn_->in_block());
}

Task<Status> Session::set_statement(Call& call) {
  const plan::Plan& plan = *call.plan;
  const auto* spec = std::get_if<plan::SetSpec>(&plan.detail);
  if (spec != nullptr && !spec->calls.empty()) co_return co_await set_config_statement(call);
  const std::string statement(call.values.sql);
  Setting setting{spec != nullptr ? spec->name : plan.name, statement, spec != nullptr && spec->is_local,
                  spec != nullptr && spec->is_reset};
  if (setting.name == "client_encoding" && !setting.reset &&
      is_unsupported_encoding(encoding_asked(statement))) {
    co_return fail(sqlstate::kFeatureNotSupported, "this client_encoding is not supported", {}, "Use UTF8.");
  }
  if (setting.reset) {
    // Back to what start-up asked for, not to the unit's default.
    const auto base = base_settings_->statements().find(setting.name);
    if (base != base_settings_->statements().end()) setting.statement = base->second;
  }
  const bool replaced = setting.statement != statement;
  auto first = co_await setting_place();
  if (!first) co_return fail(first.error());
  auto done = co_await run_on(**first, setting.statement, !replaced);
  if (!done) co_return done;
  if (replaced) complete("RESET");
  co_return co_await setting_done(std::move(setting), *first, replaced);
}

// What was set on `first` is set on the transaction's other units, and remembered for those that come later.
Task<Status> Session::setting_done(Setting setting, txn::Participant* first, bool replaced) {
  const std::string& name = setting.name;
  const bool block = txn_->in_block();
  if (block) {
    for (const auto& participant : txn_->participants()) {
      if (participant.get() == first || !participant->in_block) continue;
      if (auto other = co_await run_on(*participant, setting.statement, false); !other) co_return other;
    }
    txn_->remember_local(setting.statement);
    values_dirty_ = true;
  }
  if (backend::is_custom_setting(name)) define_setting(name);
  if (name.starts_with("session characteristics")) {  // sets default_transaction_*
    first->check_state = true;
    co_return Status{};
  }
  if (setting.local) co_return co_await after_settings_changed(name, first->connection.get());
  const bool reset_all = setting.reset && name.empty();
  backend::Settings::Map map = settings_->statements();
  if (reset_all) {
    map = reset_settings();
    // RESET ALL has reset what start-up asked for as well.
    if (!map.empty()) first->connection->set_applied(std::make_shared<const backend::Settings>());
  } else if (setting.reset && !replaced && !backend::is_custom_setting(name)) {
    map.erase(name);
  } else if (setting.reset && !replaced) {
    map[name] = backend::set_config_sql(name, "");
  } else {
    map[name] = setting.statement;
  }
  settings_ = std::make_shared<const backend::Settings>(std::move(map));
  if (block)
    txn_->note_settings(settings_);
  else if (!(reset_all && !base_settings_->statements().empty()))
    first->connection->set_applied(settings_);
  co_return co_await after_settings_changed(name, first->connection.get());
}

namespace {

// An argument of set_config() as text; nullopt for NULL.
Result<std::optional<std::string>> config_text(const plan::ValueRef& ref, const plan::Values& values) {
  constexpr Oid kBool = 16;
  if (ref.kind != plan::ValueRef::Kind::kParameter) return value_text(ref, values);
  if (ref.index == 0 || ref.index > values.parameters.size())
    return fail("42P02", "there is no parameter $" + std::to_string(ref.index));
  const plan::ParameterValue& parameter = values.parameters[ref.index - 1];
  if (parameter.is_null) return std::nullopt;
  if (parameter.is_binary && parameter.type == kBool) return parameter.bytes == "\x01" ? "true" : "false";
  return std::string(parameter.bytes);  // of text, whose binary form is the same
}

}  // namespace

// SELECT set_config(name, value, is_local), …: each of them as its SET would be run.
Task<Status> Session::set_config_statement(Call& call) {
  const auto& spec = std::get<plan::SetSpec>(call.plan->detail);
  std::vector<std::optional<std::string>> row;
  std::vector<std::string> names;
  for (const plan::SetSpec::Call& one : spec.calls) {
    auto name = config_text(one.name, call.values);
    auto value = config_text(one.value, call.values);
    auto local = config_text(one.is_local, call.values);
    if (!name || !value || !local)
      co_return fail(!name ? name.error() : !value ? value.error() : local.error());
    const auto argument = [](const std::optional<std::string>& text, std::string_view type) {
      return text ? quote_literal(*text) + "::" + std::string(type) : "NULL";
    };
    std::string lower = name->value_or("");
    std::ranges::transform(lower, lower.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (lower == "client_encoding" && *value && is_unsupported_encoding(**value)) {
      co_return fail(sqlstate::kFeatureNotSupported, "this client_encoding is not supported", {},
                     "Use UTF8.");
    }
    Setting setting{lower == "session_authorization" ? "session authorization" : lower,
                    "SELECT pg_catalog.set_config(" + argument(*name, "pg_catalog.text") + ", " +
                        argument(*value, "pg_catalog.text") + ", " + argument(*local, "pg_catalog.bool") +
                        ")",
                    false, false};
    auto first = co_await setting_place();
    if (!first) co_return fail(first.error());
    if (auto ready = co_await run_on(**first, {}, false); !ready) co_return ready;
    auto set = co_await (*first)->connection->query("SELECT " + argument(*local, "pg_catalog.bool") + "; " +
                                                    setting.statement);
    if (!set) co_return fail(set.error());
    setting.local = set->front().rows.at(0)[0] == "t";
    row.push_back(set->back().rows.at(0)[0]);
    names.push_back(one.column);
    if (auto done = co_await setting_done(std::move(setting), *first, false); !done) co_return done;
  }
  reported_in_block_ = reported_in_block_ || txn_->in_block();
  reported_settings_.reset();  // what a unit reported was not seen by the client
  send_rows(names, {row}, "SELECT", call.simple);
  co_return Status{};
}

Task<Status> Session::after_settings_changed(std::string_view name, backend::UnitConnection* connection) {
  static constexpr std::string_view kMatters[] = {"search_path",
                                                  "role",
                                                  "session authorization",
                                                  "default_transaction_isolation",
                                                  "standard_conforming_strings",
                                                  ""};
  const bool characteristics = name.find("transaction") != std::string_view::npos;
  if (!characteristics && std::ranges::find(kMatters, name) == std::end(kMatters)) co_return Status{};
  co_return co_await learn_session_values(connection);
}

}  // namespace decan::session
