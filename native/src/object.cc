#include "object.h"

#include <bpf/bpf.h>

#include <cstring>

#include "fd.h"
#include "layout.h"
#include "map.h"
#include "program.h"
#include "signals.h"
#include "task.h"

Napi::Function Object::define(Napi::Env env) {
  return DefineClass(env, kName,
                     {
                         InstanceMethod<&Object::maps>("maps"),
                         InstanceMethod<&Object::programs>("programs"),
                         InstanceMethod<&Object::definition>("definition"),
                         InstanceMethod<&Object::layout>("layout"),
                         InstanceMethod<&Object::set_value_size>("setValueSize"),
                         InstanceMethod<&Object::set_initial_value>("setInitialValue"),
                         InstanceMethod<&Object::set_max_entries>("setMaxEntries"),
                         InstanceMethod<&Object::reuse_map>("reuseMap"),
                         InstanceMethod<&Object::set_autoload>("setAutoload"),
                         InstanceMethod<&Object::load>("load"),
                         InstanceMethod<&Object::load_async>("loadAsync"),
                         InstanceMethod<&Object::map>("map"),
                         InstanceMethod<&Object::program>("program"),
                         InstanceMethod<&Object::close>("close"),
                     });
}

bpf_object *Object::open(const char *syscall) {
  if (!object_) fail(Env(), {syscall, EBADF, "the object is closed"});
  if (object_->loading) fail(Env(), {syscall, EBUSY, "the object is being loaded"});
  return object_->object.get();
}

bpf_map *Object::find_map(const Napi::Value &name) {
  std::string text = text_of(name, "map name");
  bpf_map *map = bpf_object__find_map_by_name(open("bpf_object__find_map_by_name"), text.c_str());
  if (map == nullptr) fail(Env(), {"bpf_object__find_map_by_name", ENOENT, "no map " + text});
  return map;
}

bpf_program *Object::find_program(const Napi::Value &name) {
  std::string text = text_of(name, "program name");
  bpf_program *program = bpf_object__find_program_by_name(open("bpf_object__find_program_by_name"), text.c_str());
  if (program == nullptr) fail(Env(), {"bpf_object__find_program_by_name", ENOENT, "no program " + text});
  return program;
}

Napi::Value Object::maps(const Napi::CallbackInfo &info) {
  Napi::Array names = Napi::Array::New(info.Env());
  bpf_map *map;
  bpf_object__for_each_map(map, open("bpf_object__next_map")) {
    names.Set(names.Length(), Napi::String::New(info.Env(), bpf_map__name(map)));
  }
  return names;
}

Napi::Value Object::programs(const Napi::CallbackInfo &info) {
  Napi::Array names = Napi::Array::New(info.Env());
  bpf_program *program;
  bpf_object__for_each_program(program, open("bpf_object__next_program")) {
    names.Set(names.Length(), Napi::String::New(info.Env(), bpf_program__name(program)));
  }
  return names;
}

static bpf_map_info definition_of(const bpf_map *map) {
  bpf_map_info info{};
  strncpy(info.name, bpf_map__name(map), sizeof(info.name) - 1);
  info.type = bpf_map__type(map);
  info.key_size = bpf_map__key_size(map);
  info.value_size = bpf_map__value_size(map);
  info.max_entries = bpf_map__max_entries(map);
  info.map_flags = bpf_map__map_flags(map);
  return info;
}

Napi::Value Object::definition(const Napi::CallbackInfo &info) {
  return map_info_object(info.Env(), definition_of(find_map(info[0])));
}

Napi::Value Object::layout(const Napi::CallbackInfo &info) {
  bpf_map *map = find_map(info[0]);
  const btf *types = bpf_object__btf(open("bpf_object__btf"));
  return layout_object(info.Env(), types, bpf_map__btf_key_type_id(map), bpf_map__btf_value_type_id(map));
}

