// cgroup v2: ids of cgroups, and the programs attached to them.
#include "cgroup.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <array>

#include "args.h"

namespace {

constexpr size_t kMaxPrograms = 64;  // BPF_CGROUP_MAX_PROGS, and the limit of tcx

/** Empty for a program that is gone since it was listed. */
std::string program_name(Napi::Env env, uint32_t id) {
  int fd = bpf_prog_get_fd_by_id(id);
  if (fd == -ENOENT) return {};
  Fd program(check(env, "bpf_prog_get_fd_by_id", fd));
  bpf_prog_info details{};
  uint32_t size = sizeof(details);
  check(env, "bpf_obj_get_info_by_fd", bpf_obj_get_info_by_fd(fd, &details, &size));
  return details.name;
}

}  // namespace

Fd open_cgroup(Napi::Env env, const std::string &path) {
  return Fd(check_errno(env, "open", open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
}

Napi::Array programs_at(Napi::Env env, int target, bpf_attach_type type, uint32_t *flags) {
  std::array<uint32_t, kMaxPrograms> ids;
  uint32_t count = ids.size();
  check(env, "bpf_prog_query", bpf_prog_query(target, type, 0, flags, ids.data(), &count));
  Napi::Array programs = Napi::Array::New(env, count);
  for (uint32_t i = 0; i < count; i++) {
    Napi::Object program = Napi::Object::New(env);
    program.Set("id", Napi::Number::New(env, ids[i]));
    program.Set("name", Napi::String::New(env, program_name(env, ids[i])));
    programs.Set(i, program);
  }
  return programs;
}

Napi::Value query_cgroup(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  Fd cgroup = open_cgroup(env, text_of(info[0], "cgroupPath"));
  auto type = static_cast<bpf_attach_type>(uint32_of(info[1], "attachType"));
  uint32_t flags = 0;
  Napi::Object answer = Napi::Object::New(env);
  answer.Set("programs", programs_at(env, cgroup.get(env, "bpf_prog_query"), type, &flags));
  answer.Set("flags", Napi::Number::New(env, flags));
  return answer;
}

// Since kernel 5.5 the id of a cgroup is its inode number. Other file systems have inode numbers, too, so the type is
// checked.
Napi::Value cgroup_id(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  std::string path = text_of(info[0], "cgroupPath");
  Fd cgroup = open_cgroup(env, path);
  struct statfs system;
  check_errno(env, "fstatfs", fstatfs(cgroup.get(env, "fstatfs"), &system));
  if (system.f_type != CGROUP2_SUPER_MAGIC) fail(env, {"fstatfs", EINVAL, path + " is no cgroup v2"});
  struct stat status;
  check_errno(env, "fstat", fstat(cgroup.get(env, "fstat"), &status));
  return Napi::Number::New(env, static_cast<double>(status.st_ino));
}
