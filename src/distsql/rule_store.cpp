#include "distsql/rule_store.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace decan::distsql {
namespace {

using nlohmann::json;

// '/' and '.' separate the parts of a key; names may contain both.
std::string escaped(std::string_view name) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : name) {
    if (c == '/' || c == '.' || c == '%') {
      out += '%';
      out += kHex[c >> 4 & 0xf];
      out += kHex[c & 0xf];
    } else {
      out += c;
    }
  }
  return out;
}

std::string prefix(std::string_view database) {
  return "rules/" + escaped(database) + "/";
}

}  // namespace

std::string rule_key(std::string_view database, std::string_view schema, std::string_view table) {
  return prefix(database) + escaped(schema) + "." + escaped(table);
}

std::string to_json(const PendingRule& rule) {
  const ShardingTableRule& sharding = rule.sharding;
  json made{{"kind", rule.broadcast ? "broadcast" : "sharding"},
            {"schema", sharding.table.schema},
            {"table", sharding.table.name}};
  if (!rule.broadcast) {
    made["units"] = sharding.units;
    made["columns"] = sharding.columns;
    made["algorithm"] = sharding.algorithm ? sharding.algorithm->type : "";
    made["properties"] = json::array();
    if (sharding.algorithm) {
      for (const auto& [key, value] : sharding.algorithm->properties)
        made["properties"].push_back({key, value});
    }
  }
  return made.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<PendingRule> rule_from_json(std::string_view text) {
  try {
    const json value = json::parse(text);
    PendingRule rule;
    const auto kind = value.at("kind").get<std::string>();
    rule.broadcast = kind == "broadcast";
    if (!rule.broadcast && kind != "sharding") throw json::other_error::create(0, "unknown kind", nullptr);
    rule.sharding.table = {value.at("schema").get<std::string>(), value.at("table").get<std::string>()};
    if (rule.broadcast) return rule;
    rule.sharding.units = value.at("units").get<std::vector<std::string>>();
    rule.sharding.columns = value.at("columns").get<std::vector<std::string>>();
    Algorithm algorithm{value.at("algorithm").get<std::string>(), {}};
    for (const json& property : value.at("properties"))
      algorithm.properties.emplace_back(property.at(0).get<std::string>(), property.at(1).get<std::string>());
    rule.sharding.algorithm = std::move(algorithm);
    return rule;
  } catch (const json::exception& error) {
    return fail(sqlstate::kDataCorrupted, "a table rule in the metadata store is damaged", error.what(),
                "Drop the rule and create it again.");
  }
}

Result<std::optional<PendingRule>> pending_rule(meta::Store& store, std::string_view database,
                                                std::string_view schema, std::string_view table) {
  const auto entry = store.get(rule_key(database, schema, table));
  if (!entry) return fail(entry.error());
  if (!*entry) return std::nullopt;
  auto rule = rule_from_json((*entry)->value);
  if (!rule) return fail(rule.error());
  return std::move(*rule);
}

Result<std::vector<PendingRule>> pending_rules(meta::Store& store, std::string_view database) {
  const auto entries = store.list(prefix(database));
  if (!entries) return fail(entries.error());
  std::vector<PendingRule> rules;
  for (const meta::Entry& entry : *entries) {
    auto rule = rule_from_json(entry.value);
    if (!rule) return fail(rule.error());
    rules.push_back(std::move(*rule));
  }
  std::ranges::sort(rules, {}, [](const PendingRule& r) {
    return std::pair(r.sharding.table.schema, r.sharding.table.name);
  });
  return rules;
}

}  // namespace decan::distsql
