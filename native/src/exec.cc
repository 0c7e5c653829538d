// exec() of this process again: the pid stays, so a supervisor sees no restart.
#include "exec.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "args.h"
#include "status.h"

namespace {

/** Clears FD_CLOEXEC, which Node sets on every descriptor that it inherits. */
void keep_across_exec(Napi::Env env, int fd) {
  int flags = check_errno(env, "fcntl", fcntl(fd, F_GETFD));
  check_errno(env, "fcntl", fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC));
}

}  // namespace

// Returns only on failure. Descriptors of libuv, libbpf and ours are O_CLOEXEC and so closed; threads end. The new
// image inherits the signal mask, so it is cleared.
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
