// Network devices, from rtnetlink dumps and notifications. Not from /sys/class/net: it shows the network namespace in
// which it was mounted.
#include "links.h"

#include <linux/if.h>
#include <linux/if_arp.h>

#include <cstdio>
#include <cstring>

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

uint32_t vlan_in(const rtattr *data) {
  uint16_t id = 0;
  for_nested(data, [&](uint16_t type, const rtattr *a) {
    if (type == IFLA_VLAN_ID && RTA_PAYLOAD(a) == sizeof(id)) memcpy(&id, RTA_DATA(a), sizeof(id));
  });
  return id;
}

struct Device {
  std::string name, kind, mac;
  uint32_t mtu = 0, master = 0, lower = 0, xdp_program = 0, vlan = 0;
  int32_t peer_netns = -1;  // nsid of the peer's network namespace in this one
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
        if (inner == IFLA_INFO_KIND) device.kind = text_in(b);  // precedes IFLA_INFO_DATA
        if (inner == IFLA_INFO_DATA && device.kind == "vlan") device.vlan = vlan_in(b);
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
  object.Set("vlan", Napi::Number::New(env, device.vlan));
  object.Set("peerNetns", Napi::Number::New(env, device.peer_netns));
  // Software devices have a link kind, except for lo. Devices of hardware, real or virtual, have none.
  object.Set("physical", Napi::Boolean::New(env, device.kind.empty() && link->ifi_type != ARPHRD_LOOPBACK));
  object.Set("xdpProgramId", Napi::Number::New(env, device.xdp_program));
  return object;
}

}  // namespace

std::optional<Napi::Object> device_in(Napi::Env env, const nlmsghdr *message) {
  auto *link = static_cast<const ifinfomsg *>(NLMSG_DATA(message));
  if (link->ifi_family != AF_UNSPEC) return std::nullopt;
  Device device;
  for_attributes(IFLA_RTA(link), IFLA_PAYLOAD(message),
                 [&](uint16_t type, const rtattr *a) { read_attribute(device, type, a); });
  if (device.name.empty()) return std::nullopt;
  return device_object(env, link, device);
}

Napi::Value devices(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  Napi::Array list;
  dump(
      env, dump_request(RTM_GETLINK), [&] { list = Napi::Array::New(env); },
      [&](const nlmsghdr *message) {
        if (message->nlmsg_type != RTM_NEWLINK) return;
        if (auto device = device_in(env, message)) list.Set(list.Length(), *device);
      });
  return list;
}
