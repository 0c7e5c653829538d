#pragma once
#include <napi.h>

Napi::Value netns_cookie(const Napi::CallbackInfo &info);