void Object::set_value_size(const Napi::CallbackInfo &info) {
  bpf_map *map = find_map(info[0]);
  check(Env(), "bpf_map__set_value_size", bpf_map__set_value_size(map, uint32_of(info[1], "bytes")));
}

void Object::set_initial_value(const Napi::CallbackInfo &info) {
  bpf_map *map = find_map(info[0]);
  size_t size = 0;
  if (bpf_map__initial_value(map, &size) == nullptr)
    fail(Env(), {"bpf_map__set_initial_value", EINVAL, std::string(bpf_map__name(map)) + " has no initial value"});
  Bytes value = bytes_of_size(info[1], "value", size);
  check(Env(), "bpf_map__set_initial_value", bpf_map__set_initial_value(map, value.data, value.size));
}

void Object::set_max_entries(const Napi::CallbackInfo &info) {
  bpf_map *map = find_map(info[0]);
  check(Env(), "bpf_map__set_max_entries", bpf_map__set_max_entries(map, uint32_of(info[1], "entries")));
}

void Object::reuse_map(const Napi::CallbackInfo &info) {
  bpf_map *map = find_map(info[0]);
  Map &given = Map::unwrap(info[1], "map");
  bpf_map_info want = definition_of(map);
  const bpf_map_info &have = given.details();
  // Else libbpf would accept a map of another layout, and the program would misread its rows.
  if (want.type != have.type || want.key_size != have.key_size || want.value_size != have.value_size)
    fail(Env(), {"bpf_map__reuse_fd", EINVAL, std::string(want.name) + " has another type, key or value size"});
  check(Env(), "bpf_map__reuse_fd", bpf_map__reuse_fd(map, given.fd("bpf_map__reuse_fd")));
}

void Object::set_autoload(const Napi::CallbackInfo &info) {
  bpf_program *program = find_program(info[0]);
  check(Env(), "bpf_program__set_autoload", bpf_program__set_autoload(program, info[1].ToBoolean()));
}

/** Throws a Failure, so it can run on any thread. */
static void load_object(bpf_object *object) {
  LibbpfLog log;
  SignalsBlocked wait;  // a retry is not possible: an object loads once
  int result = bpf_object__load(object);
  if (result < 0) throw Failure{"bpf_object__load", -result, log.reason(), log.text()};
}

void Object::load(const Napi::CallbackInfo &) {
  bpf_object *object = open("bpf_object__load");
  or_fail(Env(), [object] { load_object(object); });
}

Napi::Value Object::load_async(const Napi::CallbackInfo &info) {
  open("bpf_object__load");
  object_->loading = true;
  auto work = [object = object_] {
    struct Done {
      Loadable &of;
      ~Done() { of.loading = false; }
    } done{*object};
    load_object(object->object.get());
    return true;
  };
  return Task<bool>::start(info.Env(), "sluice.load", work, [](Napi::Env env, bool) { return env.Undefined(); });
}

Napi::Value Object::map(const Napi::CallbackInfo &info) {
  int fd = bpf_map__fd(find_map(info[0]));
  if (fd < 0) fail(Env(), {"bpf_map__fd", EBADF, "the object is not loaded"});
  return Map::create(Env(), Fd::copy_of(Env(), fd));
}

Napi::Value Object::program(const Napi::CallbackInfo &info) {
  int fd = bpf_program__fd(find_program(info[0]));
  if (fd < 0) fail(Env(), {"bpf_program__fd", EBADF, "the program is not loaded"});
  return Program::create(Env(), Fd::copy_of(Env(), fd));
}

void Object::close(const Napi::CallbackInfo &) { object_.reset(); }

Napi::Value open_object(const Napi::CallbackInfo &info) {
  Bytes elf = bytes_of(info[0], "elf");
  std::string name = text_of(info[1], "name");
  LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = name.c_str());
  LibbpfLog log;
  ObjectPtr object(bpf_object__open_mem(elf.data, elf.size, &opts));
  if (!object) fail(info.Env(), {"bpf_object__open_mem", errno, log.reason(), log.text()});
  return Object::create(info.Env(), std::move(object));
}
