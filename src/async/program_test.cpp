#include "async/program.h"

#include <gtest/gtest.h>

namespace decan::async {
namespace {

using namespace std::chrono_literals;

Result<std::string> shell(std::string script, std::chrono::milliseconds at_most = 10s,
                          size_t most = 1'000'000) {
  return run_program({"/bin/sh", {"-c", std::move(script)}, {"WORD=given"}}, most, at_most);
}

TEST(Program, gives_what_was_written) {
  EXPECT_EQ(shell("printf 'a b'; printf ignored >&2").value(), "a b");
  EXPECT_EQ(shell("head -c 300000 /dev/zero | tr '\\0' x").value().size(), 300'000u);
}

TEST(Program, sees_the_given_environment_only) {
  EXPECT_EQ(shell("printf %s \"$WORD$HOME\"").value(), "given");
}

TEST(Program, a_failure_tells_what_it_said) {
  const auto failed = shell("echo why >&2; exit 3");
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().sqlstate, "58000");
  EXPECT_EQ(failed.error().detail, "why");
}

TEST(Program, one_that_is_not_there_is_told) {
  EXPECT_EQ(run_program({"/nowhere/at/all", {}, {}}, 1, 1s).error().sqlstate, "58P01");
}

TEST(Program, has_bounds_of_time_and_bytes) {
  EXPECT_EQ(shell("exec sleep 60", 100ms).error().sqlstate, "57014");
  EXPECT_EQ(shell("yes", 10s, 1000).error().sqlstate, "54000");
}

}  // namespace
}  // namespace decan::async
