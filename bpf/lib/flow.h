/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The two entries of a connection, one for each direction: either can be computed from the other, its peer. */
#pragma once
#include <linux/in.h>
#include "../maps/flows.h"
#include "addr.h"
#include "clock.h"
#include "csum.h"
#include "pkt.h"

static __always_inline __u8 flow_hook_bit(const enum slb_hook hook)
{
	return hook_is_egress(hook) ? SLB_FLOW_AT_EGRESS : SLB_FLOW_AT_INGRESS;
}

/* The key of the other direction: the rewritten tuple with its ends exchanged. */
static __always_inline void flow_peer_key(struct slb_flow_key6 *key, const struct slb_flow *flow, __u8 proto)
{
	*key = (struct slb_flow_key6){.sport = flow->dport, .dport = flow->sport, .proto = proto};
	addr_copy(key->saddr, flow->daddr);
	addr_copy(key->daddr, flow->saddr);
}

static __always_inline __u8 flow_peer_flags(__u8 flags)
{
	const __u8 both = SLB_FLOW_MASQUERADED | SLB_FLOW_SEEN_REPLY | SLB_FLOW_ASSURED;
	const __u8 own = SLB_FLOW_AT_INGRESS | SLB_FLOW_AT_EGRESS;
	const __u8 peer = SLB_FLOW_PEER_AT_INGRESS | SLB_FLOW_PEER_AT_EGRESS;

	_Static_assert(SLB_FLOW_PEER_AT_INGRESS == SLB_FLOW_AT_INGRESS << 4 &&
			       SLB_FLOW_PEER_AT_EGRESS == SLB_FLOW_AT_EGRESS << 4,
		       "hooks are exchanged by shifting");
	return (flags & both) | (~flags & SLB_FLOW_REPLY) | (flags & own) << 4 | (flags & peer) >> 4;
}

/* The entry of the other direction of a flow with this tuple. Inversion negates a one's complement difference. */
static __always_inline void flow_peer(struct slb_flow *peer, const struct slb_flow *flow,
				      const struct slb_flow_key6 *tuple)
{
	*peer = (struct slb_flow){
		.sport = tuple->dport,
		.dport = tuple->sport,
		.addr_delta = ~flow->addr_delta,
		.port_delta = ~flow->port_delta,
		.service = flow->service,
		.backend = flow->backend,
		.seen = flow->seen,
		.flags = flow_peer_flags(flow->flags),
		.fin = flow->peer_fin,
		.peer_fin = flow->fin,
		.rst = flow->rst,
		.created = flow->created,
		.ifindex = flow->ifindex,
		.forward = flow->peer_forward,
		.peer_forward = flow->forward,
	};
	addr_copy(peer->saddr, tuple->daddr);
	addr_copy(peer->daddr, tuple->saddr);
}

/* Computes the deltas of a flow from its key and its rewritten tuple. */
static __always_inline void flow_deltas(struct slb_flow *flow, const struct slb_flow_key6 *tuple,
					const enum slb_family family)
{
	__u32 before = csum_add(csum_addr(tuple->saddr, family), csum_addr(tuple->daddr, family));
	__u32 after = csum_add(csum_addr(flow->saddr, family), csum_addr(flow->daddr, family));

	flow->addr_delta = csum_add(after, ~before);
	flow->port_delta = csum_add((__u32)flow->sport + flow->dport, ~((__u32)tuple->sport + tuple->dport));
}

/* Whether an entry belongs to the other direction of this tuple. Its key alone does not tell: a new connection may have
 * taken over the SNAT port of one that has ended. */
static __always_inline bool flow_is_peer(const struct slb_flow *flow, const struct slb_flow_key6 *tuple,
					 const enum slb_family family)
{
	return flow->sport == tuple->dport && flow->dport == tuple->sport &&
	       addr_equal(flow->saddr, tuple->daddr, family) && addr_equal(flow->daddr, tuple->saddr, family);
}

/* Sets what the packet is counted for. */
static __always_inline void flow_account(struct pkt *pkt, const struct slb_flow *flow)
{
	pkt->service = flow->service;
	pkt->backend = flow->backend;
	pkt->reply = !!(flow->flags & SLB_FLOW_REPLY);
}

/* One end at least has closed. */
static __always_inline bool flow_closing(const struct slb_flow *flow)
{
	return flow->fin || flow->peer_fin || flow->rst;
}

/* Both ends have closed, or one has reset the connection. */
static __always_inline bool flow_closed(const struct slb_flow *flow)
{
	return flow->rst || (flow->fin && flow->peer_fin);
}

/* The entry of the established table that is not dead, and the count of moves before. */
static __always_inline struct slb_flow *flow_established(const struct slb_flow_key6 *key, __u32 *before,
							 const enum slb_family family)
{
	const volatile __u32 *moves = flow_moves();
	struct slb_flow *flow;

	*before = moves ? *moves : 0;
	flow = flow_get(SLB_TIER_ESTABLISHED, key, family);
	return flow && !flow->dead ? flow : NULL;
}

/* The entry with this key, where the established table had none when the count of moves was `before`. A flow that
 * another CPU moves meanwhile is in the first table too late to be seen there, and out of the second too early; the
 * count tells. */
static __always_inline struct slb_flow *flow_half(const struct slb_flow_key6 *key, __u32 before, enum slb_tier *tier,
						  const enum slb_family family)
{
	const volatile __u32 *moves = flow_moves();
	struct slb_flow *flow = flow_get(SLB_TIER_HALF, key, family);

	*tier = SLB_TIER_HALF;
	if (flow || !moves || *moves == before)
		return flow;
	*tier = SLB_TIER_ESTABLISHED;
	flow = flow_get(SLB_TIER_ESTABLISHED, key, family);
	return flow && !flow->dead ? flow : NULL;
}

/* The entry with this key that is not dead, and its table. */
static __always_inline struct slb_flow *flow_live(const struct slb_flow_key6 *key, enum slb_tier *tier,
						  const enum slb_family family)
{
	__u32 before;
	struct slb_flow *flow = flow_established(key, &before, family);

	*tier = SLB_TIER_ESTABLISHED;
	return flow ?: flow_half(key, before, tier, family);
}

/* Ends the entry with this key. An established row is only marked as dead: a new flow overwrites it, or the agent
 * deletes it. Programs must not delete it, because the kernel can give its memory to another key at once, while another
 * CPU still writes to it. In the half-open table the LRU reuses memory like that anyway. */
static __always_inline void flow_end(struct slb_flow *flow, const struct slb_flow_key6 *key,
				     const enum slb_family family)
{
	flow->dead = 1;
	flow_delete(SLB_TIER_HALF, key, family);
}

/* Idle seconds after which the flow counts as absent. */
static __always_inline __u32 flow_life(const struct slb_flow *flow, __u8 proto)
{
	if (proto == IPPROTO_UDP)
		return flow->flags & SLB_FLOW_ASSURED ? slb_config.udp_idle_sec : slb_config.udp_new_sec;
	if (flow_closed(flow))
		return slb_config.tcp_closed_sec;
	if (flow->fin || flow->peer_fin)
		return slb_config.tcp_half_closed_sec;
	return flow->flags & SLB_FLOW_ASSURED ? slb_config.tcp_idle_sec : slb_config.tcp_syn_sec;
}

static __always_inline bool flow_expired(const struct slb_flow *flow, __u8 proto, __u32 now)
{
	return clock_passed(flow->seen, now, flow_life(flow, proto));
}
