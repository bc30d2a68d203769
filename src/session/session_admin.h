// What DistSQL handlers see of a session and its node.
#pragma once

#include "attach/server.h"
#include "distsql/admin_context.h"
#include "session/session.h"

namespace decan::session {

class SessionAdmin final : public distsql::AdminContext {
 public:
  SessionAdmin(Session& session, Session::AdminFacts facts) : session_(session), facts_(std::move(facts)) {}

  std::string database() const override { return session_.identity_.database; }
  std::vector<std::string> search_path() const override { return facts_.schemas; }
  bool may_administer() const override { return facts_.may_administer; }
  catalog::SnapshotPtr catalog() const override {
    return session_.block_snapshot_ ? session_.block_snapshot_ : session_.snapshot_;
  }
  bool in_block() const override { return session_.txn_->in_block(); }
  placement::UnitRunner& runner() override { return session_; }
  Task<Status> with_store(std::function<Status(meta::Store&)> work) override;
  Task<Result<meta::UnitRecord>> check_unit(meta::UnitRecord unit,
                                            std::optional<meta::UnitRecord> before) override;
  Task<Result<std::vector<std::string>>> add_unit(meta::UnitRecord unit) override;
  Task<Result<uint64_t>> load_tables(meta::UnitRecord unit) override;
  Task<Result<std::vector<std::string>>> remove_unit(meta::UnitRecord unit, MayLeave may_leave) override;
  Task<Status> units_changed() override;
  std::vector<std::pair<std::string, std::string>> unit_defaults() const override;
  Task<Result<std::vector<distsql::ComputeNodeInfo>>> compute_nodes() override;
  Task<Result<std::vector<distsql::SessionInfo>>> sessions() override;
  Task<Status> kill(std::string session_id, bool only_statement) override;
  Task<Result<std::vector<distsql::PreviewLine>>> preview(std::string sql) override;
  Task<Result<std::vector<std::pair<std::string, std::string>>>> variables() override;
  Task<Status> set_variable(std::string name, std::string value) override;

 private:
  attach::Ground ground();
  // A change of the units, while nothing else runs on this node and no other session changes them.
  template <class T>
  Task<Result<T>> alone(Task<Result<T>> change);
  Task<Result<std::vector<std::string>>> add_shut_out(meta::UnitRecord unit);
  Task<Result<uint64_t>> load_shut_out(meta::UnitRecord unit);
  Task<Result<std::vector<std::string>>> remove_shut_out(meta::UnitRecord unit, MayLeave may_leave);

  Session& session_;
  Session::AdminFacts facts_;
};

}  // namespace decan::session
