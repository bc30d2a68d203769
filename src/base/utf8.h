// Is a text valid UTF-8, as PostgreSQL means it: no overlong form, no surrogate, nothing above U+10FFFF, no
// NUL.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"

namespace decan {

namespace sqlstate {
inline constexpr std::string_view kCharacterNotInRepertoire = "22021";
}

// Bytes from the start that are valid; text.size() when all are. Eight ASCII bytes at a time.
size_t valid_utf8_bytes(std::string_view text);

// Error 22021 in PostgreSQL's words, naming the bytes of the first invalid character.
Status check_utf8(std::string_view text);

// A name of an encoding as PostgreSQL compares them: letters and digits only, lower case.
std::string bare_encoding_name(std::string_view name);
// An encoding of PostgreSQL other than UTF8, and SQL_ASCII, which changes nothing on the way: the keys of
// tables would be hashed in bytes that are not the unit's. Names that are no encoding's are left to the unit
// to refuse.
bool is_unsupported_encoding(std::string_view name);

}  // namespace decan
