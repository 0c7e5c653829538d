/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Looks up the service of a packet without a flow. */
#pragma once
#include "../maps/frontends.h"
#include "../maps/services.h"
#include "../lib/addr.h"
#include "../lib/pkt.h"

/* A service port as the client dialled it. */
struct target {
	const struct slb_service *service;
	enum slb_frontend_kind kind;
	bool on_node; /* at an address of this node, whose ports sockets can use, too */
};

/* enum slb_address_flags of an address, 0 without a row: so it is for most packets, which are for no service. */
static __always_inline __u8 lookup_address(const __be32 *addr, const enum slb_family family)
{
	struct slb_frontend_key key = {};
	const struct slb_frontend *row;

	addr_map(key.addr, addr, family);
	row = frontend_get(&key);
	return row ? row->flags : 0;
}

/* The row of a port at an address, or of a NodePort, which has one row for all addresses of this node; or NULL. */
static __always_inline const struct slb_frontend *lookup_port(const __be32 *addr, __be16 port, __u8 proto,
							      bool node_port, const enum slb_family family)
{
	struct slb_frontend_key key = {.port = port, .proto = proto};

	if (!node_port)
		addr_map(key.addr, addr, family);
	else if (family == SLB_IP4)
		key.addr[2] = bpf_htonl(0xffff);
	return frontend_get(&key);
}

/* Whether the source of a packet is a frontend; `address` are the flags of its address. */
static __always_inline bool lookup_source(const struct pkt *pkt, __u8 address, const enum slb_family family)
{
	const struct slb_flow_key6 *tuple = pkt->tuple;

	return (address & SLB_ADDR_SERVICE && lookup_port(tuple->saddr, tuple->sport, tuple->proto, false, family)) ||
	       (address & SLB_ADDR_NODE && lookup_port(tuple->saddr, tuple->sport, tuple->proto, true, family));
}

/* Whether the packet is a reply that forward_host() has injected at a device: its source is a frontend, and its
 * destination port can be a NodePort. */
static __always_inline bool lookup_injected(const struct pkt *pkt, const enum slb_family family)
{
	return lookup_source(pkt, lookup_address(pkt->tuple->saddr, family), family);
}

/* A loopback source on a received packet is forged: the stack would drop it (S-57). */
static __always_inline bool lookup_forged(const struct pkt *pkt, const enum slb_hook hook, const enum slb_family family)
{
	const __be32 *from = pkt->tuple->saddr;

	return !hook_is_egress(hook) && addr_loopback(from, family);
}

/* An exact frontend has precedence over a NodePort (S-51). NodePorts at loopback addresses are for this host alone. */
static __always_inline const struct slb_frontend *
lookup_frontend(const struct pkt *pkt, __u8 address, const enum slb_hook hook, const enum slb_family family)
{
	const struct slb_flow_key6 *tuple = pkt->tuple;
	const struct slb_frontend *frontend = NULL;

	if (address & SLB_ADDR_SERVICE)
		frontend = lookup_port(tuple->daddr, tuple->dport, tuple->proto, false, family);
	if (frontend || !(address & SLB_ADDR_NODE_PORT) || (address & SLB_ADDR_LOOPBACK && !hook_is_egress(hook)))
		return frontend;
	frontend = lookup_port(tuple->daddr, tuple->dport, tuple->proto, true, family);
	return frontend && (hook_is_egress(hook) || !lookup_injected(pkt, family)) ? frontend : NULL;
}

/* CONTINUE with the target; REFUSED_PORT, for the caller to answer, at a ClusterIP, whose other ports are closed
 * (S-48); NO_SUCH_PORT at other service addresses, whose other ports may be in use; NOT_OURS, OWN_ADDRESS or
 * DROP_STALE. */
static __always_inline __must_check enum slb_verdict lookup(const struct pkt *pkt, struct target *target,
							    const enum slb_hook hook, const enum slb_family family)
{
	__u8 address = lookup_address(pkt->tuple->daddr, family);
	const struct slb_frontend *frontend;

	if (!address || lookup_forged(pkt, hook, family))
		return SLB_NOT_OURS;
	if (address & SLB_ADDR_CLUSTER && address & SLB_ADDR_NODE)
		return SLB_OWN_ADDRESS;
	frontend = lookup_frontend(pkt, address, hook, family);
	if (!frontend && address & SLB_ADDR_CLUSTER)
		return SLB_REFUSED_PORT;
	if (!frontend)
		return address & SLB_ADDR_SERVICE ? SLB_NO_SUCH_PORT : SLB_NOT_OURS;
	target->kind = frontend->kind;
	target->on_node = address & SLB_ADDR_NODE;
	target->service = service_get(frontend->service);
	return target->service ? SLB_CONTINUE : SLB_DROP_STALE;
}
