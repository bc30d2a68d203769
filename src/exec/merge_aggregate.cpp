#include "exec/merge_aggregate.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

namespace decan::exec {
namespace {

bool is_integer(Oid type) {
  return type == types::kInt2 || type == types::kInt4 || type == types::kInt8;
}
bool is_float(Oid type) {
  return type == types::kFloat4 || type == types::kFloat8;
}

size_t integer_bytes(Oid type) {
  return type == types::kInt2 ? 2 : type == types::kInt4 ? 4 : 8;
}

std::unexpected<Error> refuse_sum(std::string_view function, Oid type) {
  const std::string what = std::string(function) + "() of " + type_name(type);
  if (is_float(type)) {
    return fail(sqlstate::kFeatureNotSupported, what + " is not supported over several storage units",
                "The result would depend on the order in which rows are added.",
                "Cast the argument to numeric, as in " + std::string(function) + "(x::numeric).");
  }
  return fail(sqlstate::kFeatureNotSupported, what + " is not supported over several storage units",
              "Partial results of this type can not be combined exactly.",
              "Restrict the query to one value of the sharding key.");
}

void append_big_endian(std::string& out, int64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xff);
}

bool fits_int8(int128 value) {
  return value >= std::numeric_limits<int64_t>::min() && value <= std::numeric_limits<int64_t>::max();
}

std::optional<bool> parse_bool(std::string_view text) {
  // boolin accepts unique prefixes of true, false, yes, no, on, off, and 1, 0, in any case, with blanks
  // around.
  while (!text.empty() && (text.front() == ' ' || (text.front() >= '\t' && text.front() <= '\r')))
    text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || (text.back() >= '\t' && text.back() <= '\r')))
    text.remove_suffix(1);
  std::string lower;
  for (const char c : text) lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  const auto prefix_of = [&](std::string_view word, size_t least) {
    return lower.size() >= least && word.starts_with(lower);
  };
  if (prefix_of("true", 1) || prefix_of("yes", 1) || lower == "on" || lower == "1") return true;
  if (prefix_of("false", 1) || prefix_of("no", 1) || prefix_of("off", 2) || lower == "0") return false;
  return std::nullopt;
}

}  // namespace

size_t AggregateState::heap_bytes() const {
  if (!more) return 0;
  constexpr size_t kInline = 15;  // libstdc++'s short string
  const auto of = [](const std::string& s) { return s.capacity() > kInline ? s.capacity() + 1 : 0; };
  return sizeof(More) + of(more->shown) + of(more->key) + more->numeric.heap_bytes();
}

Status Aggregate::compile_sum(const plan::OutputColumn& output, const MergeInput& input, Aggregate& made) {
  const bool average = output.kind == Kind::kAvg;
  const Oid type = made.column_type_;
  if (!is_integer(type) && type != types::kNumeric) return refuse_sum(average ? "avg" : "sum", type);
  made.partial_ = is_integer(type) ? Number::kInteger : Number::kNumeric;
  const Oid result = output.sum_type != 0 ? output.sum_type : average ? types::kNumeric : type;
  made.result_ = average || result == types::kNumeric ? Number::kNumeric : Number::kInteger;
  if (result != types::kNumeric && !is_integer(result)) return refuse_sum(average ? "avg" : "sum", result);
  if (made.result_ == Number::kInteger && made.partial_ == Number::kNumeric)
    return planner_error("a numeric partial sum for an integer result");
  if (!average) return {};
  made.key_type_ = input.fragment.fields[output.key].type;
  if (!is_integer(made.key_type_)) return planner_error("the partial count of avg() is not an integer");
  return {};
}

Result<Aggregate> Aggregate::compile(const plan::OutputColumn& output, const MergeInput& input,
                                     const std::vector<int16_t>& formats) {
  Aggregate made;
  made.kind_ = output.kind;
  made.column_ = output.column;
  made.key_ = output.key;
  if (output.column >= formats.size() || output.key >= formats.size())
    return planner_error("an aggregate's column is not in the fragment");
  made.column_binary_ = formats[output.column] == 1;
  made.key_binary_ = formats[output.key] == 1;
  made.column_type_ = input.fragment.fields[output.column].type;
  switch (output.kind) {
    case Kind::kColumn:
      return planner_error("a plain column stands where an aggregate should");
    case Kind::kCount:
      if (!is_integer(made.column_type_)) return planner_error("a partial count is not an integer");
      break;
    case Kind::kSum:
    case Kind::kAvg:
      if (auto status = compile_sum(output, input, made); !status) return std::unexpected(status.error());
      break;
    case Kind::kMin:
    case Kind::kMax: {
      made.key_type_ = input.fragment.fields[output.key].type;
      if (!made.key_binary_) return planner_error("the key of min() or max() is not binary");
      auto order = order_of(made.key_type_, output.c_ordered, ValueUse::kMinMax);
      if (!order) return std::unexpected(order.error());
      made.order_ = *order;
      break;
    }
    case Kind::kBoolAnd:
    case Kind::kBoolOr:
      if (made.column_type_ != types::kBool)
        return planner_error("a partial bool_and() or bool_or() is not boolean");
      break;
  }
  return made;
}

