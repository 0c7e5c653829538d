#include "monitor.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "links.h"
#include "netlink.h"

/** As a JavaScript object. */
struct NetworkChange {
  explicit NetworkChange(Napi::Env env) : env(env), links(Napi::Array::New(env)), gone(Napi::Array::New(env)) {}

  void add(const nlmsghdr *message) {
    switch (message->nlmsg_type) {
      case RTM_NEWLINK:
        if (auto device = device_in(env, message)) put(links, *device);
        break;
      case RTM_DELLINK: {
        auto *link = static_cast<const ifinfomsg *>(NLMSG_DATA(message));
        if (link->ifi_family == AF_UNSPEC) put(gone, Napi::Number::New(env, link->ifi_index));
        break;
      }
      case RTM_NEWADDR: happened = addresses = true; break;
      // The kernel removes IPv4 routes with this preferred source without a notification.
      case RTM_DELADDR: happened = addresses = routes = true; break;
      case RTM_NEWROUTE:
      case RTM_DELROUTE:
        if (is_default_route(message)) happened = routes = true;
        break;
      default: break;
    }
  }

  Napi::Object object() const {
    Napi::Object change = Napi::Object::New(env);
    change.Set("links", links);
    change.Set("gone", gone);
    change.Set("addresses", Napi::Boolean::New(env, addresses));
    change.Set("routes", Napi::Boolean::New(env, routes));
    change.Set("lost", Napi::Boolean::New(env, lost));
    return change;
  }

  Napi::Env env;
  Napi::Array links, gone;
  bool happened = false, addresses = false, routes = false, lost = false;

 private:
  void put(Napi::Array &list, Napi::Value value) {
    list.Set(list.Length(), value);
    happened = true;
  }
};

Monitor::Monitor(const Napi::CallbackInfo &info) : Handle(info) {
  MonitorInit init = take();
  socket_ = std::move(init.socket);
  poll_ = std::make_unique<Poll>(Env(), socket_.get(Env(), "uv_poll_init"), init.callback, [this] { on_ready(); });
  Ref();  // alive until close(), also when JavaScript has dropped the handle
}

Napi::Function Monitor::define(Napi::Env env) {
  return DefineClass(env, kName, {InstanceMethod<&Monitor::close>("close")});
}

// One call for all pending messages: the start of a pod causes dozens.
void Monitor::on_ready() {
  [[maybe_unused]] Napi::Object alive = Value();  // the callback may close this, and it could be collected then
  NetworkChange change(Env());
  while (read_waiting(change)) {
  }
  if (change.happened) poll_->emit(change.object());
}

// False when nothing is left. ENOBUFS: messages were lost, so the caller must read all again.
bool Monitor::read_waiting(NetworkChange &change) {
  alignas(nlmsghdr) char buffer[32768];
  ssize_t length = recv(socket_.get(Env(), "recv"), buffer, sizeof(buffer), MSG_DONTWAIT);
  if (length < 0 && errno == ENOBUFS) change.happened = change.lost = true;
  if (length < 0) return errno == ENOBUFS || errno == EINTR;
  auto left = static_cast<uint32_t>(length);
  for (auto *message = reinterpret_cast<nlmsghdr *>(buffer); NLMSG_OK(message, left);
       message = NLMSG_NEXT(message, left))
    change.add(message);
  return true;
}

void Monitor::close(const Napi::CallbackInfo &) {
  if (!poll_) return;
  // The callback may call close(): the object must stay alive in it, so only polling ends here.
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
  // A routing daemon sends whole tables when it starts. Without the larger buffer more is lost and read again.
  int room = 4 << 20;
  setsockopt(socket.get(env, "setsockopt"), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
  address.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
  auto *generic = reinterpret_cast<sockaddr *>(&address);
  check_errno(env, "bind", bind(socket.get(env, "bind"), generic, sizeof(address)));
  return Monitor::create(env, {std::move(socket), callback});
}
