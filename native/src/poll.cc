#include "poll.h"

#include "status.h"

struct Poll::State {
  uv_poll_t handle;
  napi_async_cleanup_hook_handle hook;
  Poll *owner;  // nullptr once closing
};

Poll::Poll(Napi::Env env, int fd, Napi::Function callback, std::function<void()> ready)
    : env_(env),
      callback_(Napi::Persistent(callback)),
      context_(env, "sluice.poll"),
      ready_(std::move(ready)),
      state_(new State{}) {
  uv_loop_t *loop = nullptr;
  napi_get_uv_event_loop(env, &loop);
  int result = uv_poll_init(loop, &state_->handle, fd);
  if (result < 0) {
    delete std::exchange(state_, nullptr);
    fail(env, {"uv_poll_init", -result});
  }
  state_->handle.data = state_;
  state_->owner = this;
  // A worker that ends with an open handle on its loop would make libuv abort the process.
  napi_add_async_cleanup_hook(env, on_teardown, state_, &state_->hook);
  uv_poll_start(&state_->handle, UV_READABLE, on_ready);
}

void Poll::close() {
  State *state = std::exchange(state_, nullptr);
  if (state == nullptr) return;
  state->owner = nullptr;
  uv_close(reinterpret_cast<uv_handle_t *>(&state->handle), on_closed);
}

void Poll::on_closed(uv_handle_t *handle) {
  auto *state = static_cast<State *>(handle->data);
  napi_remove_async_cleanup_hook(state->hook);
  delete state;
}

void Poll::on_teardown(napi_async_cleanup_hook_handle, void *data) {
  auto *state = static_cast<State *>(data);
  if (state->owner != nullptr) state->owner->close();
}

void Poll::on_ready(uv_poll_t *handle, int, int) {
  auto *state = static_cast<State *>(handle->data);
  if (state->owner == nullptr) return;
  Poll &poll = *state->owner;
  Napi::HandleScope scope(poll.env_);
  try {
    poll.ready_();
  } catch (const Napi::Error &error) {
    napi_fatal_exception(poll.env_, error.Value());
  }
}

void Poll::emit(napi_value argument) {
  Napi::Function callback = callback_.Value();
  if (argument == nullptr)
    callback.MakeCallback(env_.Global(), 0, nullptr, context_);
  else
    callback.MakeCallback(env_.Global(), 1, &argument, context_);
}
