#include "base/quote.h"

#include <gtest/gtest.h>

namespace decan {
namespace {

TEST(Quote, IdentifiersAlwaysHaveQuotes) {
  EXPECT_EQ(quote_identifier("plain"), "\"plain\"");
  EXPECT_EQ(quote_identifier("a\"b; --"), "\"a\"\"b; --\"");
}

TEST(Quote, LiteralsAreSafeWhateverStandardConformingStringsSays) {
  EXPECT_EQ(quote_literal(""), "''");
  EXPECT_EQ(quote_literal("it's"), "'it''s'");
  EXPECT_EQ(quote_literal("a\\'b"), "E'a\\\\''b'");
}

}  // namespace
}  // namespace decan
