// This process, begun anew: the same id, and to its supervisor the same process.
#include "exec.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "args.h"
#include "status.h"

namespace {

/** Node has set it on every descriptor that it was started with, these included. */
void keep_across_exec(Napi::Env env, int fd) {
  int flags = check_errno(env, "fcntl", fcntl(fd, F_GETFD));
  check_errno(env, "fcntl", fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC));
}

}  // namespace

// Returns only by a failure. What was opened with O_CLOEXEC is closed, and that is everything: libuv's and libbpf's
// descriptors and our own; threads end. The signal mask would be inherited, so nothing may be blocked.
Napi::Value exec(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  std::string path = text_of(info[0], "path");
  std::vector<std::string> texts = texts_of(info[1], "args");
  std::vector<char *> args;
  for (std::string &text : texts) args.push_back(text.data());
  args.push_back(nullptr);
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) keep_across_exec(env, fd);
  sigset_t none;
  sigset_t before;
  sigemptyset(&none);
  check_errno(env, "sigprocmask", sigprocmask(SIG_SETMASK, &none, &before));
  int result = execv(path.c_str(), args.data());
  int error = errno;
  sigprocmask(SIG_SETMASK, &before, nullptr);
  errno = error;
  check_errno(env, "execv", result);
  return env.Undefined();
}
