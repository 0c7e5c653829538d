#pragma once
#include <napi.h>

Napi::Value devices(const Napi::CallbackInfo &info);
Napi::Value addresses(const Napi::CallbackInfo &info);
Napi::Value default_route_devices(const Napi::CallbackInfo &info);
