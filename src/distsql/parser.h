// Recursive descent over the admin language. After the first error nothing matches any more, so loops end and
// the error stays. Internal to distsql.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "distsql/ast.h"
#include "distsql/lexer.h"

namespace decan::distsql {

class Parser {
 public:
  explicit Parser(std::string_view sql) : lexer_(sql) { advance(); }
  Result<Statement> statement(uint32_t* position_out);

 private:
  // --- tokens (parser.cpp) ---
  void advance();
  bool failed() const { return error_.has_value(); }
  void fail_here(std::string hint = {});
  void fail_at(const Token& token, std::string message);
  bool at_word(std::string_view word) const {
    return token_.kind == Token::Kind::kWord && token_.text == word;
  }
  bool accept(std::string_view words);  // all of them or none; lower case, blanks between
  void expect(std::string_view words);
  bool accept_symbol(char symbol);
  void expect_symbol(char symbol);
  void expect_end();
  std::string_view raw(const Token& token) const { return lexer_.sql().substr(token.offset, token.bytes); }

  // --- pieces (parser.cpp) ---
  std::string name();
  std::string value();  // name, string or number, as written
  std::string string_literal();
  int64_t integer();
  bool boolean();
  TableName table_name();
  std::vector<std::string> names();   // a, b, c
  std::vector<std::string> values();  // 'a', 'b'
  std::vector<TableName> table_names();
  std::vector<std::string> columns();  // a, b: ends before a comma that does not belong to the list
  bool followed_by_list_end();
  void expect_equals() { expect_symbol('='); }
  Properties properties();        // behind PROPERTIES
  Algorithm algorithm();          // TYPE(NAME='x' [, PROPERTIES(…)])
  Algorithm wrapped_algorithm();  // (TYPE(…))
  bool if_exists() { return accept("if exists"); }
  bool if_not_exists() { return accept("if not exists"); }
  std::string rest_of_text();  // behind PREVIEW and PARSE

  // --- statements ---
  Node dispatch();  // parse_statement.cpp
  Node register_statement();
  Node unregister_statement();
  Node create_or_alter(bool alter);
  Node alter_only();
  Node drop_statement();
  Node set_statement();
  Node label_statement(ChangeComputeNode::Change change);

  UnitDefinition unit_definition();  // parse_unit.cpp
  void unit_property(UnitDefinition& unit, bool& has_address);
  void url(UnitDefinition& unit, const Token& token);
  std::vector<UnitDefinition> unit_definitions(std::vector<std::string>* check_privileges);

  DefineShardingTableRules sharding_table_rules(bool alter);  // parse_sharding.cpp
  ShardingTableRule sharding_table_rule();
  void sharding_table_item(ShardingTableRule& rule);
  Strategy strategy();
  KeyGenerate key_generate();
  Audit audit();
  DefineReferenceRules reference_rules(bool alter);
  DefineKeyGenerators key_generators(bool alter);
  DefineKeyGenerateStrategy key_generate_strategy(bool alter);
  DefineDefaultStrategy default_strategy(bool alter);

  Node readwrite_rules(bool alter);  // parse_features.cpp
  ReadwriteRule readwrite_rule();
  DefineEncryptRules encrypt_rules(bool alter);
  EncryptColumn encrypt_column();
  DefineMaskRules mask_rules(bool alter);
  DefineShadowRules shadow_rules(bool alter);
  ShadowRule shadow_rule();
  DefineDefaultShadowAlgorithm default_shadow_algorithm(bool alter);
  LoadSingleTables load_single_tables();
  UnloadSingleTables unload_single_tables();

  Show show_statement();  // parse_show.cpp
  void show_argument(Show& show, int argument);
  CountRules count_statement();

  Node refresh_statement();  // parse_admin.cpp
  Export export_statement();
  Import import_statement();
  LockCluster lock_cluster(bool lock);
  AlterTransactionRule alter_transaction_rule();
  AlterGlobalRule alter_global_rule(AlterGlobalRule::Rule rule);
  std::vector<Option> options(int depth);
  Node migration_control(ControlJob::Verb verb);
  MigrateTable migrate_table();
  Node check_migration();

  Lexer lexer_;
  Token token_;
  std::string tag_;
  std::optional<Error> error_;
  uint32_t position_ = 0;
};

}  // namespace decan::distsql
