#pragma once
#include <linux/bpf.h>

#include <vector>

#include "args.h"
#include "fd.h"
#include "handle.h"

class Map : public Handle<Map, Fd> {
 public:
  static constexpr const char *kName = "BpfMap";
  static constexpr Class kClass = Class::Map;
  static constexpr napi_type_tag kTag = {0x736c756963650001, 0x4d61700000000001};

  explicit Map(const Napi::CallbackInfo &info);
  static Napi::Function define(Napi::Env env);

  int fd(const char *syscall) { return fd_.get(Env(), syscall); }
  const bpf_map_info &details() const { return info_; }

 private:
  Napi::Value info(const Napi::CallbackInfo &info);
  Napi::Value layout(const Napi::CallbackInfo &info);
  Napi::Value get(const Napi::CallbackInfo &info);
  void put(const Napi::CallbackInfo &info);
  Napi::Value remove(const Napi::CallbackInfo &info);
  void freeze(const Napi::CallbackInfo &info);
  Napi::Value mmap(const Napi::CallbackInfo &info);
  void pin(const Napi::CallbackInfo &info);
  void close(const Napi::CallbackInfo &info);
  // map_batch.cc
  Napi::Value put_batch(const Napi::CallbackInfo &info);
  Napi::Value delete_batch(const Napi::CallbackInfo &info);
  Napi::Value read_batch(const Napi::CallbackInfo &info);
  uint32_t put_one_by_one(Bytes keys, Bytes values, uint32_t count);
  struct Page;
  int read_by_batch(Page &page);
  int read_one_by_one(Page &page);

  Fd fd_;
  bpf_map_info info_{};
  size_t value_size_ = 0;  // in user space: of all possible CPUs in a per-CPU map
};

Napi::Object map_info_object(Napi::Env env, const bpf_map_info &info);
Napi::Value create_map(const Napi::CallbackInfo &info);
Napi::Value open_pinned_map(const Napi::CallbackInfo &info);
