#include "pinned.h"

#include <bpf/bpf.h>

#include <fstream>

static bool shows(int fd, const char *field) {
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(fd));
  std::string line;
  while (std::getline(info, line))
    if (line.rfind(field, 0) == 0) return true;
  return false;
}

Fd open_pinned(Napi::Env env, const std::string &path, const char *field) {
  Fd fd(check(env, "bpf_obj_get", bpf_obj_get(path.c_str())));
  if (!shows(fd.get(env, "bpf_obj_get"), field)) fail(env, {"bpf_obj_get", EINVAL, path + " is of another kind"});
  return fd;
}
