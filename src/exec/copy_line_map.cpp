#include "exec/copy_line_map.h"

#include <charconv>

namespace decan::exec {
namespace {

void append_number(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

uint64_t take_number(std::string_view& in) {
  uint64_t value = 0;
  for (unsigned shift = 0; !in.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(in.front());
    in.remove_prefix(1);
    value |= uint64_t{byte & 0x7fU} << shift;
    if (byte < 0x80) break;
  }
  return value;
}

}  // namespace

void CopyLineMap::sent(uint64_t client_line, uint64_t lines) {
  if (blocks_.empty() || blocks_.back().rows.size() >= kBlockBytes) {
    blocks_.push_back({unit_, client_, {}});
    if (bytes_ > max_bytes_ && blocks_.size() > 1) {
      bytes_ -= blocks_.front().rows.size();
      blocks_.pop_front();
    }
  }
  std::string& rows = blocks_.back().rows;
  const size_t before = rows.size();
  append_number(rows, (client_line - client_) << 1 | (lines == 1 ? 0 : 1));
  if (lines != 1) append_number(rows, lines);
  bytes_ += rows.size() - before;
  client_ = client_line;
  unit_ += lines;
}

std::optional<uint64_t> CopyLineMap::client_line(uint64_t unit_line) const {
  if (unit_line > unit_) return std::nullopt;
  for (auto block = blocks_.rbegin(); block != blocks_.rend(); ++block) {
    if (unit_line <= block->unit_before) continue;
    uint64_t unit = block->unit_before, client = block->client_before;
    std::string_view rows = block->rows;
    while (!rows.empty()) {
      const uint64_t step = take_number(rows);
      unit += (step & 1) != 0 ? take_number(rows) : 1;
      client += step >> 1;
      if (unit >= unit_line) return client - (unit - unit_line);
    }
  }
  return std::nullopt;
}

std::string with_client_line(std::string_view context, std::string_view table, const CopyLineMap& lines) {
  const std::string start = "COPY " + std::string(table) + ", line ";
  size_t at = context.starts_with(start) ? 0 : context.find("\n" + start);
  if (at == std::string_view::npos) return std::string(context);
  if (at > 0) ++at;
  const size_t digits = at + start.size();
  const size_t end = std::min(context.find_first_not_of("0123456789", digits), context.size());
  uint64_t line = 0;
  std::from_chars(context.data() + digits, context.data() + end, line);
  const auto known = lines.client_line(line);
  std::string out(context.substr(0, known ? digits : digits - std::string_view(", line ").size()));
  if (known) out += std::to_string(*known);
  return out.append(context.substr(end));
}

}  // namespace decan::exec
