// The verifier gives up with EAGAIN, and a repeated test run with EINTR, as soon as a signal is pending. Starting over
// does not help under a profiler's timer, which fires long before a program of ours has been verified: signals have to
// wait instead.
#pragma once
#include <pthread.h>

#include <cerrno>
#include <csignal>

/** While one of these lives, this thread takes no signal but those that a fault of its own raises. Another thread takes
 * what is sent to the process, and SIGKILL works as ever. */
class SignalsWait {
 public:
  SignalsWait() {
    sigset_t all;
    sigfillset(&all);
    for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) sigdelset(&all, fault);
    pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~SignalsWait() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsWait(const SignalsWait &) = delete;
  SignalsWait &operator=(const SignalsWait &) = delete;

 private:
  sigset_t before_;
};

constexpr int kAttempts = 100;

/** Makes a call of libbpf's style (a negative errno) again for as long as the kernel says so, within reason. */
template <class Call>
int call_again(Call &&call) {
  int result = call();
  for (int i = 1; i < kAttempts && (result == -EAGAIN || result == -EINTR); i++) result = call();
  return result;
}
