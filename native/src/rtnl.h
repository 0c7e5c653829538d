// rtnetlink: dumps and their attributes.
#pragma once
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <napi.h>

#include <functional>
#include <string>

#include "nlsocket.h"

struct DumpRequest {
  nlmsghdr header;
  union {  // the kernel reads the family at the start of each
    ifinfomsg link;
    ifaddrmsg address;
    rtmsg route;
    tcmsg filter;
  };
};

/** Of everything of this type, unless the caller narrows it. */
DumpRequest dump_request(uint16_t type);

/** `restart` forgets what has been read: an interrupted dump may miss entries, and is asked for again. */
void dump(Napi::Env env, const DumpRequest &request, const std::function<void()> &restart, const OnMessage &on_message);

using OnAttribute = std::function<void(uint16_t type, const rtattr *)>;

void for_attributes(const rtattr *first, size_t length, const OnAttribute &visit);
void for_nested(const rtattr *outer, const OnAttribute &visit);
uint32_t uint32_in(const rtattr *attribute);
std::string text_in(const rtattr *attribute);
