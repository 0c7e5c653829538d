#include "link.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/if_link.h>

#include "cgroup.h"
#include "direction.h"
#include "pinned.h"
#include "program.h"
#include "signals.h"

namespace {

// Not in the headers of the oldest supported distribution.
constexpr int kAttachTcxIngress = 46;
constexpr int kAttachTcxEgress = 47;
constexpr uint32_t kLinkTypeTcx = 11;
constexpr uint32_t kBefore = 1 << 3;  // BPF_F_BEFORE: in front of all programs

bpf_link_info info_of(Napi::Env env, int fd) {
  bpf_link_info info{};
  uint32_t size = sizeof(info);
  check(env, "bpf_obj_get_info_by_fd", bpf_obj_get_info_by_fd(fd, &info, &size));
  return info;
}

Napi::Value create_link(Napi::Env env, Program &program, int target, int type, uint32_t flags) {
  LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = flags);
  int fd = program.fd("bpf_link_create");
  int link = call_again([&] { return bpf_link_create(fd, target, static_cast<bpf_attach_type>(type), &opts); });
  return Link::create(env, Fd(check(env, "bpf_link_create", link)));
}

int tcx_type_of(const Napi::Value &direction) {
  return direction_of(direction) == Direction::Ingress ? kAttachTcxIngress : kAttachTcxEgress;
}

uint32_t xdp_flags_of(const Napi::Value &value) {
  std::string mode = text_of(value, "mode");
  if (mode == "native") return XDP_FLAGS_DRV_MODE;
  if (mode == "generic") return XDP_FLAGS_SKB_MODE;
  if (mode == "offload") return XDP_FLAGS_HW_MODE;
  throw Napi::RangeError::New(value.Env(), "mode must be native, generic or offload");
}

}  // namespace

Napi::Function Link::define(Napi::Env env) {
  return DefineClass(env, kName,
                     {
                         InstanceAccessor<&Link::id>("id"),
                         InstanceAccessor<&Link::program_id>("programId"),
                         InstanceAccessor<&Link::target>("target"),
                         InstanceMethod<&Link::update>("update"),
                         InstanceMethod<&Link::pin>("pin"),
                         InstanceMethod<&Link::detach>("detach"),
                         InstanceMethod<&Link::close>("close"),
                     });
}

Napi::Value Link::id(const Napi::CallbackInfo &info) {
  return Napi::Number::New(info.Env(), info_of(info.Env(), fd_.get(info.Env(), "bpf_obj_get_info_by_fd")).id);
}

Napi::Value Link::program_id(const Napi::CallbackInfo &info) {
  return Napi::Number::New(info.Env(), info_of(info.Env(), fd_.get(info.Env(), "bpf_obj_get_info_by_fd")).prog_id);
}

// The kernel sets these to 0 when the device or cgroup is removed, or the link is detached.
Napi::Value Link::target(const Napi::CallbackInfo &info) {
  bpf_link_info details = info_of(info.Env(), fd_.get(info.Env(), "bpf_obj_get_info_by_fd"));
  switch (details.type) {
    case BPF_LINK_TYPE_XDP:
    case kLinkTypeTcx: return Napi::Number::New(info.Env(), details.xdp.ifindex);  // the same offset in both
    case BPF_LINK_TYPE_CGROUP: return Napi::Number::New(info.Env(), static_cast<double>(details.cgroup.cgroup_id));
    default: return Napi::Number::New(info.Env(), 0);
  }
}

void Link::update(const Napi::CallbackInfo &info) {
  Program &program = Program::unwrap(info[0], "program");
  int link = fd_.get(info.Env(), "bpf_link_update");
  int next = program.fd("bpf_link_update");
  check(info.Env(), "bpf_link_update", call_again([&] { return bpf_link_update(link, next, nullptr); }));
}

void Link::pin(const Napi::CallbackInfo &info) {
  std::string path = text_of(info[0], "path");
  check(info.Env(), "bpf_obj_pin", bpf_obj_pin(fd_.get(info.Env(), "bpf_obj_pin"), path.c_str()));
}

void Link::detach(const Napi::CallbackInfo &info) {
  check(info.Env(), "bpf_link_detach", bpf_link_detach(fd_.get(info.Env(), "bpf_link_detach")));
}

Napi::Value attach_tcx(const Napi::CallbackInfo &info) {
  Program &program = Program::unwrap(info[0], "program");
  int ifindex = static_cast<int>(uint32_of(info[1], "ifindex"));
  bool first = info[3].ToBoolean();
  return create_link(info.Env(), program, ifindex, tcx_type_of(info[2]), first ? kBefore : 0);
}

Napi::Value query_tcx(const Napi::CallbackInfo &info) {
  int ifindex = static_cast<int>(uint32_of(info[0], "ifindex"));
  return programs_at(info.Env(), ifindex, static_cast<bpf_attach_type>(tcx_type_of(info[1])), nullptr);
}

Napi::Value attach_xdp(const Napi::CallbackInfo &info) {
  Program &program = Program::unwrap(info[0], "program");
  int ifindex = static_cast<int>(uint32_of(info[1], "ifindex"));
  return create_link(info.Env(), program, ifindex, BPF_XDP, xdp_flags_of(info[2]));
}

Napi::Value attach_cgroup(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  Program &program = Program::unwrap(info[0], "program");
  std::string path = text_of(info[1], "cgroupPath");
  Fd cgroup = open_cgroup(env, path);
  int type = static_cast<int>(uint32_of(info[2], "attachType"));
  return create_link(env, program, cgroup.get(env, "open"), type, 0);
}

Napi::Value open_pinned_link(const Napi::CallbackInfo &info) {
  return Link::create(info.Env(), open_pinned(info.Env(), text_of(info[0], "path"), kLinkField));
}
