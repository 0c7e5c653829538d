/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Sizes and limits that the agent shares. Map sizes that an operator can change are set at load instead. */
#pragma once
#include <linux/types.h>

enum slb_limits {
	SLB_SLOT_BITS = 20, /* an id is slot | generation << SLB_SLOT_BITS */
	SLB_SLOT_MASK = (1 << SLB_SLOT_BITS) - 1,
	SLB_VLAN_DEPTH = 2,	 /* 802.1Q and 802.1ad tags walked in the frame */
	SLB_IP6_EXT_MAX = 6,	 /* IPv6 extension headers walked */
	SLB_MAGLEV_PER_ROW = 4,	 /* positions in a row of slb_maglev, 16 bits each */
	SLB_SNAT_ATTEMPTS = 12,	 /* source ports tried for a masqueraded connection */
	SLB_SOCKET_PEERS = 4,	 /* services that one unconnected UDP socket is pointed at */
	SLB_CGROUP_DEPTH = 8,	 /* levels of cgroups looked up in slb_exempt, from the root down */
	SLB_LOOPBACK = 1,	 /* ifindex of lo in every network namespace */
	SLB_QUEUED_MAX = 64,	 /* queued fragments of one datagram */
	SLB_QUEUED_FRAME = 2040, /* bytes of the longest queued frame: with the head of its row 2 KiB */
	SLB_ICMP_QUOTE = 128,	 /* bytes of a rejected packet that an ICMP error quotes at most */
};

enum slb_family { SLB_IP4 = 4, SLB_IP6 = 6 };
