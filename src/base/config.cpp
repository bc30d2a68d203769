// YAML text -> configuration.
#include "base/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/config_fields.h"
#include "base/quantity.h"

namespace decan {
namespace config {
namespace {

constexpr size_t kMaxFileBytes = 1 << 20;
constexpr std::string_view kConfigFileError = "F0000";
constexpr int64_t kReservedUnitConnections = 10;

// Settings that Decan writes itself; another value would break it.
const std::set<std::string, std::less<>> kOwnSettings = {"port",
                                                         "listen_addresses",
                                                         "unix_socket_directories",
                                                         "wal_level",
                                                         "data_directory",
                                                         "hba_file",
                                                         "ident_file",
                                                         "config_file",
                                                         "shared_buffers",
                                                         "work_mem",
                                                         "max_connections",
                                                         "max_prepared_transactions",
                                                         "include",
                                                         "include_dir",
                                                         "password_encryption",
                                                         "external_pid_file",
                                                         "log_directory",
                                                         "logging_collector",
                                                         "include_if_exists",
                                                         "enable_partitionwise_join",
                                                         "enable_partitionwise_aggregate"};

class Reader {
 public:
  explicit Reader(std::string path) : path_(std::move(path)) {}

  Status read(const YAML::Node& root, const std::vector<Field>& all) {
    if (root.IsNull()) return {};
    if (!root.IsMap()) return at(root, "the file must be a map of keys");
    return read_map(root, "", all);
  }

 private:
  Status at(const YAML::Mark& mark, std::string_view sentence) const {
    return fail(kConfigFileError,
                fmt::format("{}:{}:{}: {}", path_, mark.line + 1, mark.column + 1, sentence));
  }
  Status at(const YAML::Node& node, std::string_view sentence) const { return at(node.Mark(), sentence); }

  Status read_map(const YAML::Node& map, const std::string& section, const std::vector<Field>& all) {
    std::set<std::string> seen;
    for (const auto& pair : map) {
      if (!pair.first.IsScalar()) return at(pair.first, "a key must be a plain word");
      const std::string& key = pair.first.Scalar();
      const std::string path = section.empty() ? key : section + "." + key;
      if (!seen.insert(key).second) return at(pair.first, fmt::format("{} is there twice", path));
      const auto field =
          std::ranges::find_if(all, [&](const Field& f) { return f.section == section && f.name == key; });
      Status done;
      if (field != all.end()) {
        done = read_field(pair.second, *field);
      } else if (section.empty() && is_section(key)) {
        done = read_section(pair.second, key, all);
      } else {
        done = at(pair.first, unknown_key(path, section, all));
      }
      if (!done) return done;
    }
    return {};
  }

  static bool is_section(std::string_view name) {
    return std::ranges::any_of(sections(),
                               [&](const Section& s) { return !s.name.empty() && s.name == name; });
  }

  Status read_section(const YAML::Node& node, const std::string& name, const std::vector<Field>& all) {
    if (node.IsNull()) return {};
    if (!node.IsMap()) return at(node, fmt::format("{} must be a map of keys", name));
    return read_map(node, name, all);
  }

  static std::string unknown_key(const std::string& path, const std::string& section,
                                 const std::vector<Field>& all) {
    std::set<std::string> known;
    for (const Field& field : all) {
      if (field.section == section) known.insert(field.name);
    }
    if (section.empty()) {
      for (const Section& s : sections()) known.insert(s.name);
      known.erase("");
    }
    return fmt::format("there is no key {}; known here: {}", path, fmt::join(known, ", "));
  }

  Status read_field(const YAML::Node& node, const Field& field) {
    return std::visit([&](const auto& slot) { return read_slot(node, field.path(), slot); }, field.slot);
  }

  Result<std::string> scalar(const YAML::Node& node, const std::string& path) const {
    if (node.IsScalar()) return node.Scalar();
    return fail(at(node, fmt::format("{} must be a single value", path)).error());
  }

