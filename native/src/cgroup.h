#pragma once
#include <string>

#include "fd.h"

Fd open_cgroup(Napi::Env env, const std::string &path);

Napi::Value query_cgroup(const Napi::CallbackInfo &info);
Napi::Value cgroup_id(const Napi::CallbackInfo &info);
