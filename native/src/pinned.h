#pragma once
#include <string>

#include "fd.h"

/** Maps, programs and links are opened by one call that does not tell them apart: `field` names what only this kind
 * shows. */
Fd open_pinned(Napi::Env env, const std::string &path, const char *field);

inline constexpr const char *kMapField = "map_type:";
inline constexpr const char *kProgramField = "prog_type:";
inline constexpr const char *kLinkField = "link_type:";
