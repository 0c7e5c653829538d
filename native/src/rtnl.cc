#include "rtnl.h"

#include <sys/socket.h>

#include <cstring>

namespace {

/** Length without trailing bytes: the kernel takes those for an attribute, and logs one that is too short. */
size_t body_length(uint16_t type) {
  switch (type) {
    case RTM_GETLINK: return sizeof(ifinfomsg);
    case RTM_GETADDR: return sizeof(ifaddrmsg);
    case RTM_GETROUTE: return sizeof(rtmsg);
    default: return sizeof(tcmsg);
  }
}

bool dump_once(const DumpRequest &request, const OnMessage &on_message) {
  NetlinkSocket socket(NETLINK_ROUTE, "rtnetlink");
  bool routes = request.header.nlmsg_type == RTM_GETROUTE;
  if (routes) socket.be_strict();
  try {
    socket.send(&request, request.header.nlmsg_len);
    return socket.receive(on_message);
  } catch (const Failure &failure) {
    // ENOENT: the kernel creates a table with its first route.
    if (routes && failure.error == ENOENT) return true;
    throw;
  }
}

}  // namespace

DumpRequest dump_request(uint16_t type) {
  DumpRequest request{};
  request.header.nlmsg_len = static_cast<uint32_t>(NLMSG_LENGTH(body_length(type)));
  request.header.nlmsg_type = type;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.link.ifi_family = AF_UNSPEC;
  return request;
}

void dump(Napi::Env env, const DumpRequest &request, const std::function<void()> &restart,
          const OnMessage &on_message) {
  for (int attempt = 0; attempt < 8; attempt++) {
    restart();
    bool consistent = or_fail(env, [&] { return dump_once(request, on_message); });
    if (consistent) return;
  }
}

void for_attributes(const rtattr *first, size_t length, const OnAttribute &visit) {
  auto left = static_cast<int>(length);
  for (auto *a = const_cast<rtattr *>(first); RTA_OK(a, left); a = RTA_NEXT(a, left))
    visit(a->rta_type & NLA_TYPE_MASK, a);
}

void for_nested(const rtattr *outer, const OnAttribute &visit) {
  for_attributes(static_cast<const rtattr *>(RTA_DATA(outer)), RTA_PAYLOAD(outer), visit);
}

uint32_t uint32_in(const rtattr *a) {
  uint32_t value = 0;
  if (RTA_PAYLOAD(a) >= sizeof(value)) memcpy(&value, RTA_DATA(a), sizeof(value));
  return value;
}

std::string text_in(const rtattr *a) {
  auto *text = static_cast<const char *>(RTA_DATA(a));
  return std::string(text, strnlen(text, RTA_PAYLOAD(a)));
}
