#include "base/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/quantity.h"

namespace decan {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string refusal(std::string_view yaml) {
  const auto config = parse_config(yaml, "/etc/d/decan.yaml");
  if (config) return "accepted";
  EXPECT_EQ(config.error().sqlstate, "F0000");
  return config.error().message;
}

TEST(Config, an_empty_file_means_the_defaults) {
  const auto config = parse_config("", "/etc/d/decan.yaml").value();
  EXPECT_EQ(effective_yaml(config), effective_yaml(default_config("/etc/d")));
  EXPECT_EQ(to_string(config.compute.listen.at(0)), "127.0.0.1:7432");
  EXPECT_EQ(config.tls.certificate, "/etc/d/tls/server.crt");
  EXPECT_EQ(config.limits.max_unit_connections, 50);
}

TEST(Config, the_documented_defaults_are_a_file_that_means_the_defaults) {
  const Config defaults = default_config("/etc/d");
  const std::string text = documented_yaml(defaults);
  const auto config = parse_config(text, "/etc/d/decan.yaml");
  ASSERT_TRUE(config) << config.error().message << text;
  EXPECT_EQ(effective_yaml(*config), effective_yaml(defaults));
}

TEST(Config, every_kind_of_value_is_read) {
  const auto config = parse_config(R"(
data_directory: data
compute:
  listen: ["0.0.0.0:5000", "[::1]:5001"]
  threads: 3
  metrics_listen: off
tls: {mode: require, certificate: my.crt, key: /k}
hosts:
  - {address: 10.0.0.0/8, database: [a, b], role: app, tls: require}
  - {address: all, method: reject}
limits: {merge_memory: 1GB, authentication_timeout: 3s}
log: {level: debug, format: json, slow_statement: off}
units: {settings: {random_page_cost: 1.1, search_path: "a, b"}}
)",
                                   "/etc/d/decan.yaml")
                          .value();
  EXPECT_EQ(config.data_directory, "/etc/d/data");
  ASSERT_EQ(config.compute.listen.size(), 2u);
  EXPECT_EQ(config.compute.listen[1], (ListenAddress{"::1", 5001}));
  EXPECT_TRUE(config.compute.metrics_listen.empty());
  EXPECT_EQ(config.tls.mode, TlsMode::kRequire);
  EXPECT_EQ(config.tls.certificate, "/etc/d/my.crt");
  EXPECT_EQ(config.tls.key, "/k");
  ASSERT_EQ(config.hosts.size(), 2u);
  EXPECT_THAT(config.hosts[0].databases, ElementsAre("a", "b"));
  EXPECT_EQ(config.hosts[0].tls, TlsNeed::kRequired);
  EXPECT_EQ(config.hosts[1].method, LoginMethod::kReject);
  EXPECT_EQ(config.limits.merge_memory.value, 1ull << 30);
  EXPECT_EQ(config.log.level, log::Level::kDebug);
  EXPECT_EQ(config.log.slow_statement, 0ms);
  EXPECT_EQ(config.units.settings.at("random_page_cost"), "1.1");
}

TEST(Config, what_is_shown_is_read_back_as_the_same) {
  Config config = default_config("/etc/d");
  config.hosts = {{.address = *parse_range("10.0.0.0/8"),
                   .databases = {"a\"b", "c"},
                   .roles = {"r"},
                   .method = LoginMethod::kReject,
                   .tls = TlsNeed::kRequired}};
  config.units.settings = {{"log_line_prefix", "%m \"\\ "}};
  config.compute.metrics_listen.clear();
  const auto again = parse_config(effective_yaml(config), "/etc/d/decan.yaml");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(effective_yaml(*again), effective_yaml(config));
}

TEST(Config, unknown_keys_are_refused_with_line_and_column) {
  EXPECT_THAT(refusal("compute:\n  threads: 1\n  lissten: x\n"),
              HasSubstr("/etc/d/decan.yaml:3:3: there is no key compute.lissten; known here: listen"));
  EXPECT_THAT(refusal("\ncomputer: {}\n"),
              HasSubstr(":2:1: there is no key computer; known here: compute, "));
  EXPECT_THAT(refusal("hosts: [{address: all, user: x}]"),
              HasSubstr(":1:24: there is no key user in a rule"));
}

