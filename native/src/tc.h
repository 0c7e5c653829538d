#pragma once
#include <napi.h>

Napi::Value attach_clsact(const Napi::CallbackInfo &info);
Napi::Value detach_clsact(const Napi::CallbackInfo &info);
Napi::Value query_clsact(const Napi::CallbackInfo &info);
Napi::Value count_clsact(const Napi::CallbackInfo &info);
Napi::Value list_clsact(const Napi::CallbackInfo &info);
Napi::Value remove_clsact(const Napi::CallbackInfo &info);
