#pragma once
#include <linux/netlink.h>
#include <napi.h>

/** Whether an RTM_NEWROUTE or RTM_DELROUTE is about a unicast default route of the main table. */
bool is_default_route(const nlmsghdr *message);

Napi::Value addresses(const Napi::CallbackInfo &info);
Napi::Value default_route_devices(const Napi::CallbackInfo &info);
