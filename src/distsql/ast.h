// Statements of the admin language, parsed. Names are unquoted and folded as PostgreSQL folds them; algorithm
// types, property keys and values are as written.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace decan::distsql {

using Properties = std::vector<std::pair<std::string, std::string>>;

struct Algorithm {
  std::string type;
  Properties properties;
};

// schema.table; schema empty: search_path decides.
struct TableName {
  std::string schema, name;
  bool operator==(const TableName&) const = default;
};

// --- RDL: storage units ---

struct UnitDefinition {
  std::string name;
  std::string host;  // of HOST or URL
  uint16_t port = 5432;
  std::string database;
  std::string user, password;
  Properties properties;
};
struct RegisterUnits {
  bool if_not_exists = false;
  std::vector<UnitDefinition> units;
  std::vector<std::string> check_privileges;
};
struct AlterUnits {
  std::vector<UnitDefinition> units;
  std::vector<std::string> check_privileges;
};
struct UnregisterUnits {
  bool if_exists = false;
  std::vector<std::string> names;
  bool ignore_single = false, ignore_broadcast = false;
};

// --- RDL: sharding ---

struct Strategy {
  enum class Type : uint8_t { kStandard, kComplex, kHint, kNone } type = Type::kNone;
  std::vector<std::string> columns;
  std::optional<Algorithm> algorithm;
};
struct KeyGenerate {
  std::string column;
  std::optional<Algorithm> algorithm;  // or
  std::string generator;
};
struct Audit {
  std::vector<Algorithm> auditors;
  bool allow_hint_disable = false;
};
struct ShardingTableRule {
  TableName table;
  // Auto rule: the system picks the nodes.
  std::vector<std::string> units;
  std::vector<std::string> columns;
  std::optional<Algorithm> algorithm;
  // Standard rule: explicit nodes.
  std::vector<std::string> data_nodes;
  std::optional<Strategy> database_strategy, table_strategy;
  std::optional<KeyGenerate> key_generate;
  std::optional<Audit> audit;
};
struct DefineShardingTableRules {
  bool alter = false, if_not_exists = false;
  std::vector<ShardingTableRule> rules;
};
struct ReferenceRule {
  std::string name;
  std::vector<TableName> tables;
};
struct DefineReferenceRules {
  bool alter = false, if_not_exists = false;
  std::vector<ReferenceRule> rules;
};
struct CreateBroadcastRule {
  bool if_not_exists = false;
  std::vector<TableName> tables;
};
struct DefineDefaultStrategy {
  bool alter = false, if_not_exists = false;
  bool of_database = false;  // else of tables
  Strategy strategy;
};
struct DefineKeyGenerators {
  bool alter = false, if_not_exists = false;
  std::vector<std::pair<std::string, Algorithm>> generators;
};
struct DefineKeyGenerateStrategy {
  bool alter = false, if_not_exists = false;
  std::string name;
  TableName table;  // column form
  std::string column;
  std::string sequence;  // sequence form
  std::optional<Algorithm> algorithm;
  std::string generator;
};

// --- RDL: the other features ---

struct ReadwriteRule {
  std::string name, write_unit;
  std::vector<std::string> read_units;
  std::string transactional_strategy;
  std::optional<Algorithm> load_balancer;
};
struct DefineReadwriteRules {
  bool alter = false, if_not_exists = false;
  std::vector<ReadwriteRule> rules;
};
struct EncryptColumn {
  std::string name, cipher, assisted_query, like_query;
  std::optional<Algorithm> encrypt, assisted_query_algorithm, like_query_algorithm;
};
struct EncryptRule {
  TableName table;
  std::vector<EncryptColumn> columns;
};
struct DefineEncryptRules {
  bool alter = false, if_not_exists = false;
  std::vector<EncryptRule> rules;
};
struct MaskRule {
  TableName table;
  std::vector<std::pair<std::string, Algorithm>> columns;
};
struct DefineMaskRules {
  bool alter = false, if_not_exists = false;
  std::vector<MaskRule> rules;
};
struct ShadowRule {
  std::string name, source, shadow;
  std::vector<std::pair<TableName, std::vector<Algorithm>>> tables;
};
struct DefineShadowRules {
  bool alter = false, if_not_exists = false;
  std::vector<ShadowRule> rules;
};
struct DefineDefaultShadowAlgorithm {
  bool alter = false, if_not_exists = false;
  Algorithm algorithm;
};
struct LoadSingleTables {
  struct Pattern {
    std::string unit, schema, table;  // "*" stands for all; schema empty when not given
  };
  std::vector<Pattern> patterns;
};
struct UnloadSingleTables {
  std::vector<TableName> tables;
  bool all = false;
};
struct SetDefaultSingleTableUnit {
  std::string unit;
  bool random = false;
};

