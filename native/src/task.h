// Work on a thread of libuv's pool, as a promise. It must not use JavaScript values, and throws a Failure.
#pragma once
#include <napi.h>

#include <functional>
#include <optional>
#include <utility>

#include "status.h"

template <class Result>
class Task : public Napi::AsyncWorker {
 public:
  using Work = std::function<Result()>;
  using Convert = std::function<Napi::Value(Napi::Env, const Result &)>;

  static Napi::Promise start(Napi::Env env, const char *name, Work work, Convert convert) {
    auto *task =
        new Task(env, name, std::move(work), std::move(convert));  // deletes itself when the promise is settled
    Napi::Promise promise = task->deferred_.Promise();
    task->Queue();
    return promise;
  }

 private:
  Task(Napi::Env env, const char *name, Work work, Convert convert)
      : AsyncWorker(env, name), deferred_(env), work_(std::move(work)), convert_(std::move(convert)) {}

  void Execute() override {
    try {
      result_ = work_();
    } catch (const Failure &failure) {
      failure_ = failure;
    }
  }

  void OnOK() override {
    if (failure_)
      deferred_.Reject(error_of(Env(), *failure_).Value());
    else
      deferred_.Resolve(convert_(Env(), *result_));
  }

  void OnError(const Napi::Error &error) override { deferred_.Reject(error.Value()); }  // out of memory

  Napi::Promise::Deferred deferred_;
  Work work_;
  Convert convert_;
  std::optional<Result> result_;
  std::optional<Failure> failure_;
};
