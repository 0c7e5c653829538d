// Base of the classes that JavaScript holds: only native code can construct one, and a value is unwrapped only after
// its type tag is checked, so a foreign object is rejected.
#pragma once
#include <napi.h>

#include <array>
#include <string>
#include <utility>

enum class Class : size_t { Object, Map, Program, Link, Monitor, RingBuffer, Count };

/** Per environment (the main thread, each worker). */
struct Addon {
  std::array<Napi::FunctionReference, static_cast<size_t>(Class::Count)> constructors;

  Napi::FunctionReference &of(Class which) { return constructors[static_cast<size_t>(which)]; }
};

template <class T, class Init>
class Handle : public Napi::ObjectWrap<T> {
 public:
  explicit Handle(const Napi::CallbackInfo &info) : Napi::ObjectWrap<T>(info) {
    if (pending_ == nullptr) throw Napi::TypeError::New(info.Env(), std::string(T::kName) + " cannot be constructed");
    info.This().template As<Napi::Object>().TypeTag(&T::kTag);
  }

  static Napi::Object create(Napi::Env env, Init init) {
    struct Offer {
      explicit Offer(Init *given) { pending_ = given; }
      ~Offer() { pending_ = nullptr; }
    } offer(&init);
    return env.GetInstanceData<Addon>()->of(T::kClass).New({});
  }

  static T &unwrap(const Napi::Value &value, const char *name) {
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&T::kTag))
      throw Napi::TypeError::New(value.Env(), std::string(name) + " must be a " + T::kName);
    return *Napi::ObjectWrap<T>::Unwrap(value.As<Napi::Object>());
  }

 protected:
  /** The argument of create(), for the constructor. */
  static Init take() { return std::move(*std::exchange(pending_, nullptr)); }

 private:
  // Set while create() is on the stack: a constructor called from JavaScript finds nothing.
  static inline thread_local Init *pending_ = nullptr;
};

template <class T>
void register_class(Napi::Env env) {
  env.GetInstanceData<Addon>()->of(T::kClass) = Napi::Persistent(T::define(env));
}