Result<int64_t> Aggregate::integer(std::string_view bytes, Oid type, bool binary) const {
  if (binary) {
    if (bytes.size() != integer_bytes(type)) return malformed_value(type);
    return read_signed(bytes);
  }
  int64_t value = 0;
  const auto [end, error] = std::from_chars(bytes.data(), bytes.data() + bytes.size(), value);
  if (error != std::errc{} || end != bytes.data() + bytes.size()) return malformed_value(type);
  return value;
}

Status Aggregate::add_number(AggregateState& state, std::string_view bytes) const {
  state.any = true;
  if (partial_ == Number::kInteger) {
    const auto value = integer(bytes, column_type_, column_binary_);
    if (!value) return std::unexpected(value.error());
    state.integer += *value;
    return {};
  }
  auto value = column_binary_ ? Numeric::from_binary(bytes) : Numeric::from_text(bytes);
  if (!value) return malformed_value(column_type_);
  if (state.more) {
    state.more->numeric.add(*value);
  } else {
    state.more = std::make_unique<AggregateState::More>();
    state.more->numeric = std::move(*value);
  }
  return {};
}

Status Aggregate::add_extreme(AggregateState& state, const RowValues& row) const {
  const auto& key = row[key_];
  if (!key) return {};
  if (!order_.valid(*key)) return malformed_value(key_type_);
  const auto& shown = row[column_];
  if (!shown)
    return fail(sqlstate::kProtocolViolation, "a storage unit sent NULL for a value that is not NULL");
  if (state.any) {
    const int order = order_.compare(*key, state.more->key);
    if (kind_ == Kind::kMin ? order >= 0 : order <= 0) return {};
  }
  state.any = true;
  if (!state.more) state.more = std::make_unique<AggregateState::More>();
  state.more->key.assign(*key);
  if (column_ != key_) state.more->shown.assign(*shown);
  return {};
}

Status Aggregate::add(AggregateState& state, const RowValues& row) const {
  if (kind_ == Kind::kMin || kind_ == Kind::kMax) return add_extreme(state, row);
  const auto& bytes = row[column_];
  if (!bytes) return {};
  switch (kind_) {
    case Kind::kColumn:
    case Kind::kMin:
    case Kind::kMax:
      return {};
    case Kind::kCount:
    case Kind::kSum:
      return add_number(state, *bytes);
    case Kind::kAvg: {
      if (!row[key_])
        return fail(sqlstate::kProtocolViolation, "a storage unit sent a sum without its count");
      const auto rows = integer(*row[key_], key_type_, key_binary_);
      if (!rows) return std::unexpected(rows.error());
      if (*rows <= 0) return fail(sqlstate::kProtocolViolation, "a storage unit sent a sum of no rows");
      state.rows += static_cast<uint64_t>(*rows);
      return add_number(state, *bytes);
    }
    case Kind::kBoolAnd:
    case Kind::kBoolOr: {
      if (bytes->size() != 1) return malformed_value(types::kBool);
      const bool value = column_binary_ ? (*bytes)[0] != 0 : (*bytes)[0] == 't';
      state.flag = !state.any ? value : kind_ == Kind::kBoolAnd ? state.flag && value : state.flag || value;
      state.any = true;
      return {};
    }
  }
  return {};
}

void Aggregate::finish(AggregateState& state) const {
  if (kind_ != Kind::kAvg && kind_ != Kind::kSum) return;
  if (!state.any || result_ != Number::kNumeric) return;
  if (!state.more) {
    state.more = std::make_unique<AggregateState::More>();
    state.more->numeric = Numeric::from_integer(state.integer);
  }
  if (kind_ == Kind::kAvg) state.more->numeric = state.more->numeric.divide(state.rows);
}

