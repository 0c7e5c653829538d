// How native code fails: a system call's name and its errno, as a JavaScript error with `syscall`, `errno` and `code`.
#pragma once
#include <napi.h>

#include <string>

struct Failure {
  const char *syscall;
  int error;             // positive errno
  std::string detail{};  // what the kernel or libbpf said, if anything
  std::string log{};     // the verifier's whole log
  int64_t done = -1;     // rows finished before the failure, for batches
};

Napi::Error error_of(Napi::Env env, const Failure &failure);

[[noreturn]] void fail(Napi::Env env, const Failure &failure);

/** Throws for a negative return value of libbpf (which is -errno), passes any other on. */
int check(Napi::Env env, const char *syscall, int result);

/** The same for calls that return -1 and set errno. */
int check_errno(Napi::Env env, const char *syscall, int result);

/** The same on threads without JavaScript: throws the Failure. */
int check_errno(const char *syscall, int result);

/** Where there is JavaScript to take the error: what `work` throws as a Failure fails. */
template <class Work>
auto or_fail(Napi::Env env, Work &&work) {
  try {
    return work();
  } catch (const Failure &failure) {
    fail(env, failure);
  }
}

/** libbpf writes to stderr unless told otherwise. While one of these lives, what it says on this thread is kept
 * instead. */
class LibbpfLog {
 public:
  LibbpfLog();
  ~LibbpfLog();
  LibbpfLog(const LibbpfLog &) = delete;
  LibbpfLog &operator=(const LibbpfLog &) = delete;

  void append(const std::string &text) { text_ += text; }
  const std::string &text() const { return text_; }
  /** The line that says why: the verifier's last word before its statistics, else libbpf's first warning. */
  std::string reason() const;

  static void install();  // once a process

 private:
  std::string text_;
  LibbpfLog *outer_;
};
