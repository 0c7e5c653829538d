/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Service rows and the backend sets they point at: service → set → Maglev position → backend id. */
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

/* Mapped into the agent's memory: a table is written without a system call. The kernel rounds the rows of an array up
 * to 8 bytes, so that one position a row would waste three quarters of them; in memory the positions are one array of
 * __u16. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2097152);
	__type(key, __u32);
	__type(value, __u16[SLB_MAGLEV_PER_ROW]);
} slb_maglev SEC(".maps");

/* The row of this very service; NULL when its slot has been given to another meanwhile. */
static __always_inline const struct slb_service *service_get(__u32 id)
{
	__u32 slot = id & SLB_SLOT_MASK;
	const struct slb_service *service = bpf_map_lookup_elem(&slb_services, &slot);

	return service && service->id == id ? service : NULL;
}

/* It is there, but has no endpoint. */
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
