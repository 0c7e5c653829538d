/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* SNAT: an address of this node as the source, so that replies come back here (S-64), and another port where the
 * client's own is taken (S-68). In tc only. */
#pragma once
#include "../lib/addr.h"
#include "../lib/flow.h"
#include "../lib/socktuple.h"
#include "../maps/fibquery.h"
#include "../maps/devices.h"
#include "../maps/draft.h"
#include "../maps/counters.h"
#include "client.h"
#include "lookup.h"
#include "track.h"

/* Sets the source that the kernel would choose, from the route look-up before this; where kernels do not report it, the
 * address of the output device. False when there is none. */
static __always_inline __must_check bool snat_address(struct slb_flow *flow, __u32 ifindex,
						      const enum slb_family family)
{
	const struct slb_fib_query *query = fib_query_get();
	const struct slb_device *device;

	flow->flags |= SLB_FLOW_MASQUERADED;
	if (query && query->has_source) {
		if (family == SLB_IP4)
			flow->saddr[0] = query->fib.ipv4_src;
		else
			addr_copy(flow->saddr, query->fib.ipv6_src);
		return true;
	}
	device = device_get(ifindex);
	if (!device)
		return false;
	if (family == SLB_IP4)
		flow->saddr[0] = device->addr4;
	else
		addr_copy(flow->saddr, device->addr6);
	return flow->saddr[0] | flow->saddr[1] | flow->saddr[2] | flow->saddr[3];
}

/* Whether a packet of this host has a source that must not leave it: a service address, or a loopback one (S-67). */
static __always_inline bool snat_unroutable(const struct pkt *pkt, const enum slb_family family)
{
	return lookup_address(pkt->tuple->saddr, family) & (SLB_ADDR_SERVICE | SLB_ADDR_LOOPBACK);
}

/* Whether the entry may be evicted: it is of this very connection, or has expired. One that is closing may not, for the
 * end that has closed only its half still receives. */
static __always_inline bool snat_replaceable(const struct slb_flow *holder, const struct slb_flow_key6 *tuple,
					     __u32 now, const enum slb_family family)
{
	return flow_is_peer(holder, tuple, family) || flow_expired(holder, tuple->proto, now);
}

/* Whether a TCP socket in that network namespace has this address and port with the backend as its peer. Not in
 * TIME_WAIT: that one has nothing to receive. */
static __always_inline bool snat_tcp_taken(void *ctx, struct bpf_sock_tuple *tuple, __u32 size, __u64 netns)
{
	struct bpf_sock *sk = bpf_skc_lookup_tcp(ctx, tuple, size, netns, 0);
	bool taken;

	if (!sk)
		return false;
	taken = sk->state != BPF_TCP_LISTEN && sk->state != BPF_TCP_TIME_WAIT;
	bpf_sk_release(sk);
	return taken;
}

/* The same for UDP, where an unconnected socket counts as well: it receives from any backend. With `own` the packet is
 * of the socket that has the source; but if hooks at sockets may be attached, another service may have pointed that one
 * at the same backend (socket_ambiguous()), as an unconnected socket. */
static __always_inline bool snat_udp_taken(void *ctx, struct bpf_sock_tuple *tuple, __u32 size, __u64 netns, bool own)
{
	struct bpf_sock *sk;
	bool taken;

	if (own && !slb_config.socket_hooks)
		return false;
	sk = bpf_sk_lookup_udp(ctx, tuple, size, netns, 0);
	if (!sk)
		return false;
	taken = !own || !sk->dst_port;
	bpf_sk_release(sk);
	return taken;
}

/* Whether a socket would receive these replies. `own`: the packet is of the socket that has this source. */
static __always_inline bool snat_socket_has(void *ctx, const struct slb_flow_key6 *reply, bool own, __u64 netns,
					    const enum slb_family family)
{
	struct bpf_sock_tuple tuple = {};
	__u32 size = sock_tuple_of(&tuple, reply, family);

	if (netns == SLB_NETNS_NONE)
		return false;
	if (reply->proto == IPPROTO_TCP)
		return snat_tcp_taken(ctx, &tuple, size, netns);
	return reply->proto == IPPROTO_UDP && snat_udp_taken(ctx, &tuple, size, netns, own);
}

