#include "sql/tree.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

namespace decan::sql {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

thread_local bool unknown_field = false;

const FieldDescriptor* find_field(const Message* message, std::string_view name) {
  if (message == nullptr) return nullptr;
  const std::string key(name);
  const auto* descriptor = message->GetDescriptor();
  const FieldDescriptor* field = descriptor->FindFieldByName(key);
  if (field == nullptr) unknown_field = true;
  return field;
}

// The message inside a Node wrapper; nullptr for an empty one.
const Message* unwrap(const Message* message) {
  if (message == nullptr || message->GetDescriptor()->name() != "Node") return message;
  const auto* oneof = message->GetDescriptor()->oneof_decl(0);
  const FieldDescriptor* field = message->GetReflection()->GetOneofFieldDescriptor(*message, oneof);
  return field == nullptr ? nullptr : &message->GetReflection()->GetMessage(*message, field);
}

template <class Visit>
void for_each_child(const Message& message, const Visit& visit) {
  const auto* reflection = message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      visit(&reflection->GetMessage(message, field));
      continue;
    }
    for (int i = 0; i < reflection->FieldSize(message, field); ++i)
      visit(&reflection->GetRepeatedMessage(message, field, i));
  }
}

void collect(const Message* raw, std::string_view kind, std::vector<Tree>& out) {
  const Message* message = unwrap(raw);
  if (message == nullptr) return;
  if (message->GetDescriptor()->name() == kind) out.emplace_back(message);
  for_each_child(*message, [&](const Message* child) { collect(child, kind, out); });
}

}  // namespace

bool take_unknown_field_used() {
  const bool used = unknown_field;
  unknown_field = false;
  return used;
}

Tree::Tree(const Message* message) : message_(unwrap(message)) {}

std::string Tree::kind() const {
  return message_ == nullptr ? "" : message_->GetDescriptor()->name();
}

std::string Tree::str(std::string_view field) const {
  const FieldDescriptor* found = find_field(message_, field);
  if (found == nullptr || found->cpp_type() != FieldDescriptor::CPPTYPE_STRING) return {};
  return message_->GetReflection()->GetString(*message_, found);
}

int64_t Tree::num(std::string_view field) const {
  const FieldDescriptor* found = find_field(message_, field);
  if (found == nullptr) return 0;
  const auto* reflection = message_->GetReflection();
  switch (found->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return reflection->GetInt32(*message_, found);
    case FieldDescriptor::CPPTYPE_INT64:
      return reflection->GetInt64(*message_, found);
    case FieldDescriptor::CPPTYPE_UINT32:
      return reflection->GetUInt32(*message_, found);
    case FieldDescriptor::CPPTYPE_ENUM:
      return reflection->GetEnumValue(*message_, found);
    default:
      unknown_field = true;
      return 0;
  }
}

std::string Tree::name_of(std::string_view field) const {
  const FieldDescriptor* found = find_field(message_, field);
  if (found == nullptr || found->cpp_type() != FieldDescriptor::CPPTYPE_ENUM) return {};
  return message_->GetReflection()->GetEnum(*message_, found)->name();
}

bool Tree::flag(std::string_view field) const {
  const FieldDescriptor* found = find_field(message_, field);
  if (found == nullptr || found->cpp_type() != FieldDescriptor::CPPTYPE_BOOL) return false;
  return message_->GetReflection()->GetBool(*message_, found);
}

Tree Tree::child(std::string_view field) const {
  const FieldDescriptor* found = find_field(message_, field);
  if (found == nullptr || found->is_repeated() || found->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE)
    return {};
  const auto* reflection = message_->GetReflection();
  if (!reflection->HasField(*message_, found)) return {};
  return Tree(&reflection->GetMessage(*message_, found));
}

std::vector<Tree> Tree::list(std::string_view field) const {
  std::vector<Tree> out;
  const FieldDescriptor* found = find_field(message_, field);
  if (found == nullptr || !found->is_repeated() || found->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE)
    return out;
  const auto* reflection = message_->GetReflection();
  for (int i = 0; i < reflection->FieldSize(*message_, found); ++i)
    out.emplace_back(&reflection->GetRepeatedMessage(*message_, found, i));
  return out;
}

std::vector<Tree> Tree::children() const {
  std::vector<Tree> out;
  if (message_ != nullptr) for_each_child(*message_, [&](const Message* child) { out.emplace_back(child); });
  return out;
}

std::vector<std::string> Tree::strings(std::string_view field) const {
  std::vector<std::string> out;
  for (const Tree& item : list(field)) {
    if (item.is("String")) out.push_back(item.str("sval"));
  }
  return out;
}

std::string Tree::constant() const {
  const std::string name = kind();
  if (name == "String") return str("sval");
  if (name == "Float") return str("fval");
  if (name == "Integer") return std::to_string(num("ival"));
  if (name == "Boolean") return flag("boolval") ? "true" : "false";
  if (name == "BitString") return str("bsval");
  if (name != "A_Const") return {};
  for (const std::string_view field : {"ival", "fval", "boolval", "sval", "bsval"}) {
    if (const Tree value = child(field)) return value.constant();
  }
  return {};
}

std::vector<Tree> Tree::all(std::string_view wanted) const {
  std::vector<Tree> out;
  collect(message_, wanted, out);
  return out;
}

}  // namespace decan::sql
