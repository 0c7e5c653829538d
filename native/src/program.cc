#include "program.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <sched.h>

#include <vector>

#include "pinned.h"
#include "signals.h"

Program::Program(const Napi::CallbackInfo &info) : Handle(info), fd_(take()) {
  bpf_prog_info details{};
  uint32_t size = sizeof(details);
  check(Env(), "bpf_obj_get_info_by_fd", bpf_obj_get_info_by_fd(fd("bpf_obj_get_info_by_fd"), &details, &size));
  id_ = details.id;
  verified_ = details.verified_insns;  // 0 before 5.16
  name_ = details.name;
}

Napi::Function Program::define(Napi::Env env) {
  return DefineClass(env, kName,
                     {
                         InstanceAccessor<&Program::id>("id"),
                         InstanceAccessor<&Program::name>("name"),
                         InstanceAccessor<&Program::verified>("verifiedInstructions"),
                         InstanceMethod<&Program::test_run>("testRun"),
                         InstanceMethod<&Program::pin>("pin"),
                         InstanceMethod<&Program::close>("close"),
                     });
}

namespace {

/** Pins this thread to one CPU for a test run: the kernel has a flag for that for tracing programs only. */
class PinnedToCpu {
 public:
  PinnedToCpu(Napi::Env env, uint32_t cpu) {
    cpu_set_t one;
    CPU_ZERO(&one);
    if (cpu >= CPU_SETSIZE) fail(env, {"sched_setaffinity", EINVAL});
    CPU_SET(cpu, &one);
    check_errno(env, "sched_getaffinity", sched_getaffinity(0, sizeof(before_), &before_));
    check_errno(env, "sched_setaffinity", sched_setaffinity(0, sizeof(one), &one));
  }
  ~PinnedToCpu() { sched_setaffinity(0, sizeof(before_), &before_); }

 private:
  cpu_set_t before_;
};

// XDP programs can grow the packet, ours by less than 512 bytes.
constexpr uint32_t kGrowth = 512;

Napi::Value shortened(const Napi::Uint8Array &array, uint32_t size) {
  if (size >= array.ByteLength()) return array;
  return Napi::Uint8Array::New(array.Env(), size, array.ArrayBuffer(), array.ByteOffset());
}

}  // namespace

Napi::Value Program::test_run(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  Napi::Object options = object_of(info[0], "options");
  LIBBPF_OPTS(bpf_test_run_opts, opts);
  opts.repeat = static_cast<int>(uint32_or(options.Get("repeat"), "repeat", 1));
  opts.flags = uint32_or(options.Get("flags"), "flags", 0);

  Bytes data = bytes_of(options.Get("data"), "data");
  uint32_t out_size = data.size == 0 ? 0 : static_cast<uint32_t>(data.size) + kGrowth;
  Napi::Uint8Array out = Napi::Uint8Array::New(env, uint32_or(options.Get("outSize"), "outSize", out_size));
  if (data.size != 0) opts.data_in = data.data;
  opts.data_size_in = static_cast<uint32_t>(data.size);
  if (out.ByteLength() != 0) opts.data_out = out.Data();
  opts.data_size_out = static_cast<uint32_t>(out.ByteLength());

  Napi::Value context = env.Undefined();
  if (!options.Get("context").IsUndefined()) {
    Bytes given = bytes_of(options.Get("context"), "context");
    Napi::Uint8Array after = Napi::Uint8Array::New(env, given.size);
    opts.ctx_in = given.data;
    opts.ctx_size_in = static_cast<uint32_t>(given.size);
    opts.ctx_out = after.Data();
    opts.ctx_size_out = opts.ctx_size_in;
    context = after;
  }

  int program = fd("bpf_prog_test_run");
  int result;
  SignalsBlocked wait;  // an interrupted run has had effects and must not be repeated
  if (options.Get("cpu").IsUndefined()) {
    result = bpf_prog_test_run_opts(program, &opts);
  } else {
    PinnedToCpu pinned(env, uint32_of(options.Get("cpu"), "cpu"));
    result = bpf_prog_test_run_opts(program, &opts);
  }
  check(env, "bpf_prog_test_run", result);

  Napi::Object answer = Napi::Object::New(env);
  answer.Set("retval", Napi::Number::New(env, opts.retval));
  answer.Set("duration", Napi::Number::New(env, opts.duration));
  answer.Set("data", shortened(out, opts.data_size_out));
  answer.Set("context", context);
  return answer;
}

void Program::pin(const Napi::CallbackInfo &info) {
  std::string path = text_of(info[0], "path");
  check(info.Env(), "bpf_obj_pin", bpf_obj_pin(fd("bpf_obj_pin"), path.c_str()));
}

Napi::Value load_program(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  Napi::Object options = object_of(info[0], "options");
  auto type = static_cast<bpf_prog_type>(uint32_of(options.Get("type"), "type"));
  std::string name = text_of(options.Get("name"), "name");
  Bytes code = bytes_of(options.Get("instructions"), "instructions");
  if (code.size == 0 || code.size % sizeof(bpf_insn) != 0)
    throw Napi::RangeError::New(env, "instructions must be a multiple of 8 bytes");
  LIBBPF_OPTS(bpf_prog_load_opts, opts);
  opts.expected_attach_type =
      static_cast<bpf_attach_type>(uint32_or(options.Get("expectedAttachType"), "expectedAttachType", 0));
  LibbpfLog log;
  SignalsBlocked wait;
  int fd = call_again([&] {
    return bpf_prog_load(type, name.c_str(), "Dual BSD/GPL", reinterpret_cast<const bpf_insn *>(code.data),
                         code.size / sizeof(bpf_insn), &opts);
  });
  if (fd < 0) fail(env, {"bpf_prog_load", -fd, log.reason(), log.text()});
  return Program::create(env, Fd(fd));
}

Napi::Value maps_of_program(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  Napi::Array list = Napi::Array::New(env);
  int result = bpf_prog_get_fd_by_id(uint32_of(info[0], "programId"));
  if (result == -ENOENT) return list;
  Fd program(check(env, "bpf_prog_get_fd_by_id", result));
  std::vector<uint32_t> ids;
  // The first call returns their number.
  for (int question = 0; question < 2; question++) {
    bpf_prog_info details{};
    uint32_t size = sizeof(details);
    details.nr_map_ids = static_cast<uint32_t>(ids.size());
    details.map_ids = reinterpret_cast<uintptr_t>(ids.data());
    int fd = program.get(env, "bpf_obj_get_info_by_fd");
    check(env, "bpf_obj_get_info_by_fd", bpf_obj_get_info_by_fd(fd, &details, &size));
    ids.resize(details.nr_map_ids);
  }
  for (uint32_t id : ids) list.Set(list.Length(), Napi::Number::New(env, id));
  return list;
}

Napi::Value open_pinned_program(const Napi::CallbackInfo &info) {
  return Program::create(info.Env(), open_pinned(info.Env(), text_of(info[0], "path"), kProgramField));
}
