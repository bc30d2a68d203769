#include "placement/buckets.h"

#include <algorithm>

namespace decan::placement {
namespace {

using catalog::Algorithm;

constexpr size_t kMaxKeyColumns = 32;  // PARTITION_MAX_KEYS
constexpr size_t kPrefixNameBytes = 30;

std::unexpected<Error> wrong(std::string message) {
  return fail(sqlstate::kInvalidParameterValue, std::move(message));
}

Status check_ranges(const ShardOptions& options) {
  if (options.ranges.empty()) return wrong("range sharding needs at least one range");
  for (const auto& range : options.ranges) {
    if (range.lower.size() != options.key_columns.size() ||
        range.upper.size() != options.key_columns.size()) {
      return wrong("every bound of a range needs one value per key column");
    }
  }
  return {};
}

Status check_lists(const ShardOptions& options) {
  if (options.key_columns.size() != 1) return wrong("list sharding needs exactly one key column");
  if (options.lists.empty()) return wrong("list sharding needs at least one list");
  size_t nulls = 0;
  for (const auto& list : options.lists) {
    if (list.empty()) return wrong("a list needs at least one value");
    for (const auto& value : list) nulls += value ? 0 : 1;
  }
  return nulls > 1 ? wrong("NULL is listed twice") : Status{};
}

// Bytes from 0x80 on go as they are: the text is in the session's client_encoding, like all SQL.
std::string json_string(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20) {
      out += std::string("\\u00") + kHex[byte >> 4] + kHex[byte & 0xF];
    } else {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
  }
  return out + '"';
}

void append_array(std::string& out, std::string_view key,
                  const std::vector<std::optional<std::string>>& values) {
  out += ",\"" + std::string(key) + "\":[";
  for (size_t i = 0; i < values.size(); ++i) {
    out += (i > 0 ? "," : "") + (values[i] ? json_string(*values[i]) : std::string("null"));
  }
  out += ']';
}

}  // namespace

Status check_options(const ShardOptions& options) {
  if (options.key_columns.empty()) return wrong("a sharded table needs at least one key column");
  if (options.key_columns.size() > kMaxKeyColumns)
    return wrong("a sharding key can not have more than 32 columns");
  if (options.shard_count && (*options.shard_count < 1 || *options.shard_count > kMaxShardCount)) {
    return wrong("shard count must be between 1 and " + std::to_string(kMaxShardCount));
  }
  if (options.ranges.size() > kMaxShardCount || options.lists.size() > kMaxShardCount) {
    return wrong("a table can not have more than " + std::to_string(kMaxShardCount) + " buckets");
  }
  switch (options.algorithm) {
    case Algorithm::kHash:
      return {};
    case Algorithm::kRange:
      return check_ranges(options);
    case Algorithm::kList:
      return check_lists(options);
  }
  return {};
}

std::vector<BucketPlan> plan_buckets(const ShardOptions& options, const std::vector<UnitId>& units) {
  std::vector<BucketPlan> out;
  switch (options.algorithm) {
    case Algorithm::kHash: {
      const uint32_t count = options.shard_count.value_or(kDefaultShardCount);
      for (uint32_t i = 0; i < count; ++i) {
        auto& bucket = out.emplace_back();
        bucket.modulus = count;
        bucket.remainder = i;
      }
      break;
    }
    case Algorithm::kRange:
      for (const auto& range : options.ranges) {
        auto& bucket = out.emplace_back();
        bucket.lower = range.lower;
        bucket.upper = range.upper;
      }
      break;
    case Algorithm::kList:
      for (const auto& list : options.lists) {
        auto& bucket = out.emplace_back();
        for (const auto& value : list) {
          bucket.accepts_null = bucket.accepts_null || !value;
          if (value) bucket.values.push_back(*value);
        }
      }
      break;
  }
  if (options.default_bucket && options.algorithm != Algorithm::kHash) out.emplace_back().is_default = true;
  for (size_t i = 0; i < out.size(); ++i) out[i].unit = units[i % units.size()];
  return out;
}

std::string to_json(const std::vector<BucketPlan>& buckets) {
  std::string out = "[";
  for (size_t i = 0; i < buckets.size(); ++i) {
    const BucketPlan& bucket = buckets[i];
    out += (i > 0 ? ",{" : "{") + std::string("\"bucket\":") + std::to_string(i) +
           ",\"unit\":" + std::to_string(bucket.unit.value) +
           ",\"accepts_null\":" + (bucket.accepts_null ? "true" : "false") +
           ",\"is_default\":" + (bucket.is_default ? "true" : "false");
    if (bucket.modulus != 0) {
      out += ",\"modulus\":" + std::to_string(bucket.modulus) +
             ",\"remainder\":" + std::to_string(bucket.remainder);
    } else if (!bucket.lower.empty()) {
      append_array(out, "lower_text", bucket.lower);
      append_array(out, "lower_hex", bucket.lower_hex);
      append_array(out, "upper_text", bucket.upper);
      append_array(out, "upper_hex", bucket.upper_hex);
    } else if (!bucket.is_default) {
      append_array(out, "list_text", {bucket.values.begin(), bucket.values.end()});
      append_array(out, "list_hex", {bucket.values_hex.begin(), bucket.values_hex.end()});
    }
    out += '}';
  }
  return out + "]";
}

std::string leaf_prefix(std::string_view table, uint64_t id) {
  size_t bytes = std::min(table.size(), kPrefixNameBytes);
  // Never through the middle of a UTF-8 character.
  while (bytes > 0 && bytes < table.size() && (static_cast<unsigned char>(table[bytes]) & 0xC0) == 0x80)
    --bytes;
  return std::string(table.substr(0, bytes)) + "_" + std::to_string(id);
}

}  // namespace decan::placement
