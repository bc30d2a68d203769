#include "distsql/handlers.h"

#include <algorithm>

#include "distsql/handler_parts.h"

namespace decan::distsql {
namespace {

using async::Task;
using Object = Drop::Object;
using enum ShowKind;

// What statements belong to that are accepted but not done yet.
constexpr std::string_view kReadwrite = "Read/write splitting", kEncrypt = "Column encryption",
                           kMask = "Data masking", kShadow = "Shadow databases",
                           kAlgorithms = "Named sharding algorithms, key generators and auditors",
                           kKeys = "Distributed key generation",
                           kReference = "Sharding table reference rules",
                           kDefaults = "Default sharding strategies",
                           kSingle = "Choosing the storage unit of single tables",
                           kMigration = "Migration from other databases",
                           kStreaming = "Change data streaming", kNodes = "Administration of compute nodes",
                           kGlobal = "Global rules", kMetadata = "Refreshing and showing table metadata",
                           kTransfer = "Export and import of the configuration",
                           kLock = "Locking the cluster", kParse = "Showing the syntax tree of a statement";

using ShowHandler = Task<Result<AdminResult>> (*)(AdminContext&, Show);
struct Supported {
  ShowKind kind;
  ShowHandler handler;
};
constexpr Supported kSupported[] = {
    {kStorageUnits, show_storage_units},
    {kRulesUsedStorageUnit, show_rules_used},
    {kLogicalTables, show_logical_tables},
    {kFullLogicalTables, show_logical_tables},
    {ShowKind::kShardingTableRules, show_sharding_rules},
    {kShardingTableRule, show_sharding_rules},
    {kShardingTableNodes, show_nodes},
    {kBroadcastRules, show_broadcast_rules},
    {kSingleTables, show_single_tables},
    {kComputeNodes, show_compute_nodes},
    {kDistVariables, show_variables},
    {kDistVariable, show_variables},
    {kSessions, show_sessions},
};

struct Coming {
  ShowKind kind;
  std::string_view feature;
};
constexpr Coming kComing[] = {
    {kReferenceRules, kReference},
    {ShowKind::kReferenceRule, kReference},
    {kShardingAlgorithms, kAlgorithms},
    {kKeyGenerators, kAlgorithms},
    {kAuditors, kAlgorithms},
    {kUnusedShardingAlgorithms, kAlgorithms},
    {kUnusedKeyGenerators, kAlgorithms},
    {kUnusedAuditors, kAlgorithms},
    {kRulesUsedAlgorithm, kAlgorithms},
    {kRulesUsedKeyGenerator, kAlgorithms},
    {kRulesUsedAuditor, kAlgorithms},
    {kDefaultShardingStrategy, kDefaults},
    {kReadwriteRules, kReadwrite},
    {ShowKind::kReadwriteRule, kReadwrite},
    {kEncryptRules, kEncrypt},
    {ShowKind::kEncryptRule, kEncrypt},
    {kMaskRules, kMask},
    {ShowKind::kMaskRule, kMask},
    {kShadowRules, kShadow},
    {ShowKind::kShadowRule, kShadow},
    {kShadowTableRules, kShadow},
    {kShadowAlgorithms, kShadow},
    {ShowKind::kDefaultShadowAlgorithm, kShadow},
    {kUnloadedSingleTables, kSingle},
    {kDefaultSingleTableUnit, kSingle},
    {kKeyGenerateStrategies, kKeys},
    {ShowKind::kKeyGenerateStrategy, kKeys},
    {kComputeNodeInfo, kNodes},
    {kComputeNodeMode, kNodes},
    {kTableMetadata, kMetadata},
    {kReadwriteStatuses, kReadwrite},
    {kReadwriteStatus, kReadwrite},
    {kTransactionRule, kGlobal},
    {kSqlParserRule, kGlobal},
    {kSqlFederationRule, kGlobal},
    {kSqlTranslatorRule, kGlobal},
    {kGlobalClockRule, kGlobal},
    {kAuthorityRule, kGlobal},
    {kPlugins, kAlgorithms},
    {kShardingAlgorithmPlugins, kAlgorithms},
    {kEncryptAlgorithmPlugins, kEncrypt},
    {kMaskAlgorithmPlugins, kMask},
    {kShadowAlgorithmPlugins, kShadow},
    {kKeyGenerateAlgorithmPlugins, kKeys},
    {kLoadBalanceAlgorithmPlugins, kReadwrite},
    {kMigrationSourceUnits, kMigration},
    {kMigrationList, kMigration},
    {kMigrationStatus, kMigration},
    {kMigrationCheckStatus, kMigration},
    {kMigrationCheckAlgorithms, kMigration},
    {kMigrationRule, kMigration},
    {kStreamingRule, kStreaming},
    {kStreamingList, kStreaming},
    {kStreamingStatus, kStreaming},
};

Task<Result<AdminResult>> coming(std::string tag, std::string_view feature) {
  co_return fail(sqlstate::kFeatureNotSupported, tag + " is not supported yet",
                 std::string(feature) + ": still to come.");
}

std::string_view feature_of(Object object) {
  switch (object) {
    case Object::kReferenceRule:
      return kReference;
    case Object::kDefaultDatabaseStrategy:
    case Object::kDefaultTableStrategy:
      return kDefaults;
    case Object::kShardingAlgorithm:
    case Object::kKeyGenerator:
    case Object::kAuditor:
      return kAlgorithms;
    case Object::kKeyGenerateStrategy:
      return kKeys;
    case Object::kReadwriteRule:
      return kReadwrite;
    case Object::kEncryptRule:
      return kEncrypt;
    case Object::kMaskRule:
      return kMask;
    case Object::kShadowRule:
    case Object::kShadowAlgorithm:
    case Object::kDefaultShadowAlgorithm:
      return kShadow;
    case Object::kShardingTableRule:
    case Object::kBroadcastRule:
      break;
  }
  return {};
}

std::string_view feature_of(AlterGlobalRule::Rule rule) {
  switch (rule) {
    case AlterGlobalRule::Rule::kMigration:
      return kMigration;
    case AlterGlobalRule::Rule::kStreaming:
      return kStreaming;
    case AlterGlobalRule::Rule::kSqlParser:
    case AlterGlobalRule::Rule::kSqlFederation:
    case AlterGlobalRule::Rule::kSqlTranslator:
    case AlterGlobalRule::Rule::kGlobalClock:
      break;
  }
  return kGlobal;
}

bool is_table_rule(Object object) {
  return object == Object::kShardingTableRule || object == Object::kBroadcastRule;
}

Task<Result<AdminResult>> show(AdminContext& context, Show node, std::string tag) {
  for (const Coming& line : kComing) {
    if (line.kind == node.kind) co_return co_await coming(std::move(tag), line.feature);
  }
  if (auto here = check_database(context, node.from_database); !here) co_return fail(here.error());
  for (const Supported& line : kSupported) {
    if (line.kind == node.kind) co_return co_await line.handler(context, std::move(node));
  }
  co_return fail(sqlstate::kInternalError, "this form of SHOW has no handler");
}

struct Dispatch {
  AdminContext& context;
  const std::string& tag;
  using Answer = Task<Result<AdminResult>>;

