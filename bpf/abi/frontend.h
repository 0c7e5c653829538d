/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* An address, port and protocol at which a service answers. */
#pragma once
#include <linux/types.h>

/* IPv4 addresses are IPv4-mapped (::ffff:a.b.c.d), so one map serves both families. Port 0 and proto 0 make the address
 * row: one look-up tells most packets that they are for no service. A NodePort has one row for all addresses of this
 * node, at the unspecified address of its family (0.0.0.0 or ::). */
struct slb_frontend_key {
	__be32 addr[4];
	__be16 port;
	__u8 proto; /* IPPROTO_*, 0 in an address row */
	__u8 pad;
};

enum slb_frontend_kind {
	SLB_KIND_ADDRESS = 0, /* address row */
	SLB_KIND_CLUSTER_IP = 1,
	SLB_KIND_EXTERNAL_IP = 2,
	SLB_KIND_LOAD_BALANCER = 3,
	SLB_KIND_NODE_PORT = 4,
};

enum slb_address_flags {
	SLB_ADDR_SERVICE = 1,	/* services other than NodePorts have it */
	SLB_ADDR_CLUSTER = 2,	/* a ClusterIP: nothing but services answers at it */
	SLB_ADDR_NODE = 4,	/* a device of this node has it */
	SLB_ADDR_NODE_PORT = 8, /* NodePorts answer at it */
	SLB_ADDR_LOOPBACK = 16, /* only for packets of this host itself (S-57) */
};

struct slb_frontend {
	__u32 service; /* service id; its slot indexes slb_services */
	__u8 kind;     /* enum slb_frontend_kind */
	__u8 flags;    /* enum slb_address_flags, in an address row */
	__u8 pad[2];
};
