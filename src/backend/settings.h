// The settings of a session as statements that establish them. A unit connection remembers which Settings it
// has; before another session uses it the difference is applied, so state follows the session and never leaks
// to the next one.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace decan::backend {

// Immutable; shared by a session and the connections it has used, so equality is mostly pointer equality.
class Settings {
 public:
  using Map = std::map<std::string, std::string, std::less<>>;  // canonical name -> "SET name TO …"
  Settings() = default;
  explicit Settings(Map statements) : statements_(std::move(statements)) {}
  const Map& statements() const { return statements_; }
  // Also its value may be '': a setting that no module defines exists in a server's session from its first
  // SET on, and nothing takes it away again.
  bool defines(std::string_view name) const { return statements_.contains(name); }
  bool same_as(const Settings& other) const { return this == &other || statements_ == other.statements_; }

 private:
  Map statements_;
};

using SettingsPtr = std::shared_ptr<const Settings>;

// Settings of two parts ("app.tenant"): those that sessions make up.
inline bool is_custom_setting(std::string_view name) {
  return name.find('.') != std::string_view::npos;
}

// Statements (separated by ';') that turn a connection with `from` into one with `to`; empty when nothing
// differs. The role is reset first and set last, because it decides what may be set.
std::string settings_difference(const Settings& from, const Settings& to);

std::string set_config_sql(std::string_view name, std::string_view value);

// Name as in RESET: "timezone", "role", "session authorization", "\"my.var\"" … quoted where needed.
std::string setting_name_sql(std::string_view name);

}  // namespace decan::backend
