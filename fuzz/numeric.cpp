// Numerics as units send them, in both formats: two binary ones, or a text.
#include <algorithm>
#include <string>

#include "check.h"
#include "exec/numeric.h"

using namespace decan;

namespace {

using exec::Numeric;

std::string binary(const Numeric& value) {
  std::string out;
  return value.append_binary(out) ? out : std::string();
}

void text_survives(const Numeric& value) {
  std::string text;
  if (!value.append_text(text)) return;
  const auto read = Numeric::from_text(text);
  fuzz::check(read && read->compare(value) == 0, "text survives");
}

void binary_survives(const Numeric& value) {
  std::string text;
  if (!value.append_text(text)) return;
  const std::string bytes = binary(value);
  fuzz::check(exec::valid_numeric(bytes), "what is encoded is valid");
  const auto again = Numeric::from_binary(bytes);
  fuzz::check(again && binary(*again) == bytes, "binary survives");
}

void two(std::string_view a, std::string_view b) {
  if (!exec::valid_numeric(a) || !exec::valid_numeric(b)) {
    fuzz::check(!Numeric::from_binary(a) || !Numeric::from_binary(b), "both checks agree");
    return;
  }
  const Numeric x = Numeric::from_binary(a).value(), y = Numeric::from_binary(b).value();
  const int order = exec::compare_numeric(a, b);
  fuzz::check(order == x.compare(y), "both orders agree");
  fuzz::check(order == -exec::compare_numeric(b, a), "the order is antisymmetric");
  std::string x_identity, y_identity;
  exec::append_numeric_identity(a, x_identity);
  exec::append_numeric_identity(b, y_identity);
  fuzz::check((order == 0) == (x_identity == y_identity), "equal values have one identity");
  Numeric sum = x, reverse = y;
  sum.add(y);
  reverse.add(x);
  fuzz::check(sum.compare(reverse) == 0 && binary(sum) == binary(reverse), "addition commutes");
  binary_survives(sum);
  text_survives(sum.divide(3));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view input = fuzz::view(data + 1, size - 1);
  if (data[0] == 't') {
    const auto value = Numeric::from_text(input);
    if (!value) return 0;
    text_survives(*value);
    binary_survives(*value);
    return 0;
  }
  const size_t first = std::min<size_t>(data[0], input.size());
  two(input.substr(0, first), input.substr(first));
  return 0;
}
