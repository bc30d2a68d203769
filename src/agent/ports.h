// TCP ports of this machine: which are free, and who has one.
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "base/config.h"
#include "base/error.h"

namespace decan::agent {

bool port_is_free(const ListenAddress& address);
// "postgres (pid 812)", or "another user's process" when it is not ours to see; empty: nobody listens.
std::string port_owner(uint16_t port);
// 55006 with who has it and which key of the configuration to change.
Status require_free(const ListenAddress& address, const std::string& key);
// The first free port on 127.0.0.1 from `first` on that is not in `taken`.
Result<uint16_t> choose_port(uint16_t first, const std::set<uint16_t>& taken);

}  // namespace decan::agent
