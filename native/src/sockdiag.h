#pragma once
#include <napi.h>

Napi::Value destroy_sockets(const Napi::CallbackInfo &info);
