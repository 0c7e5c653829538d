/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* One endpoint of one service port. Two service ports never share an id, even for the same endpoint. */
#pragma once
#include <linux/types.h>

/* Row of slb_backends, indexed by the slot of the backend id. A row with the id of a flow says that the flow may go on
 * to it. */
struct slb_backend {
	__be32 addr[4]; /* IPv4-mapped for IPv4 */
	__be16 port;
	__u8 proto;
	__u8 lists;    /* enum slb_backend_lists; 0: draining, no new connections */
	__u32 id;      /* 0: free row */
	__u32 service; /* id of the service port it belongs to */
	__u32 pad;
};

/* Sets of its service that have the backend, so that affinity need not search them (S-79). */
enum slb_backend_lists { SLB_LIST_CLUSTER = 1, SLB_LIST_LOCAL = 2 };
