// Network namespaces and the numbers by which programs in the kernel know them.
#include "netns.h"

#include <sys/socket.h>

#include "fd.h"

namespace {

constexpr int kSoNetnsCookie = 71;  // newer than the headers of the oldest distribution that is supported

}  // namespace

Napi::Value netns_cookie(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  Fd fresh(check_errno(env, "socket", socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)));
  uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  int result = getsockopt(fresh.get(env, "getsockopt"), SOL_SOCKET, kSoNetnsCookie, &cookie, &size);
  if (!(result < 0 && errno == ENOPROTOOPT)) check_errno(env, "getsockopt", result);  // 0 before 5.14
  return Napi::BigInt::New(env, cookie);
}
