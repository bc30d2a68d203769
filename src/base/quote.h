// Names and values as SQL text, for statements that Decan makes itself.
#pragma once

#include <string>
#include <string_view>

namespace decan {

// Always with quotes: reserved words need no list.
std::string quote_identifier(std::string_view name);
// '…', or E'…' where a backslash asks for it: safe with standard_conforming_strings on or off. An identifier
// must not stand right before it.
std::string quote_literal(std::string_view value);

}  // namespace decan
