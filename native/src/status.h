// Errors of native code: a JavaScript Error with `syscall`, `errno` and `code`.
#pragma once
#include <napi.h>

#include <string>

struct Failure {
  const char *syscall;
  int error;             // positive errno
  std::string detail{};  // message of the kernel or libbpf
  std::string log{};     // the verifier's log
  int64_t done = -1;     // rows finished before the failure, for batches
};

Napi::Error error_of(Napi::Env env, const Failure &failure);

[[noreturn]] void fail(Napi::Env env, const Failure &failure);

/** Throws for a negative result of libbpf, which is -errno; returns any other. */
int check(Napi::Env env, const char *syscall, int result);

/** The same for system calls, which return -1 and set errno. */
int check_errno(Napi::Env env, const char *syscall, int result);

/** The same on threads without JavaScript: throws a Failure. */
int check_errno(const char *syscall, int result);

/** Runs `work` on the JavaScript thread and turns a Failure into a JavaScript error. */
template <class Work>
auto or_fail(Napi::Env env, Work &&work) {
  try {
    return work();
  } catch (const Failure &failure) {
    fail(env, failure);
  }
}

/** Collects what libbpf logs on this thread during its lifetime, instead of stderr. */
class LibbpfLog {
 public:
  LibbpfLog();
  ~LibbpfLog();
  LibbpfLog(const LibbpfLog &) = delete;
  LibbpfLog &operator=(const LibbpfLog &) = delete;

  void append(const std::string &text) { text_ += text; }
  const std::string &text() const { return text_; }
  /** The reason: the last line of the verifier before its statistics, else libbpf's first warning. */
  std::string reason() const;

  static void install();  // once per process

 private:
  std::string text_;
  LibbpfLog *outer_;
};