struct Drop {
  enum class Object : uint8_t {
    kShardingTableRule,
    kReferenceRule,
    kBroadcastRule,
    kDefaultDatabaseStrategy,
    kDefaultTableStrategy,
    kShardingAlgorithm,
    kKeyGenerator,
    kAuditor,
    kKeyGenerateStrategy,
    kReadwriteRule,
    kEncryptRule,
    kMaskRule,
    kShadowRule,
    kShadowAlgorithm,
    kDefaultShadowAlgorithm,
  } object = Object::kShardingTableRule;
  bool if_exists = false;
  std::vector<TableName> names;  // empty for defaults
};

// --- RQL ---

enum class ShowKind : uint8_t {
  kStorageUnits,
  kRulesUsedStorageUnit,
  kLogicalTables,
  kFullLogicalTables,
  kShardingTableRules,
  kShardingTableRule,
  kShardingTableNodes,
  kReferenceRules,
  kReferenceRule,
  kBroadcastRules,
  kShardingAlgorithms,
  kKeyGenerators,
  kAuditors,
  kUnusedShardingAlgorithms,
  kUnusedKeyGenerators,
  kUnusedAuditors,
  kRulesUsedAlgorithm,
  kRulesUsedKeyGenerator,
  kRulesUsedAuditor,
  kDefaultShardingStrategy,
  kReadwriteRules,
  kReadwriteRule,
  kEncryptRules,
  kEncryptRule,
  kMaskRules,
  kMaskRule,
  kShadowRules,
  kShadowRule,
  kShadowTableRules,
  kShadowAlgorithms,
  kDefaultShadowAlgorithm,
  kSingleTables,
  kUnloadedSingleTables,
  kDefaultSingleTableUnit,
  kKeyGenerateStrategies,
  kKeyGenerateStrategy,
  kComputeNodes,
  kComputeNodeInfo,
  kComputeNodeMode,
  kDistVariables,
  kDistVariable,
  kTableMetadata,
  kReadwriteStatuses,
  kReadwriteStatus,
  kTransactionRule,
  kSqlParserRule,
  kSqlFederationRule,
  kSqlTranslatorRule,
  kGlobalClockRule,
  kAuthorityRule,
  kPlugins,
  kShardingAlgorithmPlugins,
  kEncryptAlgorithmPlugins,
  kMaskAlgorithmPlugins,
  kShadowAlgorithmPlugins,
  kKeyGenerateAlgorithmPlugins,
  kLoadBalanceAlgorithmPlugins,
  kMigrationSourceUnits,
  kMigrationList,
  kMigrationStatus,
  kMigrationCheckStatus,
  kMigrationCheckAlgorithms,
  kMigrationRule,
  kStreamingRule,
  kStreamingList,
  kStreamingStatus,
  kSessions,
};
struct Show {
  ShowKind kind = ShowKind::kStorageUnits;
  std::vector<TableName> names;     // what is asked for; a job id or class stands in name
  std::string from_database;        // FROM db
  std::string unit, schema;         // STORAGE UNIT ds SCHEMA s
  std::optional<std::string> like;  // LIKE 'pattern'
};
enum class RuleKind : uint8_t {
  kSharding,
  kBroadcast,
  kReadwriteSplitting,
  kEncrypt,
  kMask,
  kShadow,
  kSingle
};
struct CountRules {
  RuleKind kind = RuleKind::kSharding;
  std::string from_database;
};

