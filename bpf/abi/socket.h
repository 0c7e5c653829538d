/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Sockets of this node that were pointed at a backend when their program asked for a service. */
#pragma once
#include <linux/types.h>

/* A connected socket has row 0 alone. An unconnected UDP socket has one for each service it talks to, without gaps:
 * the first index without a row is the end. */
struct slb_socket_key {
	__u64 cookie; /* of the socket: no two have the same for as long as the kernel runs */
	__u32 index;  /* below SLB_SOCKET_PEERS */
	__u32 pad;
};

struct slb_socket {
	__be32 frontend[4]; /* what the program asked for, and is told that it reached; IPv4-mapped for IPv4 */
	__be32 backend_addr[4];
	__be32 client[4]; /* its own address, once the kernel has chosen it; 0 until then */
	__be16 frontend_port;
	__be16 backend_port;
	__be16 client_port;
	__u8 proto;
	__u8 flags;    /* enum slb_socket_flags */
	__u32 service; /* ids */
	__u32 backend;
	__u32 created; /* jiffies, low 32 bits */
	__u32 seen;    /* of the last datagram that named its peer; at most a second old. Else like created */
	__u64 netns;   /* cookie of the network namespace */
};

enum slb_socket_flags {
	SLB_SOCKET_CONNECTED = 1,   /* by connect(): what it sends names no peer */
	SLB_SOCKET_ESTABLISHED = 2, /* TCP: the backend has answered */
	SLB_SOCKET_RETIRED = 4,	    /* of no use any more: another service has its backend too, so packets serve both */
};

/* Row of slb_exempt: processes in this cgroup, or below it, are left to the packet path. */
enum slb_exemption {
	SLB_EXEMPT_POD = 1,	  /* its pod says so */
	SLB_EXEMPT_NAMESPACE = 2, /* its pod's namespace says so */
	SLB_EXEMPT_MESH = 3,	  /* its pod's sidecar wants to see service addresses */
	SLB_EXEMPT_OPTION = 4,	  /* the agent's options say so */
};
