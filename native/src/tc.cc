// The clsact hook, for kernels without tcx (before 6.6): a clsact qdisc with one direct-action filter.
#include "tc.h"

#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>

#include "args.h"
#include "direction.h"
#include "program.h"
#include "rtnl.h"
#include "status.h"

namespace {

bpf_tc_hook hook_of(const Napi::CallbackInfo &info, size_t at, bpf_tc_attach_point point) {
  bpf_tc_hook hook{};
  hook.sz = sizeof(hook);
  hook.ifindex = static_cast<int>(uint32_of(info[at], "ifindex"));
  hook.attach_point = point;
  return hook;
}

bpf_tc_hook hook_of(const Napi::CallbackInfo &info, size_t at) {
  return hook_of(info, at, direction_of(info[at + 1]) == Direction::Ingress ? BPF_TC_INGRESS : BPF_TC_EGRESS);
}

bpf_tc_opts filter_of(const Napi::CallbackInfo &info, size_t at) {
  bpf_tc_opts filter{};
  filter.sz = sizeof(filter);
  filter.priority = uint32_of(info[at], "priority");
  filter.handle = uint32_of(info[at + 1], "handle");
  return filter;
}

// ENOENT or EINVAL: no qdisc or no filter. ENODEV: no device.
bool is_absent(int result) { return result == -ENOENT || result == -EINVAL || result == -ENODEV; }

/** The name of its program, else its kind. */
std::string filter_name(const nlmsghdr *message) {
  auto *filter = static_cast<const tcmsg *>(NLMSG_DATA(message));
  std::string kind, program;
  for_attributes(TCA_RTA(filter), TCA_PAYLOAD(message), [&](uint16_t type, const rtattr *a) {
    if (type == TCA_KIND) kind = text_in(a);
    if (type != TCA_OPTIONS) return;
    for_nested(a, [&](uint16_t inner, const rtattr *b) {
      if (inner == TCA_BPF_NAME) program = text_in(b);
    });
  });
  return kind == "bpf" && !program.empty() ? program : kind;
}

}  // namespace

Napi::Value attach_clsact(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  LibbpfLog quiet;
  bpf_tc_hook hook = hook_of(info, 1);
  bpf_tc_opts filter = filter_of(info, 3);
  filter.prog_fd = Program::unwrap(info[0], "program").fd("bpf_tc_attach");
  filter.flags = BPF_TC_F_REPLACE;
  int created = bpf_tc_hook_create(&hook);
  if (created < 0 && created != -EEXIST) fail(env, {"bpf_tc_hook_create", -created});
  check(env, "bpf_tc_attach", bpf_tc_attach(&hook, &filter));
  return Napi::Boolean::New(env, created == 0);
}

Napi::Value detach_clsact(const Napi::CallbackInfo &info) {
  LibbpfLog quiet;
  bpf_tc_hook hook = hook_of(info, 0);
  bpf_tc_opts filter = filter_of(info, 2);
  int result = bpf_tc_detach(&hook, &filter);
  if (!is_absent(result)) check(info.Env(), "bpf_tc_detach", result);
  return Napi::Boolean::New(info.Env(), result == 0);
}

Napi::Value query_clsact(const Napi::CallbackInfo &info) {
  LibbpfLog quiet;
  bpf_tc_hook hook = hook_of(info, 0);
  bpf_tc_opts filter = filter_of(info, 2);
  int result = bpf_tc_query(&hook, &filter);
  if (!is_absent(result)) check(info.Env(), "bpf_tc_query", result);
  return Napi::Number::New(info.Env(), result == 0 ? filter.prog_id : 0);
}

Napi::Value list_clsact(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  DumpRequest request = dump_request(RTM_GETTFILTER);
  request.filter.tcm_ifindex = static_cast<int>(uint32_of(info[0], "ifindex"));
  bool inwards = direction_of(info[1]) == Direction::Ingress;
  request.filter.tcm_parent = TC_H_MAKE(TC_H_CLSACT, inwards ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
  Napi::Array list;
  auto visit = [&](const nlmsghdr *message) {
    auto *filter = static_cast<const tcmsg *>(NLMSG_DATA(message));
    // Handle 0 is the classifier that holds the filters of this priority.
    if (message->nlmsg_type != RTM_NEWTFILTER || filter->tcm_handle == 0) return;
    Napi::Object object = Napi::Object::New(env);
    object.Set("priority", Napi::Number::New(env, TC_H_MAJ(filter->tcm_info) >> 16));
    object.Set("name", Napi::String::New(env, filter_name(message)));
    list.Set(list.Length(), object);
  };
  auto restart = [&] { list = Napi::Array::New(env); };
  dump(env, request, restart, visit);
  return list;
}

Napi::Value count_clsact(const Napi::CallbackInfo &info) {
  uint32_t count = 0;
  for (uint32_t parent : {TC_H_MIN_INGRESS, TC_H_MIN_EGRESS}) {
    DumpRequest request = dump_request(RTM_GETTFILTER);
    request.filter.tcm_ifindex = static_cast<int>(uint32_of(info[0], "ifindex"));
    request.filter.tcm_parent = TC_H_MAKE(TC_H_CLSACT, parent);
    uint32_t before = count;
    dump(
        info.Env(), request, [&] { count = before; },
        [&](const nlmsghdr *message) { count += message->nlmsg_type == RTM_NEWTFILTER; });
  }
  return Napi::Number::New(info.Env(), count);
}

Napi::Value remove_clsact(const Napi::CallbackInfo &info) {
  LibbpfLog quiet;
  bpf_tc_hook hook = hook_of(info, 0, static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS));
  int result = bpf_tc_hook_destroy(&hook);
  if (!is_absent(result)) check(info.Env(), "bpf_tc_hook_destroy", result);
  return Napi::Boolean::New(info.Env(), result == 0);
}
