/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The two tiers of flow tables, one pair a family. A flood of first packets can evict half-open flows only. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../abi/flow.h"
#include "../abi/limits.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__type(key, struct slb_flow_key4);
	__type(value, struct slb_flow);
} slb_flows4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__type(key, struct slb_flow_key6);
	__type(value, struct slb_flow);
} slb_flows6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct slb_flow_key4);
	__type(value, struct slb_flow);
} slb_half4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct slb_flow_key6);
	__type(value, struct slb_flow);
} slb_half6 SEC(".maps");
