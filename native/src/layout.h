#pragma once
#include <bpf/btf.h>
#include <napi.h>

/** Fields of a map's key and value, from its BTF; undefined without BTF. */
Napi::Object layout_object(Napi::Env env, const btf *types, uint32_t key, uint32_t value);
