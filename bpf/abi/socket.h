/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Sockets of this node that were pointed at a backend when a program dialled a service. */
#pragma once
#include <linux/types.h>

/* A connected socket has row 0 alone. An unconnected UDP socket has one row for each service it sends to, without gaps:
 * the first index without a row ends the list. */
struct slb_socket_key {
	__u64 cookie; /* of the socket, unique until the kernel restarts */
	__u32 index;  /* below SLB_SOCKET_PEERS */
	__u32 pad;
};

struct slb_socket {
	__be32 frontend[4]; /* as the program dialled it, and is told by getpeername(); IPv4-mapped for IPv4 */
	__be32 backend_addr[4];
	__be32 client[4]; /* local address, once the kernel has chosen it; 0 until then */
	__be16 frontend_port;
	__be16 backend_port;
	__be16 client_port;
	__u8 proto;
	__u8 flags;    /* enum slb_socket_flags */
	__u32 service; /* ids */
	__u32 backend;
	__u32 created; /* jiffies, low 32 bits */
	__u32 seen;    /* of the last datagram sent with an address, at most a second old; else as `created` */
	__u64 netns;   /* cookie of the network namespace */
};

enum slb_socket_flags {
	SLB_SOCKET_CONNECTED = 1,   /* by connect(): it sends without an address */
	SLB_SOCKET_ESTABLISHED = 2, /* TCP: the handshake is complete */
	SLB_SOCKET_RETIRED = 4,	    /* another service has the same backend: packets serve both */
};

/* Value of slb_exempt: processes in this cgroup or below it are left to the packet path. */
enum slb_exemption {
	SLB_EXEMPT_POD = 1,	  /* annotation of its pod */
	SLB_EXEMPT_NAMESPACE = 2, /* annotation of its pod's namespace */
	SLB_EXEMPT_MESH = 3,	  /* its pod is in a service mesh, whose proxy needs service addresses */
	SLB_EXEMPT_OPTION = 4,	  /* --socket-hooks-skip */
};
