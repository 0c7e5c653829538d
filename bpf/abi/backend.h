/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* One endpoint of one service port: ids are never shared between service ports. */
#pragma once
#include <linux/types.h>

/* Row of slb_backends, indexed by the slot of the backend id. A row whose id matches is permission enough to use it. */
struct slb_backend {
	__be32 addr[4]; /* IPv4-mapped for IPv4 */
	__be16 port;
	__u8 proto;
	__u8 lists;    /* enum slb_backend_lists; 0: serves on, but receives nothing new */
	__u32 id;      /* 0: free row */
	__u32 service; /* id of the service port it belongs to */
	__u32 pad;
};

/* In which of its service's sets a backend is, so that affinity need not search them (S-79). */
enum slb_backend_lists { SLB_LIST_CLUSTER = 1, SLB_LIST_LOCAL = 2 };
