// PostgreSQL 15's own parser (libpg_query): text to statements.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "sql/ast.h"
#include "sql/tree.h"

namespace decan::sql {

struct Statement {
  uint32_t offset = 0, bytes = 0;  // its text, without the ';'
  Tree tree;
  // The statement itself when it is SELECT, VALUES, INSERT, UPDATE, DELETE or MERGE; otherwise the query
  // inside CREATE TABLE AS, CREATE VIEW, COPY (…), EXPLAIN, DECLARE, PREPARE, when there is one.
  const Query* query = nullptr;
  bool is_query = false;
};

class ParsedText {
 public:
  ParsedText();
  ~ParsedText();
  ParsedText(ParsedText&&) noexcept;
  ParsedText& operator=(ParsedText&&) noexcept;
  const std::vector<Statement>& statements() const { return statements_; }

 private:
  friend class Converter;
  friend Result<ParsedText> parse(std::string_view sql, uint32_t* position_out);
  struct Storage;
  std::unique_ptr<Storage> storage_;
  std::vector<Statement> statements_;
};

// Errors: 42601 with the position in characters from 1 (0 unknown); 54001 for text nested too deeply; 22021
// for a NUL.
Result<ParsedText> parse(std::string_view sql, uint32_t* position_out);

// Proof that a rewritten text means what the statement meant: it is parsed, the rewriting is undone in its
// tree, and the trees are compared but for locations.
class RewriteProof {
 public:
  explicit RewriteProof(const Tree& original) : original_(original) {}
  // Exactly `guards` conjuncts that read the relation decan.map were added to its WHERE clauses.
  bool equal_but_guards(std::string_view rewritten, size_t guards);
  // In place of each `relation` stands `schema.name`, with its alias or its own name as alias.
  struct LeafName {
    const RelationRef* relation = nullptr;
    std::string schema, name;
  };
  bool equal_but_leaves(std::string_view rewritten, const std::vector<LeafName>& leaves);
  // In place of each relation, in this order, stands a sub-select of one relation with this alias, under the
  // relation's alias or its name.
  static std::string view_alias(size_t index) { return "decan:" + std::to_string(index); }
  bool equal_but_views(std::string_view rewritten, const std::vector<const RelationRef*>& relations);

 private:
  bool equal(google::protobuf::Message& rewritten);
  Tree original_;
  std::string canonical_;  // made at the first proof
};

}  // namespace decan::sql
