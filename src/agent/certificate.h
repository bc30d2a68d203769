// A self-signed server certificate, so that TLS works from the first start.
#pragma once

#include <string>

#include "base/error.h"

namespace decan::agent {

// ECDSA P-256, ten years, for localhost, 127.0.0.1, ::1 and this machine's name. Files 0644 and 0600. Nothing
// happens when both are there; half a pair is made anew.
Status ensure_certificate(const std::string& certificate_path, const std::string& key_path);
// Days until a PEM certificate ends; negative when it has.
Result<int> days_left(const std::string& certificate_path);

}  // namespace decan::agent
