// The table of all configuration keys. Internal to this module.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/config.h"

namespace decan::config {

struct IntegerSlot {
  int64_t* value;
  int64_t least, most;
};
struct SizeSlot {
  Bytes* value;
  uint64_t least, most;
};
struct DurationSlot {
  Duration* value;
  bool may_be_off;
};
// One of several words.
struct ChoiceSlot {
  std::vector<std::string> words;
  std::function<size_t()> get;
  std::function<void(size_t)> set;
};
struct ListenSlot {
  std::vector<ListenAddress>* value;
  bool may_be_off;
};
using Slot = std::variant<std::string*, IntegerSlot, SizeSlot, DurationSlot, ChoiceSlot, ListenSlot,
                          std::vector<AccessRule>*, std::map<std::string, std::string>*>;

struct Field {
  std::string section;  // empty: top level
  std::string name;
  Slot slot;
  bool reloadable;
  std::string documentation;  // lines end with \n
  std::string path() const { return section.empty() ? name : section + "." + name; }
};

struct Section {
  std::string name, documentation;
};

const std::vector<Section>& sections();
// The fields' slots point into `config`.
std::vector<Field> fields(Config& config);
// The value as YAML flow text, e.g. 30s or ["127.0.0.1:7432"]; lists of rules and maps as a block at
// `indent`.
std::string slot_text(const Slot& slot, int indent);
// Takes the value of `from` over into `to`; both are the same key of two configurations.
void copy_slot(const Slot& from, const Slot& to);

std::optional<ListenAddress> parse_listen(std::string_view text);

}  // namespace decan::config
