// Rules of tables that do not exist yet, or did not when the rule was made. They live in the metadata store
// under rules/<database>/<schema>.<table> and stay until the rule is dropped, so a table that is created
// again is placed again.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "distsql/ast.h"
#include "meta/store.h"
#include "meta/topology.h"
#include "placement/distribute.h"

namespace decan::distsql {

struct PendingRule {
  bool broadcast = false;
  ShardingTableRule sharding;  // its table has schema and name, also when broadcast
};

// Blocking calls.
Result<std::optional<PendingRule>> pending_rule(meta::Store& store, std::string_view database,
                                                std::string_view schema, std::string_view table);
Result<std::vector<PendingRule>> pending_rules(meta::Store& store, std::string_view database);  // by name
std::string rule_key(std::string_view database, std::string_view schema, std::string_view table);
std::string to_json(const PendingRule& rule);
Result<PendingRule> rule_from_json(std::string_view text);  // XX001

// How placement is asked for the rule. `units` are those of the metadata store. Errors: 42704 unknown unit,
// 22023 bad property, 0A000 an algorithm or clause that has no counterpart here.
Result<placement::ShardOptions> shard_options(const ShardingTableRule& rule,
                                              const std::vector<meta::UnitRecord>& units);

}  // namespace decan::distsql
