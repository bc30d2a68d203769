#include "base/text_map.h"

#include <gtest/gtest.h>

namespace decan {
namespace {

TEST(TextMap, EmptyMapLeavesPositionsAlone) {
  EXPECT_EQ(TextMap().original(7), 7U);
  EXPECT_EQ(TextMap().original(0), 0U);
}

TEST(TextMap, CopiedPiecesAreShiftedAndAddedOnesStandForWhatTheyReplace) {
  // "SELECT k FROM t WHERE x" -> "SELECT k FROM leaf AS t WHERE x"
  TextMap map;
  map.copied(0, 14);
  map.added(9);
  map.copied(15, 8);
  EXPECT_EQ(map.original(8), 8U);
  EXPECT_EQ(map.original(15), 15U);  // the leaf's name is the table's
  EXPECT_EQ(map.original(20), 15U);
  EXPECT_EQ(map.original(31), 23U);
  EXPECT_EQ(map.original(99), 24U);  // behind the end
}

TEST(TextMap, TextsThatDifferInOnePlaceAreAligned) {
  const TextMap map = TextMap::between("ALTER TABLE t ADD x", "ALTER TABLE ONLY t ADD x");
  EXPECT_EQ(map.original(3), 3U);
  EXPECT_EQ(map.original(19), 24U);
}

TEST(TextMap, PositionsCountCharactersNotBytes) {
  EXPECT_EQ(count_characters("aé数"), 3U);
  const TextMap map = TextMap::between("'é' XX z", "'é' z");
  EXPECT_EQ(map.original(8), 5U);
}

}  // namespace
}  // namespace decan
