#!/usr/bin/env python3
"""Prints saslprep_tables.h: the tables of RFC 3454 that SASLprep (RFC 4013) uses, from Python's own stringprep
module, which is derived from the RFC (Unicode 3.2). Run it by hand; the result is in the repository."""
import stringprep

TABLES = [
    ("kNonAsciiSpaces", "C.1.2: mapped to a space", stringprep.in_table_c12),
    ("kMappedToNothing", "B.1", stringprep.in_table_b1),
    ("kProhibited", "C.1.2, C.2.1, C.2.2, C.3 to C.9",
     lambda c: any(f(c) for f in (stringprep.in_table_c12, stringprep.in_table_c21, stringprep.in_table_c22,
                                  stringprep.in_table_c3, stringprep.in_table_c4, stringprep.in_table_c5,
                                  stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8,
                                  stringprep.in_table_c9))),
    ("kUnassigned", "A.1: not assigned in Unicode 3.2", stringprep.in_table_a1),
    ("kRightToLeft", "D.1: RandALCat", stringprep.in_table_d1),
    ("kLeftToRight", "D.2: LCat", stringprep.in_table_d2),
]


def ranges(contains):
    first = None
    for code in range(0x110000 + 1):
        inside = code < 0x110000 and contains(chr(code))
        if inside and first is None:
            first = code
        elif not inside and first is not None:
            yield first, code - 1
            first = None


print("""// Made by make_saslprep_tables.py from the tables of RFC 3454; do not edit. Sorted, disjoint, inclusive ranges.
#pragma once

#include <cstdint>

namespace decan::auth::tables {

struct Range {
  uint32_t first, last;
};

// clang-format off""")
for name, what, contains in TABLES:
    print(f"\n// {what}\ninline constexpr Range {name}[] = {{")
    line = " "
    for first, last in ranges(contains):
        item = f" {{0x{first:x}, 0x{last:x}}},"
        if len(line) + len(item) > 108:
            print(line)
            line = " "
        line += item
    print(line + "\n};")
print("// clang-format on\n\n}  // namespace decan::auth::tables")
