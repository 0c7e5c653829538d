/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Address ranges of clients: key of a longest-prefix map. */
#pragma once
#include <linux/types.h>

enum slb_range_kind {
	SLB_RANGE_ALLOW = 1, /* loadBalancerSourceRanges */
	SLB_RANGE_DENY = 2,  /* our annotation */
	SLB_RANGE_POD = 3,   /* service 0: addresses of pods, where devices do not tell */
};

struct slb_range_key {
	__u32 prefix_len; /* bits of all that follows: 64 + those of the IPv4-mapped address */
	__u32 kind;	  /* enum slb_range_kind */
	__u32 service;	  /* id */
	__be32 addr[4];
};

struct slb_range {
	__u32 service; /* as in the key: a value must hold something */
};
