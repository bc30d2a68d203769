// LISTEN while connections are pooled: one connection per database listens on the home unit for all sessions
// of the node and hands notifications to those that asked. Lives on loop 0; other loops reach it by post().
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "session/node.h"

namespace decan::session {

class NotifyHub {
 public:
  NotifyHub(Node& node, LoopContext& loop) : node_(node), loop_(loop) {}

  // Any thread. Resumes on the caller's loop when the unit has confirmed the LISTEN.
  async::Task<Status> listen(LoopContext& caller, SessionEntryPtr session, std::string database,
                             std::string channel);
  void unlisten(SessionEntryPtr session, std::string database, std::string channel);  // empty channel: all
  std::vector<std::string> channels_of(const SessionEntryPtr& session, const std::string& database) const;

 private:
  struct Database {
    std::string name;
    backend::UnitConnectionPtr connection;
    std::map<std::string, std::set<SessionEntryPtr>> listeners;  // by channel
    std::set<std::string> wanted;                                // LISTEN still to be sent
    std::map<std::string, std::vector<std::function<void(Status)>>> waiting;
    std::unique_ptr<async::Event> wake;
    bool running = false;
  };
  async::Task<void> serve(Database* database);
  async::Task<Status> exchange(Database* database);
  void dispatch(Database& database, std::string_view body);

  Node& node_;
  LoopContext& loop_;
  mutable std::mutex mutex_;  // listeners only: read by channels_of
  std::map<std::string, std::unique_ptr<Database>> databases_;
};

}  // namespace decan::session
