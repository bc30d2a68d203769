#include "session/http_endpoint.h"

#include <sys/resource.h>

#include <algorithm>
#include <fstream>

#include "async/stream.h"

namespace decan::session {
namespace {

constexpr size_t kMaxRequestBytes = 8192;
constexpr std::string_view kTierNames[kTiers] = {"session", "route", "merge", "ddl", "refused"};

void head(std::string& out, std::string_view name, std::string_view type, std::string_view help) {
  out += "# HELP ";
  out.append(name)
      .append(" ")
      .append(help)
      .append("\n# TYPE ")
      .append(name)
      .append(" ")
      .append(type)
      .append("\n");
}

template <class Get>
void total(std::string& out, const Node& node, std::string_view name, std::string_view type,
           std::string_view help, Get get) {
  head(out, name, type, help);
  uint64_t sum = 0;
  for (const auto& loop : node.loops) sum += get(loop->metrics);
  out.append(name).append(" ").append(std::to_string(sum)).append("\n");
}

std::string label_value(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c != '\n') out += c;
  }
  return out;
}

uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t pages = 0, resident = 0;
  statm >> pages >> resident;
  return resident * 4096;
}

void statements(std::string& out, const Node& node) {
  head(out, "decan_statements_total", "counter", "Statements by planner tier.");
  for (size_t tier = 0; tier < kTiers; ++tier) {
    uint64_t sum = 0;
    for (const auto& loop : node.loops) sum += loop->metrics.statements[tier].value();
    out += "decan_statements_total{tier=\"" + std::string(kTierNames[tier]) + "\"} " + std::to_string(sum) +
           "\n";
  }
}

void durations(std::string& out, const Node& node) {
  head(out, "decan_query_duration_seconds", "histogram",
       "Time from a simple query, or the first message of an extended batch, to its ReadyForQuery.");
  for (size_t tier = 0; tier < kTiers; ++tier) {
    const std::string label = "tier=\"" + std::string(kTierNames[tier]) + "\"";
    uint64_t cumulative = 0, sum_us = 0;
    for (const auto& loop : node.loops) sum_us += loop->metrics.latency[tier].sum_us();
    for (size_t i = 0; i < LatencyHistogram::kBuckets; ++i) {
      for (const auto& loop : node.loops) cumulative += loop->metrics.latency[tier].bucket(i);
      char bound[32];
      std::snprintf(bound, sizeof bound, "%g", static_cast<double>(LatencyHistogram::kFirstUs << i) / 1e6);
      const bool last = i + 1 == LatencyHistogram::kBuckets;
      out += "decan_query_duration_seconds_bucket{" + label + ",le=\"" + (last ? "+Inf" : bound) + "\"} " +
             std::to_string(cumulative) + "\n";
    }
    out += "decan_query_duration_seconds_sum{" + label + "} " +
           std::to_string(static_cast<double>(sum_us) / 1e6) + "\n";
    out += "decan_query_duration_seconds_count{" + label + "} " + std::to_string(cumulative) + "\n";
  }
}

void pools(std::string& out, const Node& node) {
  const auto units = node.units();
  std::vector<backend::Pool::UnitStats> sums(units->size());
  for (const auto& loop : node.loops) {
    const auto stats = loop->pool.published_stats();
    for (size_t i = 0; i < std::min(stats.size(), sums.size()); ++i) {
      sums[i].open += stats[i].open;
      sums[i].idle += stats[i].idle;
      sums[i].waiting += stats[i].waiting;
      sums[i].opened_total += stats[i].opened_total;
      sums[i].failed_total += stats[i].failed_total;
      sums[i].timeouts_total += stats[i].timeouts_total;
    }
  }
  const auto each = [&](std::string_view name, std::string_view type, std::string_view help, auto&& get) {
    head(out, name, type, help);
    for (size_t i = 0; i < sums.size(); ++i) {
      if (!(*units)[i]) continue;
      out.append(name) +=
          "{unit=\"" + label_value((*units)[i]->name) + "\"} " + std::to_string(get(sums[i])) + "\n";
    }
  };
  using Stats = backend::Pool::UnitStats;
  each("decan_unit_connections_open", "gauge", "Server connections to a storage unit.",
       [](const Stats& s) { return s.open; });
  each("decan_unit_connections_idle", "gauge", "Server connections that nobody uses at the moment.",
       [](const Stats& s) { return s.idle; });
  each("decan_pool_waiting", "gauge", "Sessions that wait for a server connection.",
       [](const Stats& s) { return s.waiting; });
  each("decan_unit_connections_opened_total", "counter", "Server connections that were opened.",
       [](const Stats& s) { return s.opened_total; });
  each("decan_unit_connections_failed_total", "counter", "Server connections that could not be opened.",
       [](const Stats& s) { return s.failed_total; });
  each("decan_pool_timeouts_total", "counter", "Sessions that waited longer than pool.queue_timeout.",
       [](const Stats& s) { return s.timeouts_total; });
}

