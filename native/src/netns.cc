#include "netns.h"

#include <sched.h>
#include <sys/socket.h>

#include <exception>
#include <system_error>
#include <thread>
#include <vector>

#include "args.h"
#include "fd.h"
#include "task.h"

namespace {

constexpr int kSoNetnsCookie = 71;  // not in the headers of the oldest supported distribution

// EINVAL: a mount point that is a plain file again. EACCES is not only said of other users' processes, but also of one
// that ends while its folder in /proc is walked.
bool is_out_of_reach(int error) {
  return error == ENOENT || error == ESRCH || error == EINVAL || error == EACCES || error == EPERM;
}

uint64_t cookie_of(const std::string &path) {
  try {
    enter_netns(path);
  } catch (const Failure &failure) {
    if (is_out_of_reach(failure.error)) return 0;
    throw;
  }
  return netns_cookie_here();
}

}  // namespace

void on_thread_of_its_own(const std::function<void()> &work) {
  std::exception_ptr thrown;
  auto run = [&] {
    try {
      work();
    } catch (...) {
      thrown = std::current_exception();
    }
  };
  try {
    std::thread(run).join();
  } catch (const std::system_error &error) {
    throw Failure{"pthread_create", error.code().value()};
  }
  if (thrown) std::rethrow_exception(thrown);
}

void enter_netns(const std::string &path) {
  int fd;
  do fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  while (fd < 0 && errno == EINTR);
  Fd netns(fd);
  if (netns.number() < 0) throw Failure{"open", errno, path};
  if (setns(netns.number(), CLONE_NEWNET) < 0) throw Failure{"setns", errno, path};
}

uint64_t netns_cookie_here() {
  Fd fresh(check_errno("socket", socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)));
  uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  int result = getsockopt(fresh.number(), SOL_SOCKET, kSoNetnsCookie, &cookie, &size);
  if (result < 0 && errno == ENOPROTOOPT) return 0;  // before 5.14
  check_errno("getsockopt", result);
  return cookie;
}

Napi::Value netns_cookie(const Napi::CallbackInfo &info) {
  return Napi::BigInt::New(info.Env(), or_fail(info.Env(), netns_cookie_here));
}

Napi::Value netns_cookies(const Napi::CallbackInfo &info) {
  std::vector<std::string> paths = texts_of(info[0], "paths");
  auto work = [paths = std::move(paths)] {
    std::vector<uint64_t> cookies;
    on_thread_of_its_own([&] {
      for (const std::string &path : paths) cookies.push_back(cookie_of(path));
    });
    return cookies;
  };
  return Task<std::vector<uint64_t>>::start(info.Env(), "sluice.netns", work, [](Napi::Env env, const auto &cookies) {
    Napi::Array list = Napi::Array::New(env);
    for (uint64_t cookie : cookies) list.Set(list.Length(), Napi::BigInt::New(env, cookie));
    return list;
  });
}
