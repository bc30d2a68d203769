// Names of custom settings ("app.tenant") in the source text of functions. Servers do not list them, so what
// code may have set is asked for by name.
#pragma once

#include <set>
#include <string>
#include <string_view>

namespace decan::catalog {

struct CustomSettings {
  std::set<std::string, std::less<>> names;
  bool unknown = false;       // a name is made up while the code runs
  bool by_parameter = false;  // set_config($1, …)
  void merge(const CustomSettings& other);
};

// Adds what `code` may set: string literals of two parts that are given to set_config(), and SET's names.
// Code in strings counts too.
void find_custom_settings(std::string_view code, CustomSettings& found);

}  // namespace decan::catalog
