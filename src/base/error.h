// Errors as PostgreSQL clients see them. No exception crosses a module border: fallible functions return
// Result<T>. Every Error that can reach a client holds a true SQLSTATE and says what, where and what to do.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace decan {

// Whether the same statement may succeed if sent again by the compute node itself, before any row has
// reached the client.
enum class Retry {
  kNever,
  kAfterCatalogRefresh,  // the route was stale (leaf renamed, epoch changed)
  kOtherConnection,      // the connection was dead before the statement was sent
};

struct Error {
  std::string sqlstate;  // five characters, PostgreSQL appendix A
  std::string message;
  std::string detail = {};
  std::string hint = {};
  Retry retry = Retry::kNever;
};

template <class T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

inline std::unexpected<Error> fail(std::string_view sqlstate, std::string message, std::string detail = {},
                                   std::string hint = {}) {
  return std::unexpected(
      Error{std::string(sqlstate), std::move(message), std::move(detail), std::move(hint)});
}
inline std::unexpected<Error> fail(Error error) {
  return std::unexpected(std::move(error));
}

// The SQLSTATEs that Decan itself raises (PostgreSQL appendix A).
namespace sqlstate {
inline constexpr std::string_view kConnectionException = "08000";
inline constexpr std::string_view kConnectionFailure = "08006";
inline constexpr std::string_view kTransactionResolutionUnknown = "08007";
inline constexpr std::string_view kProtocolViolation = "08P01";
inline constexpr std::string_view kFeatureNotSupported = "0A000";
inline constexpr std::string_view kInvalidParameterValue = "22023";
inline constexpr std::string_view kInvalidTextRepresentation = "22P02";
inline constexpr std::string_view kBadCopyFormat = "22P04";
inline constexpr std::string_view kActiveTransaction = "25001";
inline constexpr std::string_view kNoActiveTransaction = "25P01";
inline constexpr std::string_view kInFailedTransaction = "25P02";
inline constexpr std::string_view kInvalidStatementName = "26000";
inline constexpr std::string_view kInvalidAuthorization = "28000";
inline constexpr std::string_view kInvalidPassword = "28P01";
inline constexpr std::string_view kInvalidCursorName = "34000";
inline constexpr std::string_view kInvalidCatalogName = "3D000";
inline constexpr std::string_view kInvalidSavepoint = "3B001";
inline constexpr std::string_view kSerializationFailure = "40001";
inline constexpr std::string_view kDeadlockDetected = "40P01";
inline constexpr std::string_view kSyntaxError = "42601";
inline constexpr std::string_view kInsufficientPrivilege = "42501";
inline constexpr std::string_view kUndefinedColumn = "42703";
inline constexpr std::string_view kUndefinedTable = "42P01";
inline constexpr std::string_view kUndefinedObject = "42704";
inline constexpr std::string_view kDuplicateObject = "42710";
inline constexpr std::string_view kDuplicatePreparedStatement = "42P05";
inline constexpr std::string_view kDuplicateCursor = "42P03";
inline constexpr std::string_view kInvalidObjectDefinition = "42P17";
inline constexpr std::string_view kWrongObjectType = "42809";
inline constexpr std::string_view kObjectNotInPrerequisiteState = "55000";
inline constexpr std::string_view kInsufficientResources = "53000";
inline constexpr std::string_view kDiskFull = "53100";
inline constexpr std::string_view kOutOfMemory = "53200";
inline constexpr std::string_view kTooManyConnections = "53300";
inline constexpr std::string_view kConfigurationLimitExceeded = "53400";
inline constexpr std::string_view kProgramLimitExceeded = "54000";
inline constexpr std::string_view kLockNotAvailable = "55P03";
inline constexpr std::string_view kQueryCanceled = "57014";
inline constexpr std::string_view kAdminShutdown = "57P01";
inline constexpr std::string_view kCannotConnectNow = "57P03";
inline constexpr std::string_view kIdleSessionTimeout = "57P05";
inline constexpr std::string_view kInternalError = "XX000";
inline constexpr std::string_view kDataCorrupted = "XX001";
}  // namespace sqlstate

}  // namespace decan
