// ISO dates and times to PostgreSQL's binary form, for the spellings whose meaning no session setting
// changes. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace decan::catalog {

// nullopt: only the server can tell. Error 22008: the server would refuse it too.
Result<std::optional<std::string>> date_from_text(std::string_view text);
Result<std::optional<std::string>> time_from_text(std::string_view text);
// With `with_zone` the text must name an offset or Z; without it, an offset is ignored, as PostgreSQL does.
Result<std::optional<std::string>> timestamp_from_text(std::string_view text, bool with_zone);

// A date's binary form as that of a timestamp at midnight; nullopt when out of range.
std::optional<std::string> timestamp_from_date(std::string_view date_binary);

}  // namespace decan::catalog
