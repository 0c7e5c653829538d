#pragma once
#include <memory>

#include "args.h"
#include "fd.h"
#include "handle.h"
#include "poll.h"

struct MonitorInit {
  Fd socket;
  Napi::Function callback;
};

/** Reports changes of links, addresses and default routes. Other routes do not wake the loop. */
class Monitor : public Handle<Monitor, MonitorInit> {
 public:
  static constexpr const char *kName = "LinkMonitor";
  static constexpr Class kClass = Class::Monitor;
  static constexpr napi_type_tag kTag = {0x736c756963650001, 0x4d6f6e69746f7201};

  explicit Monitor(const Napi::CallbackInfo &info);
  static Napi::Function define(Napi::Env env);

 private:
  void on_ready();
  bool read_waiting(struct NetworkChange &change);
  void close(const Napi::CallbackInfo &info);

  Fd socket_;
  std::unique_ptr<Poll> poll_;
};

Napi::Value monitor_links(const Napi::CallbackInfo &info);