  Status read_slot(const YAML::Node& node, const std::string& path, std::string* value) {
    const auto text = scalar(node, path);
    if (!text) return fail(text.error());
    if (text->find('\0') != std::string::npos) return at(node, fmt::format("{} holds a zero byte", path));
    *value = *text;
    return {};
  }

  Status read_slot(const YAML::Node& node, const std::string& path, const IntegerSlot& slot) {
    const auto text = scalar(node, path);
    if (!text) return fail(text.error());
    int64_t number = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
    if (error != std::errc() || end != text->data() + text->size() || number < slot.least ||
        number > slot.most) {
      return at(node, fmt::format("{} must be a whole number from {} to {}, not \"{}\"", path, slot.least,
                                  slot.most, *text));
    }
    *slot.value = number;
    return {};
  }

  Status read_slot(const YAML::Node& node, const std::string& path, const SizeSlot& slot) {
    const auto text = scalar(node, path);
    if (!text) return fail(text.error());
    const auto size = parse_size(*text);
    if (!size || *size < slot.least || *size > slot.most) {
      return at(node, fmt::format("{} must be a size from {} to {}, such as 256MB, not \"{}\"", path,
                                  format_size(slot.least), format_size(slot.most), *text));
    }
    slot.value->value = *size;
    return {};
  }

  Status read_slot(const YAML::Node& node, const std::string& path, const DurationSlot& slot) {
    const auto text = scalar(node, path);
    if (!text) return fail(text.error());
    const auto duration = parse_duration(*text);
    if (!duration || (duration->count() == 0 && !slot.may_be_off)) {
      return at(node, fmt::format("{} must be a time such as 500ms, 30s, 5min{}, not \"{}\"", path,
                                  slot.may_be_off ? ", or off" : " (not off)", *text));
    }
    *slot.value = *duration;
    return {};
  }

  Status read_slot(const YAML::Node& node, const std::string& path, const ChoiceSlot& slot) {
    const auto text = scalar(node, path);
    if (!text) return fail(text.error());
    const auto found = std::ranges::find(slot.words, *text);
    if (found == slot.words.end()) {
      return at(node,
                fmt::format("{} must be one of {}, not \"{}\"", path, fmt::join(slot.words, ", "), *text));
    }
    slot.set(static_cast<size_t>(found - slot.words.begin()));
    return {};
  }

  Status read_slot(const YAML::Node& node, const std::string& path, const ListenSlot& slot) {
    std::vector<YAML::Node> items;
    if (node.IsScalar()) {
      items.push_back(node);
    } else if (node.IsSequence()) {
      for (const auto& item : node) items.push_back(item);
    }
    std::vector<ListenAddress> addresses;
    if (slot.may_be_off && items.size() == 1 && items[0].IsScalar() && items[0].Scalar() == "off")
      items.clear();
    else if (items.empty())
      return at(node, fmt::format("{} needs an address such as 127.0.0.1:7432", path));
    for (const YAML::Node& item : items) {
      const auto address = item.IsScalar() ? parse_listen(item.Scalar()) : std::nullopt;
      if (!address) {
        return at(item, fmt::format("{} must hold literal addresses with ports, such as 127.0.0.1:7432 or "
                                    "\"[::1]:7432\"",
                                    path));
      }
      addresses.push_back(*address);
    }
    *slot.value = std::move(addresses);
    return {};
  }

  Status read_slot(const YAML::Node& node, const std::string& path,
                   std::map<std::string, std::string>* value) {
    if (node.IsNull()) return {};
    if (!node.IsMap()) return at(node, fmt::format("{} must be a map of settings", path));
    for (const auto& pair : node) {
      const auto key = scalar(pair.first, path);
      const auto text = scalar(pair.second, path);
      if (!key) return fail(key.error());
      if (!text) return fail(text.error());
      const bool plain = !key->empty() && key->find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_.") ==
                                              std::string::npos;
      if (!plain) return at(pair.first, fmt::format("\"{}\" is no name of a setting", *key));
      if (kOwnSettings.contains(*key)) {
        return at(pair.first, fmt::format("Decan itself sets {}; remove it from {}", *key, path));
      }
      if (text->find_first_of(std::string_view("\0\n\r", 3)) != std::string::npos) {
        return at(pair.second, fmt::format("the value of {} must be one line", *key));
      }
      (*value)[*key] = *text;
    }
    return {};
  }

