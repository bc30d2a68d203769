// `decan doctor`: looks for what is wrong, and says what to do about it. Changes nothing.
#pragma once

#include <string>
#include <vector>

#include "agent/layout.h"

namespace decan::agent {

enum class Verdict { kGood, kWarning, kBad };

struct Finding {
  std::string check;  // "disk", "ports", …
  Verdict verdict = Verdict::kGood;
  std::string text;    // what was seen
  std::string advice;  // what to do; empty when good
};

std::vector<Finding> examine(const Layout& layout);

}  // namespace decan::agent
