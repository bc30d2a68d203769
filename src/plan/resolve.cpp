// From the values of one execution to units and texts: the hot path.
#include <algorithm>
#include <charconv>

#include "catalog/partition_hash.h"
#include "catalog/type_oids.h"
#include "catalog/value_binary.h"
#include "plan/array_values.h"
#include "plan/key_facts.h"
#include "plan/now_calls.h"
#include "plan/text.h"

namespace decan::plan {
namespace {

namespace type = catalog::type;

constexpr size_t kMaxCombinations = 4'096;

// What a value means for routing.
enum class Outcome : uint8_t {
  kValue,
  kNull,
  kNever,    // no row can match, or the server refuses the value: any unit will do
  kUnknown,  // only the server can tell
};

struct KeyBytes {
  Outcome outcome = Outcome::kUnknown;
  std::string bytes;
};

KeyBytes converted(Oid from, Oid to, std::string_view bytes) {
  auto binary = catalog::convert_binary(from, to, bytes);
  if (binary) return {Outcome::kValue, std::move(*binary)};
  // Outside the key type's range no row can have it.
  return {type_family(to) == type::kInt8 ? Outcome::kNever : Outcome::kUnknown, {}};
}

KeyBytes from_text(Oid read_as, Oid key, std::string_view text, bool is_number) {
  auto binary = catalog::binary_from_text(read_as, text);
  // A number too large for bigint is numeric to the server, and equals no integer.
  if (!binary) return {is_number && type_family(key) == type::kInt8 ? Outcome::kNever : Outcome::kNever, {}};
  if (!*binary) return {Outcome::kUnknown, {}};
  return read_as == key ? KeyBytes{Outcome::kValue, std::move(**binary)} : converted(read_as, key, **binary);
}

KeyBytes literal_bytes(const ValueRef& ref, Oid key, const Values& values, const sql::Template& tpl) {
  if (ref.index >= tpl.literals.size()) return {};
  const sql::Literal& literal = tpl.literals[ref.index];
  const Oid read_as = ref.type != 0 ? ref.type : key;
  const bool number =
      literal.kind == sql::LiteralKind::kInteger || literal.kind == sql::LiteralKind::kNumeric;
  if (number) {
    // No allocation for the digits: a sign goes in front in a small buffer.
    const std::string_view digits = values.sql.substr(literal.offset, literal.bytes);
    if (!ref.negated) return from_text(read_as, key, digits, true);
    return from_text(read_as, key, "-" + std::string(digits), true);
  }
  auto text = sql::literal_value(values.sql, literal);
  if (!text) return {};
  return from_text(read_as, key, *text, false);
}

KeyBytes parameter_bytes(const ValueRef& ref, Oid key, const Values& values) {
  if (ref.index == 0 || ref.index > values.parameters.size()) return {};
  const ParameterValue& parameter = values.parameters[ref.index - 1];
  if (parameter.is_null) return {Outcome::kNull, {}};
  if (ref.uncertain && parameter.type == 0) return {};
  Oid read_as = parameter.type != 0 ? parameter.type : ref.type;
  if (read_as == 0) read_as = key;
  // A type of another family compares by another operator.
  if (type_family(read_as) != type_family(key)) return {};
  if (!parameter.is_binary) return from_text(read_as, key, parameter.bytes, false);
  if (read_as == key) return {Outcome::kValue, std::string(parameter.bytes)};
  return converted(read_as, key, parameter.bytes);
}

KeyBytes bytes_read_here(const ValueRef& ref, Oid key, const Values& values, const sql::Template* tpl) {
  switch (ref.kind) {
    case ValueRef::Kind::kConstant:
      if (ref.is_null) return {Outcome::kNull, {}};
      return from_text(ref.type != 0 ? ref.type : key, key, ref.constant, ref.type == type::kInt8);
    case ValueRef::Kind::kLiteral:
      return tpl == nullptr ? KeyBytes{} : literal_bytes(ref, key, values, *tpl);
    case ValueRef::Kind::kParameter:
      return parameter_bytes(ref, key, values);
  }
  return {};
}

// How a server is asked for a value; nullopt: it can not be.
std::optional<UnreadValue> unread(const ValueRef& ref, Oid key, const Values& values,
                                  const sql::Template* tpl) {
  UnreadValue out{ref.type != 0 ? ref.type : key, key, false, {}};
  switch (ref.kind) {
    case ValueRef::Kind::kConstant:
      out.text = ref.constant;
      break;
    case ValueRef::Kind::kLiteral: {
      if (tpl == nullptr || ref.index >= tpl->literals.size() || ref.negated) return std::nullopt;
      const sql::Literal& literal = tpl->literals[ref.index];
      out.text = values.sql.substr(literal.offset, literal.bytes);
      out.is_sql = true;
      break;
    }
    case ValueRef::Kind::kParameter: {
      if (ref.index == 0 || ref.index > values.parameters.size()) return std::nullopt;
      const ParameterValue& parameter = values.parameters[ref.index - 1];
      if (parameter.is_binary || (ref.uncertain && parameter.type == 0)) return std::nullopt;
      if (parameter.type != 0) out.read_as = parameter.type;
      out.text = parameter.bytes;
      break;
    }
  }
  return type_family(out.read_as) == type_family(key) ? std::optional(std::move(out)) : std::nullopt;
}

KeyBytes bytes_of(const ValueRef& ref, Oid key, const Values& values, const sql::Template* tpl) {
  KeyBytes value = bytes_read_here(ref, key, values, tpl);
  if (value.outcome != Outcome::kUnknown || values.read == nullptr || values.read->known.empty())
    return value;
  const auto asked = unread(ref, key, values, tpl);
  const auto known = asked ? values.read->known.find(*asked) : values.read->known.end();
  return known == values.read->known.end() ? value : KeyBytes{Outcome::kValue, known->second};
}

// Notes a value as wanted that is not known yet.
void want(const ValueRef& ref, Oid key, const Values& values, const sql::Template* tpl) {
  constexpr size_t kMost = 10'000;  // read at a time
  if (values.read == nullptr || values.read->wanted.size() >= kMost) return;
  if (bytes_of(ref, key, values, tpl).outcome != Outcome::kUnknown) return;
  if (auto asked = unread(ref, key, values, tpl)) values.read->wanted.insert(std::move(*asked));
}

// --- arrays and candidates ---

// Values of one key column. False: not known, every bucket may hold rows.
using Candidates = std::vector<std::optional<std::string>>;

bool add_candidate(KeyBytes value, bool null_counts, Candidates& out) {
  switch (value.outcome) {
    case Outcome::kValue:
      out.emplace_back(std::move(value.bytes));
      return true;
    case Outcome::kNull:
      if (null_counts) out.emplace_back(std::nullopt);
      return true;
    case Outcome::kNever:
      return true;
    case Outcome::kUnknown:
      break;
  }
  return false;
}

bool array_candidates(const KeyCondition& condition, Oid key, const Values& values, const sql::Template* tpl,
                      Candidates& out) {
  std::string_view text;
  std::string owned;
  Oid element = condition.declared_type != 0 ? condition.declared_type : key;
  if (condition.any_array_parameter) {
    if (*condition.any_array_parameter == 0 || *condition.any_array_parameter > values.parameters.size())
      return false;
    const ParameterValue& parameter = values.parameters[*condition.any_array_parameter - 1];
    if (parameter.is_null) return true;
    if (parameter.is_binary) {
      const auto array = binary_elements(parameter.bytes);
      if (!array || type_family(array->element) != type_family(key)) return false;
      for (const std::string_view value : array->values) {
        KeyBytes bytes = array->element == key ? KeyBytes{Outcome::kValue, std::string(value)}
                                               : converted(array->element, key, value);
        if (!add_candidate(std::move(bytes), false, out)) return false;
      }
      return true;
    }
    text = parameter.bytes;
  } else {
    const ValueRef& ref = *condition.any_array_literal;
    if (ref.kind == ValueRef::Kind::kConstant) {
      text = ref.constant;
    } else {
      if (tpl == nullptr || ref.index >= tpl->literals.size()) return false;
      auto value = sql::literal_value(values.sql, tpl->literals[ref.index]);
      if (!value) return false;
      owned = std::move(*value);
      text = owned;
    }
  }
  const auto elements = text_elements(text);
  if (!elements) return false;
  for (const std::string& value : *elements) {
    if (!add_candidate(from_text(element, key, value, false), false, out)) return false;
  }
  return true;
}

bool candidates_of(const KeyCondition& condition, Oid key, const Values& values, const sql::Template* tpl,
                   bool null_counts, Candidates& out) {
  if (condition.any_array_parameter || condition.any_array_literal)
    return array_candidates(condition, key, values, tpl, out);
  for (const ValueRef& ref : condition.any_of) {
    if (!add_candidate(bytes_of(ref, key, values, tpl), null_counts, out)) return false;
  }
  return true;
}

// --- buckets ---

struct Buckets {
  bool all = false;
  std::vector<BucketId> some;  // sorted, unique
};

Buckets every_bucket() {
  return {true, {}};
}

std::optional<BucketId> bucket_for(const catalog::ShardGroup& group, std::span<const catalog::KeyValue> key,
                                   bool& unknown) {
  const auto bucket = catalog::bucket_of(group, key);
  // A binary value of a wrong length: the server refuses it wherever it is sent.
  if (!bucket) return std::nullopt;
  (void)unknown;
  return *bucket;
}

Buckets buckets_of(const catalog::ShardGroup& group, const std::vector<KeyCondition>& keys,
                   const Values& values, const sql::Template* tpl, bool null_counts) {
  std::vector<Candidates> candidates(keys.size());
  size_t combinations = 1;
  bool known = true;
  for (size_t i = 0; i < keys.size(); ++i) {
    known = candidates_of(keys[i], group.key_types[i], values, tpl, null_counts, candidates[i]) && known;
    combinations *= candidates[i].size();
    // Nothing can match one column: nothing can match at all, unless another column's value is for the server
    // to judge.
    if (known && combinations == 0) return {};
    if (combinations > kMaxCombinations) return every_bucket();
  }
  if (!known) return every_bucket();
  Buckets out;
  bool unknown = false;
  std::vector<catalog::KeyValue> key(keys.size());
  for (size_t n = 0; n < combinations; ++n) {
    size_t rest = n;
    for (size_t i = 0; i < keys.size(); ++i) {
      const auto& value = candidates[i][rest % candidates[i].size()];
      rest /= candidates[i].size();
      key[i] = value ? catalog::KeyValue(*value) : std::nullopt;
    }
    if (const auto bucket = bucket_for(group, key, unknown)) out.some.push_back(*bucket);
  }
  std::ranges::sort(out.some);
  const auto repeated = std::ranges::unique(out.some);
  out.some.erase(repeated.begin(), repeated.end());
  return out;
}

std::vector<UnitTarget> targets_of(const catalog::ShardGroup& group, const Buckets& buckets) {
  std::vector<UnitTarget> out;
  const auto add = [&](BucketId bucket, bool alone) {
    const UnitId unit = group.buckets[bucket.value].unit;
    const auto found = std::ranges::find(out, unit, &UnitTarget::unit);
    if (found != out.end()) {
      found->bucket.reset();
    } else {
      out.push_back({unit, alone ? std::optional(bucket) : std::nullopt, {}});
    }
  };
  if (buckets.all) {
    for (uint32_t i = 0; i < group.buckets.size(); ++i) add(BucketId{i}, group.buckets.size() == 1);
  } else {
    for (const BucketId bucket : buckets.some) add(bucket, true);
  }
  return out;
}

Error several_units_error() {
  return Error{
      std::string(sqlstate::kFeatureNotSupported),
      "the statement's keys lead to different storage units",
      {},
      "Run one statement per key, or give each key as a constant or parameter of the column's own type."};
}

Result<std::vector<UnitTarget>> by_key(const Plan& plan, const Values& values, const sql::Template* tpl) {
  const Routing& routing = plan.routing;
  auto targets = targets_of(*routing.group, buckets_of(*routing.group, routing.keys, values, tpl, false));
  for (const Routing::Pin& pin : routing.also) {
    for (const UnitTarget& other :
         targets_of(*pin.group, buckets_of(*pin.group, pin.keys, values, tpl, false))) {
      const auto found = std::ranges::find(targets, other.unit, &UnitTarget::unit);
      if (found == targets.end()) targets.push_back({other.unit, std::nullopt, {}});
    }
  }
  if (routing.only_unit) {
    for (const UnitTarget& target : targets) {
      if (target.unit == *routing.only_unit) continue;
      return fail(
          sqlstate::kFeatureNotSupported,
          "the row's bucket is on another storage unit than the statement's other tables or functions", {},
          "Make the other tables broadcast with create_reference_table(), or use a value instead of the "
          "function.");
    }
    if (targets.empty()) targets.push_back({*routing.only_unit, std::nullopt, {}});
  }
  if (!routing.also.empty()) {
    for (UnitTarget& target : targets) target.bucket.reset();
  }
  if (plan.action == Action::kRoute && targets.size() > 1) {
    for (size_t i = 0; i < routing.keys.size(); ++i) {
      for (const ValueRef& ref : routing.keys[i].any_of) want(ref, routing.group->key_types[i], values, tpl);
    }
    return fail(several_units_error());
  }
  return targets;
}

Result<BucketId> insert_bucket(const Plan& plan, const InsertRows& rows, const std::vector<ValueRef>& row,
                               const Values& values, const sql::Template* tpl) {
  const catalog::ShardGroup& group = *plan.routing.group;
  std::vector<std::string> bytes(row.size());
  std::vector<catalog::KeyValue> key(row.size());
  for (size_t i = 0; i < row.size(); ++i) {
    KeyBytes value = bytes_of(row[i], group.key_types[i], values, tpl);
    switch (value.outcome) {
      case Outcome::kNull:
        continue;
      case Outcome::kNever:
        return BucketId{0};  // the server refuses the value, wherever it is sent
      case Outcome::kUnknown:
        return fail(
            sqlstate::kFeatureNotSupported, "the value of a sharding key can not be read here", {},
            "Give dates and times in ISO form with a time zone, and parameters in the column's own type.");
      case Outcome::kValue:
        bytes[i] = std::move(value.bytes);
        if (i < rows.key_typmods.size() && rows.key_typmods[i] >= 0) {
          auto stored = catalog::apply_typmod(group.key_types[i], rows.key_typmods[i], bytes[i]);
          if (!stored) return BucketId{0};  // the server refuses it, too
          bytes[i] = std::move(*stored);
        }
        key[i] = bytes[i];
    }
  }
  const auto bucket = catalog::bucket_of(group, key);
  if (!bucket) return BucketId{0};
  if (!*bucket)
    return fail("23514", "no bucket of the sharded table accepts the row's key", {},
                "Add a partition for it, or a default one.");
  return **bucket;
}

Result<std::vector<UnitTarget>> insert_targets(const Plan& plan, const InsertRows& rows, const Values& values,
                                               const sql::Template* tpl) {
  std::vector<UnitTarget> out;
  for (uint32_t i = 0; i < rows.rows.size(); ++i) {
    const auto bucket = insert_bucket(plan, rows, rows.rows[i].key, values, tpl);
    if (!bucket) {
      // All that has to be read is read at once.
      for (uint32_t row = i; row < rows.rows.size(); ++row) {
        const auto& key = rows.rows[row].key;
        for (size_t k = 0; k < key.size(); ++k) want(key[k], plan.routing.group->key_types[k], values, tpl);
      }
      return fail(bucket.error());
    }
    const UnitId unit = plan.routing.group->buckets[bucket->value].unit;
    if (plan.routing.only_unit && *plan.routing.only_unit != unit) {
      return fail(
          sqlstate::kFeatureNotSupported,
          "the row's bucket is on another storage unit than the statement's other tables or functions", {},
          "Use a value instead of the function or sub-query.");
    }
    auto found = std::ranges::find(out, unit, &UnitTarget::unit);
    if (found == out.end()) {
      out.push_back({unit, *bucket, {}});
      found = out.end() - 1;
    } else if (found->bucket != *bucket) {
      found->bucket.reset();
    }
    if (plan.action == Action::kInsertRows) found->insert_rows.push_back(i);
  }
  return out;
}

const sql::Template* template_of(const Plan& plan, const Values& values) {
  return plan.exact_text ? nullptr : values.tpl;
}

std::string render_rows(const InsertRows& rows, const Values& values, const sql::Template* tpl,
                        const UnitTarget& target) {
  std::string out;
  const uint32_t head = instance_offset(rows.rows.front().begin, tpl);
  const uint32_t tail = instance_offset(rows.rows.back().end, tpl);
  out.reserve(values.sql.size());
  out += values.sql.substr(0, head);
  bool first = true;
  for (const uint32_t index : target.insert_rows) {
    if (index >= rows.rows.size()) continue;
    const uint32_t begin = instance_offset(rows.rows[index].begin, tpl);
    const uint32_t end = instance_offset(rows.rows[index].end, tpl);
    if (!first) out += ", ";
    first = false;
    out += values.sql.substr(begin, end - begin);
  }
  out += values.sql.substr(tail);
  return out;
}

// What may not differ between units, when there are several.
Status check_clock(const Plan& plan, const Values& values, const sql::Template* tpl) {
  const auto refuse_word = [] {
    return fail(sqlstate::kFeatureNotSupported,
                "'now', 'today', 'tomorrow' and 'yesterday' would be read by every storage unit's own clock",
                {}, "Use now() or CURRENT_DATE, or pass the time itself.");
  };
  for (const uint32_t index : plan.clock_literals) {
    if (tpl == nullptr || index >= tpl->literals.size()) continue;
    const sql::Literal& literal = tpl->literals[index];
    // Words are short; a long literal is looked at only as far as it could be one.
    constexpr uint32_t kLongest = 64;
    if (literal.bytes > kLongest) continue;
    const auto text = sql::literal_value(values.sql, literal);
    if (!text || is_clock_word(*text)) return refuse_word();
  }
  for (const uint32_t number : plan.clock_parameters) {
    if (number == 0 || number > values.parameters.size()) continue;
    const ParameterValue& parameter = values.parameters[number - 1];
    if (!parameter.is_null && !parameter.is_binary && is_clock_word(parameter.bytes)) return refuse_word();
  }
  if (plan.needs_now && values.now.empty())
    return fail(sqlstate::kFeatureNotSupported, "now() over several storage units needs the session's time",
                {}, "Pass the time as a parameter.");
  return {};
}

Result<std::vector<UnitTarget>> resolve_units(const Plan& plan, const Values& values) {
  const Routing& routing = plan.routing;
  const sql::Template* tpl = template_of(plan, values);
  if (const auto* rows = std::get_if<InsertRows>(&plan.detail))
    return insert_targets(plan, *rows, values, tpl);
  switch (routing.to) {
    case RouteTo::kHome:
      return std::vector<UnitTarget>{{plan.snapshot->home, std::nullopt, {}}};
    case RouteTo::kUnit:
      return std::vector<UnitTarget>{{routing.unit, std::nullopt, {}}};
    case RouteTo::kAnyUnit:
      return std::vector<UnitTarget>{};
    case RouteTo::kByKey:
      return by_key(plan, values, tpl);
    case RouteTo::kAllUnits:
      break;
  }
  if (routing.group != nullptr) return targets_of(*routing.group, every_bucket());
  std::vector<UnitTarget> out;
  for (const UnitId unit : plan.snapshot->units) out.push_back({unit, std::nullopt, {}});
  return out;
}

}  // namespace

std::optional<UnitTarget> resolve_one(const Plan& plan, const Values& values) {
  const Routing& routing = plan.routing;
  if (routing.to != RouteTo::kByKey || routing.keys.size() != 1 || !routing.also.empty() ||
      routing.only_unit || routing.group == nullptr || std::holds_alternative<InsertRows>(plan.detail)) {
    return std::nullopt;
  }
  const KeyCondition& key = routing.keys.front();
  if (key.any_array_parameter || key.any_array_literal || key.any_of.size() != 1) return std::nullopt;
  const KeyBytes value =
      bytes_of(key.any_of.front(), routing.group->key_types.front(), values, template_of(plan, values));
  if (value.outcome != Outcome::kValue) return std::nullopt;
  const catalog::KeyValue bytes(value.bytes);
  const auto bucket = catalog::bucket_of(*routing.group, std::span(&bytes, 1));
  if (!bucket || !*bucket) return std::nullopt;
  return UnitTarget{routing.group->buckets[(*bucket)->value].unit, **bucket, {}};
}

Result<std::vector<UnitTarget>> resolve(const Plan& plan, const Values& values) {
  auto targets = resolve_units(plan, values);
  if (targets && targets->size() > 1) {
    if (auto status = check_clock(plan, values, template_of(plan, values)); !status)
      return fail(status.error());
  }
  return targets;
}

std::string render(const Plan& plan, const Values& values, const UnitTarget& target, size_t target_count) {
  const sql::Template* tpl = template_of(plan, values);
  if (target_count <= 1) {
    if (target.bucket && !plan.leaf_text.empty())
      return render_text(plan.leaf_text, values.sql, tpl, target.bucket);
    if (!plan.whole_text.empty()) return render_text(plan.whole_text, values.sql, tpl, std::nullopt);
    return std::string(values.sql);
  }
  if (plan.action == Action::kInsertRows)
    return render_rows(std::get<InsertRows>(plan.detail), values, tpl, target);
  if (!plan.fragment_text.empty())
    return render_text(plan.fragment_text, values.sql, tpl, std::nullopt, values.now);
  if (!plan.whole_text.empty()) return render_text(plan.whole_text, values.sql, tpl, std::nullopt);
  return std::string(values.sql);
}

namespace {

TextMap rows_map(const InsertRows& rows, const Values& values, const sql::Template* tpl,
                 const UnitTarget& target) {
  TextMap out;
  const auto copied = [&](uint32_t begin, size_t end) {
    out.copied(count_characters(values.sql.substr(0, begin)),
               count_characters(values.sql.substr(begin, end - begin)));
  };
  copied(0, instance_offset(rows.rows.front().begin, tpl));
  bool first = true;
  for (const uint32_t index : target.insert_rows) {
    if (index >= rows.rows.size()) continue;
    if (!first) out.added(2);
    first = false;
    copied(instance_offset(rows.rows[index].begin, tpl), instance_offset(rows.rows[index].end, tpl));
  }
  copied(instance_offset(rows.rows.back().end, tpl), values.sql.size());
  return out;
}

}  // namespace

// Takes the same ways as render().
TextMap text_map(const Plan& plan, const Values& values, const UnitTarget& target, size_t target_count) {
  const sql::Template* tpl = template_of(plan, values);
  const auto whole = [&] {
    return plan.whole_text.empty() ? TextMap{} : map_text(plan.whole_text, values.sql, tpl, std::nullopt);
  };
  if (target_count <= 1) {
    if (target.bucket && !plan.leaf_text.empty())
      return map_text(plan.leaf_text, values.sql, tpl, target.bucket);
    return whole();
  }
  if (plan.action == Action::kInsertRows)
    return rows_map(std::get<InsertRows>(plan.detail), values, tpl, target);
  if (!plan.fragment_text.empty())
    return map_text(plan.fragment_text, values.sql, tpl, std::nullopt, values.now);
  return whole();
}

}  // namespace decan::plan
