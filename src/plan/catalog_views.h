// What the system catalogs show to clients: logical objects only. A reference to a catalog that lists objects
// of Decan's own (schemas decan and decan_shard, leaves, copies of foreign keys) is read through a sub-select
// that leaves them out and shows a sharded table as the ordinary table that it is to its users. PostgreSQL
// pulls such a sub-select up: plans, and the origins of columns, stay those of the catalog. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace decan::plan {

// "(SELECT … FROM schema.name AS alias WHERE …)"; nullopt when the relation holds nothing of Decan's own.
// `schema` is pg_catalog or information_schema. `system_columns`: tableoid, xmin, … are readable, too.
std::optional<std::string> catalog_view(std::string_view schema, std::string_view name,
                                        std::string_view alias, bool system_columns);

}  // namespace decan::plan
