/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Service → backend set → Maglev position → backend id. */
#pragma once
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../abi/limits.h"
#include "../abi/service.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct slb_service);
} slb_services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 32768);
	__type(key, __u32);
	__type(value, struct slb_set);
} slb_sets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 262144);
	__type(key, __u32);
	__type(value, __u32);
} slb_slots SEC(".maps");

/* BPF_F_MMAPABLE: the agent writes a table without system calls. The kernel rounds array elements up to 8 bytes, so a
 * row holds four positions; in memory they are one array of __u16. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2097152);
	__type(key, __u32);
	__type(value, __u16[SLB_MAGLEV_PER_ROW]);
} slb_maglev SEC(".maps");

/* NULL when the service is gone, also when another one has been given its slot. */
static __always_inline const struct slb_service *service_get(__u32 id)
{
	__u32 slot = id & SLB_SLOT_MASK;
	const struct slb_service *service = bpf_map_lookup_elem(&slb_services, &slot);

	return service && service->id == id ? service : NULL;
}

/* True for a service that exists and has no endpoint anywhere. */
static __always_inline bool service_is_empty(__u32 id)
{
	const struct slb_service *service = service_get(id);

	return service && !(service->flags & SLB_SVC_ANY_ENDPOINT);
}

static __always_inline const struct slb_set *set_get(__u32 index)
{
	return bpf_map_lookup_elem(&slb_sets, &index);
}

static __always_inline const __u32 *slot_get(__u32 row)
{
	return bpf_map_lookup_elem(&slb_slots, &row);
}

static __always_inline const __u16 *maglev_get(__u32 index)
{
	__u32 row = index / SLB_MAGLEV_PER_ROW;
	const __u16 *positions = bpf_map_lookup_elem(&slb_maglev, &row);

	return positions ? positions + index % SLB_MAGLEV_PER_ROW : NULL;
}
