/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* An address, port and protocol that clients dial. */
#pragma once
#include <linux/types.h>

/* IPv4 addresses are stored IPv4-mapped (::ffff:a.b.c.d): a row is read once a connection, so one type serves both.
 * port 0 with proto 0 is the address itself: one look-up tells what is not ours. A NodePort has one row for all
 * addresses of this node, under the unspecified address of its family (0.0.0.0 or ::), which has no address row. */
struct slb_frontend_key {
	__be32 addr[4];
	__be16 port;
	__u8 proto; /* IPPROTO_*, 0 in an address row */
	__u8 pad;
};

enum slb_frontend_kind {
	SLB_KIND_ADDRESS = 0, /* address row, no service behind it */
	SLB_KIND_CLUSTER_IP = 1,
	SLB_KIND_EXTERNAL_IP = 2,
	SLB_KIND_LOAD_BALANCER = 3,
	SLB_KIND_NODE_PORT = 4,
};

enum slb_address_flags {
	SLB_ADDR_SERVICE = 1,	/* clients dial services at it, besides NodePorts */
	SLB_ADDR_CLUSTER = 2,	/* it is a cluster address: only services live at it */
	SLB_ADDR_NODE = 4,	/* this node has it */
	SLB_ADDR_NODE_PORT = 8, /* NodePorts answer at it */
	SLB_ADDR_LOOPBACK = 16, /* for this host's own packets only (S-57) */
};

struct slb_frontend {
	__u32 service; /* service id; its slot indexes slb_services */
	__u8 kind;     /* enum slb_frontend_kind */
	__u8 flags;    /* enum slb_address_flags, in an address row */
	__u8 pad[2];
};
