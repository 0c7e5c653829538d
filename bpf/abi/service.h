/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* A service port and the sets of backends it chooses from. */
#pragma once
#include <linux/types.h>

/* Row of slb_services, indexed by the slot of the service id. Each set field alone decides the backends of one list, in
 * one aligned word, so that the agent switches a list from one backend set to the next atomically. */
struct slb_service {
	__u32 id;	    /* 0: free row; else slot and generation, so that a stale frontend is noticed */
	__u32 cluster_set;  /* index into slb_sets; 0 is the empty set */
	__u32 local_set;    /* the same, of the endpoints on this node; 0 when no traffic policy asks for them */
	__u32 flags;	    /* enum slb_service_flags */
	__u32 affinity_sec; /* seconds a client stays with its backend; 0: no affinity */
	__u32 pad;
};

enum slb_service_flags {
	SLB_SVC_ANY_ENDPOINT = 1,   /* some endpoint exists somewhere: an empty set drops instead of refusing */
	SLB_SVC_INTERNAL_LOCAL = 2, /* internalTrafficPolicy: Local */
	SLB_SVC_EXTERNAL_LOCAL = 4, /* externalTrafficPolicy: Local */
	SLB_SVC_ALLOW = 8,	    /* load balancer addresses: only sources in its ranges (S-61) */
	SLB_SVC_DENY = 16,	    /* every frontend but the cluster address: no source in its denied ranges */
	SLB_SVC_NO_SOCKET_LB = 32,  /* steered packet by packet: the socket hooks leave it alone */
};

/* Row of slb_sets: written once while nothing points at it, then only read. Freed a grace period after the last
 * service row has left it. */
struct slb_set {
	__u32 slots;	   /* first row in slb_slots: the ids of the backends, in table order */
	__u32 count;	   /* number of backends */
	__u32 maglev;	   /* first position in slb_maglev; each is 0 … count - 1 */
	__u32 maglev_size; /* prime number of positions; equal backend sets share them */
};
