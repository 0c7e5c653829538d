/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Counters of a service or a backend; one row a slot in per-CPU arrays. */
#pragma once
#include <linux/types.h>

struct slb_stats {
	__u64 connections;
	__u64 packets_in;  /* client to backend, as the hook sees them: one that is yet to be segmented counts once */
	__u64 bytes_in;	   /* IP length, headers included; of TCP sockets their payload, when they are closed */
	__u64 packets_out; /* backend to client */
	__u64 bytes_out;
	__u64 refused; /* packets or connects for this service that were answered or dropped instead of sent */
	__u64 sockets; /* that are pointed at it now: each CPU holds what it has opened less what it has closed */
};
