// SHOW and COUNT.
#include "distsql/parser.h"

namespace decan::distsql {
namespace {

enum Argument : int { kNone, kTable, kOptionalTable, kTables, kText, kVariable, kUnloaded };

struct ShowForm {
  std::string_view words;
  ShowKind kind;
  Argument argument = kNone;
  bool like = false;
};

using enum ShowKind;

constexpr ShowForm kForms[] = {
    {"storage units", kStorageUnits, kNone, true},
    {"rules used storage unit", kRulesUsedStorageUnit, kText},
    {"logical tables", kLogicalTables, kNone, true},
    {"full logical tables", kFullLogicalTables, kNone, true},
    {"sharding table rules", ShowKind::kShardingTableRules},
    {"sharding table rule", kShardingTableRule, kTable},
    {"sharding table nodes", kShardingTableNodes, kOptionalTable},
    {"sharding table reference rules", kReferenceRules},
    {"sharding table reference rule", kReferenceRule, kTable},
    {"sharding table rules used algorithm", kRulesUsedAlgorithm, kText},
    {"sharding table rules used key generator", kRulesUsedKeyGenerator, kText},
    {"sharding table rules used auditor", kRulesUsedAuditor, kText},
    {"broadcast table rules", kBroadcastRules},
    {"sharding algorithms", kShardingAlgorithms},
    {"sharding key generators", kKeyGenerators},
    {"sharding auditors", kAuditors},
    {"unused sharding algorithms", kUnusedShardingAlgorithms},
    {"unused sharding key generators", kUnusedKeyGenerators},
    {"unused sharding auditors", kUnusedAuditors},
    {"default sharding strategy", kDefaultShardingStrategy},
    {"sharding key generate strategies", kKeyGenerateStrategies},
    {"sharding key generate strategy", ShowKind::kKeyGenerateStrategy, kText},
    {"readwrite_splitting rules", kReadwriteRules},
    {"readwrite_splitting rule", kReadwriteRule, kText},
    {"encrypt rules", kEncryptRules},
    {"encrypt table rule", kEncryptRule, kTable},
    {"mask rules", kMaskRules},
    {"mask rule", kMaskRule, kTable},
    {"shadow rules", kShadowRules},
    {"shadow rule", kShadowRule, kText},
    {"shadow table rules", kShadowTableRules},
    {"shadow algorithms", kShadowAlgorithms},
    {"default shadow algorithm", kDefaultShadowAlgorithm},
    {"single tables", kSingleTables, kNone, true},
    {"unloaded single tables", kUnloadedSingleTables, kUnloaded},
    {"default single table storage unit", kDefaultSingleTableUnit},
    {"compute nodes", kComputeNodes},
    {"compute node info", kComputeNodeInfo},
    {"compute node mode", kComputeNodeMode},
    {"dist variables", kDistVariables, kNone, true},
    {"dist variable", kDistVariable, kVariable},
    {"table metadata", kTableMetadata, kTables},
    {"status from readwrite_splitting rules", kReadwriteStatuses},
    {"status from readwrite_splitting rule", kReadwriteStatus, kText},
    {"transaction rule", kTransactionRule},
    {"sql_parser rule", kSqlParserRule},
    {"sql_federation rule", kSqlFederationRule},
    {"sql_translator rule", kSqlTranslatorRule},
    {"global clock rule", kGlobalClockRule},
    {"authority rule", kAuthorityRule},
    {"plugins of", kPlugins, kText},
    {"sharding algorithm plugins", kShardingAlgorithmPlugins},
    {"encrypt algorithm plugins", kEncryptAlgorithmPlugins},
    {"mask algorithm plugins", kMaskAlgorithmPlugins},
    {"shadow algorithm plugins", kShadowAlgorithmPlugins},
    {"key generate algorithm plugins", kKeyGenerateAlgorithmPlugins},
    {"load balance algorithm plugins", kLoadBalanceAlgorithmPlugins},
    {"migration source storage units", kMigrationSourceUnits},
    {"migration list", kMigrationList},
    {"migration status", kMigrationStatus, kText},
    {"migration check status", kMigrationCheckStatus, kText},
    {"migration check algorithms", kMigrationCheckAlgorithms},
    {"migration rule", kMigrationRule},
    {"streaming rule", kStreamingRule},
    {"streaming list", kStreamingList},
    {"streaming status", kStreamingStatus, kText},
    {"sessions", kSessions, kNone, true},
};

}  // namespace

Show Parser::show_statement() {
  tag_ = "SHOW";
  // Some forms begin as others do: the longest wins.
  const ShowForm* best = nullptr;
  const Token first = token_;
  const size_t position = lexer_.position();
  for (const ShowForm& form : kForms) {
    if (best != nullptr && form.words.size() <= best->words.size()) continue;
    if (!accept(form.words)) continue;
    best = &form;
    token_ = first;
    lexer_.rewind(position);
  }
  if (best == nullptr) {
    fail_here();
    return {};
  }
  accept(best->words);
  Show show;
  show.kind = best->kind;
  show_argument(show, best->argument);
  if (best->argument != kUnloaded && accept("from")) show.from_database = name();
  if (best->like && accept("like")) show.like = string_literal();
  return show;
}

void Parser::show_argument(Show& show, int argument) {
  switch (static_cast<Argument>(argument)) {
    case kNone:
      return;
    case kTable:
      show.names.push_back(table_name());
      return;
    case kOptionalTable:
      if ((token_.kind == Token::Kind::kWord && !at_word("from")) || token_.kind == Token::Kind::kQuoted)
        show.names.push_back(table_name());
      return;
    case kTables:
      show.names = table_names();
      return;
    case kText:
      show.names.push_back({{}, value()});
      return;
    case kVariable:
      expect("where name");
      expect_equals();
      show.names.push_back({{}, value()});
      return;
    case kUnloaded:
      if (!accept("from")) return;
      if (!at_word("storage")) show.from_database = name();
      if (accept("storage unit")) show.unit = name();
      if (accept("schema")) show.schema = name();
      return;
  }
}

CountRules Parser::count_statement() {
  tag_ = "COUNT";
  CountRules made;
  if (accept("single table")) {
    made.kind = RuleKind::kSingle;
  } else {
    constexpr std::pair<std::string_view, RuleKind> kKinds[] = {
        {"sharding", RuleKind::kSharding},
        {"broadcast", RuleKind::kBroadcast},
        {"readwrite_splitting", RuleKind::kReadwriteSplitting},
        {"encrypt", RuleKind::kEncrypt},
        {"mask", RuleKind::kMask},
        {"shadow", RuleKind::kShadow}};
    bool known = false;
    for (const auto& [word, kind] : kKinds) {
      if (known || !accept(word)) continue;
      made.kind = kind;
      known = true;
    }
    if (!known) fail_here();
    expect("rule");
  }
  if (accept("from")) made.from_database = name();
  return made;
}

}  // namespace decan::distsql
