#pragma once
#include <napi.h>

Napi::Value can_destroy_sockets(const Napi::CallbackInfo &info);
Napi::Value destroy_sockets(const Napi::CallbackInfo &info);
