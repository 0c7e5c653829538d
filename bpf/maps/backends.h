/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Backends, by the slot of their id. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../abi/backend.h"
#include "../abi/limits.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct slb_backend);
} slb_backends SEC(".maps");

/* NULL when the backend is gone, also when another one has been given its slot. */
static __always_inline const struct slb_backend *backend_get(__u32 id)
{
	__u32 slot = id & SLB_SLOT_MASK;
	const struct slb_backend *backend = bpf_map_lookup_elem(&slb_backends, &slot);

	return backend && backend->id == id ? backend : NULL;
}
