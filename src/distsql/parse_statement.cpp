// Which statement it is, by its first words.
#include "distsql/parser.h"

namespace decan::distsql {

Node Parser::dispatch() {
  if (accept("register")) return register_statement();
  if (accept("unregister")) return unregister_statement();
  if (accept("create")) return create_or_alter(false);
  if (accept("alter")) return create_or_alter(true);
  if (accept("drop")) return drop_statement();
  if (accept("show")) return show_statement();
  if (accept("count")) return count_statement();
  if (accept("set")) return set_statement();
  if (accept("load single table")) return tag_ = "LOAD SINGLE TABLE", Node(load_single_tables());
  if (accept("unload")) return tag_ = "UNLOAD SINGLE TABLE", Node(unload_single_tables());
  if (accept("enable compute node")) return label_statement(ChangeComputeNode::Change::kEnable);
  if (accept("disable compute node")) return label_statement(ChangeComputeNode::Change::kDisable);
  if (accept("label compute node")) return label_statement(ChangeComputeNode::Change::kLabel);
  if (accept("relabel compute node")) return label_statement(ChangeComputeNode::Change::kRelabel);
  if (accept("unlabel compute node")) return label_statement(ChangeComputeNode::Change::kUnlabel);
  if (at_word("refresh") || at_word("force")) return refresh_statement();
  if (accept("export")) return export_statement();
  if (at_word("import") || at_word("convert")) return import_statement();
  if (accept("lock cluster with")) return lock_cluster(true);
  if (accept("unlock cluster")) return lock_cluster(false);
  if (accept("migrate table")) return tag_ = "MIGRATE TABLE", Node(migrate_table());
  if (accept("start migration")) return tag_ = "START MIGRATION", migration_control(ControlJob::Verb::kStart);
  if (accept("stop migration")) return tag_ = "STOP MIGRATION", migration_control(ControlJob::Verb::kStop);
  if (accept("rollback migration"))
    return tag_ = "ROLLBACK MIGRATION", migration_control(ControlJob::Verb::kRollback);
  if (accept("commit migration"))
    return tag_ = "COMMIT MIGRATION", migration_control(ControlJob::Verb::kCommit);
  if (accept("check migration")) return tag_ = "CHECK MIGRATION", check_migration();
  if (accept("preview")) return tag_ = "PREVIEW", Node(Preview{rest_of_text()});
  if (accept("parse")) return tag_ = "PARSE", Node(ParseSql{rest_of_text()});
  if (accept("kill")) {
    tag_ = "KILL";
    Kill kill;
    kill.query_only = accept("query");
    if (!kill.query_only) accept("connection");
    kill.id = value();
    return kill;
  }
  fail_here();
  return Preview{};
}

Node Parser::register_statement() {
  if (accept("migration source storage unit")) {
    tag_ = "REGISTER MIGRATION SOURCE STORAGE UNIT";
    return RegisterMigrationSources{unit_definitions(nullptr)};
  }
  expect("storage unit");
  tag_ = "REGISTER STORAGE UNIT";
  RegisterUnits made;
  made.if_not_exists = if_not_exists();
  made.units = unit_definitions(&made.check_privileges);
  return made;
}

Node Parser::unregister_statement() {
  if (accept("migration source storage unit")) {
    tag_ = "UNREGISTER MIGRATION SOURCE STORAGE UNIT";
    return UnregisterMigrationSources{names()};
  }
  expect("storage unit");
  tag_ = "UNREGISTER STORAGE UNIT";
  UnregisterUnits made;
  made.if_exists = if_exists();
  made.names = names();
  if (accept("ignore")) {
    do {
      if (accept("single")) {
        made.ignore_single = true;
      } else {
        expect("broadcast");
        made.ignore_broadcast = true;
      }
    } while (accept_symbol(','));
    expect("tables");
  }
  return made;
}

Node Parser::create_or_alter(bool alter) {
  tag_ = alter ? "ALTER" : "CREATE";
  const auto begins = [&](std::string_view words, std::string_view tag) {
    if (!accept(words)) return false;
    tag_ += " " + std::string(tag);
    return true;
  };
  if (begins("sharding table rule", "SHARDING TABLE RULE")) return sharding_table_rules(alter);
  if (begins("sharding table reference rule", "SHARDING TABLE REFERENCE RULE")) return reference_rules(alter);
  if (begins("sharding key generator", "SHARDING KEY GENERATOR")) return key_generators(alter);
  if (begins("sharding key generate strategy", "SHARDING KEY GENERATE STRATEGY"))
    return key_generate_strategy(alter);
  if (begins("default sharding", "DEFAULT SHARDING")) return default_strategy(alter);
  if (begins("default shadow algorithm", "DEFAULT SHADOW ALGORITHM")) return default_shadow_algorithm(alter);
  if (begins("readwrite_splitting rule", "READWRITE_SPLITTING RULE")) return readwrite_rules(alter);
  if (begins("encrypt rule", "ENCRYPT RULE")) return encrypt_rules(alter);
  if (begins("mask rule", "MASK RULE")) return mask_rules(alter);
  if (begins("shadow rule", "SHADOW RULE")) return shadow_rules(alter);
  if (alter) return alter_only();
  expect("broadcast table rule");
  tag_ += " BROADCAST TABLE RULE";
  CreateBroadcastRule made;
  made.if_not_exists = if_not_exists();
  made.tables = table_names();
  return made;
}

Node Parser::alter_only() {
  using Rule = AlterGlobalRule::Rule;
  if (accept("transaction rule")) return tag_ += " TRANSACTION RULE", Node(alter_transaction_rule());
  if (accept("sql_parser rule")) return tag_ += " SQL_PARSER RULE", Node(alter_global_rule(Rule::kSqlParser));
  if (accept("sql_federation rule"))
    return tag_ += " SQL_FEDERATION RULE", Node(alter_global_rule(Rule::kSqlFederation));
  if (accept("sql_translator rule"))
    return tag_ += " SQL_TRANSLATOR RULE", Node(alter_global_rule(Rule::kSqlTranslator));
  if (accept("global clock rule"))
    return tag_ += " GLOBAL CLOCK RULE", Node(alter_global_rule(Rule::kGlobalClock));
  if (accept("migration rule")) return tag_ += " MIGRATION RULE", Node(alter_global_rule(Rule::kMigration));
  if (accept("streaming rule")) return tag_ += " STREAMING RULE", Node(alter_global_rule(Rule::kStreaming));
  expect("storage unit");
  tag_ += " STORAGE UNIT";
  AlterUnits made;
  made.units = unit_definitions(&made.check_privileges);
  return made;
}

Node Parser::drop_statement() {
  using Object = Drop::Object;
  struct Form {
    std::string_view words, tag;
    Object object;
    bool named;
  };
  constexpr Form kForms[] = {
      {"sharding table rule", "SHARDING TABLE RULE", Object::kShardingTableRule, true},
      {"sharding table reference rule", "SHARDING TABLE REFERENCE RULE", Object::kReferenceRule, true},
      {"broadcast table rule", "BROADCAST TABLE RULE", Object::kBroadcastRule, true},
      {"default sharding database strategy", "DEFAULT SHARDING DATABASE STRATEGY",
       Object::kDefaultDatabaseStrategy, false},
      {"default sharding table strategy", "DEFAULT SHARDING TABLE STRATEGY", Object::kDefaultTableStrategy,
       false},
      {"sharding algorithm", "SHARDING ALGORITHM", Object::kShardingAlgorithm, true},
      {"sharding key generator", "SHARDING KEY GENERATOR", Object::kKeyGenerator, true},
      {"sharding key generate strategy", "SHARDING KEY GENERATE STRATEGY", Object::kKeyGenerateStrategy,
       true},
      {"sharding auditor", "SHARDING AUDITOR", Object::kAuditor, true},
      {"readwrite_splitting rule", "READWRITE_SPLITTING RULE", Object::kReadwriteRule, true},
      {"encrypt rule", "ENCRYPT RULE", Object::kEncryptRule, true},
      {"mask rule", "MASK RULE", Object::kMaskRule, true},
      {"shadow rule", "SHADOW RULE", Object::kShadowRule, true},
      {"shadow algorithm", "SHADOW ALGORITHM", Object::kShadowAlgorithm, true},
      {"default shadow algorithm", "DEFAULT SHADOW ALGORITHM", Object::kDefaultShadowAlgorithm, false},
  };
  for (const Form& form : kForms) {
    if (!accept(form.words)) continue;
    tag_ = "DROP " + std::string(form.tag);
    Drop made{form.object, if_exists(), {}};
    if (form.named) made.names = table_names();
    return made;
  }
  if (accept("migration check"))
    return tag_ = "DROP MIGRATION CHECK",
           Node(ControlJob{ControlJob::Job::kMigrationCheck, ControlJob::Verb::kDrop, value()});
  expect("streaming");
  tag_ = "DROP STREAMING";
  return ControlJob{ControlJob::Job::kStreaming, ControlJob::Verb::kDrop, value()};
}

Node Parser::set_statement() {
  if (accept("default single table storage unit")) {
    tag_ = "SET DEFAULT SINGLE TABLE STORAGE UNIT";
    expect_equals();
    if (accept("random")) return SetDefaultSingleTableUnit{{}, true};
    return SetDefaultSingleTableUnit{name(), false};
  }
  expect("dist variable");
  tag_ = "SET DIST VARIABLE";
  SetVariable made;
  made.name = name();
  expect_equals();
  made.value = value();
  return made;
}

Node Parser::label_statement(ChangeComputeNode::Change change) {
  using Change = ChangeComputeNode::Change;
  ChangeComputeNode made{change, value(), {}};
  switch (change) {
    case Change::kEnable:
      tag_ = "ENABLE COMPUTE NODE";
      break;
    case Change::kDisable:
      tag_ = "DISABLE COMPUTE NODE";
      break;
    case Change::kLabel:
      tag_ = "LABEL COMPUTE NODE";
      break;
    case Change::kRelabel:
      tag_ = "RELABEL COMPUTE NODE";
      break;
    case Change::kUnlabel:
      tag_ = "UNLABEL COMPUTE NODE";
      break;
  }
  if (change == Change::kLabel || change == Change::kRelabel) {
    expect("with");
    made.labels = values();
  } else if (change == Change::kUnlabel && accept("with")) {
    made.labels = values();
  }
  return made;
}

}  // namespace decan::distsql
