// Network devices, from rtnetlink dumps and notifications.
#pragma once
#include <napi.h>

#include <optional>

#include "rtnl.h"

/** The device of an RTM_NEWLINK; nullopt for messages about bridge ports and wireless events alone. */
std::optional<Napi::Object> device_in(Napi::Env env, const nlmsghdr *message);

Napi::Value devices(const Napi::CallbackInfo &info);