/* The entry that has this key and may not be evicted by the flow of `tuple`; NULL when there is none. */
static __always_inline struct slb_flow *snat_port_holder(const struct slb_flow_key6 *key,
							 const struct slb_flow_key6 *tuple, __u32 now,
							 const enum slb_family family)
{
	enum slb_tier tier;
	struct slb_flow *holder = flow_live(key, &tier, family);

	return holder && !snat_replaceable(holder, tuple, now, family) ? holder : NULL;
}

/* Ends the reply's entry that has the key in slb_draft, and the entry of its requests, whose replies would be those of
 * the new flow: unless it is that very flow. */
static __always_inline void snat_evict(struct slb_flow *holder, struct slb_draft *draft, const enum slb_family family)
{
	struct slb_flow *requests;
	enum slb_tier tier;

	if (!flow_is_peer(holder, &draft->tuple, family)) {
		flow_peer_key(&draft->evicted, holder, draft->key.proto);
		requests = flow_live(&draft->evicted, &tier, family);
		if (requests && flow_is_peer(requests, &draft->key, family))
			flow_end(requests, &draft->evicted, family);
	}
	flow_end(holder, &draft->key, family);
}

/* Whether no other flow to the same backend has this source. */
static __always_inline bool snat_port_free(const struct pkt *pkt, const struct slb_flow *flow, __u32 now,
					   const enum slb_family family)
{
	struct slb_flow_key6 key;

	flow_peer_key(&key, flow, pkt->tuple->proto);
	return !snat_port_holder(&key, pkt->tuple, now, family);
}

/* The network namespace whose sockets can have the flow's source, too: that of the client's pod while the source is the
 * client's, else this host's. An nsid, BPF_F_CURRENT_NETNS or SLB_NETNS_NONE. */
static __always_inline __u64 snat_netns(const struct pkt *pkt, const struct slb_flow *flow, const enum slb_hook hook,
					const enum slb_family family)
{
	const struct slb_device *device;

	if (flow->ifindex || !addr_equal(flow->saddr, pkt->tuple->saddr, family))
		return BPF_F_CURRENT_NETNS;
	device = device_get(client_ifindex(pkt, hook));
	return device ? device->netns : SLB_NETNS_NONE;
}

/* Whether no socket that talks to the backend directly has this source. */
static __always_inline bool snat_no_socket(const struct pkt *pkt, const struct slb_flow *flow, bool own, __u64 netns,
					   const enum slb_family family)
{
	struct slb_flow_key6 key;

	flow_peer_key(&key, flow, pkt->tuple->proto);
	return !snat_socket_has(pkt->ctx, &key, own, netns, family);
}

/* How well a source port would do, in ascending order. */
enum snat_port {
	SNAT_TAKEN,
	SNAT_RISKY, /* of a flow that has closed, but the backend may refuse a SYN at first */
	SNAT_OVER,  /* of a flow that has closed */
	SNAT_FREE,
};

/* Whether another connection may take over the port of this flow. Both ends must have closed, and a second have passed
 * for their last segments. A backend in TIME_WAIT accepts a SYN only with a sequence number above those of the old
 * connection (RFC 9293, 3.10.7.4); else it sends an ACK, the client resets that, and its next SYN is accepted. */
static __always_inline enum snat_port snat_over(const struct slb_flow *holder, __u32 isn, __u8 proto, __u32 now)
{
	if (proto == IPPROTO_UDP || !flow_closed(holder))
		return SNAT_TAKEN;
	if (!clock_passed(holder->seen, now, 1))
		return SNAT_RISKY;
	return proto != IPPROTO_TCP || holder->rst || (__s32)(isn - holder->ack) > 0 ? SNAT_OVER : SNAT_RISKY;
}

static __always_inline struct slb_flow *snat_draft_holder(struct slb_draft *draft, __u32 now, __u32 family)
{
	flow_peer_key(&draft->key, &draft->flow, draft->tuple.proto);
	return family == SLB_IP4 ? snat_port_holder(&draft->key, &draft->tuple, now, SLB_IP4)
				 : snat_port_holder(&draft->key, &draft->tuple, now, SLB_IP6);
}

