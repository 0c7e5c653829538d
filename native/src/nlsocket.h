// Netlink requests and their replies, for any protocol.
#pragma once
#include <linux/netlink.h>

#include <functional>

#include "fd.h"

using OnMessage = std::function<void(const nlmsghdr *)>;

/** Of the network namespace of the thread that makes it. Throws a Failure: threads of ours without JavaScript use it,
 * too. */
class NetlinkSocket {
 public:
  /** `name` is the `syscall` of the error when the kernel refuses a request. */
  NetlinkSocket(int protocol, const char *name);

  /** NETLINK_GET_STRICT_CHK: the kernel filters dumps by the fields of the request. */
  void be_strict();

  /** One request at a time: read the whole reply before the next one. */
  void send(const void *request, size_t size);

  /** Passes the messages of the reply on. False when a change interrupted a dump (NLM_F_DUMP_INTR). */
  bool receive(const OnMessage &on_message);

 private:
  Fd socket_;
  const char *name_;
};
