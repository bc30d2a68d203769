// Steps that all changes of the placement share. Internal to the module.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "async/task.h"
#include "base/error.h"
#include "placement/unit_runner.h"

namespace decan::placement {

std::string text_array(const std::vector<std::string>& values);  // ARRAY[…]::text[]

// A table as the home unit describes it.
struct Description {
  std::string relation;  // quoted name with schema: the same on every unit
  std::string owner, column_list;
  bool forces_row_security = false;
  uint64_t next_id = 0;  // a new id, for the table and its group
  std::optional<UnitId>
      far_unit;  // where the rows are, if not on the home unit: a table that came with a unit
};

// Statements that make the table, by phase (see table_statements() in sql/ddl.sql).
struct Definition {
  std::vector<std::string> sequence, table, index, foreign, finish;
};

class Change {
 public:
  explicit Change(UnitRunner& runner);

  UnitId home() const { return home_; }
  const std::vector<UnitId>& units() const { return units_; }
  const std::vector<UnitId>& others() const { return others_; }  // all but home

  async::Task<Result<TextRows>> on_home(std::string sql);
  async::Task<Result<TextRows>> rows_from(UnitId unit, std::string sql);
  async::Task<Status> on(UnitId unit, std::string sql);
  async::Task<Status> on_all(std::string sql);
  async::Task<Status> on_others(std::string sql);
  // Runs statements on a unit with a fixed search_path; nothing when there are none.
  async::Task<Status> execute(UnitId unit, std::vector<std::string> statements);
  async::Task<Status> execute_on_others(std::vector<std::string> statements);
  async::Task<Status> execute_on_all(std::vector<std::string> statements);

  // Checks the name and the ownership, and locks the table against everybody.
  async::Task<Result<Description>> describe(std::string table);
  async::Task<Result<Definition>> definition(std::string relation, std::string partition_by);
  // Takes the owner's role and settings under which values keep their text, and opens the change on every
  // unit.
  async::Task<Status> begin(std::string owner);
  // Closes the change: epochs of all units are made equal, role and settings given back.
  async::Task<Status> end();

 private:
  // A proof for the unit's transaction: `token`: SQL that says what it has to name.
  async::Task<Result<std::string>> proof(UnitId unit, std::string purpose, std::string token);
  async::Task<Status> align_epochs(std::vector<std::string> epochs);

  UnitRunner& runner_;
  UnitId home_;
  std::vector<UnitId> units_, others_;
  std::string restore_;  // statement that gives the settings back
};

}  // namespace decan::placement
