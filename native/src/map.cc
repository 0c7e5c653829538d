#include "map.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>

#include <memory>

#include "layout.h"
#include "pinned.h"
#include "signals.h"

namespace {

size_t round_up(size_t size, size_t to) { return (size + to - 1) / to * to; }

bool is_per_cpu(uint32_t type) {
  return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_ARRAY ||
         type == BPF_MAP_TYPE_LRU_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

}  // namespace

Map::Map(const Napi::CallbackInfo &info) : Handle(info), fd_(take()) {
  uint32_t size = sizeof(info_);
  check(Env(), "bpf_obj_get_info_by_fd", bpf_obj_get_info_by_fd(fd("bpf_obj_get_info_by_fd"), &info_, &size));
  value_size_ = info_.value_size;
  // One value for each possible CPU, each rounded up to 8 bytes.
  if (is_per_cpu(info_.type)) value_size_ = round_up(info_.value_size, 8) * libbpf_num_possible_cpus();
}

Napi::Function Map::define(Napi::Env env) {
  return DefineClass(env, kName,
                     {
                         InstanceAccessor<&Map::info>("info"),
                         InstanceMethod<&Map::layout>("layout"),
                         InstanceMethod<&Map::get>("get"),
                         InstanceMethod<&Map::put>("put"),
                         InstanceMethod<&Map::remove>("delete"),
                         InstanceMethod<&Map::put_batch>("putBatch"),
                         InstanceMethod<&Map::delete_batch>("deleteBatch"),
                         InstanceMethod<&Map::read_batch>("readBatch"),
                         InstanceMethod<&Map::freeze>("freeze"),
                         InstanceMethod<&Map::mmap>("mmap"),
                         InstanceMethod<&Map::pin>("pin"),
                         InstanceMethod<&Map::close>("close"),
                     });
}

Napi::Object map_info_object(Napi::Env env, const bpf_map_info &info) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("name", Napi::String::New(env, info.name));
  object.Set("id", Napi::Number::New(env, info.id));
  object.Set("type", Napi::Number::New(env, info.type));
  object.Set("keySize", Napi::Number::New(env, info.key_size));
  object.Set("valueSize", Napi::Number::New(env, info.value_size));
  object.Set("maxEntries", Napi::Number::New(env, info.max_entries));
  object.Set("flags", Napi::Number::New(env, info.map_flags));
  return object;
}

Napi::Value Map::info(const Napi::CallbackInfo &info) { return map_info_object(info.Env(), info_); }

Napi::Value Map::layout(const Napi::CallbackInfo &info) {
  struct Closer {
    void operator()(btf *types) const { btf__free(types); }
  };
  std::unique_ptr<btf, Closer> types(info_.btf_id == 0 ? nullptr : btf__load_from_kernel_by_id(info_.btf_id));
  return layout_object(info.Env(), types.get(), info_.btf_key_type_id, info_.btf_value_type_id);
}

Napi::Value Map::get(const Napi::CallbackInfo &info) {
  Bytes key = bytes_of_size(info[0], "key", info_.key_size);
  Napi::Uint8Array value = Napi::Uint8Array::New(info.Env(), value_size_);
  int result = bpf_map_lookup_elem(fd("bpf_map_lookup_elem"), key.data, value.Data());
  if (result == -ENOENT) return info.Env().Undefined();
  check(info.Env(), "bpf_map_lookup_elem", result);
  return value;
}

void Map::put(const Napi::CallbackInfo &info) {
  Bytes key = bytes_of_size(info[0], "key", info_.key_size);
  Bytes value = bytes_of_size(info[1], "value", value_size_);
  uint32_t flags = uint32_or(info[2], "flags", BPF_ANY);
  int map = fd("bpf_map_update_elem");
  check(info.Env(), "bpf_map_update_elem", bpf_map_update_elem(map, key.data, value.data, flags));
}

Napi::Value Map::remove(const Napi::CallbackInfo &info) {
  Bytes key = bytes_of_size(info[0], "key", info_.key_size);
  int result = bpf_map_delete_elem(fd("bpf_map_delete_elem"), key.data);
  if (result != -ENOENT) check(info.Env(), "bpf_map_delete_elem", result);
  return Napi::Boolean::New(info.Env(), result == 0);
}

void Map::freeze(const Napi::CallbackInfo &info) {
  check(info.Env(), "bpf_map_freeze", bpf_map_freeze(fd("bpf_map_freeze")));
}

Napi::Value Map::mmap(const Napi::CallbackInfo &info) {
  if (!(info_.map_flags & BPF_F_MMAPABLE)) fail(info.Env(), {"mmap", EINVAL, "the map is not BPF_F_MMAPABLE"});
  size_t size = round_up(info_.value_size, 8) * info_.max_entries;
  void *memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd("mmap"), 0);
  if (memory == MAP_FAILED) fail(info.Env(), {"mmap", errno});
  // The mapping stays after close(), because views may be in use. It holds a reference to the map.
  auto unmap = [](Napi::Env, void *data, size_t *length) {
    munmap(data, *length);
    delete length;
  };
  return Napi::ArrayBuffer::New(info.Env(), memory, size, unmap, new size_t(size));
}

void Map::pin(const Napi::CallbackInfo &info) {
  std::string path = text_of(info[0], "path");
  check(info.Env(), "bpf_obj_pin", bpf_obj_pin(fd("bpf_obj_pin"), path.c_str()));
}

void Map::close(const Napi::CallbackInfo &) { fd_.reset(); }

Napi::Value create_map(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  Napi::Object options = object_of(info[0], "options");
  LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = uint32_or(options.Get("flags"), "flags", 0));
  std::string name = text_of(options.Get("name"), "name");
  auto type = static_cast<bpf_map_type>(uint32_of(options.Get("type"), "type"));
  uint32_t key_size = uint32_of(options.Get("keySize"), "keySize");
  uint32_t value_size = uint32_of(options.Get("valueSize"), "valueSize");
  uint32_t max_entries = uint32_of(options.Get("maxEntries"), "maxEntries");
  int fd = call_again([&] { return bpf_map_create(type, name.c_str(), key_size, value_size, max_entries, &opts); });
  return Map::create(env, Fd(check(env, "bpf_map_create", fd)));
}

Napi::Value open_pinned_map(const Napi::CallbackInfo &info) {
  return Map::create(info.Env(), open_pinned(info.Env(), text_of(info[0], "path"), kMapField));
}
