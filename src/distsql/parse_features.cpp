// Rules of read/write splitting, encryption, masking, shadow tables; single tables.
#include "distsql/parser.h"

namespace decan::distsql {

Node Parser::readwrite_rules(bool alter) {
  DefineReadwriteRules made{alter, if_not_exists(), {}};
  const size_t position = lexer_.position();
  const Token first = token_;
  if (alter && !made.if_not_exists) {
    // ALTER … rw ENABLE|DISABLE r0 [FROM db]
    ChangeReadwriteStatus status;
    status.rule = name();
    status.enable = at_word("enable");
    if (accept("enable") || accept("disable")) {
      status.unit = name();
      if (accept("from")) status.database = name();
      return status;
    }
    lexer_.rewind(position);
    if (!failed()) token_ = first;
  }
  do made.rules.push_back(readwrite_rule());
  while (accept_symbol(','));
  return made;
}

ReadwriteRule Parser::readwrite_rule() {
  ReadwriteRule rule;
  rule.name = name();
  expect_symbol('(');
  do {
    if (accept("write_storage_unit")) {
      expect_equals();
      rule.write_unit = value();
    } else if (accept("read_storage_units")) {
      expect_symbol('(');
      rule.read_units = values();
      expect_symbol(')');
    } else if (accept("transactional_read_query_strategy")) {
      expect_equals();
      rule.transactional_strategy = value();
    } else {
      rule.load_balancer = algorithm();
    }
  } while (accept_symbol(','));
  expect_symbol(')');
  return rule;
}

DefineEncryptRules Parser::encrypt_rules(bool alter) {
  DefineEncryptRules made{alter, if_not_exists(), {}};
  do {
    EncryptRule rule;
    rule.table = table_name();
    expect_symbol('(');
    expect("columns");
    expect_symbol('(');
    do rule.columns.push_back(encrypt_column());
    while (accept_symbol(','));
    expect_symbol(')');
    expect_symbol(')');
    made.rules.push_back(std::move(rule));
  } while (accept_symbol(','));
  return made;
}

EncryptColumn Parser::encrypt_column() {
  EncryptColumn column;
  const auto assigned = [&] {
    expect_equals();
    return value();
  };
  expect_symbol('(');
  do {
    if (accept("name")) {
      column.name = assigned();
    } else if (accept("cipher")) {
      column.cipher = assigned();
    } else if (accept("assisted_query")) {
      column.assisted_query = assigned();
    } else if (accept("like_query")) {
      column.like_query = assigned();
    } else if (accept("encrypt_algorithm")) {
      column.encrypt = wrapped_algorithm();
    } else if (accept("assisted_query_algorithm")) {
      column.assisted_query_algorithm = wrapped_algorithm();
    } else {
      expect("like_query_algorithm");
      column.like_query_algorithm = wrapped_algorithm();
    }
  } while (accept_symbol(','));
  expect_symbol(')');
  return column;
}

DefineMaskRules Parser::mask_rules(bool alter) {
  DefineMaskRules made{alter, if_not_exists(), {}};
  do {
    MaskRule rule;
    rule.table = table_name();
    expect_symbol('(');
    expect("columns");
    expect_symbol('(');
    do {
      expect_symbol('(');
      expect("name");
      expect_equals();
      std::string column = value();
      expect_symbol(',');
      rule.columns.emplace_back(std::move(column), algorithm());
      expect_symbol(')');
    } while (accept_symbol(','));
    expect_symbol(')');
    expect_symbol(')');
    made.rules.push_back(std::move(rule));
  } while (accept_symbol(','));
  return made;
}

DefineShadowRules Parser::shadow_rules(bool alter) {
  DefineShadowRules made{alter, if_not_exists(), {}};
  do made.rules.push_back(shadow_rule());
  while (accept_symbol(','));
  return made;
}

// sh (SOURCE=ds, SHADOW=ds_shadow, t_order (TYPE(…), TYPE(…)), …)
ShadowRule Parser::shadow_rule() {
  ShadowRule rule;
  rule.name = name();
  expect_symbol('(');
  expect("source");
  expect_equals();
  rule.source = value();
  expect_symbol(',');
  expect("shadow");
  expect_equals();
  rule.shadow = value();
  while (accept_symbol(',')) {
    TableName table = table_name();
    std::vector<Algorithm> algorithms;
    expect_symbol('(');
    do algorithms.push_back(algorithm());
    while (accept_symbol(','));
    expect_symbol(')');
    rule.tables.emplace_back(std::move(table), std::move(algorithms));
  }
  expect_symbol(')');
  return rule;
}

DefineDefaultShadowAlgorithm Parser::default_shadow_algorithm(bool alter) {
  DefineDefaultShadowAlgorithm made;
  made.alter = alter;
  made.if_not_exists = if_not_exists();
  made.algorithm = algorithm();
  return made;
}

// ds_0.t, ds_0.schema.t, ds_0.*, *.*.*
LoadSingleTables Parser::load_single_tables() {
  const auto part = [&]() -> std::string { return accept_symbol('*') ? "*" : name(); };
  LoadSingleTables made;
  do {
    LoadSingleTables::Pattern pattern;
    pattern.unit = part();
    expect_symbol('.');
    pattern.table = part();
    if (accept_symbol('.')) {
      pattern.schema = std::move(pattern.table);
      pattern.table = part();
    }
    made.patterns.push_back(std::move(pattern));
  } while (accept_symbol(','));
  return made;
}

UnloadSingleTables Parser::unload_single_tables() {
  UnloadSingleTables made;
  if (accept("all single tables")) {
    made.all = true;
    return made;
  }
  expect("single table");
  if (accept_symbol('*')) {
    made.all = true;
  } else {
    made.tables = table_names();
  }
  return made;
}

}  // namespace decan::distsql