void errors(std::string& out, const Node& node) {
  head(out, "decan_errors_total", "counter", "Errors told to clients by SQLSTATE.");
  std::map<std::string, uint64_t> sums;
  for (const auto& loop : node.loops) {
    for (const auto& [state, count] : loop->metrics.errors()) sums[state] += count;
  }
  for (const auto& [state, count] : sums)
    out += "decan_errors_total{sqlstate=\"" + label_value(state) + "\"} " + std::to_string(count) + "\n";
}

}  // namespace

std::string metrics_text(const Node& node) {
  std::string out;
  total(out, node, "decan_sessions", "gauge", "Open client sessions.",
        [](const Metrics& m) { return m.sessions_open.value(); });
  total(out, node, "decan_sessions_total", "counter", "Client connections accepted.",
        [](const Metrics& m) { return m.sessions_total.value(); });
  total(out, node, "decan_logins_failed_total", "counter", "Logins with a wrong password or role.",
        [](const Metrics& m) { return m.logins_failed.value(); });
  total(out, node, "decan_logins_throttled_total", "counter", "Logins refused for too many failures.",
        [](const Metrics& m) { return m.logins_throttled.value(); });
  total(out, node, "decan_client_received_bytes_total", "counter", "Bytes read from clients.",
        [](const Metrics& m) { return m.bytes_from_clients.value(); });
  total(out, node, "decan_client_sent_bytes_total", "counter", "Bytes written to clients.",
        [](const Metrics& m) { return m.bytes_to_clients.value(); });
  total(out, node, "decan_plan_cache_hits_total", "counter", "Statements whose plan was cached.",
        [](const Metrics& m) { return m.plan_cache_hits.value(); });
  total(out, node, "decan_plan_cache_misses_total", "counter", "Statements that had to be planned.",
        [](const Metrics& m) { return m.plan_cache_misses.value(); });
  total(out, node, "decan_cancel_requests_total", "counter", "Cancel requests received.",
        [](const Metrics& m) { return m.cancels.value(); });
  total(out, node, "decan_catalog_retries_total", "counter", "Statements retried after a stale route.",
        [](const Metrics& m) { return m.catalog_retries.value(); });
  total(out, node, "decan_deadlocks_total", "counter",
        "Deadlocks over several storage units that were ended.",
        [](const Metrics& m) { return m.deadlocks.value(); });
  statements(out, node);
  durations(out, node);
  errors(out, node);
  pools(out, node);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  head(out, "process_cpu_seconds_total", "counter", "User and system CPU time.");
  const double cpu = static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                     static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
  out += "process_cpu_seconds_total " + std::to_string(cpu) + "\n";
  head(out, "process_resident_memory_bytes", "gauge", "Resident memory.");
  out += "process_resident_memory_bytes " + std::to_string(resident_bytes()) + "\n";
  return out;
}

async::Task<void> serve_http(Node* node, std::unique_ptr<async::Stream> stream) {
  stream->set_deadline(async::Clock::now() + std::chrono::seconds(10));
  std::string request;
  char buffer[2048];
  while (request.find("\r\n\r\n") == std::string::npos && request.size() < kMaxRequestBytes) {
    const auto n = co_await stream->read_some(buffer, sizeof buffer);
    if (!n || *n == 0) co_return;
    request.append(buffer, *n);
  }
  const std::string line = request.substr(0, request.find("\r\n"));
  std::string status = "200 OK", type = "text/plain; charset=utf-8", body;
  if (line.starts_with("GET /metrics ")) {
    type = "text/plain; version=0.0.4; charset=utf-8";
    body = metrics_text(*node);
  } else if (line.starts_with("GET /healthz ")) {
    body = "ok\n";
  } else if (line.starts_with("GET /readyz ")) {
    auto connection =
        co_await node->loops.front()->pool.acquire(node->home(), node->service_identity("postgres"));
    if (connection && !node->shutting_down) {
      node->loops.front()->pool.release(std::move(*connection));
      body = "ready\n";
    } else {
      status = "503 Service Unavailable";
      body = "the home unit does not answer\n";
    }
  } else if (line.starts_with("GET ")) {
    status = "404 Not Found";
    body = "see /metrics, /healthz, /readyz\n";
  } else {
    status = "405 Method Not Allowed";
  }
  co_await stream->write("HTTP/1.1 " + status + "\r\nContent-Type: " + type + "\r\nContent-Length: " +
                         std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" + body);
}

}  // namespace decan::session
