// Addresses and routes of this network namespace, by rtnetlink dumps.
#include "netlink.h"

#include <arpa/inet.h>

#include <set>

#include "rtnl.h"

namespace {

/** Devices of a default route of the main table; empty for any other route. */
std::set<uint32_t> default_devices_in(const nlmsghdr *message) {
  auto *header = static_cast<const rtmsg *>(NLMSG_DATA(message));
  std::set<uint32_t> devices;
  if (!is_default_route(message)) return devices;
  for_attributes(RTM_RTA(header), RTM_PAYLOAD(message), [&](uint16_t type, const rtattr *a) {
    if (type == RTA_OIF) devices.insert(uint32_in(a));
    if (type != RTA_MULTIPATH) return;
    auto left = static_cast<int>(RTA_PAYLOAD(a));
    for (auto *hop = static_cast<rtnexthop *>(RTA_DATA(a)); RTNH_OK(hop, left);
         left -= RTNH_ALIGN(hop->rtnh_len), hop = RTNH_NEXT(hop))
      devices.insert(static_cast<uint32_t>(hop->rtnh_ifindex));
  });
  return devices;
}

/** Of one family and the main table: with strict checking the kernel leaves out other tables. */
DumpRequest main_table(uint8_t family) {
  DumpRequest request = dump_request(RTM_GETROUTE);
  request.route.rtm_family = family;
  request.route.rtm_table = RT_TABLE_MAIN;
  return request;
}

}  // namespace

Napi::Value addresses(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  Napi::Array list;
  auto visit = [&](const nlmsghdr *message) {
    if (message->nlmsg_type != RTM_NEWADDR) return;
    auto *address = static_cast<const ifaddrmsg *>(NLMSG_DATA(message));
    const void *octets = nullptr;
    size_t size = address->ifa_family == AF_INET ? 4 : 16;
    uint32_t flags = address->ifa_flags;
    for_attributes(IFA_RTA(address), IFA_PAYLOAD(message), [&](uint16_t type, const rtattr *a) {
      // On point-to-point links IFA_ADDRESS is the peer's and IFA_LOCAL this host's; IPv6 has IFA_ADDRESS alone.
      if ((type == IFA_LOCAL || (type == IFA_ADDRESS && octets == nullptr)) && RTA_PAYLOAD(a) >= size)
        octets = RTA_DATA(a);
      if (type == IFA_FLAGS) flags = uint32_in(a);  // 32 bits; the header has 8 of them
    });
    char text[INET6_ADDRSTRLEN];
    if (octets == nullptr || inet_ntop(address->ifa_family, octets, text, sizeof(text)) == nullptr) return;
    Napi::Object object = Napi::Object::New(env);
    object.Set("index", Napi::Number::New(env, address->ifa_index));
    object.Set("address", Napi::String::New(env, text));
    object.Set("prefix", Napi::Number::New(env, address->ifa_prefixlen));
    object.Set("scope", Napi::Number::New(env, address->ifa_scope));
    object.Set("flags", Napi::Number::New(env, flags));
    list.Set(list.Length(), object);
  };
  auto restart = [&] { list = Napi::Array::New(env); };
  dump(env, dump_request(RTM_GETADDR), restart, visit);
  return list;
}

bool is_default_route(const nlmsghdr *message) {
  auto *header = static_cast<const rtmsg *>(NLMSG_DATA(message));
  if (header->rtm_dst_len != 0 || header->rtm_type != RTN_UNICAST || (header->rtm_flags & RTM_F_CLONED)) return false;
  uint32_t table = header->rtm_table;
  for_attributes(RTM_RTA(header), RTM_PAYLOAD(message), [&](uint16_t type, const rtattr *a) {
    if (type == RTA_TABLE) table = uint32_in(a);
  });
  return table == RT_TABLE_MAIN;
}

Napi::Value default_route_devices(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  std::set<uint32_t> found;
  for (uint8_t family : {AF_INET, AF_INET6}) {
    std::set<uint32_t> of_family;
    dump(
        env, main_table(family), [&] { of_family.clear(); },
        [&](const nlmsghdr *message) {
          if (message->nlmsg_type == RTM_NEWROUTE) of_family.merge(default_devices_in(message));
        });
    found.merge(of_family);
  }
  Napi::Array list = Napi::Array::New(env);
  for (uint32_t index : found) list.Set(list.Length(), Napi::Number::New(env, index));
  return list;
}
