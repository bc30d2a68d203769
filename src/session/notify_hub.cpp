#include "session/notify_hub.h"

#include "base/log.h"
#include "base/quote.h"
#include "session/session.h"

namespace decan::session {

using async::Task;

Task<Status> NotifyHub::listen(LoopContext& caller, SessionEntryPtr session, std::string database,
                               std::string channel) {
  auto done = std::make_shared<async::Event>(caller.loop);
  auto result = std::make_shared<Status>();
  loop_.loop.post([this, &caller, session, database, channel, done, result] {
    auto& entry = databases_[database];
    if (!entry) {
      entry = std::make_unique<Database>();
      entry->name = database;
      entry->wake = std::make_unique<async::Event>(loop_.loop);
    }
    {
      const std::lock_guard lock(mutex_);
      entry->listeners[channel].insert(session);
    }
    entry->wanted.insert(channel);
    entry->waiting[channel].push_back([&caller, done, result](Status status) {
      caller.loop.post([done, result, status] {
        *result = status;
        done->notify();
      });
    });
    if (!entry->running) {
      entry->running = true;
      loop_.loop.spawn(serve(entry.get()));
    } else if (entry->connection) {
      // The serving coroutine waits for the unit: a harmless statement makes it come round and send the
      // LISTEN.
      entry->connection->stream().set_deadline(async::Clock::now());
    }
  });
  if (!co_await done->wait(async::Clock::now() + std::chrono::seconds(10))) {
    co_return fail(sqlstate::kConnectionFailure, "the home unit did not confirm LISTEN in time");
  }
  co_return *result;
}

void NotifyHub::unlisten(SessionEntryPtr session, std::string database, std::string channel) {
  loop_.loop.post([this, session, database, channel] {
    const auto found = databases_.find(database);
    if (found == databases_.end()) return;
    const std::lock_guard lock(mutex_);
    for (auto& [name, sessions] : found->second->listeners) {
      if (channel.empty() || channel == name) sessions.erase(session);
    }
  });
}

std::vector<std::string> NotifyHub::channels_of(const SessionEntryPtr& session,
                                                const std::string& database) const {
  std::vector<std::string> channels;
  const std::lock_guard lock(mutex_);
  if (const auto found = databases_.find(database); found != databases_.end()) {
    for (const auto& [name, sessions] : found->second->listeners) {
      if (sessions.contains(session)) channels.push_back(name);
    }
  }
  return channels;
}

Task<void> NotifyHub::serve(Database* database) {
  constexpr auto kRetry = std::chrono::milliseconds(500);
  while (!node_.shutting_down) {
    if (!database->connection || database->connection->broken()) {
      auto opened = co_await backend::UnitConnection::open(
          loop_.loop, *(*node_.units())[node_.home().value], node_.home(),
          node_.service_identity(database->name), async::Clock::now() + std::chrono::seconds(5));
      if (!opened) {
        log::warning("notifications are delayed: the home unit does not answer",
                     {{"database", database->name}});
        co_await async::sleep_for(loop_.loop, kRetry);
        continue;
      }
      database->connection = std::move(*opened);
      const std::lock_guard lock(mutex_);
      for (const auto& [channel, sessions] : database->listeners) {
        if (!sessions.empty()) database->wanted.insert(channel);
      }
    }
    if (auto done = co_await exchange(database); !done) database->connection.reset();
  }
}

Task<Status> NotifyHub::exchange(Database* database) {
  backend::UnitConnection& connection = *database->connection;
  while (!database->wanted.empty()) {
    const std::string channel = *database->wanted.begin();
    connection.stream().set_deadline(async::Clock::now() + std::chrono::seconds(10));
    connection.writer().query("LISTEN " + quote_identifier(channel));
    if (auto sent = co_await connection.flush(); !sent) co_return sent;
    Status answer;
    while (true) {
      auto frame = co_await connection.next_frame();
      if (!frame) co_return fail(frame.error());
      const char type = frame->type;
      if (type == 'A') dispatch(*database, frame->body);
      if (type == 'E') {
        const auto fields = wire::decode_error(frame->body);
        answer = fail(fields ? wire::to_error(*fields) : fields.error());
      }
      connection.consume_frame(*frame);
      if (type == 'Z') break;
    }
    database->wanted.erase(channel);
    for (auto& callback : database->waiting[channel]) callback(answer);
    database->waiting.erase(channel);
  }
  connection.stream().set_deadline(async::kNoDeadline);
  while (true) {
    const auto header = wire::decode_header(connection.input().readable(), wire::kMaxMessageBytes);
    if (!header) co_return fail(header.error());
    if (*header && connection.input().size() >= wire::kHeaderBytes + (*header)->body_bytes) {
      if ((*header)->type == 'A')
        dispatch(*database, connection.input().readable().substr(wire::kHeaderBytes, (*header)->body_bytes));
      connection.input().consume(wire::kHeaderBytes + (*header)->body_bytes);
      continue;
    }
    char* space = connection.input().space(4096);
    const auto n = co_await connection.stream().read_some(space, connection.input().space_bytes());
    if (!n) {
      if (connection.stream().timed_out() && !database->wanted.empty()) {
        connection.stream().set_deadline(async::kNoDeadline);
        co_return Status{};  // somebody wants another channel
      }
      co_return fail(n.error());
    }
    if (*n == 0)
      co_return fail(sqlstate::kConnectionFailure, "the home unit closed the notification connection");
    connection.input().produced(*n);
  }
}

void NotifyHub::dispatch(Database& database, std::string_view body) {
  const auto notification = wire::decode_notification(body);
  if (!notification) return;
  const std::string channel(notification->channel), payload(notification->payload);
  const uint32_t pid = notification->pid;
  const std::lock_guard lock(mutex_);
  const auto found = database.listeners.find(channel);
  if (found == database.listeners.end()) return;
  for (const SessionEntryPtr& entry : found->second) {
    entry->loop->loop.post([entry, pid, channel, payload] {
      if (entry->session != nullptr) entry->session->deliver(pid, channel, payload);
    });
  }
}

}  // namespace decan::session
