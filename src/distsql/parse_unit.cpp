// Definitions of storage units.
#include <algorithm>
#include <charconv>

#include "distsql/parser.h"

namespace decan::distsql {
namespace {

bool parse_port(std::string_view text, uint16_t& port) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc{} && end == text.data() + text.size() && port != 0;
}

}  // namespace

// jdbc:postgresql://host[:port]/database[?…], also without "jdbc:". Parameters of the driver are not ours.
void Parser::url(UnitDefinition& unit, const Token& token) {
  std::string_view text = token.text;
  const auto refuse = [&](std::string_view why) {
    fail_at(token, "URL of storage unit \"" + unit.name + "\" " + std::string(why));
    if (error_->hint.empty()) error_->hint = "Write URL='jdbc:postgresql://host:port/database'.";
  };
  if (text.starts_with("jdbc:")) text.remove_prefix(5);
  if (text.starts_with("opengauss:")) return refuse("names openGauss, which is not supported yet");
  if (!text.starts_with("postgresql://") && !text.starts_with("postgres://"))
    return refuse("does not name a PostgreSQL server");
  text.remove_prefix(text.find("//") + 2);
  text = text.substr(0, text.find('?'));
  const size_t slash = std::min(text.find('/'), text.size());
  unit.database = text.substr(std::min(slash + 1, text.size()));
  std::string_view address = text.substr(0, slash);
  std::string_view port;
  if (address.starts_with('[')) {
    const size_t close = address.find(']');
    if (close == std::string_view::npos) return refuse("has an address without ']'");
    if (address.substr(close + 1).starts_with(':')) port = address.substr(close + 2);
    address = address.substr(1, close - 1);
  } else if (const size_t colon = address.find(':'); colon != std::string_view::npos) {
    port = address.substr(colon + 1);
    address = address.substr(0, colon);
  }
  unit.host = address;
  if (!port.empty() && !parse_port(port, unit.port)) refuse("has a bad port");
  if (unit.host.empty()) refuse("has no host");
}

void Parser::unit_property(UnitDefinition& unit, bool& has_address) {
  if (accept("properties")) {
    unit.properties = properties();
    return;
  }
  const Token key = token_;
  const std::string what = name();
  expect_equals();
  const Token token = token_;
  if (what == "host") {
    unit.host = value();
    has_address = true;
  } else if (what == "port") {
    if (!parse_port(value(), unit.port)) fail_at(token, "a port is a number from 1 to 65535");
  } else if (what == "db") {
    unit.database = value();
  } else if (what == "url") {
    value();
    has_address = true;
    if (!failed()) url(unit, token);
  } else if (what == "user") {
    unit.user = value();
  } else if (what == "password") {
    unit.password = value();
  } else {
    fail_at(key, "\"" + what + "\" is not a property of a storage unit");
  }
}

UnitDefinition Parser::unit_definition() {
  UnitDefinition unit;
  const Token start = token_;
  unit.name = name();
  expect_symbol('(');
  bool has_address = false;
  do unit_property(unit, has_address);
  while (accept_symbol(','));
  expect_symbol(')');
  if (!has_address) fail_at(start, "storage unit \"" + unit.name + "\" has neither HOST nor URL");
  if (unit.user.empty()) fail_at(start, "storage unit \"" + unit.name + "\" has no USER");
  return unit;
}

std::vector<UnitDefinition> Parser::unit_definitions(std::vector<std::string>* check_privileges) {
  std::vector<UnitDefinition> units{unit_definition()};
  while (accept_symbol(',')) {
    if (check_privileges != nullptr && accept("check_privileges")) {
      expect_equals();
      *check_privileges = values();
      break;
    }
    units.push_back(unit_definition());
  }
  return units;
}

}  // namespace decan::distsql
