// Inside the session: an error that the client has been told already travels up as this mark.
#pragma once

#include <string_view>

namespace decan::session {
inline constexpr std::string_view kTold = "DT001";
}
