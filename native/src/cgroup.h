#pragma once
#include <linux/bpf.h>

#include <string>

#include "fd.h"

Fd open_cgroup(Napi::Env env, const std::string &path);

/** Names of the programs attached there, in the order in which they run. */
Napi::Array programs_at(Napi::Env env, int target, bpf_attach_type type, uint32_t *flags);

Napi::Value query_cgroup(const Napi::CallbackInfo &info);
Napi::Value cgroup_id(const Napi::CallbackInfo &info);
