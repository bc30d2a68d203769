// COPY data of a client. The first bytes choose format and options; the rest is fed whole and in pieces.
#include <string>
#include <vector>

#include "check.h"
#include "exec/copy_split.h"

using namespace decan;

namespace {

using exec::CopySplitter;
using Format = plan::CopySpec::Format;
constexpr size_t kMaxRowBytes = 512;

struct Split {
  std::string joined, keys;
  std::string error;
  bool ended = false;  // at a marker: the rest is ignored
};

plan::CopySpec spec_of(uint8_t choice) {
  plan::CopySpec spec;
  spec.format = choice % 3 == 0 ? Format::kText : choice % 3 == 1 ? Format::kCsv : Format::kBinary;
  spec.attnums = {1, 2, 3};
  spec.key_fields = {2, 0};
  spec.header = (choice & 0x10) != 0;
  if (spec.format == Format::kCsv) {
    spec.delimiter = ',', spec.null_text = "";
    if (choice & 0x20) spec.escape = '\\';
    if (choice & 0x40) spec.quote = '.';
  }
  return spec;
}

Split split(const plan::CopySpec& spec, std::string_view data, size_t piece) {
  Split result;
  CopySplitter splitter(spec, kMaxRowBytes);
  const auto sink = [&](const CopySplitter::Row& row) -> Status {
    fuzz::check(row.bytes.size() <= kMaxRowBytes + 19, "rows are bounded");
    fuzz::check(row.key.size() == (row.header || row.trailer ? 0 : spec.key_fields.size()),
                "a row has all keys");
    fuzz::check(!result.ended, "nothing follows the trailer");
    result.ended = row.trailer;
    if (!row.trailer) result.joined += row.bytes;
    for (const auto& key : row.key) result.keys += key ? "[" + *key + "]" : "-";
    result.keys += std::to_string(row.line);
    return {};
  };
  Status status;
  for (size_t at = 0; at < data.size() && status; at += piece)
    status = splitter.feed(data.substr(at, piece), sink);
  fuzz::check(splitter.bytes_held() <= kMaxRowBytes, "the incomplete row is bounded");
  if (status) status = splitter.finish(sink);
  if (!status) {
    fuzz::check(status.error().sqlstate == "22P04" || status.error().sqlstate == "54000",
                "errors are the server's");
    result.error = status.error().sqlstate + status.error().message + status.error().detail;
  }
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const plan::CopySpec spec = spec_of(data[0]);
  const size_t piece = 1 + data[1] % 16;
  const std::string_view input = fuzz::view(data + 2, size - 2);
  const Split whole = split(spec, input, input.size() + 1);
  const Split pieces = split(spec, input, piece);
  // How much of an endless row is looked at depends on the pieces.
  if (whole.error.starts_with("54000") || pieces.error.starts_with("54000")) return 0;
  fuzz::check(whole.joined == pieces.joined && whole.keys == pieces.keys, "pieces do not change the rows");
  fuzz::check(whole.error == pieces.error, "pieces do not change the error");
  if (spec.format == Format::kBinary) return 0;  // a header extension is dropped
  fuzz::check(input.starts_with(whole.joined), "rows are the input's own bytes");
  if (whole.error.empty() && !whole.ended) fuzz::check(input == whole.joined, "no byte is lost");
  return 0;
}
