// Rules of sharded tables, their strategies and generators.
#include <algorithm>

#include "distsql/parser.h"

namespace decan::distsql {

DefineShardingTableRules Parser::sharding_table_rules(bool alter) {
  DefineShardingTableRules made{alter, if_not_exists(), {}};
  do made.rules.push_back(sharding_table_rule());
  while (accept_symbol(','));
  return made;
}

ShardingTableRule Parser::sharding_table_rule() {
  ShardingTableRule rule;
  rule.table = table_name();
  expect_symbol('(');
  do sharding_table_item(rule);
  while (accept_symbol(','));
  expect_symbol(')');
  return rule;
}

void Parser::sharding_table_item(ShardingTableRule& rule) {
  if (accept("storage_units")) {
    expect_symbol('(');
    rule.units = values();
    expect_symbol(')');
  } else if (accept("sharding_column") || accept("sharding_columns")) {
    expect_equals();
    rule.columns = columns();
  } else if (at_word("type")) {
    rule.algorithm = algorithm();
  } else if (accept("datanodes")) {
    expect_symbol('(');
    rule.data_nodes = values();
    expect_symbol(')');
  } else if (accept("database_strategy")) {
    expect_symbol('(');
    rule.database_strategy = strategy();
    expect_symbol(')');
  } else if (accept("table_strategy")) {
    expect_symbol('(');
    rule.table_strategy = strategy();
    expect_symbol(')');
  } else if (accept("key_generate_strategy")) {
    rule.key_generate = key_generate();
  } else if (accept("audit_strategy")) {
    rule.audit = audit();
  } else {
    fail_here();
  }
}

// TYPE='standard', SHARDING_COLUMN=c, SHARDING_ALGORITHM(TYPE(…))
Strategy Parser::strategy() {
  Strategy made;
  expect("type");
  expect_equals();
  const Token token = token_;
  std::string type = value();
  std::ranges::transform(type, type.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (type == "standard") {
    made.type = Strategy::Type::kStandard;
  } else if (type == "complex") {
    made.type = Strategy::Type::kComplex;
  } else if (type == "hint") {
    made.type = Strategy::Type::kHint;
  } else if (type != "none") {
    fail_at(token, "a strategy is of type 'standard', 'complex', 'hint' or 'none', not \"" + type + "\"");
  }
  while (accept_symbol(',')) {
    if (accept("sharding_column") || accept("sharding_columns")) {
      expect_equals();
      made.columns = columns();
    } else {
      expect("sharding_algorithm");
      made.algorithm = wrapped_algorithm();
    }
  }
  return made;
}

KeyGenerate Parser::key_generate() {
  KeyGenerate made;
  expect_symbol('(');
  expect("column");
  expect_equals();
  made.column = name();
  expect_symbol(',');
  if (accept("generator")) {
    expect_equals();
    made.generator = value();
  } else {
    made.algorithm = algorithm();
  }
  expect_symbol(')');
  return made;
}

Audit Parser::audit() {
  Audit made;
  expect_symbol('(');
  do {
    if (accept("allow_hint_disable")) {
      expect_equals();
      made.allow_hint_disable = boolean();
    } else {
      made.auditors.push_back(algorithm());
    }
  } while (accept_symbol(','));
  expect_symbol(')');
  return made;
}

DefineReferenceRules Parser::reference_rules(bool alter) {
  DefineReferenceRules made{alter, if_not_exists(), {}};
  do {
    ReferenceRule rule;
    rule.name = name();
    expect_symbol('(');
    rule.tables = table_names();
    expect_symbol(')');
    made.rules.push_back(std::move(rule));
  } while (accept_symbol(','));
  return made;
}

DefineKeyGenerators Parser::key_generators(bool alter) {
  DefineKeyGenerators made{alter, if_not_exists(), {}};
  do {
    std::string generator = name();
    made.generators.emplace_back(std::move(generator), wrapped_algorithm());
  } while (accept_symbol(','));
  return made;
}

DefineKeyGenerateStrategy Parser::key_generate_strategy(bool alter) {
  DefineKeyGenerateStrategy made;
  made.alter = alter;
  made.if_not_exists = if_not_exists();
  made.name = name();
  expect_symbol('(');
  if (accept("sequence")) {
    expect_equals();
    made.sequence = value();
  } else {
    expect("table");
    expect_equals();
    made.table = table_name();
    expect_symbol(',');
    expect("column");
    expect_equals();
    made.column = name();
  }
  expect_symbol(',');
  if (accept("generator")) {
    expect_equals();
    made.generator = value();
  } else {
    made.algorithm = algorithm();
  }
  expect_symbol(')');
  return made;
}

DefineDefaultStrategy Parser::default_strategy(bool alter) {
  DefineDefaultStrategy made;
  made.alter = alter;
  made.of_database = accept("database");
  if (!made.of_database) expect("table");
  expect("strategy");
  tag_ += made.of_database ? " DATABASE STRATEGY" : " TABLE STRATEGY";
  made.if_not_exists = if_not_exists();
  expect_symbol('(');
  made.strategy = strategy();
  expect_symbol(')');
  return made;
}

}  // namespace decan::distsql
