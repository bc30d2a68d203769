// A minimal HTTP/1.1 server for scrapes and probes: GET only, one answer per connection, on loop 0.
#pragma once

#include <memory>

#include "session/node.h"

namespace decan::session {

// Serves one connection: /metrics (Prometheus text format 0.0.4), /healthz, /readyz.
async::Task<void> serve_http(Node* node, std::unique_ptr<async::Stream> stream);

std::string metrics_text(const Node& node);

}  // namespace decan::session
