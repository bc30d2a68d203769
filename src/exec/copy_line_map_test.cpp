#include "exec/copy_line_map.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace decan::exec {
namespace {

TEST(CopyLineMap, LinesOfAUnitAreTheClients) {
  CopyLineMap map;
  EXPECT_EQ(map.client_line(1), std::nullopt);
  map.sent(1, 1);  // header
  map.sent(4, 1);
  map.sent(9, 3);  // lines 7 to 9
  map.sent(10, 1);
  EXPECT_EQ(map.client_line(1), 1U);
  EXPECT_EQ(map.client_line(2), 4U);
  EXPECT_EQ(map.client_line(3), 7U);
  EXPECT_EQ(map.client_line(5), 9U);
  EXPECT_EQ(map.client_line(6), 10U);
  EXPECT_EQ(map.client_line(7), std::nullopt);
}

TEST(CopyLineMap, MemoryIsBoundedAndTheNewestLinesAreKept) {
  constexpr size_t kMax = 64 * 1024;
  CopyLineMap map(kMax);
  std::mt19937_64 random(std::random_device{}());
  const auto seed = random();
  std::cout << "seed " << seed << '\n';
  random.seed(seed);
  std::vector<uint64_t> ends;  // by line of the unit, the client's
  uint64_t client = 0;
  for (int i = 0; i < 400'000; ++i) {
    const uint64_t lines = random() % 50 == 0 ? 1 + random() % 300 : 1;
    client += lines + (random() % 1000 == 0 ? random() % 100'000 : random() % 3);
    for (uint64_t k = lines; k > 0; --k) ends.push_back(client - k + 1);
    map.sent(client, lines);
  }
  EXPECT_EQ(map.client_line(1), std::nullopt);
  for (size_t unit = ends.size() - 20'000; unit < ends.size(); ++unit)
    ASSERT_EQ(map.client_line(unit + 1), ends[unit]);
}

TEST(CopyLineMap, ContextsTellTheClientsLine) {
  CopyLineMap map;
  map.sent(7, 1);
  EXPECT_EQ(with_client_line("COPY t, line 1, column v: \"x\"", "t", map), "COPY t, line 7, column v: \"x\"");
  EXPECT_EQ(with_client_line("COPY t, line 1", "t", map), "COPY t, line 7");
  EXPECT_EQ(with_client_line("PL/pgSQL function f() line 1 at RAISE\nCOPY t, line 1: \"a\"", "t", map),
            "PL/pgSQL function f() line 1 at RAISE\nCOPY t, line 7: \"a\"");
  EXPECT_EQ(with_client_line("COPY t, line 99: \"a\"", "t", map), "COPY t: \"a\"");  // not known any more
  EXPECT_EQ(with_client_line("COPY other, line 1", "t", map), "COPY other, line 1");
  EXPECT_EQ(with_client_line("", "t", map), "");
}

}  // namespace
}  // namespace decan::exec
