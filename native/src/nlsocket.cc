#include "nlsocket.h"

#include <sys/socket.h>

#include <cstring>

namespace {

/** The final message has 0 or -errno; an acknowledgement is an NLMSG_ERROR with 0. */
int error_in(const nlmsghdr *end) {
  int error = 0;
  if (end->nlmsg_len >= NLMSG_LENGTH(sizeof(error))) memcpy(&error, NLMSG_DATA(end), sizeof(error));
  return error;
}

}  // namespace

NetlinkSocket::NetlinkSocket(int protocol, const char *name)
    : socket_(check_errno("socket", ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol))), name_(name) {}

void NetlinkSocket::be_strict() {
  int on = 1;
  int result = setsockopt(socket_.number(), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
  check_errno("setsockopt", result);
}

void NetlinkSocket::send(const void *request, size_t size) {
  ssize_t sent;
  do sent = ::send(socket_.number(), request, size, 0);
  while (sent < 0 && errno == EINTR);
  check_errno("send", static_cast<int>(sent));
}

bool NetlinkSocket::receive(const OnMessage &on_message) {
  alignas(nlmsghdr) char buffer[32768];
  bool consistent = true;
  for (;;) {
    ssize_t length = recv(socket_.number(), buffer, sizeof(buffer), 0);
    if (length < 0 && errno == EINTR) continue;
    check_errno("recv", static_cast<int>(length));
    auto left = static_cast<uint32_t>(length);
    for (auto *message = reinterpret_cast<nlmsghdr *>(buffer); NLMSG_OK(message, left);
         message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_flags & NLM_F_DUMP_INTR) consistent = false;
      if (message->nlmsg_type != NLMSG_DONE && message->nlmsg_type != NLMSG_ERROR) {
        on_message(message);
        continue;
      }
      int error = error_in(message);
      if (error < 0) throw Failure{name_, -error};
      return consistent;
    }
  }
}
