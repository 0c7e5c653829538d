/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Sockets that were pointed at a backend, and cgroups whose sockets are exempt. Programs write and delete the rows of a
 * socket under its lock, or when its last reference goes. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../abi/socket.h"

/* BPF_F_NO_PREALLOC: most nodes have few rows, and process context has the time to allocate. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct slb_socket_key);
	__type(value, struct slb_socket);
} slb_sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, __u64); /* cgroup id */
	__type(value, __u32);
} slb_exempt SEC(".maps");

static __always_inline struct slb_socket *socket_get(const struct slb_socket_key *key)
{
	return bpf_map_lookup_elem(&slb_sockets, key);
}

static __always_inline long socket_put(const struct slb_socket_key *key, const struct slb_socket *socket)
{
	return bpf_map_update_elem(&slb_sockets, key, socket, BPF_ANY);
}

static __always_inline void socket_delete(const struct slb_socket_key *key)
{
	bpf_map_delete_elem(&slb_sockets, key);
}

static __always_inline const __u32 *exempt_get(const __u64 *cgroup)
{
	return bpf_map_lookup_elem(&slb_exempt, cgroup);
}
