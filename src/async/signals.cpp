#include "async/signals.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <system_error>

namespace decan::async {
namespace {

volatile std::sig_atomic_t write_fd = -1;

// Only what is safe in a handler: the number goes through a pipe.
void note_signal(int signal) {
  const int saved = errno;
  const auto number = static_cast<unsigned char>(signal);
  (void)!::write(write_fd, &number, 1);
  errno = saved;
}

}  // namespace

Signals::Signals(Loop& loop, std::initializer_list<int> signals, std::function<void(int)> on_signal)
    : loop_(loop), on_signal_(std::move(on_signal)) {
  int fds[2];
  if (::pipe2(fds, O_NONBLOCK | O_CLOEXEC) != 0)
    throw std::system_error(errno, std::system_category(), "pipe for signals");
  read_fd_ = fds[0];
  write_fd = fds[1];
  (void)loop_.watch(read_fd_, this, EPOLLIN);
  struct sigaction action{};
  action.sa_handler = note_signal;
  action.sa_flags = SA_RESTART;
  for (const int signal : signals) ::sigaction(signal, &action, nullptr);
}

Signals::~Signals() {
  loop_.forget(read_fd_, this);
  ::close(read_fd_);  // the handlers stay, and write into nothing
}

void Signals::on_ready(uint32_t) {
  unsigned char numbers[64];
  const ssize_t n = ::read(read_fd_, numbers, sizeof numbers);
  for (ssize_t i = 0; i < n; ++i) on_signal_(numbers[i]);
}

}  // namespace decan::async
