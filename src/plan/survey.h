// What a query touches: relations by their placement, functions by their nature, and the things that forbid
// one or the other way of running it.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "plan/functions.h"
#include "plan/scope.h"

namespace decan::plan {

struct Survey {
  std::vector<const Source*> sharded;  // every mention, the target of a write included
  std::vector<const Source*> broadcast;
  std::set<UnitId> units;     // that single tables, system catalogs and temporary tables need
  std::string single_name;    // one of those tables, for messages
  bool reads_system = false;  // system catalogs or unknown names
  bool uses_temp = false;
  const Source* write_target = nullptr;     // of the statement itself
  std::vector<const Source*> inner_writes;  // targets of data-modifying CTEs
  bool locks_rows = false;
  bool locks_broadcast = false;  // FOR UPDATE that reaches a broadcast table

  // Functions and expressions that matter to more than one unit, by example.
  std::string unknown_function;
  std::string home_function;       // has to run on the home unit
  bool advances_sequence = false;  // calls nextval(), setval() or the like itself
  std::string aggregate_or_window;
  bool session_advisory_lock = false;
  bool reads_session_value = false;
  bool uses_sequences = false;   // may advance one
  bool reads_sequences = false;  // currval(), lastval()
  bool changes_session = false;  // calls what may change settings, lock, or make temporary objects
  bool sets_config = false;
  bool calls_volatile_user_function = false;
  std::string volatile_name;  // any function that is not the same each time, for broadcast writes
  std::string system_column;  // a system column of a sharded or broadcast table
  bool whole_row = false;
  bool qualified_by_schema = false;  // orders.public.id style references
  bool current_of = false;
  bool samples = false;
  std::string regclass_cast;  // casts to types whose values are OIDs of one server

  // What no unit can answer alone and no merge either, unless everything lives on one unit.
  std::string hidden_what;  // "view v", "function f"
  std::string hidden_table;
};

Survey survey_of(const Scope& scope);

}  // namespace decan::plan
