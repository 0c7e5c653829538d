// Network devices as rtnetlink tells of them, in dumps and in messages.
#pragma once
#include <napi.h>

#include <optional>

#include "rtnl.h"

/** The device of a RTM_NEWLINK; nothing where the message is about one aspect of it alone (bridge ports, wireless). */
std::optional<Napi::Object> device_in(Napi::Env env, const nlmsghdr *message);

Napi::Value devices(const Napi::CallbackInfo &info);
