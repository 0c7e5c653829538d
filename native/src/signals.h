// With a signal pending the verifier returns EAGAIN, and a repeated test run EINTR. Retries do not help under a
// profiler's timer, which fires more often than a program takes to verify, so signals are blocked.
#pragma once
#include <pthread.h>

#include <cerrno>
#include <csignal>

/** Blocks all signals of this thread but synchronous ones, such as SIGSEGV, for its lifetime. Another thread takes
 * what is sent to the process, and SIGKILL works as ever. */
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) sigdelset(&all, fault);
    pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked &) = delete;
  SignalsBlocked &operator=(const SignalsBlocked &) = delete;

 private:
  sigset_t before_;
};

constexpr int kAttempts = 100;

/** Repeats a call of libbpf (which returns a negative errno) that returns EAGAIN, up to a limit. */
template <class Call>
int call_again(Call &&call) {
  int result = call();
  for (int i = 1; i < kAttempts && (result == -EAGAIN || result == -EINTR); i++) result = call();
  return result;
}