  Status read_slot(const YAML::Node& node, const std::string& path, std::vector<AccessRule>* value) {
    if (!node.IsSequence()) return at(node, fmt::format("{} must be a list of rules", path));
    std::vector<AccessRule> rules;
    for (const auto& item : node) {
      if (!item.IsMap())
        return at(item, "a rule is a map: {address: …, database: …, role: …, method: …, tls: …}");
      AccessRule rule;
      if (Status done = read_rule(item, rule); !done) return done;
      rules.push_back(std::move(rule));
    }
    *value = std::move(rules);
    return {};
  }

  Status read_rule(const YAML::Node& node, AccessRule& rule) {
    bool has_address = false;
    for (const auto& pair : node) {
      const auto key = scalar(pair.first, "the key of a rule");
      if (!key) return fail(key.error());
      Status done;
      if (*key == "address") {
        const auto range = pair.second.IsScalar() ? parse_range(pair.second.Scalar()) : std::nullopt;
        if (!range) {
          return at(pair.second,
                    "address must be a range such as 10.0.0.0/8 or ::1/128 with no bits set behind the "
                    "prefix, or all");
        }
        rule.address = *range;
        has_address = true;
      } else if (*key == "database") {
        done = read_names(pair.second, "database", rule.databases);
      } else if (*key == "role") {
        done = read_names(pair.second, "role", rule.roles);
      } else if (*key == "method") {
        done = read_slot(pair.second, "method", ChoiceSlot{{"scram-sha-256", "reject"}, {}, [&](size_t i) {
                                                             rule.method = LoginMethod(i);
                                                           }});
      } else if (*key == "tls") {
        done = read_slot(pair.second, "tls",
                         ChoiceSlot{{"optional", "require"}, {}, [&](size_t i) { rule.tls = TlsNeed(i); }});
      } else {
        done = at(
            pair.first,
            fmt::format("there is no key {} in a rule; known: address, database, role, method, tls", *key));
      }
      if (!done) return done;
    }
    if (!has_address) return at(node, "a rule needs an address");
    return {};
  }

  Status read_names(const YAML::Node& node, const std::string& what, std::vector<std::string>& names) {
    names.clear();
    if (node.IsScalar() && node.Scalar() == "all") return {};
    if (node.IsScalar() && !node.Scalar().empty()) {
      names.push_back(node.Scalar());
      return {};
    }
    if (node.IsSequence()) {
      for (const auto& item : node) {
        if (item.IsScalar() && !item.Scalar().empty()) names.push_back(item.Scalar());
      }
      if (!names.empty() && names.size() == node.size()) return {};
    }
    return at(node, fmt::format("{} must be all, a name, or a list of names", what));
  }

  std::string path_;
};

void make_absolute(std::string& path, const std::filesystem::path& base) {
  if (!path.empty()) path = (base / path).lexically_normal().string();
}

Status check_together(const Config& config, const std::string& path) {
  const auto refuse = [&](std::string_view sentence) -> Status {
    return fail(kConfigFileError, fmt::format("{}: {}", path, sentence));
  };
  if (config.limits.max_unit_connections + kReservedUnitConnections > config.units.max_connections) {
    return refuse(fmt::format(
        "limits.max_unit_connections is {}, so units.max_connections must be at least {}",
        config.limits.max_unit_connections, config.limits.max_unit_connections + kReservedUnitConnections));
  }
  std::set<std::string> listen;
  for (const auto* list : {&config.compute.listen, &config.compute.metrics_listen}) {
    for (const ListenAddress& address : *list) {
      if (!listen.insert(to_string(address)).second) {
        return refuse(
            fmt::format("compute listens twice on {}; see compute.listen and compute.metrics_listen",
                        to_string(address)));
      }
    }
  }
  return {};
}

}  // namespace

std::optional<ListenAddress> parse_listen(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view address = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  const bool bracketed = address.starts_with('[') && address.ends_with(']');
  if (bracketed) address = address.substr(1, address.size() - 2);
  if (bracketed != (address.find(':') != std::string_view::npos) || !parse_ip(address)) return std::nullopt;
  unsigned port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size() || port < 1 || port > 65535)
    return std::nullopt;
  return ListenAddress{std::string(address), static_cast<uint16_t>(port)};
}

}  // namespace config

