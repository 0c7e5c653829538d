#pragma once
#include <napi.h>

Napi::Value flock_fd(const Napi::CallbackInfo &info);
