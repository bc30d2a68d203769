// Configuration -> YAML text, and the comparison of two configurations.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <thread>

#include "base/config_fields.h"
#include "base/quantity.h"

namespace decan {
namespace config {
namespace {

// A double-quoted YAML scalar.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string names_text(const std::vector<std::string>& names) {
  if (names.empty()) return "all";
  std::vector<std::string> all;
  for (const std::string& name : names) all.push_back(quoted(name));
  return fmt::format("[{}]", fmt::join(all, ", "));
}

std::string rules_text(const std::vector<AccessRule>& rules, int indent) {
  if (rules.empty()) return "[]";
  std::string out;
  for (const AccessRule& rule : rules) {
    out += fmt::format("\n{:{}}- {{address: {}, database: {}, role: {}, method: {}, tls: {}}}", "", indent,
                       quoted(rule.address.to_string()), names_text(rule.databases), names_text(rule.roles),
                       rule.method == LoginMethod::kReject ? "reject" : "scram-sha-256",
                       rule.tls == TlsNeed::kRequired ? "require" : "optional");
  }
  return out;
}

struct TextOf {
  int indent;
  std::string operator()(const std::string* value) const { return quoted(*value); }
  std::string operator()(const IntegerSlot& slot) const { return fmt::format("{}", *slot.value); }
  std::string operator()(const SizeSlot& slot) const { return format_size(slot.value->value); }
  std::string operator()(const DurationSlot& slot) const { return format_duration(*slot.value); }
  std::string operator()(const ChoiceSlot& slot) const { return slot.words[slot.get()]; }
  std::string operator()(const ListenSlot& slot) const {
    if (slot.value->empty()) return "off";
    std::vector<std::string> all;
    for (const ListenAddress& address : *slot.value) all.push_back(quoted(decan::to_string(address)));
    return all.size() == 1 ? all[0] : fmt::format("[{}]", fmt::join(all, ", "));
  }
  std::string operator()(const std::vector<AccessRule>* rules) const {
    return rules_text(*rules, indent + 2);
  }
  std::string operator()(const std::map<std::string, std::string>* map) const {
    if (map->empty()) return "{}";
    std::string out;
    for (const auto& [key, value] : *map)
      out += fmt::format("\n{:{}}{}: {}", "", indent + 2, key, quoted(value));
    return out;
  }
};

struct Copy {
  const Slot& to;
  void operator()(std::string* from) const { *std::get<std::string*>(to) = *from; }
  void operator()(const IntegerSlot& from) const { *std::get<IntegerSlot>(to).value = *from.value; }
  void operator()(const SizeSlot& from) const { *std::get<SizeSlot>(to).value = *from.value; }
  void operator()(const DurationSlot& from) const { *std::get<DurationSlot>(to).value = *from.value; }
  void operator()(const ChoiceSlot& from) const { std::get<ChoiceSlot>(to).set(from.get()); }
  void operator()(const ListenSlot& from) const { *std::get<ListenSlot>(to).value = *from.value; }
  void operator()(std::vector<AccessRule>* from) const { *std::get<std::vector<AccessRule>*>(to) = *from; }
  void operator()(std::map<std::string, std::string>* from) const {
    *std::get<std::map<std::string, std::string>*>(to) = *from;
  }
};

std::string key_line(const Field& field, int indent) {
  const std::string value = slot_text(field.slot, indent);
  return fmt::format("{:{}}{}:{}{}\n", "", indent, field.name, value.starts_with('\n') ? "" : " ", value);
}

std::string comment(std::string_view text, int indent) {
  std::string out;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    out += fmt::format("{:{}}# {}\n", "", indent, text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return out;
}

std::string to_yaml(Config config, bool documented) {
  std::string out;
  const std::vector<Field> all = fields(config);
  for (const Section& section : sections()) {
    const int indent = section.name.empty() ? 0 : 2;
    if (!section.name.empty()) {
      out += documented ? "\n" + comment(section.documentation, 0) : "";
      out += section.name + ":\n";
    }
    for (const Field& field : all) {
      if (field.section != section.name) continue;
      if (documented) {
        out += "\n" + comment(field.documentation, indent);
        out += comment(field.reloadable ? "Reload (SIGHUP) suffices." : "Takes effect at the next start.",
                       indent);
      }
      out += key_line(field, indent);
    }
  }
  return out;
}

}  // namespace

std::string slot_text(const Slot& slot, int indent) {
  return std::visit(TextOf{indent}, slot);
}
void copy_slot(const Slot& from, const Slot& to) {
  std::visit(Copy{to}, from);
}

}  // namespace config

std::string to_string(const ListenAddress& address) {
  const bool v6 = address.address.find(':') != std::string::npos;
  return v6 ? fmt::format("[{}]:{}", address.address, address.port)
            : fmt::format("{}:{}", address.address, address.port);
}

std::string documented_yaml(const Config& config) {
  return "# Configuration of Decan. Every key may be left out; what is written here is what holds then.\n"
         "# Check a file with 'decan config check'. Reload with SIGHUP to the supervisor or the compute "
         "node.\n" +
         config::to_yaml(config, true);
}

std::string effective_yaml(const Config& config) {
  return config::to_yaml(config, false);
}

Reload plan_reload(const Config& running, const Config& loaded) {
  Reload reload{running, {}, {}};
  Config from = loaded;
  const std::vector<config::Field> to_fields = config::fields(reload.config);
  const std::vector<config::Field> from_fields = config::fields(from);
  for (size_t i = 0; i < to_fields.size(); ++i) {
    if (config::slot_text(to_fields[i].slot, 0) == config::slot_text(from_fields[i].slot, 0)) continue;
    if (to_fields[i].reloadable) {
      config::copy_slot(from_fields[i].slot, to_fields[i].slot);
      reload.changed.push_back(to_fields[i].path());
    } else {
      reload.need_restart.push_back(to_fields[i].path());
    }
  }
  return reload;
}

int effective_threads(const Config& config) {
  if (config.compute.threads > 0) return static_cast<int>(config.compute.threads);
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, static_cast<int>(kMaxThreads));
}

}  // namespace decan