// --- RAL ---

struct SetVariable {
  std::string name, value;
};
struct Kill {
  std::string id;
  bool query_only = false;  // KILL QUERY: the statement, not the session
};
struct ChangeComputeNode {
  enum class Change : uint8_t { kEnable, kDisable, kLabel, kRelabel, kUnlabel } change = Change::kEnable;
  std::string id;
  std::vector<std::string> labels;
};
struct RefreshTableMetadata {
  std::string table, unit, schema;  // table empty: all
};
struct RefreshDatabaseMetadata {
  bool force = false;
  std::string database;
};
struct Export {
  enum class What : uint8_t {
    kDatabaseConfiguration,
    kMetadata,
    kStorageNodes
  } what = What::kDatabaseConfiguration;
  std::string database, file;
};
struct Import {
  enum class What : uint8_t {
    kDatabaseConfiguration,
    kMetadata,
    kYamlConversion
  } what = What::kDatabaseConfiguration;
  std::string file;
};
struct LockCluster {
  bool lock = true;  // false: UNLOCK
  Algorithm strategy;
  std::optional<int64_t> timeout_ms;
};
struct ChangeReadwriteStatus {
  std::string rule, unit, database;
  bool enable = true;
};
struct AlterTransactionRule {
  std::string default_type;
  std::optional<Algorithm> provider;
};
// NAME=value, NAME(options) or NAME(TYPE(…)).
struct Option {
  std::string name, value;
  std::vector<Option> options;
  std::optional<Algorithm> algorithm;
};
struct AlterGlobalRule {
  enum class Rule : uint8_t {
    kSqlParser,
    kSqlFederation,
    kSqlTranslator,
    kGlobalClock,
    kMigration,
    kStreaming
  };
  Rule rule = Rule::kSqlParser;
  std::vector<Option> options;
};

// --- migration and streaming ---

struct RegisterMigrationSources {
  std::vector<UnitDefinition> units;
};
struct UnregisterMigrationSources {
  std::vector<std::string> names;
};
struct MigrateTable {
  std::string source_unit, source_schema, source_table;
  std::string target_database, target_table;
};
struct ControlJob {
  enum class Job : uint8_t { kMigration, kMigrationCheck, kStreaming } job = Job::kMigration;
  enum class Verb : uint8_t { kStart, kStop, kRollback, kCommit, kDrop } verb = Verb::kStart;
  std::string id;
};
struct CheckMigration {
  std::string id;
  std::optional<Algorithm> by;
};

// --- RUL ---

struct Preview {
  std::string sql;
};
struct ParseSql {
  std::string sql;
};

using Node =
    std::variant<RegisterUnits, AlterUnits, UnregisterUnits, DefineShardingTableRules, DefineReferenceRules,
                 CreateBroadcastRule, DefineDefaultStrategy, DefineKeyGenerators, DefineKeyGenerateStrategy,
                 DefineReadwriteRules, DefineEncryptRules, DefineMaskRules, DefineShadowRules,
                 DefineDefaultShadowAlgorithm, LoadSingleTables, UnloadSingleTables,
                 SetDefaultSingleTableUnit, Drop, Show, CountRules, SetVariable, Kill, ChangeComputeNode,
                 RefreshTableMetadata, RefreshDatabaseMetadata, Export, Import, LockCluster,
                 ChangeReadwriteStatus, AlterTransactionRule, AlterGlobalRule, RegisterMigrationSources,
                 UnregisterMigrationSources, MigrateTable, ControlJob, CheckMigration, Preview, ParseSql>;

struct Statement {
  Node node;
  std::string tag;  // its leading keywords, e.g. "CREATE SHARDING TABLE RULE": the command tag
};

}  // namespace decan::distsql
