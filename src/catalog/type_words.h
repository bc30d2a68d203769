// Words by which SQL text can name a built-in type that the catalogs know by another name: what the grammar
// of PostgreSQL 15 translates itself ("Numeric", "Character", "ConstDatetime" in its gram.y).
#pragma once

#include <string_view>

namespace decan::catalog {

struct TypeWord {
  std::string_view word;  // the first one of several: "double precision", "national character"
  std::string_view type;  // in pg_catalog
};

inline constexpr TypeWord kTypeWords[] = {
    {"int", "int4"},        {"integer", "int4"},          {"smallint", "int2"},    {"bigint", "int8"},
    {"real", "float4"},     {"float", "float4"},          {"float", "float8"},     {"double", "float8"},
    {"decimal", "numeric"}, {"dec", "numeric"},           {"boolean", "bool"},     {"bit", "varbit"},
    {"char", "bpchar"},     {"char", "varchar"},          {"character", "bpchar"}, {"character", "varchar"},
    {"nchar", "bpchar"},    {"nchar", "varchar"},         {"national", "bpchar"},  {"national", "varchar"},
    {"time", "timetz"},     {"timestamp", "timestamptz"},
};

}  // namespace decan::catalog
