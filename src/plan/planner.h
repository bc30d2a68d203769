// SQL text -> Plans. Pure: no I/O, no clock; any thread.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/text_map.h"
#include "plan/plan.h"

namespace decan::plan {

// What besides its text decides what a statement means.
struct Context {
  catalog::SnapshotPtr catalog;
  std::vector<std::string> search_path;  // expanded
  std::string role;
  bool standard_conforming_strings = true;
  const std::vector<std::string>* temp_relations =
      nullptr;  // names of the session's temporary relations (on home)
};

struct PlannedStatement {
  PlanPtr plan;
  uint32_t offset = 0, bytes = 0;  // its text within the whole string, without the trailing ';'
};

// Parses and plans a string of statements. An Error means that nothing can be planned at all (42601 with the
// position in `position_out`, from 1, in characters, 0 when unknown). What is understood but can not be done
// exactly comes back as a plan with Action::kRefuse. `parameter_types` are those of a Parse message (0 =
// unspecified). `tpl` may be null; when given (one statement, literals lifted) the plan refers to its
// literals by ordinal.
Result<std::vector<PlannedStatement>> plan_statements(std::string_view sql, const sql::Template* tpl,
                                                      std::span<const Oid> parameter_types,
                                                      const Context& context, uint32_t* position_out);

// A bound parameter as it came from the client.
struct ParameterValue {
  bool is_null = false;
  bool is_binary = false;
  Oid type = 0;  // declared or described; 0 unknown
  std::string_view bytes;
};

// A key's value that only a server can read, where the statement has to go to one unit: a date in the
// session's DateStyle, a time without a zone, U&'…'.
struct UnreadValue {
  Oid read_as = 0;      // what the literal or parameter is taken for
  Oid key = 0;          // the key column's type, of the same family
  bool is_sql = false;  // `text` is a literal as it is written, else the value's text
  std::string text;
  auto operator<=>(const UnreadValue&) const = default;
};
struct ReadValues {
  std::map<UnreadValue, std::string> known;  // binary form in the key column's type
  std::set<UnreadValue> wanted;              // resolve() adds what it had needed
};

// The values of one execution.
struct Values {
  std::string_view sql;  // the string that was planned if it holds one statement, else the own text
  const sql::Template* tpl = nullptr;  // ignored for plans with exact_text
  std::span<const ParameterValue> parameters;
  // Start of the transaction as PostgreSQL would show it in ISO form with a zone, "2026-11-20
  // 11:05:00.123456+00". Needed when Plan::needs_now and several units are addressed.
  std::string_view now = {};
  ReadValues* read = nullptr;  // null: values that only a server can read are refused
};

struct UnitTarget {
  UnitId unit;
  std::optional<BucketId> bucket;     // set when exactly one bucket of this unit is addressed
  std::vector<uint32_t> insert_rows;  // kInsertRows: which rows
};

// Routes one execution. Empty targets: the condition can not be true for any bucket (e.g. key = NULL); then
// the statement runs on any one unit, where it finds nothing. kAnyUnit gives empty targets, too. Errors:
// those of an invalid key literal (22P02 …) are not raised here, since the server may evaluate in another
// order: such statements go to every unit; but INSERT rows whose key is unknown to us raise 0A000 with a
// hint; where a server can read it, Values::read says so.
Result<std::vector<UnitTarget>> resolve(const Plan& plan, const Values& values);

// The same for the usual case, one key with one value that is known, without a vector; nullopt: ask
// resolve().
std::optional<UnitTarget> resolve_one(const Plan& plan, const Values& values);

// The text to send to a target. One target: the whole statement, whose answer is the answer, leaves named for
// a single bucket. Several: the fragment for kScatter, whose rows are to be merged; INSERT rows picked; the
// guarded statement otherwise.
std::string render(const Plan& plan, const Values& values, const UnitTarget& target, size_t target_count);
// From what render() gives to Values::sql; empty when that is the same text.
TextMap text_map(const Plan& plan, const Values& values, const UnitTarget& target, size_t target_count);

}  // namespace decan::plan
