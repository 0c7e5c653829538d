#pragma once
#include "args.h"
#include "fd.h"
#include "handle.h"

class Program : public Handle<Program, Fd> {
 public:
  static constexpr const char *kName = "BpfProgram";
  static constexpr Class kClass = Class::Program;
  static constexpr napi_type_tag kTag = {0x736c756963650001, 0x50726f6772616d01};

  explicit Program(const Napi::CallbackInfo &info);
  static Napi::Function define(Napi::Env env);

  int fd(const char *syscall) { return fd_.get(Env(), syscall); }

 private:
  Napi::Value id(const Napi::CallbackInfo &info) { return Napi::Number::New(info.Env(), id_); }
  Napi::Value name(const Napi::CallbackInfo &info) { return Napi::String::New(info.Env(), name_); }
  Napi::Value verified(const Napi::CallbackInfo &info) { return Napi::Number::New(info.Env(), verified_); }
  Napi::Value test_run(const Napi::CallbackInfo &info);
  void pin(const Napi::CallbackInfo &info);
  void close(const Napi::CallbackInfo &) { fd_.reset(); }

  Fd fd_;
  uint32_t id_ = 0;
  uint32_t verified_ = 0;
  std::string name_;
};

Napi::Value load_program(const Napi::CallbackInfo &info);
Napi::Value maps_of_program(const Napi::CallbackInfo &info);
Napi::Value open_pinned_program(const Napi::CallbackInfo &info);
