// What the planner knows of functions by their name. A parse tree does not tell an aggregate from a plain
// function, so over several units only functions of known nature are accepted. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "catalog/snapshot.h"

namespace decan::plan {

enum class FunctionClass : uint8_t {
  kPure,      // immutable, or stable with the same answer on every unit of a session
  kVolatile,  // evaluated per row, no effect: random(), gen_random_uuid(), clock_timestamp()
  kNow,       // the transaction's or statement's time: differs between units by clock and start
  kAggregate,
  kWindow,
  kSetReturning,  // pure, many rows
  kUnknown,       // a user's function, or a built-in one that looks at its own server
};

// `names`: the call's name parts. A schema other than pg_catalog makes it kUnknown.
FunctionClass classify_function(const std::vector<std::string>& names);

// The same, with users' own functions that are as good as built-in ones.
FunctionClass classify_function(const std::vector<std::string>& names, const catalog::Snapshot& snapshot);

// Special built-in functions, by name.
bool is_sequence_function(std::string_view name);      // nextval, setval, currval, lastval
bool is_session_advisory_lock(std::string_view name);  // held until the session ends or unlocks
bool must_run_on_home(
    std::string_view name);  // advisory locks, notify, large objects, sequences, …: one place for all
bool reads_sequences(std::string_view name);      // currval, lastval
bool reads_session_value(std::string_view name);  // currval, lastval, pg_backend_pid, transaction ids, …
// Runs SQL that it is given as text, or reads tables that it is given by name: query_to_xml, ts_stat, …
bool runs_text(const std::vector<std::string>& names, size_t arguments);

}  // namespace decan::plan