/* Evicts the flow that has the port of the one in slb_draft; 0 when that flow is in use again. */
__noinline int slb_snat_evict(__u32 now, __u32 isn, __u32 family)
{
	struct slb_draft *draft = draft_get();
	struct slb_flow *holder;

	if (!draft)
		return 0;
	holder = snat_draft_holder(draft, now, family);
	if (!holder)
		return 1;
	if (snat_over(holder, isn, draft->tuple.proto, now) == SNAT_TAKEN)
		return 0;
	if (family == SLB_IP4)
		snat_evict(holder, draft, SLB_IP4);
	else
		snat_evict(holder, draft, SLB_IP6);
	counter_inc(SLB_COUNTER_SNAT_PORT_REUSED);
	return 1;
}

static __always_inline bool snat_draft_no_socket(void *ctx, const struct slb_draft *draft, __u64 netns, __u32 family)
{
	return family == SLB_IP4 ? !snat_socket_has(ctx, &draft->key, false, netns, SLB_IP4)
				 : !snat_socket_has(ctx, &draft->key, false, netns, SLB_IP6);
}

/* Tries a random port for the flow in slb_draft: SNAT_FREE when neither a flow nor a socket of that network namespace
 * has it, else what snat_over() says of the flow that has it. A global function, which the verifier walks once and not
 * in every iteration of slb_snat(). */
__noinline int slb_snat_try(struct __sk_buff *ctx, __u64 netns, __u32 now, __u32 isn, __u32 family)
{
	const __u32 span = slb_config.snat_port_max - slb_config.snat_port_min + 1;
	struct slb_draft *draft = draft_get();
	const struct slb_flow *holder;
	enum snat_port found;

	if (!draft)
		return SNAT_TAKEN;
	counter_inc(SLB_COUNTER_SNAT_PORT_TAKEN);
	draft->flow.sport = bpf_htons(slb_config.snat_port_min + bpf_get_prandom_u32() % span);
	holder = snat_draft_holder(draft, now, family);
	found = holder ? snat_over(holder, isn, draft->tuple.proto, now) : SNAT_FREE;
	return found != SNAT_TAKEN && snat_draft_no_socket(ctx, draft, netns, family) ? found : SNAT_TAKEN;
}

/* Finds a source port for the flow in slb_draft: a free one, else that of a flow that has closed; 0 when none was
 * found. Random ports and not consecutive ones: with many connections to a backend the neighbours of a used port are
 * used, too. */
__noinline int slb_snat(struct __sk_buff *ctx, __u64 netns, __u32 now, __u32 isn, __u32 family)
{
	struct slb_draft *draft = draft_get();
	__u32 best = SNAT_TAKEN, found;
	__be16 port = 0;

	if (!draft)
		return 0;
#pragma clang loop unroll(disable)
	for (__u32 attempt = 0; attempt < SLB_SNAT_ATTEMPTS; attempt++) {
		found = slb_snat_try(ctx, netns, now, isn, family);
		if (found == SNAT_FREE)
			return 1;
		if (found > best) {
			best = found;
			port = draft->flow.sport;
		}
	}
	draft->flow.sport = port;
	return best != SNAT_TAKEN && slb_snat_evict(now, isn, family);
}

/* Another source port for the flow in the draft; false when none was found (slb_snat()). */
static __always_inline bool snat_find_port(const struct pkt *pkt, struct slb_draft *draft, __u32 now,
					   const enum slb_hook hook, const enum slb_family family)
{
	__u32 isn = pkt->conn_oriented ? track_word(pkt, offsetof(struct tcphdr, seq)) : 0;

	draft->tuple = *pkt->tuple;
	return slb_snat(pkt->ctx, snat_netns(pkt, &draft->flow, hook, family), now, isn, family);
}

/* Keeps the client's port if it is free, else finds another: CONTINUE, or DROP_NO_PORT. */
static __always_inline __must_check enum slb_verdict snat_port(const struct pkt *pkt, struct slb_draft *draft,
							       __u32 now, const enum slb_hook hook,
							       const enum slb_family family)
{
	const struct slb_flow *flow = &draft->flow;
	__u64 netns = snat_netns(pkt, flow, hook, family);
	bool own = hook_is_egress(hook) || addr_equal(flow->saddr, pkt->tuple->saddr, family);

	if (snat_port_free(pkt, flow, now, family) && snat_no_socket(pkt, flow, own, netns, family))
		return SLB_CONTINUE;
	return snat_find_port(pkt, draft, now, hook, family) ? SLB_CONTINUE : SLB_DROP_NO_PORT;
}