TEST(Config, bad_values_are_refused_with_line_column_and_what_would_be_right) {
  EXPECT_THAT(refusal("compute: {threads: 65}"),
              HasSubstr(":1:20: compute.threads must be a whole number from 0 to 64, not \"65\""));
  EXPECT_THAT(refusal("compute: {threads: [1]}"), HasSubstr("must be a single value"));
  EXPECT_THAT(refusal("compute: {listen: \"localhost:7432\"}"), HasSubstr("literal addresses"));
  EXPECT_THAT(refusal("compute: {listen: off}"), HasSubstr("literal addresses"));
  EXPECT_THAT(refusal("compute: {listen: []}"), HasSubstr("needs an address"));
  EXPECT_THAT(refusal("pool:\n  queue_timeout: 30\n"),
              HasSubstr(":2:18: pool.queue_timeout must be a time such as"));
  EXPECT_THAT(refusal("pool: {queue_timeout: off}"), HasSubstr("(not off)"));
  EXPECT_THAT(refusal("limits: {merge_memory: 1PB}"), HasSubstr("must be a size"));
  EXPECT_THAT(refusal("limits: {merge_memory: 1B}"), HasSubstr("must be a size from 1MB"));
  EXPECT_THAT(refusal("tls: {mode: yes}"), HasSubstr("must be one of off, on, require, not \"yes\""));
  EXPECT_THAT(refusal("hosts: [{address: 10.0.0.1/8}]"), HasSubstr("no bits set behind the prefix"));
  EXPECT_THAT(refusal("hosts: [{database: a}]"), HasSubstr("a rule needs an address"));
  EXPECT_THAT(refusal("units: {settings: {port: 1}}"), HasSubstr("Decan itself sets port"));
  EXPECT_THAT(refusal("units: {settings: {\"a = 1\\nb\": 1}}"), HasSubstr("no name of a setting"));
  EXPECT_THAT(refusal("units: {settings: {a: \"1\\nport = 3\"}}"), HasSubstr("must be one line"));
  EXPECT_THAT(refusal("limits: {max_unit_connections: 500}"),
              HasSubstr("units.max_connections must be at least 510"));
  EXPECT_THAT(refusal("compute: {metrics_listen: 127.0.0.1:7432}"), HasSubstr("listens twice"));
}

TEST(Config, what_is_not_one_yaml_map_is_refused) {
  EXPECT_THAT(refusal("a: [\n"), HasSubstr("not YAML"));
  EXPECT_THAT(refusal("- a\n"), HasSubstr("must be a map"));
  EXPECT_THAT(refusal("compute: 3\n"), HasSubstr("compute must be a map"));
  EXPECT_THAT(refusal("tls: {}\ntls: {}\n"), HasSubstr(":2:1: tls is there twice"));
  EXPECT_THAT(refusal("---\n{}\n---\n{}\n"), HasSubstr("one YAML document"));
  EXPECT_THAT(refusal(std::string(2000, '[')), HasSubstr("not YAML"));
  EXPECT_EQ(load_config("/nonexistent.yaml").error().sqlstate, "F0000");
}

TEST(ConfigReload, takes_what_may_change_and_names_what_needs_a_restart) {
  const Config running = default_config("/d");
  const auto loaded =
      parse_config("compute: {threads: 2}\nlog: {level: debug}\nhosts: []\n", "/d/decan.yaml").value();
  const Reload reload = plan_reload(running, loaded);
  EXPECT_THAT(reload.changed, ElementsAre("hosts", "log.level"));
  EXPECT_THAT(reload.need_restart, ElementsAre("compute.threads"));
  EXPECT_EQ(reload.config.log.level, log::Level::kDebug);
  EXPECT_TRUE(reload.config.hosts.empty());
  EXPECT_EQ(reload.config.compute.threads, 0);
}

