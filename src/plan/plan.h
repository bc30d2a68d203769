// A Plan says what to do with one statement. It is immutable and shared between sessions and threads;
// everything that differs between two executions (literals, parameters) is reached through ValueRef. Made by
// plan/planner.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/ids.h"
#include "catalog/snapshot.h"
#include "plan/merge_spec.h"
#include "sql/template.h"

namespace decan::plan {

enum class Action : uint8_t {
  kEmpty,         // no statement
  kRoute,         // tier 1: passed whole to one unit (`routing`); reads, writes, and utility on one unit
  kScatter,       // tier 2 read: a fragment per unit, rows merged (`merge`)
  kScatterWrite,  // UPDATE/DELETE (… RETURNING) on several units: counts added, rows concatenated;
                  // on broadcast tables: on every unit, one unit's answer is the answer (`broadcast_write`)
  kInsertRows,    // INSERT … VALUES with several rows: split by bucket
  kCopyIn,
  kCopyOut,
  kBegin,
  kCommit,
  kRollback,
  kSavepoint,
  kRelease,
  kRollbackTo,
  kSetTransaction,  // SET TRANSACTION / SET SESSION CHARACTERISTICS
  kSet,
  kReset,
  kShow,
  kDiscard,
  kPrepare,
  kExecute,
  kDeallocate,  // SQL-level prepared statements
  kDeclareCursor,
  kFetch,
  kCloseCursor,  // SQL-level cursors (FETCH and MOVE)
  kListen,
  kUnlisten,       // NOTIFY is kRoute to home
  kDdl,            // runs in a transaction on `ddl.units`
  kDdlConcurrent,  // may not run in a transaction (CREATE DATABASE, VACUUM, … CONCURRENTLY): unit by unit
  kExplain,
  kDistSql,  // parsed by the session
  kAdmin,    // create_distributed_table(), create_reference_table(), undistribute_table()
  kPrepareTransaction,
  kCommitPrepared,
  kRollbackPrepared,
  kRefuse,  // `refusal`
};

// Where a kRoute, kScatter, kScatterWrite goes. kByKey narrows to buckets when all key values are known.
enum class RouteTo : uint8_t {
  kHome,     // catalogs, unknown names, functions
  kAnyUnit,  // only broadcast tables, or no table at all: any unit, preferring one already in the transaction
  kUnit,     // `unit`
  kByKey,    // buckets of `group` that `keys` select
  kAllUnits,  // every unit that holds a bucket of `group` (or every unit when group is null)
};

// Where a statement may stand (25P01, 25001 elsewhere).
enum class Place : uint8_t { kAnywhere, kInBlock, kOutsideBlock };

// The values a key column may have: an equality, an IN list, = ANY($1). Intersections are made at plan time.
struct KeyCondition {
  std::vector<ValueRef> any_of;                 // one of these
  std::optional<uint32_t> any_array_parameter;  // $n holds an array (any_of is empty then)
  std::optional<ValueRef> any_array_literal;    // = ANY('{1,2}')
  Oid declared_type = 0;                        // type of the array's elements (0: the key's)
  bool operator==(const KeyCondition&) const = default;
};

struct Routing {
  RouteTo to = RouteTo::kHome;
  UnitId unit;
  const catalog::ShardGroup* group = nullptr;  // owned by the plan's snapshot
  std::vector<KeyCondition> keys;              // one per key column of the group, all of them, or empty
  // kByKey: further sharded tables that are pinned by conditions of their own. Their buckets must be on the
  // units that `keys` leads to, else resolve() refuses.
  struct Pin {
    const catalog::ShardGroup* group = nullptr;
    std::vector<KeyCondition> keys;
    bool operator==(const Pin&) const = default;
  };
  std::vector<Pin> also;
  std::optional<UnitId> only_unit;  // kByKey: something else in the statement lives there (resolve() checks)
};

// A place in the statement's text. With a template it is counted in the template's text, where every literal
// is one byte.
struct TextPosition {
  uint32_t offset = 0;
  uint32_t literals = 0;    // literals before it
  uint32_t after_last = 0;  // offset just behind the last of them
};

// What is sent to a unit is made of pieces: of the statement's own text, of new text, and of a leaf's name.
struct TextPiece {
  TextPosition begin, end;  // copied, unless one of the next two is set
  std::string text;
  const catalog::Relation* leaf_of = nullptr;  // the leaf of this relation in the routed bucket
  bool now = false;                            // Values::now as a string literal
};
using Text = std::vector<TextPiece>;

// One row of INSERT … VALUES.
struct InsertRow {
  TextPosition begin, end;    // "( … )"
  std::vector<ValueRef> key;  // one per key column
};

struct InsertRows {
  std::vector<InsertRow> rows;       // text before the first row and after the last one is sent to every unit
  std::vector<int32_t> key_typmods;  // per key column: storing a value may round it, and with it its bucket
  bool returning = false;
};

struct CopySpec {
  const catalog::Relation* relation = nullptr;  // sharded or broadcast
  std::vector<int16_t> attnums;                 // columns in the order of the data
  std::vector<uint32_t> key_fields;             // positions in the data of the key columns (kSharded)
  enum class Format { kText, kCsv, kBinary } format = Format::kText;
  char delimiter = '\t';
  std::string null_text = "\\N";
  char quote = '"', escape = '"';
  bool header = false;  // HEADER or HEADER MATCH: the first line goes to every unit
  std::string query;    // COPY (query) TO: the text between the parentheses
  size_t query_at = 0;  // where it is in the statement's text
  bool merged = false;  // over several units the query's rows have to be merged
  std::vector<std::string> force_quote;
  bool force_quote_all = false;
  std::string unit_sql;  // statement for each unit (COPY IN to the parent; COPY OUT of the local rows)
};

struct SetSpec {
  std::string
      name;  // lower case; "session authorization", "role", "time zone" -> TimeZone, … canonical GUC name
  bool is_local = false;
  bool is_reset = false;  // SET x TO DEFAULT / RESET x; name empty: RESET ALL
  // SELECT set_config(name, value, is_local), …: `name` and `is_local` are those of a call.
  struct Call {
    std::string column;
    ValueRef name, value, is_local;
  };
  std::vector<Call> calls;
};

struct CursorSpec {
  std::string name;  // empty: CLOSE ALL
  bool with_hold = false;
  bool no_scroll = false;
  bool is_move = false;
  enum class Direction : uint8_t {
    kForward,
    kBackward,
    kAbsolute,
    kRelative
  } direction = Direction::kForward;
  int64_t count = 1;  // FETCH, MOVE; ALL is the largest int64
};

struct PreparedSpec {
  std::string name;                     // DEALLOCATE ALL: empty
  std::string body;                     // PREPARE: the statement's text
  std::vector<std::string> type_names;  // PREPARE name(type, …): as written
  // EXECUTE: byte range of the name in the text, and the argument list with its parentheses
  uint32_t name_offset = 0, name_bytes = 0;
  std::vector<ValueRef> arguments;  // only constants; otherwise `constant_arguments` is false
  bool constant_arguments = true;
};

struct DdlSpec {
  enum class Scope { kHome, kUnit, kAllUnits } scope = Scope::kAllUnits;
  UnitId unit;
  std::string unit_sql;  // what units get when it differs from the text (e.g. hashed password); else empty
  // What units other than home get when it differs: there the object (a function that uses a single table)
  // may not exist, which is no error.
  std::string others_sql;
  bool changes_catalog = true;  // reload the snapshot afterwards
  bool creates_temp = false;    // temporary object: pins the session to the home unit
  bool writes_rows = false;     // CREATE TABLE AS, REFRESH, …
  // CREATE/ALTER ROLE … PASSWORD 'literal': the literal's byte range in the original text and the role.
  struct Password {
    uint32_t offset = 0, bytes = 0;
    std::string role;
  };
  std::optional<Password> password;
  std::string tag_object;  // "table", "role", … for logs
};

struct AdminCall {
  std::string function;                                     // create_distributed_table, …
  std::vector<std::pair<std::string, ValueRef>> arguments;  // by name ("" positional), in order
};

struct ExplainSpec {
  bool analyze = false, verbose = false;
  std::string format = "text";
  std::string options;  // "(ANALYZE, BUFFERS …)" as typed, for the units
  std::shared_ptr<const struct Plan> inner;
  std::string inner_sql;
};

// What a statement does to the session beyond its rows; decides pinning.
struct Effects {
  bool writes = false;           // may write rows (so the unit is a writer of the transaction)
  bool takes_row_locks = false;  // SELECT … FOR UPDATE/SHARE
  bool session_advisory_lock = false;
  bool uses_sequences = false;      // may advance a sequence: nextval(), defaults, functions, triggers
  bool reads_sequences = false;     // currval(), lastval(): what this session did before
  bool changes_settings = false;    // set_config() with something not constant, DO, CALL, …: pins
  bool uses_session_value = false;  // currval, lastval, pg_backend_pid, …: prefers the connection in use
  bool uses_temp = false;           // touches a temporary table of this session
};

struct Plan {
  Action action = Action::kEmpty;
  catalog::SnapshotPtr snapshot;  // keeps relations and groups alive
  std::string tag;                // command tag without counts: "SELECT", "INSERT", "UPDATE", "BEGIN", …
  bool returns_rows = false;
  // Relations whose columns a result may be made of and whose object ids differ between units.
  std::vector<const catalog::Relation*> origins;
  Place place = Place::kAnywhere;
  std::string words;  // what errors about `place` call it, when that is not the tag
  // False: the plan holds for every statement of the same template; true: only for the very same text, and
  // needs no template when it is run.
  bool exact_text = false;
  Effects effects;
  Routing routing;
  // OIDs on the home unit of the tables that a run touches, sorted; absent when not all are known (views,
  // functions of users, statements that are not queries).
  std::optional<std::vector<Oid>> tables;
  // What is sent (see render()); positions are those of the whole string given to plan_statements() when it
  // holds one statement, else of the statement's own text. Empty: the text as it is.
  Text leaf_text;      // when routing ends in exactly one bucket: sharded tables replaced by their leaves
  Text whole_text;     // when it ends on one unit otherwise: the whole statement with the epoch check
  Text fragment_text;  // when it ends on several units: what each of them gets, with the epoch check
  std::string
      guarded_sql;  // whole_text as it was for the statement planned (EXPLAIN, PREVIEW); empty without check
  // fragment_text holds the statement's time in place of now(), CURRENT_DATE, …, so that all units use the
  // same: Values::now must be given when several units are addressed.
  bool needs_now = false;
  // String literals (ordinals) and parameters that the units may read as dates: the clock's words ('now',
  // 'today') in them would mean another time on every unit. resolve() refuses them when several units are
  // addressed.
  std::vector<uint32_t> clock_literals, clock_parameters;
  uint32_t parameter_count = 0;    // highest $n
  std::optional<MergeSpec> merge;  // kScatter
  bool broadcast_write = false;
  std::variant<std::monostate, InsertRows, CopySpec, SetSpec, CursorSpec, PreparedSpec, DdlSpec, AdminCall,
               ExplainSpec>
      detail;
  std::string name;  // savepoint, channel, gid, SHOW name, DISCARD target
  std::string
      transaction_options;  // BEGIN/SET TRANSACTION/COMMIT: text after the keyword, e.g. "ISOLATION LEVEL …"
  bool chain = false;       // COMMIT/ROLLBACK AND CHAIN
  Error refusal;            // kRefuse
  std::string explain_reason;  // why this tier, for EXPLAIN
};

using PlanPtr = std::shared_ptr<const Plan>;

}  // namespace decan::plan
