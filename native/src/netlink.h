#pragma once
#include <linux/netlink.h>
#include <napi.h>

/** Of the main table, to other machines. The message is a RTM_NEWROUTE or a RTM_DELROUTE. */
bool is_default_route(const nlmsghdr *message);

Napi::Value addresses(const Napi::CallbackInfo &info);
Napi::Value default_route_devices(const Napi::CallbackInfo &info);
