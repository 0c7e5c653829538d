/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* A service port and its sets of backends. */
#pragma once
#include <linux/types.h>

/* Row of slb_services, indexed by the slot of the service id. Each list of backends is one aligned word, so the agent
 * switches it from one set to the next atomically. */
struct slb_service {
	__u32 id;	    /* slot and generation, so that a stale frontend row is noticed; 0: free row */
	__u32 cluster_set;  /* index into slb_sets; 0 is the empty set */
	__u32 local_set;    /* the same for endpoints on this node; 0 when no traffic policy is Local */
	__u32 flags;	    /* enum slb_service_flags */
	__u32 affinity_sec; /* sessionAffinityConfig.clientIP.timeoutSeconds; 0: no affinity */
	__u32 pad;
};

enum slb_service_flags {
	SLB_SVC_ANY_ENDPOINT = 1, /* there are endpoints: an empty set drops (no local endpoint) instead of rejecting */
	SLB_SVC_INTERNAL_LOCAL = 2, /* internalTrafficPolicy: Local */
	SLB_SVC_EXTERNAL_LOCAL = 4, /* externalTrafficPolicy: Local */
	SLB_SVC_ALLOW = 8,	    /* loadBalancerSourceRanges (S-61) */
	SLB_SVC_DENY = 16,	    /* deny-source-ranges, at all frontends but the ClusterIP */
	SLB_SVC_NO_SOCKET_LB = 32,  /* translated packet by packet, not at the socket */
};

/* Row of slb_sets: immutable once a service row refers to it. Freed a grace period after the last reference. */
struct slb_set {
	__u32 slots;  /* first row in slb_slots, which has the ids of the backends in the order of the Maglev table */
	__u32 count;  /* number of backends */
	__u32 maglev; /* first position in slb_maglev; each is 0 … count - 1 */
	__u32 maglev_size; /* number of positions, a prime; sets with equal addresses share a table */
};
