// The metadata store in one SQLite file (WAL mode), shared by the processes of one machine.
#pragma once

#include <memory>
#include <string>

#include "meta/store.h"

namespace decan::meta {

inline constexpr size_t kMaxKeyBytes = 1024;
inline constexpr size_t kMaxValueBytes = 4u << 20;
inline constexpr size_t kMaxOperations = 1000;

// Opens the file; makes it (mode 0600) when it is not there. Errors: 42501 no permission, 53100 disk full,
// 58030 not readable, XX001 damaged or not a metadata store, 0A000 written by a newer Decan.
Result<std::unique_ptr<Store>> open_sqlite_store(const std::string& path);

}  // namespace decan::meta
