// Polls a descriptor on Node's event loop: no thread, and so no locks.
#pragma once
#include <napi.h>
#include <uv.h>

#include <functional>

class Poll {
 public:
  /** Calls `ready` on the loop whenever `fd` can be read. Keeps the loop alive until closed. */
  Poll(Napi::Env env, int fd, Napi::Function callback, std::function<void()> ready);
  ~Poll() { close(); }
  Poll(const Poll &) = delete;
  Poll &operator=(const Poll &) = delete;

  /** Stops polling; afterwards the descriptor may be closed. */
  void close();

  /** Calls back into JavaScript; what it throws becomes an uncaught exception there. */
  void emit(napi_value argument = nullptr);

 private:
  struct State;
  static void on_ready(uv_poll_t *handle, int status, int events);
  static void on_teardown(napi_async_cleanup_hook_handle hook, void *data);
  static void on_closed(uv_handle_t *handle);

  Napi::Env env_;
  Napi::FunctionReference callback_;
  Napi::AsyncContext context_;
  std::function<void()> ready_;
  State *state_;  // freed by the closing callback of the loop, after this object
};
