// The text of a statement, as the session sees it before anybody else.
#include <string>

#include "check.h"
#include "distsql/distsql.h"
#include "distsql/rule_store.h"

using namespace decan;

namespace {

// Rules that parse are mapped to placements, and survive the metadata store.
void rules(const distsql::Statement& statement) {
  const auto* define = std::get_if<distsql::DefineShardingTableRules>(&statement.node);
  if (define == nullptr) return;
  for (const distsql::ShardingTableRule& rule : define->rules) {
    const auto options = distsql::shard_options(rule, {});
    if (!options) {
      fuzz::check(options.error().sqlstate.size() == 5 && !options.error().message.empty(),
                  "errors are whole");
      continue;
    }
    fuzz::check(options->ranges.size() <= placement::kMaxShardCount, "ranges are bounded");
    const auto again = distsql::rule_from_json(distsql::to_json({false, rule}));
    fuzz::check(again && again->sharding.table.name.size() >= rule.table.name.size(),
                "rules survive the store");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view sql = fuzz::view(data, size);
  const bool ours = distsql::looks_like_distsql(sql);
  uint32_t position = 0;
  const auto statement = distsql::parse(sql, &position);
  if (statement) {
    fuzz::check(ours, "what parses is recognised");
    fuzz::check(!statement->tag.empty(), "statements have a tag");
    rules(*statement);
    return 0;
  }
  fuzz::check(statement.error().sqlstate == "42601", "errors are syntax errors");
  fuzz::check(position >= 1 && position <= sql.size() + 1, "the position is in the text");
  return 0;
}
