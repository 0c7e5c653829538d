// The exports. index.ts documents them.
#include <bpf/libbpf.h>

#include <mutex>

#include "cgroup.h"
#include "exec.h"
#include "flock.h"
#include "link.h"
#include "links.h"
#include "map.h"
#include "monitor.h"
#include "netlink.h"
#include "netns.h"
#include "object.h"
#include "program.h"
#include "ringbuf.h"
#include "sockdiag.h"
#include "status.h"
#include "tc.h"

static Napi::Value possible_cpus(const Napi::CallbackInfo &info) {
  return Napi::Number::New(info.Env(), check(info.Env(), "libbpf_num_possible_cpus", libbpf_num_possible_cpus()));
}

static Napi::Value libbpf_version(const Napi::CallbackInfo &info) {
  return Napi::String::New(info.Env(), libbpf_version_string());
}

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  static std::once_flag once;  // a worker loads the module in the same process
  std::call_once(once, LibbpfLog::install);

  env.SetInstanceData(new Addon());
  register_class<Object>(env);
  register_class<Map>(env);
  register_class<Program>(env);
  register_class<Link>(env);
  register_class<Monitor>(env);
  register_class<RingBuffer>(env);

  auto offer = [&](const char *name, Napi::Value (*function)(const Napi::CallbackInfo &)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  offer("openObject", open_object);
  offer("createMap", create_map);
  offer("loadProgram", load_program);
  offer("openPinnedMap", open_pinned_map);
  offer("mapsOfProgram", maps_of_program);
  offer("openPinnedProgram", open_pinned_program);
  offer("openPinnedLink", open_pinned_link);
  offer("attachTcx", attach_tcx);
  offer("queryTcx", query_tcx);
  offer("attachClsact", attach_clsact);
  offer("detachClsact", detach_clsact);
  offer("queryClsact", query_clsact);
  offer("countClsact", count_clsact);
  offer("listClsact", list_clsact);
  offer("removeClsact", remove_clsact);
  offer("attachXdp", attach_xdp);
  offer("attachCgroup", attach_cgroup);
  offer("queryCgroup", query_cgroup);
  offer("cgroupId", cgroup_id);
  offer("devices", devices);
  offer("addresses", addresses);
  offer("defaultRouteDevices", default_route_devices);
  offer("monitorLinks", monitor_links);
  offer("openRingBuffer", open_ring_buffer);
  offer("netnsCookie", netns_cookie);
  offer("netnsCookies", netns_cookies);
  offer("canDestroySockets", can_destroy_sockets);
  offer("destroySockets", destroy_sockets);
  offer("flock", flock_fd);
  offer("exec", exec);
  offer("possibleCpus", possible_cpus);
  offer("libbpfVersion", libbpf_version);
  return exports;
}

NODE_API_MODULE(sluice, init)
