#include "exec/copy_rows.h"

#include <algorithm>

namespace decan::exec {
namespace {

using Format = plan::CopySpec::Format;

// The letter by which the text format escapes a control character; 0: it goes as it is.
char control_letter(char c) {
  switch (c) {
    case '\b':
      return 'b';
    case '\f':
      return 'f';
    case '\n':
      return 'n';
    case '\r':
      return 'r';
    case '\t':
      return 't';
    case '\v':
      return 'v';
    default:
      return 0;
  }
}

}  // namespace

void CopyRows::columns(const wire::RowDescription& columns) {
  quoted_.clear();
  const auto& named = spec_.force_quote;
  for (const auto& field : columns.fields)
    quoted_.push_back(spec_.force_quote_all || std::ranges::find(named, field.name) != named.end());
}

Status CopyRows::add(std::string_view messages) {
  std::vector<std::optional<std::string_view>> values;
  while (!messages.empty()) {
    const auto header = wire::decode_header(messages, wire::kMaxMessageBytes);
    if (!header || !*header) return fail(sqlstate::kInternalError, "half a row of a merged query");
    const std::string_view body = messages.substr(wire::kHeaderBytes, (*header)->body_bytes);
    messages.remove_prefix(wire::kHeaderBytes + body.size());
    wire::Writer writer(out_);
    if (spec_.format == Format::kBinary) {
      writer.raw('d', body);  // a tuple of the file is built as the message is
    } else {
      if (auto decoded = wire::decode_data_row(body, values); !decoded) return decoded;
      add_row(values);
      writer.raw('d', line_);
    }
    if (auto written = writer.status(); !written) return written;
  }
  return {};
}

void CopyRows::add_row(const std::vector<std::optional<std::string_view>>& values) {
  line_.clear();
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) line_ += spec_.delimiter;
    if (!values[i])
      line_ += spec_.null_text;
    else if (spec_.format == Format::kCsv)
      add_csv(*values[i], i < quoted_.size() && quoted_[i], values.size() == 1);
    else
      add_text(*values[i]);
  }
  line_ += '\n';
}

void CopyRows::add_text(std::string_view value) {
  for (const char c : value) {
    const char letter = control_letter(c);
    if (letter != 0 || c == '\\' || c == spec_.delimiter) line_ += '\\';
    line_ += letter != 0 ? letter : c;
  }
}

void CopyRows::add_csv(std::string_view value, bool quoted, bool alone) {
  const auto special = [&](char c) {
    return c == spec_.delimiter || c == spec_.quote || c == '\n' || c == '\r';
  };
  // "\." alone would end the data.
  quoted =
      quoted || value == spec_.null_text || (alone && value == "\\.") || std::ranges::any_of(value, special);
  if (!quoted) {
    line_ += value;
    return;
  }
  line_ += spec_.quote;
  for (const char c : value) {
    if (c == spec_.quote || c == spec_.escape) line_ += spec_.escape;
    line_ += c;
  }
  line_ += spec_.quote;
}

}  // namespace decan::exec
