// Base of the classes that JavaScript holds: only native code can construct one, and a value is unwrapped only after its type
// tag has been seen, so that no foreign object is ever taken for one of ours.
#pragma once
#include <napi.h>

#include <array>
#include <string>

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
    if (info.Length() != 1 || !info[0].IsExternal())
      throw Napi::TypeError::New(info.Env(), std::string(T::kName) + " cannot be constructed");
    info.This().template As<Napi::Object>().TypeTag(&T::kTag);
  }

  static Napi::Object create(Napi::Env env, Init init) {
    Napi::FunctionReference &constructor = env.GetInstanceData<Addon>()->of(T::kClass);
    return constructor.New({Napi::External<Init>::New(env, &init)});
  }

  static T &unwrap(const Napi::Value &value, const char *name) {
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&T::kTag))
      throw Napi::TypeError::New(value.Env(), std::string(name) + " must be a " + T::kName);
    return *Napi::ObjectWrap<T>::Unwrap(value.As<Napi::Object>());
  }

 protected:
  static Init take(const Napi::CallbackInfo &info) { return std::move(*info[0].As<Napi::External<Init>>().Data()); }
};

template <class T>
void register_class(Napi::Env env) {
  env.GetInstanceData<Addon>()->of(T::kClass) = Napi::Persistent(T::define(env));
}
