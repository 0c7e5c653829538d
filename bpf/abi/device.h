/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* A network device; the key is its ifindex. */
#pragma once
#include <linux/types.h>

/* A device without a row is taken for that of a pod. */
enum slb_device_role {
	SLB_DEV_POD = 0,    /* packets that it receives come from a pod of this node */
	SLB_DEV_UPLINK = 1, /* from outside this node; tunnels, too */
	SLB_DEV_HOST = 2,   /* lo */
};

#define SLB_NETNS_NONE 0xffffffffu /* the id of no network namespace */

struct slb_device {
	/* Source of packets that it sends after SNAT: its first address, else the node's; 0: none of this family. */
	__be32 addr4;
	__be32 addr6[4];
	__u8 mac[6];
	__u8 role;	 /* enum slb_device_role */
	__u8 rp_filter;	 /* for IPv4, the kernel's, or that of its bridge: 0 off, 1 strict, 2 loose */
	__u32 netns;	 /* nsid of the namespace of the pod behind it, as in this one; SLB_NETNS_NONE: no pod */
	__u32 bridge;	 /* ifindex of the bridge that it is a port of; 0: none */
	__u32 lower;	 /* device that receives its packets first, with the tag of `vlan`; 0: none */
	__u16 vlan;	 /* VLAN id; 0: none */
	__u8 rp_filter6; /* for IPv6, which the kernel does not have */
	__u8 pad;
};
