// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Maps as versions had them that did not know what a flow has acknowledged, which are pinned in maps/: those of another
 * layout than today's. Nothing here follows changes of bpf/abi. */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

struct slb_flow_key4 {
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 pad[3];
};

struct slb_flow_key6 {
	__be32 saddr[4];
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 pad[3];
};

struct slb_flow {
	__be32 saddr[4];
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
	__u32 addr_delta;
	__u32 port_delta;
	__u32 service;
	__u32 backend;
	__u32 seen;
	__u8 flags;
	__u8 fin;
	__u8 peer_fin;
	__u8 rst;
	__u32 created;
	__u32 ifindex;
	__u8 way;
	__u8 peer_way;
	__u8 pad[2];
};

struct slb_device {
	__be32 addr4;
	__be32 addr6[4];
	__u8 mac[6];
	__u8 role;
	__u8 pad;
	__u32 netns;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2048);
	__type(key, struct slb_flow_key4);
	__type(value, struct slb_flow);
} slb_flows4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2048);
	__type(key, struct slb_flow_key6);
	__type(value, struct slb_flow);
} slb_flows6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 2048);
	__type(key, struct slb_flow_key4);
	__type(value, struct slb_flow);
} slb_half4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 2048);
	__type(key, struct slb_flow_key6);
	__type(value, struct slb_flow);
} slb_half6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct slb_device);
} slb_devices SEC(".maps");

char _license[] SEC("license") = "GPL";
