// Netlink, whatever its protocol: requests and the messages that answer them.
#pragma once
#include <linux/netlink.h>

#include <functional>

#include "fd.h"

using OnMessage = std::function<void(const nlmsghdr *)>;

/** Of the network namespace of the thread that makes it. Throws a Failure: threads of ours without JavaScript use it,
 * too. */
class NetlinkSocket {
 public:
  /** `name` stands for the system call where the kernel refuses a request. */
  NetlinkSocket(int protocol, const char *name);

  /** From now on the kernel looks at every field of a dump's request, and leaves out what it does not ask for. */
  void be_strict();

  /** The answer has been read before the next request is sent. */
  void send(const void *request, size_t size);

  /** Hands on what answers the request, up to its end. Returns false when the tables changed under a dump. */
  bool receive(const OnMessage &on_message);

 private:
  Fd socket_;
  const char *name_;
};
