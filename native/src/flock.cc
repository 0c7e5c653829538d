// flock(): an exclusive lock on an open file or folder. The kernel releases it when the last descriptor is closed, also
// when the process is killed.
#include "flock.h"

#include <sys/file.h>

#include <cerrno>

#include "args.h"
#include "status.h"

Napi::Value flock_fd(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  uint32_t fd = uint32_of(info[0], "fd");
  if (fd > INT32_MAX) throw Napi::RangeError::New(env, "fd must be a file descriptor");
  int result = flock(static_cast<int>(fd), LOCK_EX | LOCK_NB);
  bool held_by_another = result < 0 && errno == EWOULDBLOCK;
  if (!held_by_another) check_errno(env, "flock", result);
  return Napi::Boolean::New(env, !held_by_another);
}
