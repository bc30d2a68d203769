// Read access to a node of libpg_query's tree by the field names of PostgreSQL's own parse nodes
// (parsenodes.h), for statements that the planner only classifies (DDL, utility). Node wrappers are seen
// through. Views into a ParsedText.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace google::protobuf {
class Message;
}

namespace decan::sql {

class Tree {
 public:
  Tree() = default;
  explicit Tree(const google::protobuf::Message* message);

  explicit operator bool() const { return message_ != nullptr; }
  std::string kind() const;  // "CreateStmt"; empty for no node
  bool is(std::string_view wanted) const { return kind() == wanted; }
  // Each answers the default when there is no node. A field that the node's type does not have is a mistake
  // of ours: it sets `unknown_field_used()`, upon which planning refuses the statement.
  std::string str(std::string_view field) const;
  int64_t num(std::string_view field) const;          // integers and enums
  std::string name_of(std::string_view field) const;  // an enum's name: "OBJECT_TABLE"
  bool flag(std::string_view field) const;
  Tree child(std::string_view field) const;
  std::vector<Tree> list(std::string_view field) const;
  std::vector<Tree> children() const;  // of all fields, in order
  // Values of a list of String nodes.
  std::vector<std::string> strings(std::string_view field) const;
  // Text of a constant: String, Integer, Float, Boolean, or A_Const of these.
  std::string constant() const;
  // Every node below (and this one) of the kind, in order.
  std::vector<Tree> all(std::string_view kind) const;
  const google::protobuf::Message* message() const { return message_; }

 private:
  const google::protobuf::Message* message_ = nullptr;
};

// True once if a field was asked for that does not exist since the last call (this thread).
bool take_unknown_field_used();

}  // namespace decan::sql
