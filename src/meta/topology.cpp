#include "meta/topology.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

namespace decan::meta {
namespace {

using nlohmann::json;

constexpr std::string_view kUnitPrefix = "units/";
constexpr std::string_view kHomeKey = "cluster/home";
constexpr std::string_view kSecretKey = "cluster/secret";
constexpr std::string_view kNextOrdinalKey = "cluster/next_ordinal";

std::string unit_key(std::string_view name) {
  return fmt::format("{}{}", kUnitPrefix, name);
}

std::unexpected<Error> malformed(std::string_view what) {
  return fail(sqlstate::kDataCorrupted, "a storage unit's record in the metadata store is damaged",
              std::string(what), "Register the unit again.");
}

}  // namespace

std::string to_json(const UnitRecord& unit) {
  json properties = json::array();
  for (const auto& [key, value] : unit.properties) properties.push_back({key, value});
  return json{{"name", unit.name},
              {"host", unit.host},
              {"port", unit.port},
              {"service_user", unit.service_user},
              {"service_password", unit.service_password},
              {"database", unit.database},
              {"tls", unit.tls},
              {"ordinal", unit.ordinal},
              {"system_identifier", unit.system_identifier},
              {"properties", std::move(properties)},
              {"embedded", unit.embedded},
              {"data_directory", unit.data_directory}}
      .dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<UnitRecord> unit_from_json(std::string_view text) {
  try {
    const json value = json::parse(text);
    UnitRecord unit;
    unit.name = value.at("name").get<std::string>();
    unit.host = value.at("host").get<std::string>();
    const auto port = value.at("port").get<int64_t>();
    const auto ordinal = value.at("ordinal").get<int64_t>();
    if (port < 1 || port > 65535) return malformed("port out of range");
    if (ordinal < 0 || ordinal > UINT32_MAX) return malformed("ordinal out of range");
    unit.port = static_cast<uint16_t>(port);
    unit.ordinal = static_cast<uint32_t>(ordinal);
    unit.service_user = value.at("service_user").get<std::string>();
    unit.service_password = value.at("service_password").get<std::string>();
    unit.database = value.value("database", "");
    unit.system_identifier = value.value("system_identifier", "");
    unit.tls = value.value("tls", false);
    unit.embedded = value.value("embedded", false);
    unit.data_directory = value.value("data_directory", "");
    for (const json& property : value.value("properties", json::array())) {
      unit.properties.emplace_back(property.at(0).get<std::string>(), property.at(1).get<std::string>());
    }
    return unit;
  } catch (const json::exception& error) {
    return malformed(error.what());
  }
}

Result<std::vector<UnitRecord>> load_units(Store& store) {
  const auto entries = store.list(kUnitPrefix);
  if (!entries) return fail(entries.error());
  std::vector<UnitRecord> units;
  for (const Entry& entry : *entries) {
    auto unit = unit_from_json(entry.value);
    if (!unit) return fail(unit.error());
    units.push_back(std::move(*unit));
  }
  std::ranges::sort(units, {}, &UnitRecord::ordinal);
  return units;
}

Status save_unit(Store& store, const UnitRecord& unit, bool must_not_exist) {
  Operation put{.key = unit_key(unit.name), .value = to_json(unit)};
  if (must_not_exist) put.expected_revision = 0;
  const auto revision = store.commit({put});
  if (!revision) return fail(revision.error());
  if (!*revision) {
    return fail(sqlstate::kDuplicateObject, fmt::format("storage unit \"{}\" already exists", unit.name));
  }
  return {};
}

Status remove_unit(Store& store, std::string_view name) {
  const auto entry = store.get(unit_key(name));
  if (!entry) return fail(entry.error());
  if (*entry) {
    const auto revision = store.commit({Operation{.kind = Operation::Kind::kDelete,
                                                  .key = unit_key(name),
                                                  .expected_revision = (*entry)->mod_revision}});
    if (!revision) return fail(revision.error());
    if (*revision) return {};
  }
  return fail(sqlstate::kUndefinedObject, fmt::format("storage unit \"{}\" does not exist", name));
}

Result<uint32_t> claim_ordinal(Store& store) {
  while (true) {
    const auto units = load_units(store);
    if (!units) return fail(units.error());
    const auto stored = store.get(kNextOrdinalKey);
    if (!stored) return fail(stored.error());
    uint32_t next = units->empty() ? 0 : units->back().ordinal + 1;
    if (*stored) {
      uint32_t kept = 0;
      const std::string& text = (*stored)->value;
      std::from_chars(text.data(), text.data() + text.size(), kept);
      next = std::max(next, kept);
    }
    const auto revision =
        store.commit({Operation{.key = std::string(kNextOrdinalKey),
                                .value = std::to_string(next + 1),
                                .expected_revision = *stored ? (*stored)->mod_revision : 0}});
    if (!revision) return fail(revision.error());
    if (*revision) return next;
  }
}

Result<std::string> cluster_secret(Store& store, const std::string& fresh) {
  const auto revision =
      store.commit({Operation{.key = std::string(kSecretKey), .value = fresh, .expected_revision = 0}});
  if (!revision) return fail(revision.error());
  if (*revision) return fresh;
  const auto entry = store.get(kSecretKey);  // it was there
  if (!entry) return fail(entry.error());
  if (!*entry || (*entry)->value.empty())
    return fail(sqlstate::kDataCorrupted, "the cluster's secret is missing in the metadata store");
  return (*entry)->value;
}

Result<std::string> home_unit(Store& store) {
  const auto entry = store.get(kHomeKey);
  if (!entry) return fail(entry.error());
  if (!*entry) {
    return fail(sqlstate::kObjectNotInPrerequisiteState, "the cluster has no home unit", {},
                "Run 'decan up', or register a storage unit.");
  }
  return (*entry)->value;
}

Status set_home_unit(Store& store, std::string_view name) {
  const auto revision = store.commit({Operation{.key = std::string(kHomeKey), .value = std::string(name)}});
  if (!revision) return fail(revision.error());
  return {};
}

}  // namespace decan::meta
