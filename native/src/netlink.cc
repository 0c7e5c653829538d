// What the kernel knows of devices, addresses and routes in this network namespace, by rtnetlink dumps: /sys/class/net shows
// the namespace that mounted it, which need not be ours.
#include "netlink.h"

#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/if_arp.h>

#include <cstdio>
#include <set>

#include "rtnl.h"

namespace {

std::string mac_in(const rtattr *a) {
  auto *octets = static_cast<const uint8_t *>(RTA_DATA(a));
  std::string text;
  for (size_t i = 0; i < RTA_PAYLOAD(a); i++) {
    char part[4];
    snprintf(part, sizeof(part), i == 0 ? "%02x" : ":%02x", octets[i]);
    text += part;
  }
  return text;
}

struct Device {
  std::string name, kind, mac;
  uint32_t mtu = 0, master = 0, lower = 0, xdp_program = 0;
  int32_t peer_netns = -1;  // id by which ours knows the peer's
};

void read_attribute(Device &device, uint16_t type, const rtattr *a) {
  switch (type) {
    case IFLA_IFNAME: device.name = text_in(a); break;
    case IFLA_MTU: device.mtu = uint32_in(a); break;
    case IFLA_MASTER: device.master = uint32_in(a); break;
    case IFLA_LINK: device.lower = uint32_in(a); break;
    case IFLA_ADDRESS: device.mac = mac_in(a); break;
    case IFLA_LINK_NETNSID: device.peer_netns = static_cast<int32_t>(uint32_in(a)); break;
    case IFLA_LINKINFO:
      for_nested(a, [&](uint16_t inner, const rtattr *b) {
        if (inner == IFLA_INFO_KIND) device.kind = text_in(b);
      });
      break;
    case IFLA_XDP:
      for_nested(a, [&](uint16_t inner, const rtattr *b) {
        if (inner == IFLA_XDP_PROG_ID) device.xdp_program = uint32_in(b);
      });
      break;
    default: break;
  }
}

Napi::Object device_object(Napi::Env env, const ifinfomsg *link, const Device &device) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("index", Napi::Number::New(env, link->ifi_index));
  object.Set("name", Napi::String::New(env, device.name));
  object.Set("up", Napi::Boolean::New(env, (link->ifi_flags & IFF_UP) != 0));
  object.Set("kind", Napi::String::New(env, device.kind));
  object.Set("mtu", Napi::Number::New(env, device.mtu));
  object.Set("mac", Napi::String::New(env, device.mac));
  object.Set("arpType", Napi::Number::New(env, link->ifi_type));
  object.Set("master", Napi::Number::New(env, device.master));
  object.Set("lower", Napi::Number::New(env, device.peer_netns >= 0 ? 0 : device.lower));
  object.Set("peerNetns", Napi::Number::New(env, device.peer_netns));
  // Drivers of hardware, virtual or not, register no link kind; everything made by software has one, but for lo.
  object.Set("physical", Napi::Boolean::New(env, device.kind.empty() && link->ifi_type != ARPHRD_LOOPBACK));
  object.Set("xdpProgramId", Napi::Number::New(env, device.xdp_program));
  return object;
}

struct Route {
  bool is_default = false;
  std::set<uint32_t> devices;
};

Route read_route(const nlmsghdr *message) {
  auto *header = static_cast<const rtmsg *>(NLMSG_DATA(message));
  Route route;
  uint32_t table = header->rtm_table;
  for_attributes(RTM_RTA(header), RTM_PAYLOAD(message), [&](uint16_t type, const rtattr *a) {
    if (type == RTA_TABLE) table = uint32_in(a);
    if (type == RTA_OIF) route.devices.insert(uint32_in(a));
    if (type != RTA_MULTIPATH) return;
    auto left = static_cast<int>(RTA_PAYLOAD(a));
    for (auto *hop = static_cast<rtnexthop *>(RTA_DATA(a)); RTNH_OK(hop, left);
         left -= RTNH_ALIGN(hop->rtnh_len), hop = RTNH_NEXT(hop))
      route.devices.insert(static_cast<uint32_t>(hop->rtnh_ifindex));
  });
  bool forwards = header->rtm_type == RTN_UNICAST && !(header->rtm_flags & RTM_F_CLONED);
  route.is_default = header->rtm_dst_len == 0 && table == RT_TABLE_MAIN && forwards;
  return route;
}

}  // namespace

Napi::Value devices(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  Napi::Array list;
  dump(
      env, dump_request(RTM_GETLINK), [&] { list = Napi::Array::New(env); },
      [&](const nlmsghdr *message) {
        if (message->nlmsg_type != RTM_NEWLINK) return;
        auto *link = static_cast<const ifinfomsg *>(NLMSG_DATA(message));
        Device device;
        for_attributes(IFLA_RTA(link), IFLA_PAYLOAD(message),
                       [&](uint16_t type, const rtattr *a) { read_attribute(device, type, a); });
        list.Set(list.Length(), device_object(env, link, device));
      });
  return list;
}

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
      // On point-to-point links IFA_ADDRESS is the peer's and IFA_LOCAL ours; IPv6 has the first alone.
      if ((type == IFA_LOCAL || (type == IFA_ADDRESS && octets == nullptr)) && RTA_PAYLOAD(a) >= size)
        octets = RTA_DATA(a);
      if (type == IFA_FLAGS) flags = uint32_in(a);  // all 32 bits; the header has room for eight
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
  dump(env, dump_request(RTM_GETADDR), [&] { list = Napi::Array::New(env); }, visit);
  return list;
}

Napi::Value default_route_devices(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  std::set<uint32_t> found;
  dump(
      env, dump_request(RTM_GETROUTE), [&] { found.clear(); },
      [&](const nlmsghdr *message) {
        if (message->nlmsg_type != RTM_NEWROUTE) return;
        Route route = read_route(message);
        if (route.is_default) found.insert(route.devices.begin(), route.devices.end());
      });
  Napi::Array list = Napi::Array::New(env);
  for (uint32_t index : found) list.Set(list.Length(), Napi::Number::New(env, index));
  return list;
}
