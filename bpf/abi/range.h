/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Address ranges, in a longest-prefix map. */
#pragma once
#include <linux/types.h>

enum slb_range_kind {
	SLB_RANGE_ALLOW = 1, /* loadBalancerSourceRanges */
	SLB_RANGE_DENY = 2,  /* annotation sluice.dev/deny-source-ranges */
	SLB_RANGE_POD = 3,   /* service 0: addresses of pods, for nodes whose devices do not tell them */
};

struct slb_range_key {
	__u32 prefix_len; /* in bits: 64 for kind and service, then those of the IPv4-mapped address */
	__u32 kind;	  /* enum slb_range_kind */
	__u32 service;	  /* id */
	__be32 addr[4];
};

struct slb_range {
	__u32 service; /* as in the key; a map needs a value */
};