Config default_config(const std::string& data_directory) {
  using namespace std::chrono_literals;
  constexpr uint64_t kKilo = 1024, kMega = kKilo * kKilo;
  Config config;
  config.data_directory = data_directory;
  config.compute = {.listen = {{"127.0.0.1", kDefaultPort}},
                    .threads = 0,
                    .metrics_listen = {{"127.0.0.1", kDefaultMetricsPort}},
                    .shutdown_grace = 5s};
  config.tls = {.mode = TlsMode::kOn, .certificate = "tls/server.crt", .key = "tls/server.key"};
  config.hosts = {{.address = *parse_range("127.0.0.0/8"), .databases = {}, .roles = {}},
                  {.address = *parse_range("::1/128"), .databases = {}, .roles = {}}};
  config.limits = {.max_client_connections = 20'000,
                   .max_unit_connections = 50,
                   .authentication_timeout = 10s,
                   .login_failures = 20,
                   .login_window = 60s,
                   .session_buffer_bytes = {256 * kKilo},
                   .plan_cache_bytes = {64 * kMega},
                   .merge_memory = {256 * kMega}};
  config.pool = {.connect_timeout = 5s,
                 .queue_timeout = 30s,
                 .idle_timeout = 10min,
                 .max_lifetime = 1h,
                 .prepared_statements_per_connection = 200};
  config.log = {.level = log::Level::kInfo, .format = log::Format::kText, .slow_statement = 1s};
  config.units = {.binaries = "/usr/lib/postgresql/15/bin",
                  .first_port = 7500,
                  .shared_buffers = {128 * kMega},
                  .work_mem = {8 * kMega},
                  .max_connections = 100,
                  .max_prepared_transactions = 100,
                  .settings = {}};
  config::make_absolute(config.tls.certificate, data_directory);
  config::make_absolute(config.tls.key, data_directory);
  return config;
}

Result<Config> parse_config(std::string_view yaml, const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::path base = fs::absolute(path, ignored).lexically_normal().parent_path();
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(std::string(yaml));
    if (documents.size() > 1) {
      return fail(config::kConfigFileError, fmt::format("{}: the file must hold one YAML document", path));
    }
    Config config = default_config(base.string());
    const Config defaults = config;
    if (!documents.empty()) {
      if (Status done = config::Reader(path).read(documents[0], config::fields(config)); !done) {
        return fail(done.error());
      }
    }
    config::make_absolute(config.data_directory, base);
    config::make_absolute(config.units.binaries, base);
    for (auto member : {&Config::Tls::certificate, &Config::Tls::key}) {
      std::string& file = config.tls.*member;
      if (file == defaults.tls.*member) file = default_config(config.data_directory).tls.*member;
      config::make_absolute(file, base);
    }
    if (Status done = config::check_together(config, path); !done) return fail(done.error());
    return config;
  } catch (const YAML::Exception& error) {
    return fail(config::kConfigFileError, fmt::format("{}:{}:{}: not YAML: {}", path, error.mark.line + 1,
                                                      error.mark.column + 1, error.msg));
  }
}

Result<Config> load_config(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text;
  if (in) text.assign(std::istreambuf_iterator<char>(in), {});
  if (!in.is_open() || in.bad()) {
    return fail(config::kConfigFileError, fmt::format("the configuration {} can not be read", path),
                std::strerror(errno), "'decan up' makes one; 'decan config show --defaults' shows all keys.");
  }
  if (text.size() > config::kMaxFileBytes) {
    return fail(config::kConfigFileError, fmt::format("the configuration {} is larger than 1 MB", path));
  }
  return parse_config(text, path);
}

}  // namespace decan
