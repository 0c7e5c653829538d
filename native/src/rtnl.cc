#include "rtnl.h"

#include <sys/socket.h>

#include <cstring>

#include "fd.h"

namespace {

/** Reads answers until the dump is done. Returns false when the tables changed under it. */
bool read_answers(Napi::Env env, int socket, const OnMessage &on_message) {
  alignas(nlmsghdr) char buffer[32768];
  bool consistent = true;
  for (;;) {
    ssize_t length = recv(socket, buffer, sizeof(buffer), 0);
    if (length < 0 && errno == EINTR) continue;
    check_errno(env, "recv", static_cast<int>(length));
    auto left = static_cast<uint32_t>(length);
    for (auto *message = reinterpret_cast<nlmsghdr *>(buffer); NLMSG_OK(message, left);
         message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_flags & NLM_F_DUMP_INTR) consistent = false;
      if (message->nlmsg_type == NLMSG_DONE) return consistent;
      if (message->nlmsg_type == NLMSG_ERROR)
        fail(env, {"rtnetlink", -static_cast<nlmsgerr *>(NLMSG_DATA(message))->error});
      on_message(message);
    }
  }
}

}  // namespace

DumpRequest dump_request(uint16_t type) {
  DumpRequest request{};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = type;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.link.ifi_family = AF_UNSPEC;
  return request;
}

void dump(Napi::Env env, const DumpRequest &request, const std::function<void()> &restart,
          const OnMessage &on_message) {
  for (int attempt = 0; attempt < 8; attempt++) {
    restart();
    Fd socket(check_errno(env, "socket", ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)));
    check_errno(env, "send", static_cast<int>(send(socket.get(env, "send"), &request, sizeof(request), 0)));
    if (read_answers(env, socket.get(env, "recv"), on_message)) return;
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
