/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Counters of a service or a backend: a row for each slot, in per-CPU arrays. */
#pragma once
#include <linux/types.h>

struct slb_stats {
	__u64 connections;
	__u64 packets_in;  /* client to backend; a GSO packet counts once */
	__u64 bytes_in;	   /* IP length with headers; of TCP sockets the payload, added at close */
	__u64 packets_out; /* backend to client */
	__u64 bytes_out;
	__u64 refused; /* packets or connect() calls that were rejected or dropped */
	__u64 sockets; /* sockets pointed at it now: the sum over CPUs, where each may be negative */
};
