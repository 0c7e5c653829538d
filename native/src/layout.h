#pragma once
#include <bpf/btf.h>
#include <napi.h>

/** Fields of a map's keys and values as its BTF has them; both undefined without. */
Napi::Object layout_object(Napi::Env env, const btf *types, uint32_t key, uint32_t value);
