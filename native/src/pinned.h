#pragma once
#include <string>

#include "fd.h"

/** BPF_OBJ_GET opens maps, programs and links alike. `field` is one that the fdinfo of this kind alone has. */
Fd open_pinned(Napi::Env env, const std::string &path, const char *field);

inline constexpr const char *kMapField = "map_type:";
inline constexpr const char *kProgramField = "prog_type:";
inline constexpr const char *kLinkField = "link_type:";