Result<std::optional<std::string_view>> Aggregate::value(const AggregateState& state, bool binary,
                                                         std::string& scratch) const {
  if (is_null(state)) return std::nullopt;
  scratch.clear();
  switch (kind_) {
    case Kind::kColumn:
      return std::nullopt;
    case Kind::kMin:
    case Kind::kMax:
      return column_ == key_ ? state.more->key : state.more->shown;
    case Kind::kBoolAnd:
    case Kind::kBoolOr:
      scratch += binary ? static_cast<char>(state.flag ? 1 : 0) : state.flag ? 't' : 'f';
      return scratch;
    case Kind::kCount:
    case Kind::kSum:
    case Kind::kAvg:
      break;
  }
  if (state.more) {
    const Numeric& number = state.more->numeric;
    if (auto status = binary ? number.append_binary(scratch) : number.append_text(scratch); !status)
      return std::unexpected(status.error());
    return scratch;
  }
  if (!fits_int8(state.integer)) return fail("22003", "bigint out of range");
  const auto value = static_cast<int64_t>(state.integer);
  if (binary) {
    append_big_endian(scratch, value);
  } else {
    scratch = std::to_string(value);
  }
  return scratch;
}

int Aggregate::compare(const AggregateState& a, const AggregateState& b) const {
  switch (kind_) {
    case Kind::kMin:
    case Kind::kMax:
      return order_.compare(a.more->key, b.more->key);
    case Kind::kBoolAnd:
    case Kind::kBoolOr:
      return static_cast<int>(a.flag) - static_cast<int>(b.flag);
    case Kind::kColumn:
    case Kind::kCount:
    case Kind::kSum:
    case Kind::kAvg:
      break;
  }
  if (a.more && b.more) return a.more->numeric.compare(b.more->numeric);
  return a.integer < b.integer ? -1 : a.integer > b.integer ? 1 : 0;
}

Result<Aggregate::Comparand> Aggregate::comparand(const std::string& text) const {
  Comparand made;
  if (kind_ == Kind::kBoolAnd || kind_ == Kind::kBoolOr) {
    const auto flag = parse_bool(text);
    if (!flag) return fail("22P02", "invalid input syntax for type boolean: \"" + text + "\"");
    made.flag = *flag;
    return made;
  }
  const bool extreme = kind_ == Kind::kMin || kind_ == Kind::kMax;
  if (extreme && !is_integer(key_type_) && key_type_ != types::kNumeric && key_type_ != types::kFloat8) {
    // real is refused too: whether the constant is rounded to real first depends on how it was written.
    return fail(sqlstate::kFeatureNotSupported,
                "HAVING on min() or max() of " + type_name(key_type_) +
                    " is not supported over several storage units",
                {}, "Filter the rows of a subquery on one value of the sharding key instead.");
  }
  auto number = Numeric::from_text(text);
  if (!number) return std::unexpected(std::move(number.error()));
  made.numeric = std::move(*number);
  if (!extreme || key_type_ != types::kFloat8) return made;
  // numeric and bigint become double precision through their text, rounded to nearest, as here.
  std::string plain;
  if (auto status = made.numeric.append_text(plain); !status) return std::unexpected(status.error());
  made.real = std::strtod(plain.c_str(), nullptr);
  if (std::isinf(made.real) && plain.find("Inf") == std::string::npos)
    return fail("22003", "\"" + text + "\" is out of range for type double precision");
  return made;
}

int Aggregate::compare_with(const AggregateState& state, const Comparand& value) const {
  switch (kind_) {
    case Kind::kBoolAnd:
    case Kind::kBoolOr:
      return static_cast<int>(state.flag) - static_cast<int>(value.flag);
    case Kind::kMin:
    case Kind::kMax: {
      if (key_type_ == types::kFloat8) return compare_floats(read_float(state.more->key), value.real);
      if (is_integer(key_type_))
        return Numeric::from_integer(read_signed(state.more->key)).compare(value.numeric);
      const auto number = Numeric::from_binary(state.more->key);
      return number ? number->compare(value.numeric) : 0;  // add() has checked the bytes
    }
    case Kind::kColumn:
    case Kind::kCount:
    case Kind::kSum:
    case Kind::kAvg:
      break;
  }
  if (state.more) return state.more->numeric.compare(value.numeric);
  return Numeric::from_integer(state.integer).compare(value.numeric);
}

}  // namespace decan::exec
