/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Another source for a connection: an address of this node where replies must come back here (S-64), and another port
 * where the client's own is taken (S-68). In tc only. */
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

/* What the kernel would choose towards the backend, which has been asked for just now. Where it does not tell: what the
 * device by which the packet will leave has for an address. */
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

/* Sources that a host's own packet may have, but must not leave it with (S-67). */
static __always_inline bool snat_unroutable(const struct pkt *pkt, const enum slb_family family)
{
	return lookup_address(pkt->tuple->saddr, family) & (SLB_ADDR_SERVICE | SLB_ADDR_LOOPBACK);
}

/* Whether the entry may give way: it is of this very connection, or nothing will come for it any more. One that is
 * closing may not: the end that has closed only its half still listens. */
static __always_inline bool snat_replaceable(const struct slb_flow *holder, const struct slb_flow_key6 *tuple,
					     __u32 now, const enum slb_family family)
{
	return flow_is_peer(holder, tuple, family) || flow_expired(holder, tuple->proto, now);
}

/* Whether a socket in that network namespace talks to the backend itself, from this address and port. One that has
 * closed hears nothing more that matters. */
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

/* The same, or waits there: an unconnected socket is found for any backend. When it is `own`, the one whose
 * packet this is, it has its port to itself; but it may have been pointed at this backend before, by another service,
 * and wait for an answer (see socket_ambiguous()). */
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

/* Whether a socket has the source that these replies are for. `own`: it is the very socket whose packet this is. */
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

/* The entry that has this key and may not give way to the flow of `tuple`; NULL when there is none. */
static __always_inline struct slb_flow *snat_port_holder(const struct slb_flow_key6 *key,
							 const struct slb_flow_key6 *tuple, __u32 now,
							 const enum slb_family family)
{
	enum slb_tier tier;
	struct slb_flow *holder = flow_live(key, &tier, family);

	return holder && !snat_replaceable(holder, tuple, now, family) ? holder : NULL;
}

/* Ends the entry, a reply's, that has the key in slb_draft, and that of its requests, which would now be taken for
 * those of the flow in the draft: unless it is that very flow. */
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

/* Whether replies to this source could be told from those of every other flow. */
static __always_inline bool snat_port_free(const struct pkt *pkt, const struct slb_flow *flow, __u32 now,
					   const enum slb_family family)
{
	struct slb_flow_key6 key;

	flow_peer_key(&key, flow, pkt->tuple->proto);
	return !snat_port_holder(&key, pkt->tuple, now, family);
}

/* The network namespace whose sockets may have the flow's source too: that of the pod which asks while the source is
 * its own, and this host's once it has been replaced, also by the address that a hairpin was dialled at. */
static __always_inline __u64 snat_netns(const struct pkt *pkt, const struct slb_flow *flow, const enum slb_hook hook,
					const enum slb_family family)
{
	const struct slb_device *device;

	if (flow->ifindex || !addr_equal(flow->saddr, pkt->tuple->saddr, family))
		return BPF_F_CURRENT_NETNS;
	device = device_get(client_ifindex(pkt, hook));
	return device ? device->netns : SLB_NETNS_NONE;
}

/* Whether they could be told from packets that no flow knows: those of a socket that talks to the backend itself. */
static __always_inline bool snat_no_socket(const struct pkt *pkt, const struct slb_flow *flow, bool own, __u64 netns,
					   const enum slb_family family)
{
	struct slb_flow_key6 key;

	flow_peer_key(&key, flow, pkt->tuple->proto);
	return !snat_socket_has(pkt->ctx, &key, own, netns, family);
}

/* How well a port would do, better ones last. */
enum snat_port {
	SNAT_TAKEN,
	SNAT_RISKY, /* of a flow that is over, but whose backend may not take a SYN at once */
	SNAT_OVER,  /* of a flow that is over */
	SNAT_FREE,
};

/* What the port of this flow would do for another. Both ends must have closed; the last segments of their farewell may
 * be on their way for a second. A backend in TIME_WAIT takes a SYN for a new connection only when its number is above
 * those of the old one (RFC 9293, 3.10.7.4); else it answers as if the old one went on, the client resets that, and its
 * next SYN is taken. */
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

/* Takes the port of the flow in slb_draft over from the one that has it; 0 when that one has come to life since. */
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
 * has it, or what snat_over() says of the flow that has it. A function of its own, so that the verifier walks it once
 * and not at every turn of the loop in slb_snat(). */
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

/* A port that neither a flow nor a socket of that network namespace has, for the flow in slb_draft, or that of a flow
 * which is over; 1 when there was one. Random ones are tried instead of all in turn: with many connections to one
 * backend the next ones are taken as well. A function of its own, which the verifier walks once for all callers. */
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

/* Another port for the flow in the draft; see slb_snat(). */
static __always_inline bool snat_find_port(const struct pkt *pkt, struct slb_draft *draft, __u32 now,
					   const enum slb_hook hook, const enum slb_family family)
{
	__u32 isn = pkt->conn_oriented ? track_word(pkt, offsetof(struct tcphdr, seq)) : 0;

	draft->tuple = *pkt->tuple;
	return slb_snat(pkt->ctx, snat_netns(pkt, &draft->flow, hook, family), now, isn, family);
}

/* The client's own port if it is free. */
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
