// Keys as a client's own login leaves them in a compute node.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>

#include "auth/scram.h"

namespace decan::backend {

inline std::shared_ptr<const auth::PassThroughKeys> keys_of(const std::string& role,
                                                            const std::string& password,
                                                            const auth::Verifier& verifier) {
  auth::ScramClient client(role, password);
  auth::ScramServer server({.role = role, .verifier = verifier});
  const auto first = client.first(server.mechanisms(), {});
  const auto challenge = server.first(client.mechanism(), first.value());
  const auto last = client.final(challenge.value());
  if (!server.final(last.value())) throw std::runtime_error("the password does not fit the verifier");
  return std::make_shared<const auth::PassThroughKeys>(server.keys());
}

}  // namespace decan::backend