  // What is done here.
  template <class T>
    requires requires(AdminContext& c, T n) { handle(c, std::move(n)); }
  Answer operator()(T& node) const {
    return handle(context, std::move(node));
  }
  Answer operator()(Show& node) const { return show(context, std::move(node), tag); }
  Answer operator()(Drop& node) const {
    if (is_table_rule(node.object)) return drop_table_rules(context, std::move(node));
    return coming(tag, feature_of(node.object));
  }

  // What is still to come.
  Answer operator()(DefineReferenceRules&) const { return coming(tag, kReference); }
  Answer operator()(DefineDefaultStrategy&) const { return coming(tag, kDefaults); }
  Answer operator()(DefineKeyGenerators&) const { return coming(tag, kKeys); }
  Answer operator()(DefineKeyGenerateStrategy&) const { return coming(tag, kKeys); }
  Answer operator()(DefineReadwriteRules&) const { return coming(tag, kReadwrite); }
  Answer operator()(ChangeReadwriteStatus&) const { return coming(tag, kReadwrite); }
  Answer operator()(DefineEncryptRules&) const { return coming(tag, kEncrypt); }
  Answer operator()(DefineMaskRules&) const { return coming(tag, kMask); }
  Answer operator()(DefineShadowRules&) const { return coming(tag, kShadow); }
  Answer operator()(DefineDefaultShadowAlgorithm&) const { return coming(tag, kShadow); }
  Answer operator()(UnloadSingleTables&) const { return coming(tag, kSingle); }
  Answer operator()(SetDefaultSingleTableUnit&) const { return coming(tag, kSingle); }
  Answer operator()(ChangeComputeNode&) const { return coming(tag, kNodes); }
  Answer operator()(RefreshTableMetadata&) const { return coming(tag, kMetadata); }
  Answer operator()(RefreshDatabaseMetadata&) const { return coming(tag, kMetadata); }
  Answer operator()(Export&) const { return coming(tag, kTransfer); }
  Answer operator()(Import&) const { return coming(tag, kTransfer); }
  Answer operator()(LockCluster&) const { return coming(tag, kLock); }
  Answer operator()(AlterTransactionRule&) const { return coming(tag, kGlobal); }
  Answer operator()(AlterGlobalRule& node) const { return coming(tag, feature_of(node.rule)); }
  Answer operator()(RegisterMigrationSources&) const { return coming(tag, kMigration); }
  Answer operator()(UnregisterMigrationSources&) const { return coming(tag, kMigration); }
  Answer operator()(MigrateTable&) const { return coming(tag, kMigration); }
  Answer operator()(ControlJob& node) const {
    return coming(tag, node.job == ControlJob::Job::kStreaming ? kStreaming : kMigration);
  }
  Answer operator()(CheckMigration&) const { return coming(tag, kMigration); }
  Answer operator()(ParseSql&) const { return coming(tag, kParse); }
};

}  // namespace

Task<Result<AdminResult>> execute(AdminContext& context, Statement statement) {
  auto result = co_await std::visit(Dispatch{context, statement.tag}, statement.node);
  if (result && result->tag.empty()) result->tag = std::move(statement.tag);
  co_return result;
}

bool needs_transaction(const Statement& statement) {
  if (const auto* drop = std::get_if<Drop>(&statement.node)) return is_table_rule(drop->object);
  return std::holds_alternative<DefineShardingTableRules>(statement.node) ||
         std::holds_alternative<CreateBroadcastRule>(statement.node);
}

}  // namespace decan::distsql
