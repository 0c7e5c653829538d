/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Addresses, ports and protocols that clients dial. Read for every packet without a flow. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../abi/frontend.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct slb_frontend_key);
	__type(value, struct slb_frontend);
} slb_frontends SEC(".maps");

static __always_inline const struct slb_frontend *frontend_get(const struct slb_frontend_key *key)
{
	return bpf_map_lookup_elem(&slb_frontends, key);
}
