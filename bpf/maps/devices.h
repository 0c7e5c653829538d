/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Network devices, by ifindex. Read once per connection, and for replies to this host. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../abi/device.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct slb_device);
} slb_devices SEC(".maps");

static __always_inline const struct slb_device *device_get(__u32 ifindex)
{
	return bpf_map_lookup_elem(&slb_devices, &ifindex);
}
