// Sockets of other processes, by cookie: sock_diag dumps, and SOCK_DESTROY.
#include "sockdiag.h"

#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <string>
#include <unordered_set>
#include <vector>

#include "args.h"
#include "netns.h"
#include "nlsocket.h"
#include "task.h"

namespace {

struct Wanted {
  std::string netns;  // empty: our own
  uint8_t family;
  uint8_t protocol;
  std::unordered_set<uint64_t> cookies;
};

struct Destroyed {
  uint32_t count;
  uint64_t netns_cookie;
};

struct DiagRequest {
  nlmsghdr header;
  inet_diag_req_v2 body;
};

DiagRequest request_of(const Wanted &wanted, uint16_t type, uint16_t flags) {
  DiagRequest request{};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = type;
  request.header.nlmsg_flags = NLM_F_REQUEST | flags;
  request.body.sdiag_family = wanted.family;
  request.body.sdiag_protocol = wanted.protocol;
  // Not connected any more: there is nothing to destroy.
  request.body.idiag_states = wanted.protocol == IPPROTO_UDP ? 1U << TCP_ESTABLISHED : ~0U;
  return request;
}

uint64_t cookie_in(const inet_diag_sockid &id) {
  return static_cast<uint64_t>(id.idiag_cookie[1]) << 32 | id.idiag_cookie[0];
}

std::vector<inet_diag_sockid> find(NetlinkSocket &socket, const Wanted &wanted) {
  std::vector<inet_diag_sockid> found;
  DiagRequest request = request_of(wanted, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP);
  socket.send(&request, sizeof(request));
  socket.receive([&](const nlmsghdr *message) {
    auto *details = static_cast<const inet_diag_msg *>(NLMSG_DATA(message));
    if (message->nlmsg_type != SOCK_DIAG_BY_FAMILY || message->nlmsg_len < NLMSG_LENGTH(sizeof(*details))) return;
    if (wanted.cookies.count(cookie_in(details->id)) != 0) found.push_back(details->id);
  });
  return found;
}

/** False when it was closed meanwhile: the kernel looks up its addresses, and compares the cookie. */
bool destroy(NetlinkSocket &socket, const Wanted &wanted, const inet_diag_sockid &id) {
  DiagRequest request = request_of(wanted, SOCK_DESTROY, NLM_F_ACK);
  request.body.id = id;
  socket.send(&request, sizeof(request));
  try {
    socket.receive([](const nlmsghdr *) {});
  } catch (const Failure &failure) {
    if (failure.error == ENOENT || failure.error == ESTALE) return false;
    throw;
  }
  return true;
}

/** Probes for SOCK_DESTROY with a socket that cannot exist: no socket is bound to port 0. */
bool can_destroy() {
  NetlinkSocket socket(NETLINK_SOCK_DIAG, "sock_diag");
  try {
    destroy(socket, Wanted{{}, AF_INET, IPPROTO_UDP, {}}, inet_diag_sockid{});
  } catch (const Failure &failure) {
    if (failure.error == EOPNOTSUPP) return false;
    throw;
  }
  return true;
}

Destroyed destroy_all(const Wanted &wanted) {
  Destroyed destroyed{};
  on_thread_of_its_own([&] {
    if (!wanted.netns.empty()) enter_netns(wanted.netns);
    destroyed.netns_cookie = netns_cookie_here();
    NetlinkSocket socket(NETLINK_SOCK_DIAG, "sock_diag");
    for (const inet_diag_sockid &id : find(socket, wanted)) destroyed.count += destroy(socket, wanted, id);
  });
  return destroyed;
}

uint8_t protocol_of(const Napi::Value &value) {
  uint32_t protocol = uint32_of(value, "protocol");
  if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) return static_cast<uint8_t>(protocol);
  throw Napi::RangeError::New(value.Env(), "protocol must be 6 or 17");
}

uint8_t family_of(const Napi::Value &value) {
  uint32_t family = uint32_of(value, "family");
  if (family == 4) return AF_INET;
  if (family == 6) return AF_INET6;
  throw Napi::RangeError::New(value.Env(), "family must be 4 or 6");
}

Wanted wanted_of(const Napi::Object &options) {
  Wanted wanted{};
  if (!options.Get("netns").IsUndefined()) wanted.netns = text_of(options.Get("netns"), "netns");
  wanted.family = family_of(options.Get("family"));
  wanted.protocol = protocol_of(options.Get("protocol"));
  Napi::BigUint64Array cookies = uint64s_of(options.Get("cookies"), "cookies");
  wanted.cookies = {cookies.Data(), cookies.Data() + cookies.ElementLength()};
  return wanted;
}

Napi::Value destroyed_object(Napi::Env env, const Destroyed &destroyed) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("destroyed", Napi::Number::New(env, destroyed.count));
  object.Set("cookieOfNetns", Napi::BigInt::New(env, destroyed.netns_cookie));
  return object;
}

}  // namespace

Napi::Value can_destroy_sockets(const Napi::CallbackInfo &info) {
  return Napi::Boolean::New(info.Env(), or_fail(info.Env(), can_destroy));
}

Napi::Value destroy_sockets(const Napi::CallbackInfo &info) {
  Wanted wanted = wanted_of(object_of(info[0], "options"));
  auto work = [wanted = std::move(wanted)] { return destroy_all(wanted); };
  return Task<Destroyed>::start(info.Env(), "sluice.sockets", work, destroyed_object);
}
