/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the datapath must know of a network device: key is the ifindex. */
#pragma once
#include <linux/types.h>

/* Devices without a row count as those of pods. */
enum slb_device_role {
	SLB_DEV_POD = 0,    /* whatever comes in by it is from a pod of this node */
	SLB_DEV_UPLINK = 1, /* from outside this node: also tunnels and further uplinks */
	SLB_DEV_HOST = 2,   /* lo: from this host */
};

#define SLB_NETNS_NONE 0xffffffffu /* no id of a network namespace */

struct slb_device {
	__be32 addr4; /* what masqueraded packets that leave by it have as their source: its first address, else the */
	__be32 addr6[4]; /* node's; 0 when there is none of this family */
	__u8 mac[6];
	__u8 role;	/* enum slb_device_role */
	__u8 rp_filter; /* for IPv4 sources, as the kernel's, of its bridge if it is at one: 0 off, 1 strict, 2 loose */
	__u32 netns;  /* id by which this network namespace knows that of the pod behind it; all ones: there is none */
	__u32 bridge; /* ifindex of the bridge that it is a port of; 0: none */
	__u32 lower;  /* ifindex of the device that shows us first what comes in by this one, with the tag of `vlan`; 0:
			 none */
	__u16 vlan;   /* VLAN id, 0 none */
	__u8 rp_filter6; /* the same for IPv6 sources, of which the kernel has none */
	__u8 pad;
};
