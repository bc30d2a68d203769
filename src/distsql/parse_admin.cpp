// Refresh, export, import, locks, global rules, migration.
#include "distsql/parser.h"

namespace decan::distsql {
namespace {

constexpr int kMaxOptionDepth = 8;

}  // namespace

Node Parser::refresh_statement() {
  const bool force = accept("force");
  expect("refresh");
  if (!force && accept("table metadata")) {
    tag_ = "REFRESH TABLE METADATA";
    RefreshTableMetadata made;
    if (token_.kind == Token::Kind::kWord || token_.kind == Token::Kind::kQuoted) made.table = name();
    if (!made.table.empty() && accept("from storage unit")) {
      made.unit = name();
      if (accept("schema")) made.schema = name();
    }
    return made;
  }
  expect("database metadata");
  tag_ = "REFRESH DATABASE METADATA";
  RefreshDatabaseMetadata made{force, {}};
  if (token_.kind == Token::Kind::kWord || token_.kind == Token::Kind::kQuoted) made.database = name();
  return made;
}

Export Parser::export_statement() {
  Export made;
  if (accept("database configuration")) {
    made.what = Export::What::kDatabaseConfiguration;
    tag_ = "EXPORT DATABASE CONFIGURATION";
    if (accept("from")) made.database = name();
  } else if (accept("metadata")) {
    made.what = Export::What::kMetadata;
    tag_ = "EXPORT METADATA";
  } else {
    expect("storage nodes");
    made.what = Export::What::kStorageNodes;
    tag_ = "EXPORT STORAGE NODES";
    if (accept("from")) made.database = name();
  }
  if (accept("to file")) made.file = string_literal();
  return made;
}

Import Parser::import_statement() {
  Import made;
  if (accept("convert yaml configuration")) {
    made.what = Import::What::kYamlConversion;
    tag_ = "CONVERT YAML CONFIGURATION";
  } else if (accept("import metadata")) {
    made.what = Import::What::kMetadata;
    tag_ = "IMPORT METADATA";
    if (!at_word("from")) return made;
  } else {
    expect("import database configuration");
    tag_ = "IMPORT DATABASE CONFIGURATION";
  }
  expect("from file");
  made.file = string_literal();
  return made;
}

// LOCK CLUSTER WITH LOCK_STRATEGY(TYPE(NAME='WRITE')) [TIMEOUT ms]
LockCluster Parser::lock_cluster(bool lock) {
  LockCluster made;
  made.lock = lock;
  tag_ = lock ? "LOCK CLUSTER" : "UNLOCK CLUSTER";
  if (lock) {
    expect("lock_strategy");
    made.strategy = wrapped_algorithm();
  }
  if (accept("timeout")) made.timeout_ms = integer();
  return made;
}

AlterTransactionRule Parser::alter_transaction_rule() {
  AlterTransactionRule made;
  expect_symbol('(');
  expect("default");
  expect_equals();
  made.default_type = value();
  if (accept_symbol(',')) made.provider = algorithm();
  expect_symbol(')');
  return made;
}

AlterGlobalRule Parser::alter_global_rule(AlterGlobalRule::Rule rule) {
  AlterGlobalRule made{rule, {}};
  expect_symbol('(');
  made.options = options(0);
  expect_symbol(')');
  return made;
}

std::vector<Option> Parser::options(int depth) {
  std::vector<Option> list;
  if (depth > kMaxOptionDepth) {
    fail_here();
    return list;
  }
  do {
    Option option;
    option.name = name();
    if (accept_symbol('=')) {
      option.value = value();
    } else if (option.name == "properties") {
      for (auto& [key, text] : properties())
        option.options.push_back({std::move(key), std::move(text), {}, {}});
    } else {
      expect_symbol('(');
      // TYPE(NAME='x', PROPERTIES(…)) inside is an algorithm; everything else nests.
      const Token first = token_;
      const size_t position = lexer_.position();
      if (accept("type") && accept_symbol('(')) {
        token_ = first;
        lexer_.rewind(position);
        option.algorithm = algorithm();
      } else if (!failed()) {
        token_ = first;
        lexer_.rewind(position);
        option.options = options(depth + 1);
      }
      expect_symbol(')');
    }
    list.push_back(std::move(option));
  } while (accept_symbol(','));
  return list;
}

Node Parser::migration_control(ControlJob::Verb verb) {
  ControlJob made{ControlJob::Job::kMigration, verb, {}};
  if ((verb == ControlJob::Verb::kStart || verb == ControlJob::Verb::kStop) && accept("check")) {
    made.job = ControlJob::Job::kMigrationCheck;
    tag_ += " CHECK";
  }
  made.id = value();
  return made;
}

// src.[schema.]t INTO [db.]t
MigrateTable Parser::migrate_table() {
  MigrateTable made;
  made.source_unit = name();
  expect_symbol('.');
  made.source_table = name();
  if (accept_symbol('.')) {
    made.source_schema = std::move(made.source_table);
    made.source_table = name();
  }
  expect("into");
  made.target_table = name();
  if (accept_symbol('.')) {
    made.target_database = std::move(made.target_table);
    made.target_table = name();
  }
  return made;
}

Node Parser::check_migration() {
  CheckMigration made;
  made.id = value();
  if (accept("by")) made.by = algorithm();
  return made;
}

}  // namespace decan::distsql
