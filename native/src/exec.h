#pragma once
#include <napi.h>

Napi::Value exec(const Napi::CallbackInfo &info);
