#include "placement/change.h"

#include <algorithm>
#include <charconv>

#include "base/quote.h"

namespace decan::placement {
namespace {

std::unexpected<Error> unexpected_rows(std::string_view what) {
  return fail(sqlstate::kInternalError, "unexpected answer of a storage unit: " + std::string(what));
}

std::optional<std::string> value(const TextRows& rows, size_t row, size_t column) {
  if (row >= rows.rows.size() || column >= rows.rows[row].size()) return std::nullopt;
  return rows.rows[row][column];
}

// What is set while rows travel as text: floats keep every digit, dates and intervals one spelling.
constexpr std::pair<std::string_view, std::string_view> kCopySettings[] = {{"extra_float_digits", "1"},
                                                                           {"DateStyle", "ISO, YMD"},
                                                                           {"IntervalStyle", "postgres"},
                                                                           {"row_security", "off"}};

}  // namespace

std::string text_array(const std::vector<std::string>& values) {
  std::string out = "ARRAY[";
  for (size_t i = 0; i < values.size(); ++i) out += (i > 0 ? "," : "") + quote_literal(values[i]);
  return out + "]::pg_catalog.text[]";
}

Change::Change(UnitRunner& runner) : runner_(runner), home_(runner.home()), units_(runner.units()) {
  for (const UnitId unit : units_) {
    if (unit != home_) others_.push_back(unit);
  }
}

async::Task<Result<TextRows>> Change::on_home(std::string sql) {
  co_return co_await runner_.run(home_, std::move(sql));
}

async::Task<Result<TextRows>> Change::rows_from(UnitId unit, std::string sql) {
  co_return co_await runner_.run(unit, std::move(sql));
}

async::Task<Status> Change::on(UnitId unit, std::string sql) {
  auto done = co_await runner_.run(unit, std::move(sql));
  if (!done) co_return fail(std::move(done.error()));
  co_return Status{};
}

async::Task<Status> Change::on_all(std::string sql) {
  auto done = co_await runner_.run_all(units_, std::move(sql));
  if (!done) co_return fail(std::move(done.error()));
  co_return Status{};
}

async::Task<Status> Change::on_others(std::string sql) {
  if (others_.empty()) co_return Status{};
  auto done = co_await runner_.run_all(others_, std::move(sql));
  if (!done) co_return fail(std::move(done.error()));
  co_return Status{};
}

async::Task<Status> Change::execute(UnitId unit, std::vector<std::string> statements) {
  if (statements.empty()) co_return Status{};
  co_return co_await on(unit, "SELECT decan.run(" + text_array(statements) + ")");
}

async::Task<Status> Change::execute_on_others(std::vector<std::string> statements) {
  if (statements.empty()) co_return Status{};
  co_return co_await on_others("SELECT decan.run(" + text_array(statements) + ")");
}

async::Task<Status> Change::execute_on_all(std::vector<std::string> statements) {
  if (statements.empty()) co_return Status{};
  co_return co_await on_all("SELECT decan.run(" + text_array(statements) + ")");
}

async::Task<Result<std::string>> Change::proof(UnitId unit, std::string purpose, std::string token) {
  auto named = co_await runner_.run(unit, "SELECT " + token);
  if (!named) co_return fail(named.error());
  const auto text = value(*named, 0, 0);
  if (!text) co_return unexpected_rows(token);
  co_return quote_literal(runner_.proof(purpose + "/" + *text));
}

async::Task<Result<Description>> Change::describe(std::string table) {
  auto vouched = co_await proof(home_, "lock", "decan.transaction_token()");
  if (!vouched) co_return fail(vouched.error());
  auto locked = co_await on_home("SELECT decan.lock_placement(" + *vouched + ")");
  if (!locked) co_return fail(locked.error());
  const auto id = value(*locked, 0, 0);
  const std::string as_given = quote_literal(table) + "::pg_catalog.regclass";
  if (auto owned = co_await on(home_, "SELECT decan.check_owner(" + as_given + ")"); !owned)
    co_return fail(owned.error());
  auto rows = co_await on_home("SELECT * FROM decan.describe(" + as_given + ")");
  if (!rows) co_return fail(rows.error());
  const auto owner = value(*rows, 0, 0), relation = value(*rows, 0, 1), columns = value(*rows, 0, 2),
             force = value(*rows, 0, 3), kind = value(*rows, 0, 4), far = value(*rows, 0, 5);
  if (!owner || !relation || !columns || !force || !id || !kind)
    co_return unexpected_rows("decan.describe()");
  if (*kind != "r" && *kind != "p") co_return fail(sqlstate::kWrongObjectType, *relation + " is not a table");
  Description out{*relation, *owner, *columns, *force == "t", 0, {}};
  std::from_chars(id->data(), id->data() + id->size(), out.next_id);
  if (far) {
    out.far_unit.emplace();
    std::from_chars(far->data(), far->data() + far->size(), out.far_unit->value);
  }
  // The name may have come to mean another table while the lock was waited for: then the checks below see
  // that one, under its lock.
  if (auto closed = co_await on(home_, "LOCK TABLE " + out.relation + " IN ACCESS EXCLUSIVE MODE"); !closed) {
    co_return fail(closed.error());
  }
  auto oid =
      co_await on_home("SELECT " + quote_literal(out.relation) + "::pg_catalog.regclass::pg_catalog.oid");
  if (!oid) co_return fail(oid.error());
  Oid number = 0;
  const std::string digits = value(*oid, 0, 0).value_or("");
  std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (auto alone = co_await runner_.shut_out(number); !alone) co_return fail(alone.error());
  co_return out;
}

async::Task<Result<Definition>> Change::definition(std::string relation, std::string partition_by) {
  auto rows = co_await on_home("SELECT phase, statement FROM decan.table_statements(" +
                               quote_literal(relation) + ", " + quote_literal(partition_by) + ")");
  if (!rows) co_return fail(rows.error());
  Definition out;
  for (size_t i = 0; i < rows->rows.size(); ++i) {
    const auto phase = value(*rows, i, 0), statement = value(*rows, i, 1);
    if (!phase || !statement) co_return unexpected_rows("decan.table_statements()");
    auto& list = *phase == "sequence"  ? out.sequence
                 : *phase == "table"   ? out.table
                 : *phase == "index"   ? out.index
                 : *phase == "foreign" ? out.foreign
                                       : out.finish;
    list.push_back(*statement);
  }
  co_return out;
}

async::Task<Status> Change::begin(std::string owner) {
  std::string read = "SELECT decan.caller(), pg_catalog.current_setting('role')";
  for (const auto& [name, unused] : kCopySettings)
    read += ", pg_catalog.current_setting('" + std::string(name) + "')";
  auto rows = co_await on_home(std::move(read));
  if (!rows) co_return fail(rows.error());
  std::string set = "SELECT ";
  restore_ = "SELECT ";
  for (size_t i = 0; i < std::size(kCopySettings); ++i) {
    const std::string head = (i > 0 ? ", " : "") + std::string("pg_catalog.set_config('") +
                             std::string(kCopySettings[i].first) + "', ";
    set += head + quote_literal(kCopySettings[i].second) + ", true)";
    restore_ += head + quote_literal(value(*rows, 0, 2 + i).value_or("")) + ", true)";
  }
  if (value(*rows, 0, 0) != owner) {
    set += ", pg_catalog.set_config('role', " + quote_literal(owner) + ", true)";
    restore_ +=
        ", pg_catalog.set_config('role', " + quote_literal(value(*rows, 0, 1).value_or("none")) + ", true)";
  }
  if (auto done = co_await on_all(std::move(set)); !done) co_return done;

  // Home first: its row of decan.map is the mutex between two changes, so that they can not wait for each
  // other crosswise.
  std::vector<std::string> epochs;
  std::vector<UnitId> order{home_};
  order.insert(order.end(), others_.begin(), others_.end());
  for (const UnitId unit : order) {
    auto vouched = co_await proof(unit, "change", "decan.change_token()");
    if (!vouched) co_return fail(vouched.error());
    auto opened =
        co_await runner_.run(unit, "SELECT decan.begin_change(" + std::to_string(unit.value) + ", " +
                                       std::to_string(units_.size()) + ", " +
                                       (epochs.empty() ? "NULL" : epochs.front()) + ", " + *vouched + ")");
    if (!opened) co_return fail(opened.error());
    const auto epoch = value(*opened, 0, 0);
    if (!epoch || epoch->find_first_not_of("0123456789") != std::string::npos)
      co_return unexpected_rows("decan.begin_change()");
    epochs.push_back(*epoch);
  }
  co_return co_await align_epochs(std::move(epochs));
}

// A unit that was ahead of home (it was restored, or attached) pulls all the others up.
async::Task<Status> Change::align_epochs(std::vector<std::string> epochs) {
  const auto longer = [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
  };
  const auto [least, greatest] = std::ranges::minmax(epochs, longer);
  if (least == greatest) co_return Status{};
  co_return co_await on_all("SELECT decan.set_epoch(" + greatest + ")");
}

async::Task<Status> Change::end() {
  if (auto done = co_await on_all("SELECT decan.end_change()"); !done) co_return done;
  co_return co_await on_all(restore_);
}

}  // namespace decan::placement
