// Sharding algorithms of the admin language as PostgreSQL partitions: hash_mod is hash, the range algorithms
// are ranges.
#include <algorithm>
#include <charconv>
#include <cstdio>

#include "distsql/rule_store.h"

namespace decan::distsql {
namespace {

using placement::ShardOptions;

constexpr int64_t kSecondsPerDay = 86'400;

std::string lower(std::string_view text) {
  std::string out;
  for (const char c : text) out += c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  return out;
}

std::unexpected<Error> bad_property(const Algorithm& algorithm, std::string_view key, std::string_view what) {
  return fail(sqlstate::kInvalidParameterValue,
              "property '" + std::string(key) + "' of algorithm " + algorithm.type + " " + std::string(what));
}

const std::string* property(const Algorithm& algorithm, std::string_view key) {
  for (const auto& [name, value] : algorithm.properties) {
    if (name == key) return &value;
  }
  return nullptr;
}

Result<std::string> required(const Algorithm& algorithm, std::string_view key) {
  const std::string* value = property(algorithm, key);
  if (value == nullptr) return bad_property(algorithm, key, "is missing");
  return *value;
}

Result<int64_t> to_integer(const Algorithm& algorithm, std::string_view key, std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size())
    return bad_property(algorithm, key, "is not an integer");
  return number;
}

Result<int64_t> required_integer(const Algorithm& algorithm, std::string_view key) {
  const auto text = required(algorithm, key);
  if (!text) return fail(text.error());
  return to_integer(algorithm, key, *text);
}

// Properties that would be ignored are refused.
Status only(const Algorithm& algorithm, std::initializer_list<std::string_view> keys) {
  for (const auto& [name, value] : algorithm.properties) {
    if (std::ranges::find(keys, name) == keys.end()) return bad_property(algorithm, name, "is unknown");
  }
  return {};
}

// (-inf, first), [first, second), … [last, inf)
Result<std::vector<placement::RangeBound>> ranges_between(const std::vector<std::string>& bounds) {
  if (bounds.size() + 1 > placement::kMaxShardCount) {
    return fail(sqlstate::kInvalidParameterValue,
                "the algorithm makes more than " + std::to_string(placement::kMaxShardCount) + " shards");
  }
  std::vector<placement::RangeBound> ranges;
  for (size_t i = 0; i <= bounds.size(); ++i) {
    placement::RangeBound range;
    range.lower = {i == 0 ? std::nullopt : std::optional(bounds[i - 1])};
    range.upper = {i == bounds.size() ? std::nullopt : std::optional(bounds[i])};
    ranges.push_back(std::move(range));
  }
  return ranges;
}

Status hash_mod(const Algorithm& algorithm, ShardOptions& options) {
  if (auto known = only(algorithm, {"sharding-count"}); !known) return known;
  options.algorithm = catalog::Algorithm::kHash;
  if (property(algorithm, "sharding-count") == nullptr) return {};
  const auto count = required_integer(algorithm, "sharding-count");
  if (!count) return fail(count.error());
  if (*count < 1 || *count > int64_t{placement::kMaxShardCount})
    return bad_property(algorithm, "sharding-count",
                        "is not between 1 and " + std::to_string(placement::kMaxShardCount));
  options.shard_count = static_cast<uint32_t>(*count);
  return {};
}

// sharding-ranges = '10,20': below 10, 10 to 19, from 20 on.
Result<std::vector<std::string>> boundary_bounds(const Algorithm& algorithm) {
  if (auto known = only(algorithm, {"sharding-ranges"}); !known) return fail(known.error());
  const auto text = required(algorithm, "sharding-ranges");
  if (!text) return fail(text.error());
  std::vector<std::string> bounds;
  std::optional<int64_t> last;
  for (std::string_view rest = *text;;) {
    const size_t comma = rest.find(',');
    std::string_view part = rest.substr(0, comma);
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    const auto bound = to_integer(algorithm, "sharding-ranges", part);
    if (!bound) return fail(bound.error());
    if (last && *bound <= *last) return bad_property(algorithm, "sharding-ranges", "is not ascending");
    last = *bound;
    bounds.push_back(std::to_string(*bound));
    if (comma == std::string_view::npos) return bounds;
    rest.remove_prefix(comma + 1);
  }
}

// Bounds from `lower` in steps to `upper`, which is a bound itself.
Result<std::vector<int64_t>> stepped(const Algorithm& algorithm, int64_t from, int64_t to, int64_t step,
                                     std::string_view step_key) {
  if (step < 1) return bad_property(algorithm, step_key, "is not positive");
  if (from >= to)
    return fail(sqlstate::kInvalidParameterValue,
                "the lower bound of algorithm " + algorithm.type + " is not below the upper one");
  std::vector<int64_t> bounds;
  for (int64_t at = from; at < to;) {
    if (bounds.size() > placement::kMaxShardCount) break;
    bounds.push_back(at);
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  bounds.push_back(to);
  return bounds;
}

Result<std::vector<std::string>> volume_bounds(const Algorithm& algorithm) {
  if (auto known = only(algorithm, {"range-lower", "range-upper", "sharding-volume"}); !known)
    return fail(known.error());
  const auto from = required_integer(algorithm, "range-lower");
  if (!from) return fail(from.error());
  const auto to = required_integer(algorithm, "range-upper");
  if (!to) return fail(to.error());
  const auto volume = required_integer(algorithm, "sharding-volume");
  if (!volume) return fail(volume.error());
  const auto numbers = stepped(algorithm, *from, *to, *volume, "sharding-volume");
  if (!numbers) return fail(numbers.error());
  std::vector<std::string> bounds;
  for (const int64_t number : *numbers) bounds.push_back(std::to_string(number));
  return bounds;
}

// Days since 1970-01-01 of a proleptic Gregorian date, and back (Howard Hinnant, "chrono-compatible low-level
// date algorithms").
int64_t days_from_civil(int64_t y, int64_t m, int64_t d) {
  y -= m <= 2;
  const int64_t era = (y >= 0 ? y : y - 399) / 400;
  const int64_t year_of_era = y - era * 400;
  const int64_t day_of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
  return era * 146'097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719'468;
}

std::string timestamp_text(int64_t seconds) {
  int64_t days = seconds / kSecondsPerDay, rest = seconds % kSecondsPerDay;
  if (rest < 0) rest += kSecondsPerDay, --days;
  days += 719'468;
  const int64_t era = (days >= 0 ? days : days - 146'096) / 146'097;
  const int64_t day_of_era = days - era * 146'097;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t month_part = (5 * day_of_year + 2) / 153;
  const int64_t day = day_of_year - (153 * month_part + 2) / 5 + 1;
  const int64_t month = month_part < 10 ? month_part + 3 : month_part - 9;
  const int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02d-%02d %02d:%02d:%02d", static_cast<int>(year),
                static_cast<int>(month), static_cast<int>(day), static_cast<int>(rest / 3600),
                static_cast<int>(rest / 60 % 60), static_cast<int>(rest % 60));
  return text;
}

// 'yyyy-MM-dd HH:mm:ss' as seconds since 1970 in no zone.
Result<int64_t> required_datetime(const Algorithm& algorithm, std::string_view key) {
  const auto text = required(algorithm, key);
  if (!text) return fail(text.error());
  constexpr std::string_view kShape = "0000-00-00 00:00:00";
  bool valid = text->size() == kShape.size();
  for (size_t i = 0; valid && i < kShape.size(); ++i)
    valid = kShape[i] == '0' ? (*text)[i] >= '0' && (*text)[i] <= '9' : (*text)[i] == kShape[i];
  const auto number = [&](size_t at, size_t digits) {
    int64_t value = 0;
    for (size_t i = at; i < at + digits; ++i) value = value * 10 + ((*text)[i] - '0');
    return value;
  };
  if (valid) {
    const int64_t seconds = days_from_civil(number(0, 4), number(5, 2), number(8, 2)) * kSecondsPerDay +
                            number(11, 2) * 3600 + number(14, 2) * 60 + number(17, 2);
    if (number(0, 4) > 0 && timestamp_text(seconds) == *text)
      return seconds;  // 31 February comes back as another day
  }
  return bad_property(algorithm, key, "is not of the form 'yyyy-MM-dd HH:mm:ss'");
}

Result<std::vector<std::string>> interval_bounds(const Algorithm& algorithm) {
  if (auto known = only(algorithm, {"datetime-lower", "datetime-upper", "sharding-seconds"}); !known)
    return fail(known.error());
  const auto from = required_datetime(algorithm, "datetime-lower");
  if (!from) return fail(from.error());
  const auto to = required_datetime(algorithm, "datetime-upper");
  if (!to) return fail(to.error());
  const auto step = required_integer(algorithm, "sharding-seconds");
  if (!step) return fail(step.error());
  const auto seconds = stepped(algorithm, *from, *to, *step, "sharding-seconds");
  if (!seconds) return fail(seconds.error());
  std::vector<std::string> bounds;
  for (const int64_t at : *seconds) bounds.push_back(timestamp_text(at));
  return bounds;
}

Status map_algorithm(const Algorithm& algorithm, ShardOptions& options) {
  const std::string type = lower(algorithm.type);
  if (type == "hash_mod") return hash_mod(algorithm, options);
  Result<std::vector<std::string>> bounds;
  if (type == "boundary_range") {
    bounds = boundary_bounds(algorithm);
  } else if (type == "volume_range") {
    bounds = volume_bounds(algorithm);
  } else if (type == "auto_interval") {
    bounds = interval_bounds(algorithm);
  } else {
    return fail(sqlstate::kFeatureNotSupported, "sharding algorithm " + algorithm.type + " is not supported",
                type == "mod"
                    ? "Rows are placed by PostgreSQL's own partition hash, not by the value's remainder."
                    : "",
                "Use hash_mod, boundary_range, volume_range or auto_interval.");
  }
  if (!bounds) return fail(bounds.error());
  auto ranges = ranges_between(*bounds);
  if (!ranges) return fail(ranges.error());
  options.algorithm = catalog::Algorithm::kRange;
  options.ranges = std::move(*ranges);
  if (options.key_columns.size() != 1)
    return fail(sqlstate::kInvalidParameterValue,
                "sharding algorithm " + algorithm.type + " takes one column");
  return {};
}

Status check_clauses(const ShardingTableRule& rule) {
  const std::string table = "sharding table rule \"" + rule.table.name + "\"";
  if (!rule.data_nodes.empty() || rule.database_strategy || rule.table_strategy) {
    return fail(sqlstate::kFeatureNotSupported, table + ": data nodes and strategies are not supported",
                "Shards are partitions with names that the system gives.",
                "Write (STORAGE_UNITS(ds_0, ds_1), SHARDING_COLUMN=column, TYPE(NAME='hash_mod', "
                "PROPERTIES('sharding-count'='32'))).");
  }
  if (rule.key_generate) {
    return fail(
        sqlstate::kFeatureNotSupported, table + ": key generation is not supported yet", {},
        "Make the column an identity column, or give it a sequence or gen_random_uuid() as its default.");
  }
  if (rule.audit) return fail(sqlstate::kFeatureNotSupported, table + ": auditors are not supported yet");
  if (rule.columns.empty()) return fail(sqlstate::kSyntaxError, table + " names no SHARDING_COLUMN");
  if (!rule.algorithm) {
    return fail(sqlstate::kSyntaxError, table + " names no algorithm", {},
                "Add TYPE(NAME='hash_mod', PROPERTIES('sharding-count'='32')).");
  }
  return {};
}

}  // namespace

Result<placement::ShardOptions> shard_options(const ShardingTableRule& rule,
                                              const std::vector<meta::UnitRecord>& units) {
  if (auto clauses = check_clauses(rule); !clauses) return fail(clauses.error());
  ShardOptions options;
  options.table = placement::table_name(rule.table.schema, rule.table.name);
  options.key_columns = rule.columns;
  if (auto mapped = map_algorithm(*rule.algorithm, options); !mapped) return fail(mapped.error());
  for (const std::string& name : rule.units) {
    const auto unit = std::ranges::find(units, name, &meta::UnitRecord::name);
    if (unit == units.end())
      return fail(sqlstate::kUndefinedObject, "storage unit \"" + name + "\" does not exist");
    options.units.push_back(UnitId{unit->ordinal});
  }
  return options;
}

}  // namespace decan::distsql
