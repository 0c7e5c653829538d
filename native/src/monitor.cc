#include "monitor.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

Monitor::Monitor(const Napi::CallbackInfo &info) : Handle(info) {
  MonitorInit init = take();
  socket_ = std::move(init.socket);
  poll_ = std::make_unique<Poll>(Env(), socket_.get(Env(), "uv_poll_init"), init.callback, [this] { on_ready(); });
  Ref();  // lives until close(), even when JavaScript has dropped the handle
}

Napi::Function Monitor::define(Napi::Env env) {
  return DefineClass(env, kName, {InstanceMethod<&Monitor::close>("close")});
}

// Everything that is waiting becomes one call: a pod's start makes dozens of messages. ENOBUFS means that some were lost,
// which for "something changed" is the same as having read them.
void Monitor::on_ready() {
  [[maybe_unused]] Napi::Object alive = Value();  // the callback may close this, and the collector then take it
  char buffer[16384];
  bool changed = false;
  for (;;) {
    ssize_t length = recv(socket_.get(Env(), "recv"), buffer, sizeof(buffer), MSG_DONTWAIT);
    if (length > 0 || (length < 0 && errno == ENOBUFS)) {
      changed = true;
    } else if (!(length < 0 && errno == EINTR)) {
      break;
    }
  }
  if (changed) poll_->emit();
}

void Monitor::close(const Napi::CallbackInfo &) {
  if (!poll_) return;
  // close() may be called from within the callback: the object must outlive it, only the watching ends here.
  poll_->close();
  socket_.reset();
  Unref();
}

Napi::Value monitor_links(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  Napi::Function callback = function_of(info[0], "onChange");
  Fd socket(check_errno(env, "socket", ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE)));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups =
      RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
  auto *generic = reinterpret_cast<sockaddr *>(&address);
  check_errno(env, "bind", bind(socket.get(env, "bind"), generic, sizeof(address)));
  return Monitor::create(env, {std::move(socket), callback});
}
