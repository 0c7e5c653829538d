// A file descriptor, closed once: by close() or by the finalizer, whichever is first.
#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "status.h"

class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd &&other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd &operator=(Fd &&other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { reset(); }

  void reset() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }

  /** Throws EBADF once closed: the number can belong to another descriptor by then. */
  int get(Napi::Env env, const char *syscall) const {
    if (fd_ < 0) fail(env, {syscall, EBADF, "the handle is closed"});
    return fd_;
  }

  /** For the owner, which closes it itself. -1 once closed. */
  int number() const { return fd_; }

  static Fd copy_of(Napi::Env env, int fd) { return Fd(check_errno(env, "fcntl", fcntl(fd, F_DUPFD_CLOEXEC, 3))); }

 private:
  int fd_;
};
