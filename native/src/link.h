#pragma once
#include "args.h"
#include "fd.h"
#include "handle.h"

/** A bpf_link, by its descriptor: created here or opened from a pin. */
class Link : public Handle<Link, Fd> {
 public:
  static constexpr const char *kName = "BpfLink";
  static constexpr Class kClass = Class::Link;
  static constexpr napi_type_tag kTag = {0x736c756963650001, 0x4c696e6b00000001};

  explicit Link(const Napi::CallbackInfo &info) : Handle(info), fd_(take()) {}
  static Napi::Function define(Napi::Env env);

 private:
  Napi::Value id(const Napi::CallbackInfo &info);
  Napi::Value program_id(const Napi::CallbackInfo &info);
  Napi::Value target(const Napi::CallbackInfo &info);
  void update(const Napi::CallbackInfo &info);
  void pin(const Napi::CallbackInfo &info);
  void detach(const Napi::CallbackInfo &info);
  void close(const Napi::CallbackInfo &) { fd_.reset(); }

  Fd fd_;
};

Napi::Value attach_tcx(const Napi::CallbackInfo &info);
Napi::Value query_tcx(const Napi::CallbackInfo &info);
Napi::Value attach_xdp(const Napi::CallbackInfo &info);
Napi::Value attach_cgroup(const Napi::CallbackInfo &info);
Napi::Value open_pinned_link(const Napi::CallbackInfo &info);
