#pragma once
#include <bpf/libbpf.h>

#include <atomic>
#include <memory>
#include <utility>

#include "args.h"
#include "handle.h"

struct ObjectCloser {
  void operator()(bpf_object *object) const { bpf_object__close(object); }
};
using ObjectPtr = std::unique_ptr<bpf_object, ObjectCloser>;

/** Shared with the thread that loads it: an object that is closed meanwhile is freed when that ends. */
struct Loadable {
  explicit Loadable(ObjectPtr given) : object(std::move(given)) {}

  ObjectPtr object;
  std::atomic<bool> loading{false};
};

/** An ELF object between open and load. Handles of its maps and programs stay valid after it is closed. */
class Object : public Handle<Object, ObjectPtr> {
 public:
  static constexpr const char *kName = "BpfObject";
  static constexpr Class kClass = Class::Object;
  static constexpr napi_type_tag kTag = {0x736c756963650001, 0x4f626a6563740001};

  explicit Object(const Napi::CallbackInfo &info) : Handle(info), object_(std::make_shared<Loadable>(take())) {}
  static Napi::Function define(Napi::Env env);

 private:
  Napi::Value maps(const Napi::CallbackInfo &info);
  Napi::Value programs(const Napi::CallbackInfo &info);
  Napi::Value definition(const Napi::CallbackInfo &info);
  Napi::Value layout(const Napi::CallbackInfo &info);
  void set_initial_value(const Napi::CallbackInfo &info);
  void set_max_entries(const Napi::CallbackInfo &info);
  void set_value_size(const Napi::CallbackInfo &info);
  void reuse_map(const Napi::CallbackInfo &info);
  void set_autoload(const Napi::CallbackInfo &info);
  void load(const Napi::CallbackInfo &info);
  Napi::Value load_async(const Napi::CallbackInfo &info);
  Napi::Value map(const Napi::CallbackInfo &info);
  Napi::Value program(const Napi::CallbackInfo &info);
  void close(const Napi::CallbackInfo &info);

  bpf_object *open(const char *syscall);
  bpf_map *find_map(const Napi::Value &name);
  bpf_program *find_program(const Napi::Value &name);

  std::shared_ptr<Loadable> object_;  // null once closed
};

Napi::Value open_object(const Napi::CallbackInfo &info);
