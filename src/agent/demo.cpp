#include "agent/demo.h"

#include <fmt/format.h>

#include <array>
#include <random>

#include "agent/sql.h"

namespace decan::agent {
namespace {

constexpr int kCustomers = 1000;
constexpr int kProducts = 100;
constexpr int kOrdersPerCustomer = 5;
constexpr int kItemsPerOrder = 3;

struct Table {
  std::string_view name, definition;
  std::string_view placement;  // empty: a single table
  std::string (*rows)();       // COPY text
};

// The same rows everywhere: mt19937's output is fixed by the C++ standard, unlike that of the distributions.
class Dice {
 public:
  explicit Dice(uint32_t seed) : engine_(seed) {}
  int below(int bound) { return static_cast<int>(engine_() % static_cast<uint32_t>(bound)); }

 private:
  std::mt19937 engine_;
};

int price_cents(int product) {
  return 99 + product * 137 % 9900;
}

std::string customer_rows() {
  constexpr std::array<std::string_view, 12> kNames = {"Ada",  "Bo",   "Chen", "Dana", "Emil", "Fatou",
                                                       "Gita", "Hugo", "Ines", "Jun",  "Kofi", "Lena"};
  constexpr std::array<std::string_view, 8> kCities = {"Berlin", "Shanghai", "Lagos", "Lima",
                                                       "Oslo",   "Pune",     "Quito", "Turin"};
  Dice dice(1);
  std::string out;
  for (int id = 1; id <= kCustomers; ++id) {
    const std::string_view name = kNames[static_cast<size_t>(dice.below(kNames.size()))];
    out += fmt::format("{}\t{} {}\tcustomer{}@example.com\t{}\t2025-{:02}-{:02} 12:00:00+00\n", id, name, id,
                       id, kCities[static_cast<size_t>(dice.below(kCities.size()))], 1 + dice.below(12),
                       1 + dice.below(28));
  }
  return out;
}

std::string product_rows() {
  std::string out;
  for (int id = 1; id <= kProducts; ++id) {
    const int cents = price_cents(id);
    out += fmt::format("{}\tProduct {}\t{}.{:02}\n", id, id, cents / 100, cents % 100);
  }
  return out;
}

std::string order_rows() {
  constexpr std::array<std::string_view, 4> kStates = {"new", "paid", "shipped", "returned"};
  Dice dice(2);
  std::string out;
  for (int customer = 1; customer <= kCustomers; ++customer) {
    for (int order = 1; order <= kOrdersPerCustomer; ++order) {
      out += fmt::format("{}\t{}\t2026-{:02}-{:02} {:02}:00:00+00\t{}\n", customer,
                         (customer - 1) * kOrdersPerCustomer + order, 1 + dice.below(10), 1 + dice.below(28),
                         dice.below(24), kStates[static_cast<size_t>(dice.below(kStates.size()))]);
    }
  }
  return out;
}

std::string item_rows() {
  Dice dice(3);
  std::string out;
  for (int customer = 1; customer <= kCustomers; ++customer) {
    for (int order = 1; order <= kOrdersPerCustomer; ++order) {
      for (int item = 1; item <= 1 + dice.below(kItemsPerOrder); ++item) {
        const int product = 1 + dice.below(kProducts);
        const int cents = price_cents(product);
        out += fmt::format("{}\t{}\t{}\t{}\t{}\t{}.{:02}\n", customer,
                           (customer - 1) * kOrdersPerCustomer + order, item, product, 1 + dice.below(4),
                           cents / 100, cents % 100);
      }
    }
  }
  return out;
}

std::string setting_rows() {
  return "currency\tEUR\nname\tDecan demo shop\n";
}

// customers, orders and order_items share the key customer_id: what belongs to one customer is on one unit,
// and joins are local. products is small and on every unit. shop_settings is an ordinary table on one unit.
constexpr std::array<Table, 5> kTables = {{
    {"customers",
     "customer_id bigint PRIMARY KEY, name text NOT NULL, email text NOT NULL, city text NOT NULL, "
     "registered_at timestamptz NOT NULL",
     "create_distributed_table('customers', 'customer_id')", customer_rows},
    {"products",
     "product_id int PRIMARY KEY, name text NOT NULL, price numeric(10,2) NOT NULL CHECK (price > 0)",
     "create_reference_table('products')", product_rows},
    {"orders",
     "customer_id bigint NOT NULL, order_id bigint NOT NULL, ordered_at timestamptz NOT NULL, "
     "status text NOT NULL, PRIMARY KEY (customer_id, order_id)",
     "create_distributed_table('orders', 'customer_id', colocate_with => 'customers')", order_rows},
    {"order_items",
     "customer_id bigint NOT NULL, order_id bigint NOT NULL, item_no int NOT NULL, product_id int NOT NULL, "
     "quantity int NOT NULL, price numeric(10,2) NOT NULL, PRIMARY KEY (customer_id, order_id, item_no)",
     "create_distributed_table('order_items', 'customer_id', colocate_with => 'customers')", item_rows},
    {"shop_settings", "name text PRIMARY KEY, value text NOT NULL", "", setting_rows},
}};

Status load_table(SqlConnection& connection, const Table& table) {
  const auto made =
      connection.run(fmt::format("CREATE TABLE IF NOT EXISTS {} ({})", table.name, table.definition));
  if (!made) return fail(made.error());
  if (!table.placement.empty()) {
    const auto placed = connection.run(fmt::format("SELECT {}", table.placement));
    // An interrupted earlier load got that far.
    if (!placed && placed.error().message.find("already") == std::string::npos) return fail(placed.error());
  }
  const auto count = connection.run(fmt::format("SELECT count(*) FROM {}", table.name));
  if (!count) return fail(count.error());
  if (count->empty() || (*count)[0][0] != "0") return {};
  return connection.copy_in(fmt::format("COPY {} FROM STDIN", table.name), table.rows());
}

}  // namespace

Status load_demo(const std::string& dsn) {
  auto connection = SqlConnection::open(dsn);
  if (!connection) return fail(connection.error());
  for (const Table& table : kTables) {
    if (Status done = load_table(*connection, table); !done) {
      Error error = done.error();
      error.message = fmt::format("demo table {}: {}", table.name, error.message);
      return fail(std::move(error));
    }
  }
  return {};
}

}  // namespace decan::agent
