/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Session affinity: the last backend of a client of a service port (S-77 … S-79). */
#pragma once
#include <linux/types.h>

struct slb_affinity_key {
	__be32 client[4]; /* source before SNAT; IPv4-mapped for IPv4 */
	__u32 service;	  /* id of the service port: all its frontends share the entry */
	__u32 pad;
};

struct slb_affinity {
	__u32 backend; /* id */
	__u32 seen;    /* jiffies, low 32 bits, of the last new connection */
};
