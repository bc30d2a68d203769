#include "attach/definitions.h"

#include <gtest/gtest.h>

namespace decan::attach {
namespace {

constexpr const char* kContents =
    ";\n; Archive created at 2026-01-01\n;\n"
    "7; 2615 16390 SCHEMA - sales app\n"
    "220; 1255 16400 FUNCTION public f(integer, text) app\n"
    "3410; 0 0 COMMENT public FUNCTION f(integer, text) app\n"
    "3411; 0 0 ACL public FUNCTION f(integer, text) app\n"
    "221; 1255 16401 FUNCTION public f(integer) app\n"
    "3412; 0 0 COMMENT public FUNCTION f(integer) app\n"
    "3413; 0 0 COMMENT sales FUNCTION f(integer, text) app\n"
    "222; 2753 16405 OPERATOR FAMILY public of app\n"
    "3414; 0 0 COMMENT public OPERATOR FAMILY of app\n"
    "3415; 0 0 ACL - SCHEMA sales app\n"
    "3416; 3466 16410 EVENT TRIGGER - decan_ddl_end postgres\n"
    "3417; 3466 16411 EVENT TRIGGER - audit postgres\n";

TEST(FilteredContents, leave_out_an_object_with_its_comment_and_rights) {
  const std::string left = filtered_contents(kContents, {{1255, 16400}});
  EXPECT_EQ(left,
            "7; 2615 16390 SCHEMA - sales app\n"
            "221; 1255 16401 FUNCTION public f(integer) app\n"
            "3412; 0 0 COMMENT public FUNCTION f(integer) app\n"
            "3413; 0 0 COMMENT sales FUNCTION f(integer, text) app\n"
            "222; 2753 16405 OPERATOR FAMILY public of app\n"
            "3414; 0 0 COMMENT public OPERATOR FAMILY of app\n"
            "3415; 0 0 ACL - SCHEMA sales app\n"
            "3417; 3466 16411 EVENT TRIGGER - audit postgres\n");
}

TEST(FilteredContents, kinds_of_two_words_have_comments_too) {
  const std::string left = filtered_contents(kContents, {{2753, 16405}});
  EXPECT_EQ(left.find("OPERATOR FAMILY"), std::string::npos);
}

TEST(FilteredContents, an_object_is_told_by_its_catalog_as_well) {
  EXPECT_NE(filtered_contents(kContents, {{1259, 16400}}).find("220; "), std::string::npos);
}

TEST(FilteredContents, lines_that_are_none_are_left_out) {
  EXPECT_EQ(filtered_contents("x\n1; 2\n3; 4 x TABLE\n", {}), "");
}

}  // namespace
}  // namespace decan::attach
