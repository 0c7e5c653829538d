// rtnetlink dumps and attributes.
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
  union {  // each begins with the family, which the kernel reads
    ifinfomsg link;
    ifaddrmsg address;
    rtmsg route;
    tcmsg filter;
  };
};

/** A request for all objects of this type; the caller may filter. */
DumpRequest dump_request(uint16_t type);

/** `restart` discards what was read: an interrupted dump may lack entries, and is repeated. */
void dump(Napi::Env env, const DumpRequest &request, const std::function<void()> &restart, const OnMessage &on_message);

using OnAttribute = std::function<void(uint16_t type, const rtattr *)>;

void for_attributes(const rtattr *first, size_t length, const OnAttribute &visit);
void for_nested(const rtattr *outer, const OnAttribute &visit);
uint32_t uint32_in(const rtattr *attribute);
std::string text_in(const rtattr *attribute);