TEST(AccessRules, the_first_rule_that_fits_decides) {
  const auto config = parse_config(
      "hosts:\n"
      "  - {address: 10.1.0.0/16, method: reject}\n"
      "  - {address: 10.0.0.0/8, role: [app, web], database: shop}\n"
      "  - {address: all, tls: require}\n",
      "/d/decan.yaml");
  const auto& rules = config.value().hosts;
  const auto find = [&](const char* from, const char* database, const char* role, bool tls) {
    const AccessRule* rule = find_rule(rules, {*parse_ip(from), database, role, tls});
    return rule ? rule - rules.data() : -1;
  };
  EXPECT_EQ(find("10.1.2.3", "shop", "app", true), 0);
  EXPECT_EQ(find("10.2.2.3", "shop", "web", false), 1);
  EXPECT_EQ(find("::ffff:10.2.2.3", "shop", "web", false), 1) << "IPv4 that came over an IPv6 socket";
  EXPECT_EQ(find("10.2.2.3", "other", "web", false), -1);
  EXPECT_EQ(find("2001:db8::1", "other", "web", true), 2);
}

TEST(AccessRules, the_default_lets_only_this_machine_in) {
  const auto rules = default_config("/d").hosts;
  EXPECT_TRUE(find_rule(rules, {*parse_ip("127.0.0.1"), "d", "r", false}));
  EXPECT_TRUE(find_rule(rules, {*parse_ip("::1"), "d", "r", false}));
  EXPECT_FALSE(find_rule(rules, {*parse_ip("192.168.0.1"), "d", "r", true}));
  EXPECT_FALSE(find_rule(rules, {*parse_ip("::2"), "d", "r", true}));
}

TEST(AddressRange, accepts_ranges_and_nothing_else) {
  EXPECT_EQ(parse_range("10.0.0.0/8")->to_string(), "10.0.0.0/8");
  EXPECT_EQ(parse_range("::1")->to_string(), "::1/128");
  EXPECT_EQ(parse_range("fe80::/10")->to_string(), "fe80::/10");
  EXPECT_EQ(parse_range("all")->to_string(), "all");
  EXPECT_EQ(parse_range("0.0.0.0/0")->to_string(), "0.0.0.0/0");
  for (const char* bad : {"", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.1/24", "::1/129", "host",
                          "1.2.3", "10.0.0.0/8x"}) {
    EXPECT_FALSE(parse_range(bad)) << bad;
  }
}

TEST(Quantity, durations_and_sizes_have_exactly_one_unit) {
  EXPECT_EQ(parse_duration("30s"), 30s);
  EXPECT_EQ(parse_duration("5 min"), 5min);
  EXPECT_EQ(parse_duration("250ms"), 250ms);
  EXPECT_EQ(parse_duration("2h"), 2h);
  EXPECT_EQ(parse_duration("off"), 0s);
  EXPECT_EQ(parse_duration("0"), 0s);
  for (const char* bad :
       {"", "30", "s", "-1s", "1.5s", "1s1s", "99999999999999999999s", "5000d", " 1s", "1S"}) {
    EXPECT_FALSE(parse_duration(bad)) << bad;
  }
  EXPECT_EQ(parse_size("256MB"), 256ull << 20);
  EXPECT_EQ(parse_size("1 kB"), 1024u);
  EXPECT_EQ(parse_size("17B"), 17u);
  for (const char* bad : {"", "1", "1M", "-1MB", "1.5GB", "18446744073709551615TB"}) {
    EXPECT_FALSE(parse_size(bad)) << bad;
  }
  EXPECT_EQ(format_duration(90s), "90s");
  EXPECT_EQ(format_duration(120s), "2min");
  EXPECT_EQ(format_duration(1500ms), "1500ms");
  EXPECT_EQ(format_size(64ull << 20), "64MB");
  EXPECT_EQ(format_size(1000), "1000B");
}

}  // namespace
}  // namespace decan
